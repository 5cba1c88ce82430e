import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReadingItem } from "../src/api/model.ts";
import { apart, firstShown, ticks, trendOf, valueRange, windowOf } from "../src/core/trend.ts";

const start = Date.parse("2026-11-22T01:00:00Z");
const raw = (second: number, value: number | null, quality: "good" | "bad" = "good"): ReadingItem =>
  ({ observed_at: new Date(start + second * 1000).toISOString(), value, quality });
const bucket = (minute: number, mean: number | null): ReadingItem =>
  ({ from: new Date(start + minute * 60_000).toISOString(), min: mean === null ? null : mean - 1, max: mean === null ? null : mean + 1, mean });
const runs = (items: ReadingItem[]) => trendOf(items).runs.map((run) => run.map(({ mid }) => mid));

test("readings at a steady pace are one line", () => {
  assert.deepEqual(runs([raw(0, 1), raw(10, 2), raw(20, 3)]), [[1, 2, 3]]);
});
test("a pause is a gap, not a line across it", () => {
  assert.deepEqual(runs([raw(0, 1), raw(10, 2), raw(20, 3), raw(120, 4), raw(130, 5)]), [[1, 2, 3], [4, 5]]);
});
test("a null or bad value breaks the line", () => {
  assert.deepEqual(runs([raw(0, 1), raw(10, null), raw(20, 3), raw(30, 9, "bad"), raw(40, 5)]), [[1], [3], [5]]);
});
test("one reading that is a little late is no gap", () => {
  assert.deepEqual(runs([raw(0, 1), raw(10, 2), raw(20, 3), raw(34, 4)]), [[1, 2, 3, 4]]);
});
test("a missing bucket is a gap", () => {
  assert.deepEqual(runs([bucket(0, 1), bucket(1, 2), bucket(3, 4), bucket(4, 5)]), [[1, 2], [4, 5]]);
});
test("no readings are no line", () => {
  assert.deepEqual(trendOf([]), { runs: [], count: 0 });
});
test("ticks are round and lie inside the range", () => {
  assert.deepEqual(ticks(0, 68.2), [0, 20, 40, 60]);
  assert.deepEqual(ticks(-3, 3), [-2, 0, 2]);
  assert.deepEqual(ticks(5, 5), [5]);
});
test("labels that would overlap are moved apart around their middle, others stay", () => {
  assert.deepEqual(apart([50, 52], 12), [45, 57]);
  assert.deepEqual(apart([10, 50], 12), [10, 50]);
  assert.deepEqual(apart([], 12), []);
});
test("the axis begins where young data begin, and never later than the raise or ten minutes ago", () => {
  const at = (minute: number) => start + minute * 60_000;
  const runs = (minute: number) => trendOf([raw(minute * 60, 1), raw(minute * 60 + 10, 1)]).runs;
  assert.equal(firstShown(runs(1), at(0), at(30), at(25)), at(0.5));
  assert.equal(firstShown(runs(29), at(0), at(30), at(29)), at(20));
  assert.equal(firstShown(runs(29), at(0), at(30), at(5)), at(4.5));
  assert.equal(firstShown([], at(0), at(30), at(29)), at(0));
});
test("the value axis holds values and limits, and does not go below zero without need", () => {
  const [low, high] = valueRange(trendOf([raw(0, 1), raw(10, 12)]).runs, [25, 50]);
  assert.equal(low, 0);
  assert.ok(high > 50);
  assert.deepEqual(valueRange([], []), [0, 1]);
});
test("the window is half an hour that holds the raise", () => {
  const raised = start;
  const window = windowOf(raised, null, raised + 60_000);
  assert.equal(window.to - window.from, 30 * 60_000);
  assert.ok(window.from <= raised - 10 * 60_000);
  assert.equal(window.bucket, undefined);
});
test("a long alarm is shown in buckets and at most a day of it", () => {
  const window = windowOf(start, null, start + 40 * 86_400_000);
  assert.equal(window.to - window.from, 86_400_000);
  assert.equal(window.bucket, "5m");
});
test("a cleared alarm's window ends soon after the return", () => {
  const window = windowOf(start, start + 600_000, start + 86_400_000);
  assert.equal(window.to, start + 900_000);
});
