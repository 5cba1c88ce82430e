import assert from "node:assert/strict";
import { test } from "node:test";
import { ACKED_STAYS_MS, CLOSED_STAYS_MS, SettledList } from "../src/core/settledList.ts";
import { alarm } from "./rows.ts";

const [a, b, red] = [alarm("a", 1), alarm("b", 1), alarm("r", 1, { tier: "red" })];
const alive = () => true;
const ids = (list: SettledList) => list.shown.map((row) => row.alarm.id);

test("the first rows are shown wherever the pointer is", () => {
  const list = new SettledList();
  list.update([a, b], alive, false, 0);
  assert.deepEqual(ids(list), ["a", "b"]);
});
test("under the pointer nothing is inserted, but it is counted", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  list.update([red, a, b], alive, false, 100);
  assert.deepEqual(ids(list), ["a", "b"]);
  assert.deepEqual(list.pending, { added: 1, red: 1 });
});
test("values change in place while the order is held", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  list.update([alarm("b", 2, { val: 61.9 }), a], alive, false, 100);
  assert.deepEqual(ids(list), ["a", "b"]);
  assert.equal(list.shown[1]?.alarm.val, 61.9);
});
test("when the pointer rests the wanted order comes, and nothing is pending", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  list.update([red, a, b], alive, false, 100);
  list.update([red, a, b], alive, true, 200);
  assert.deepEqual(ids(list), ["r", "a", "b"]);
  assert.deepEqual(list.pending, { added: 0, red: 0 });
});
test("a closed alarm stays as a grey row for five seconds, then leaves", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  const bOnly = (id: string) => id === "b";
  list.update([b], bOnly, true, 1_000);
  assert.deepEqual(list.shown.map(({ gone }) => gone), [true, false]);
  list.update([b], bOnly, true, 1_000 + CLOSED_STAYS_MS - 1);
  assert.deepEqual(ids(list), ["a", "b"]);
  list.update([b], bOnly, true, 1_000 + CLOSED_STAYS_MS);
  assert.deepEqual(ids(list), ["b"]);
});
test("a closed alarm under the pointer stays until the pointer leaves", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  const bOnly = (id: string) => id === "b";
  list.update([b], bOnly, false, 1_000);
  list.update([b], bOnly, false, 60_000);
  assert.deepEqual(ids(list), ["a", "b"]);
  list.update([b], bOnly, true, 61_000);
  assert.deepEqual(ids(list), ["b"]);
});
test("an acknowledged row stays where it is for three seconds", () => {
  const list = new SettledList();
  list.update([a, b], alive, true, 0);
  list.hold(0, ACKED_STAYS_MS);
  list.update([b, a], alive, true, ACKED_STAYS_MS - 1);
  assert.deepEqual(ids(list), ["a", "b"]);
  list.update([b, a], alive, true, ACKED_STAYS_MS);
  assert.deepEqual(ids(list), ["b", "a"]);
});
test("the reader merges at once when asked", () => {
  const list = new SettledList();
  list.update([a], alive, true, 0);
  list.update([red, a], alive, false, 1);
  list.settle([red, a]);
  assert.deepEqual(ids(list), ["r", "a"]);
  assert.equal(list.pending.added, 0);
});
