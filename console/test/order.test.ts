import assert from "node:assert/strict";
import { test } from "node:test";
import { byUrgency, filterFromQuery, filterToQuery, isFiltered, NO_FILTER, passes, inGroups } from "../src/core/order.ts";
import { alarm } from "./rows.ts";

const ids = (...rows: ReturnType<typeof alarm>[]) => [...rows].sort(byUrgency).map(({ id }) => id);
const acked = { ack: { by: "operator", at: "2026-11-22T01:13:00Z" } };

test("unacknowledged comes before acknowledged, even when it is less severe", () => {
  assert.deepEqual(ids(alarm("a", 1, { tier: "red", ...acked }), alarm("b", 1, { tier: "blue" })), ["b", "a"]);
});
test("worse comes before less severe", () => {
  const rows = (["blue", "red", "yellow", "orange"] as const).map((tier) => alarm(tier, 1, { tier }));
  assert.deepEqual(ids(...rows), ["red", "orange", "yellow", "blue"]);
});
test("newer comes first, whatever the number of digits of its fraction", () => {
  const rows = ["2026-11-22T01:12:07Z", "2026-11-22T01:12:07.120Z", "2026-11-22T01:12:07.1Z"];
  assert.deepEqual(ids(...rows.map((raised, nth) => alarm(String(nth), 1, { raised }))), ["1", "2", "0"]);
});
test("rows that are equal stand by their ids, so they never swap", () => {
  assert.deepEqual(ids(alarm("c", 1), alarm("a", 1), alarm("b", 1)), ["a", "b", "c"]);
});
test("an empty filter passes everything, and old alarms too: there is no time window", () => {
  assert.equal(passes(alarm("a", 1, { raised: "2020-01-01T00:00:00Z" }), NO_FILTER), true);
  assert.equal(isFiltered(NO_FILTER), false);
});
test("tiers are joined by or, axes by and", () => {
  const filter = { tiers: ["red", "orange"] as const, unacked: true, text: "" };
  assert.equal(passes(alarm("a", 1, { tier: "orange" }), filter), true);
  assert.equal(passes(alarm("a", 1, { tier: "yellow" }), filter), false);
  assert.equal(passes(alarm("a", 1, { tier: "red", ...acked }), filter), false);
});
test("text is looked for in enterprise, device, point, place and the alarm's name", () => {
  const row = alarm("a", 1, { loc: "3号罐区东侧" });
  for (const text of ["example chem", "gd-1.L", "罐区", "浓度", " E001 "]) {
    assert.equal(passes(row, { ...NO_FILTER, text }, "可燃气体浓度高"), true, text);
  }
  assert.equal(passes(row, { ...NO_FILTER, text: "elevator" }), false);
});
test("a row without place, deadline and value can be filtered and sorted", () => {
  const bare = alarm("a", 1);
  delete bare.loc;
  assert.equal(passes(bare, { ...NO_FILTER, text: "nothing" }), false);
});
test("the filter survives the address bar", () => {
  const filter = { tiers: ["red", "blue"] as const, unacked: true, text: "罐区 & 3" };
  assert.deepEqual(filterFromQuery(new URLSearchParams(filterToQuery(filter))), { ...filter, tiers: ["red", "blue"] });
  assert.deepEqual(filterFromQuery(new URLSearchParams("tier=purple,red")), { ...NO_FILTER, tiers: ["red"] });
});

test("in a flood what belongs together stands together, the group with the worst first", () => {
  const at = (id: string, tier: "red" | "yellow" | "orange", ent: string, minute: number) =>
    alarm(id, 1, { tier, ent: [ent, ent], raised: `2026-11-22T01:0${minute}:00.000Z` });
  const wanted = inGroups([at("o", "orange", "E1", 5), at("y2", "yellow", "E2", 1), at("y1", "yellow", "E1", 2), at("r2", "red", "E2", 0)]);
  assert.deepEqual(wanted.map(({ id }) => id), ["r2", "y2", "o", "y1"]);
});
