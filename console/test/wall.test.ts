import assert from "node:assert/strict";
import test from "node:test";
import { mayReload, newest, overdue, unseen } from "../src/core/wall.ts";
import { alarm } from "./rows.ts";
import type { CompactAlarm } from "../src/api/model.ts";

const row = (id: string, more: Partial<CompactAlarm>) => alarm(id, 1, more);
const ids = (alarms: readonly { id: string }[]) => alarms.map(({ id }) => id);
const ack = { by: "operator", at: "2026-11-22T01:00:00Z" };
const NIGHT = { shownMs: 24 * 3_600_000, hour: 3, connected: true, outdated: false, alarms: [] };

test("the wall lists what is grave and unseen, the worst first", () => {
  const alarms = [row("o", { tier: "orange" }), row("y", { tier: "yellow" }), row("r", { tier: "red" }), row("seen", { tier: "red", ack })];
  assert.deepEqual(ids(unseen(alarms)), ["r", "o"]);
});

test("what is overdue stands with the worst tier and the longest wait first", () => {
  const due = (at: string): ["sign", string] => ["sign", `2026-11-22T${at}Z`];
  const alarms = [
    row("later", { tier: "orange", due: due("02:30:00") }), row("not yet", { tier: "red", due: due("04:00:00") }),
    row("sooner", { tier: "orange", due: due("02:00:00") }), row("red", { tier: "red", due: due("02:59:59") }), row("none", { tier: "red" }),
  ];
  assert.deepEqual(ids(overdue(alarms, Date.parse("2026-11-22T03:00:00Z"))), ["red", "sooner", "later"]);
});

test("what happened last stands first", () => {
  const alarms = [row("a", { raised: "2026-11-22T01:00:00Z" }), row("b", { raised: "2026-11-22T02:00:00Z" })];
  assert.deepEqual(ids(newest(alarms)), ["b", "a"]);
});

test("the wall loads itself anew in a quiet night only, with a service that answers", () => {
  assert.ok(mayReload(NIGHT));
  assert.ok(mayReload({ ...NIGHT, alarms: [row("y", { tier: "yellow" })] }));
  assert.ok(!mayReload({ ...NIGHT, alarms: [row("o", { tier: "orange" })] }));
  assert.ok(!mayReload({ ...NIGHT, hour: 14 }));
  assert.ok(!mayReload({ ...NIGHT, connected: false }));
  assert.ok(!mayReload({ ...NIGHT, shownMs: 3_600_000 }));
});

test("a newer build is taken at any hour that is quiet", () => {
  assert.ok(mayReload({ ...NIGHT, shownMs: 1_000, hour: 14, outdated: true }));
  assert.ok(!mayReload({ ...NIGHT, outdated: true, alarms: [row("r", { tier: "red" })] }));
});
