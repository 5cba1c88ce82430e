import assert from "node:assert/strict";
import { test } from "node:test";
import type { AlarmBatch, CompactAlarm, Snapshot } from "../src/api/model.ts";
import { AlarmStore } from "../src/core/alarmStore.ts";
import { alarm } from "./rows.ts";

const snapshot = (seq: number, ...items: CompactAlarm[]): Snapshot =>
  ({ seq, epoch: "e1", as_of: "2026-11-22T01:13:00Z", total: items.length, truncated: false, items });
const put = (seq: number, a: CompactAlarm): AlarmBatch => ({ from: seq, seq, ops: [{ op: "put", a }] });
const del = (seq: number, id: string, ver: number): AlarmBatch => ({ from: seq, seq, ops: [{ op: "del", id, ver }] });
const versions = (store: AlarmStore) => Object.fromEntries([...store.rows].map(([id, row]) => [id, row.ver]));

test("batches that come before the snapshot are kept and applied after it", () => {
  const store = new AlarmStore();
  assert.equal(store.apply("e1", put(11, alarm("b", 1))), "early");
  assert.equal(store.apply("e1", put(12, alarm("c", 1))), "early");
  assert.equal(store.load(snapshot(11, alarm("a", 1), alarm("b", 1))), "applied");
  assert.deepEqual(versions(store), { a: 1, b: 1, c: 1 });
  assert.equal(store.seq, 12);
});

test("what the snapshot contains already is dropped", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 5)));
  assert.equal(store.apply("e1", put(20, alarm("a", 4))), "old");
  assert.deepEqual(versions(store), { a: 5 });
});

test("a batch that the snapshot overtook in its middle is applied, older versions in it are not", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 5)));
  const batch: AlarmBatch = { from: 19, seq: 22, ops: [{ op: "put", a: alarm("a", 4) }, { op: "put", a: alarm("b", 1) }] };
  assert.equal(store.apply("e1", batch), "applied");
  assert.deepEqual(versions(store), { a: 5, b: 1 });
});

test("a missing number asks for a new snapshot and keeps the last good rows", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 5)));
  assert.equal(store.apply("e1", put(22, alarm("b", 1))), "gap");
  assert.equal(store.ready, false);
  assert.deepEqual(versions(store), { a: 5 });
  store.load(snapshot(21, alarm("a", 6)));
  assert.deepEqual(versions(store), { a: 6, b: 1 }, "the batch after the gap waited for the snapshot");
});

test("another epoch asks for a new snapshot", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 5)));
  assert.equal(store.apply("e2", put(21, alarm("b", 1))), "epoch");
  assert.equal(store.ready, false);
});

test("a repeated or reordered put changes nothing", () => {
  const store = new AlarmStore();
  store.load(snapshot(20));
  store.apply("e1", put(21, alarm("a", 3)));
  store.put(alarm("a", 2));
  assert.deepEqual(versions(store), { a: 3 });
});

test("a removed alarm is not brought back by a late answer of an older version", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 3)));
  store.apply("e1", del(21, "a", 4));
  store.put(alarm("a", 4));
  assert.deepEqual(versions(store), {});
});

test("a case that is reopened comes back with its higher version", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 3)));
  store.apply("e1", del(21, "a", 4));
  store.apply("e1", put(22, alarm("a", 5)));
  assert.deepEqual(versions(store), { a: 5 });
});

test("removing an older version than the one shown is ignored", () => {
  const store = new AlarmStore();
  store.load(snapshot(20, alarm("a", 9)));
  store.apply("e1", del(21, "a", 8));
  assert.deepEqual(versions(store), { a: 9 });
});

test("every change is told, and a dropped batch is not", () => {
  let told = 0;
  const store = new AlarmStore(() => (told += 1));
  store.load(snapshot(1));
  store.apply("e1", put(2, alarm("a", 1)));
  store.apply("e1", put(2, alarm("a", 1)));
  assert.equal(told, 2);
});
