import assert from "node:assert/strict";
import { test } from "node:test";
import { choiceOf, mixOf, rangeOf } from "../src/core/selection.ts";
import { alarm } from "./rows.ts";

test("an act on several takes neither red nor what somebody has seen, and says how many it leaves", () => {
  const seen = alarm("s", 1, { ack: { by: "operator", at: "2026-11-22T01:13:00Z" } });
  const held = alarm("h", 1, { shelf: { kind: "shelved", by: "operator", why: "x", until: "2026-11-22T02:00:00Z" } });
  const choice = choiceOf([alarm("a", 1), alarm("r", 1, { tier: "red" }), seen, held, alarm("y", 1, { tier: "yellow" })]);
  assert.deepEqual(choice.taken.map(({ id }) => id), ["a", "y"]);
  assert.deepEqual([choice.single, choice.seen], [1, 2]);
  assert.deepEqual(mixOf(choice.taken), [["orange", 1], ["yellow", 1]]);
  const flood = choiceOf([alarm("a", 1), alarm("y", 1, { tier: "yellow" })], true);
  assert.deepEqual([flood.taken.map(({ id }) => id), flood.single], [["y"], 1]);
});

test("a range goes both ways, and a lost end leaves the other one", () => {
  const ids = ["a", "b", "c", "d"];
  assert.deepEqual(rangeOf(ids, "b", "d"), ["b", "c", "d"]);
  assert.deepEqual(rangeOf(ids, "c", "a"), ["a", "b", "c"]);
  assert.deepEqual(rangeOf(ids, "gone", "c"), ["c"]);
  assert.deepEqual(rangeOf(ids, null, "gone"), []);
});
