import assert from "node:assert/strict";
import { test } from "node:test";
import { measuresOf, mixAgainstTarget } from "../src/core/performance.ts";

test("a figure at its aim is within it, unless it has to stay below", () => {
  const found = { per_10_min: 1, peak_10_min: 20, over_10: 0.01, time_in_flood: 0.0099, top10_share: null, chattering: 0, fleeting: ["a"], stale: ["a", "b", "c", "d", "e"], seats: 2 };
  const over = measuresOf(found).filter(({ isOver }) => isOver).map(({ name }) => name);
  assert.deepEqual(over, ["over_10", "fleeting", "stale"]);
});

test("shares of the tiers are of all four, and of nothing there is none", () => {
  assert.deepEqual(mixAgainstTarget({ red: 1, orange: 1, blue: 2 }).map(({ share }) => share), [0.25, 0.25, 0, 0.5]);
  assert.equal(mixAgainstTarget({})[0]?.share, null);
});
