import assert from "node:assert/strict";
import test from "node:test";
import {
  addedDelayS, bodyOf, differences, episodesOf, hoursOf, limitsOf, loadLines, numbersOf, textOf, withNumber,
} from "../src/core/ruleBody.ts";

const level = {
  id: "plant.level.high", kind: "threshold", quantity: "level", select: { kind: "tank" },
  high: { yellow: 8, orange: 9 }, deadband: 0.1, name: { zh: "液位高", en: "Level high" },
};

test("limits are told worst first, and a state has its tier without a number", () => {
  assert.deepEqual(limitsOf(level), [{ tier: "orange", limit: 9 }, { tier: "yellow", limit: 8 }]);
  assert.deepEqual(limitsOf({ kind: "state", tier: "red" }), [{ tier: "red", limit: null }]);
  assert.deepEqual(limitsOf({ kind: "state" }), []);
});

test("hours are those of the window, and none means always", () => {
  assert.equal(hoursOf(level), null);
  assert.deepEqual(hoursOf({ window: { from: "22:00", to: "06:00" } }), { from: "22:00", to: "06:00", days: [] });
});

test("the form holds every tier of the one side, what the body says, and both delays", () => {
  assert.deepEqual(numbersOf(level).map(({ path }) => path), [
    "high.red", "high.orange", "high.yellow", "high.blue", "deadband", "on_delay_s", "off_delay_s",
  ]);
  assert.deepEqual(numbersOf({ kind: "stale", tier: "blue", after_intervals: 3, min_s: 60 }), [
    { path: "after_intervals", value: 3 }, { path: "min_s", value: 60 },
  ]);
  assert.ok(!numbersOf({ low: { red: 1 }, deadband_percent: 2 }).some(({ path }) => path === "deadband"));
});

test("a number is put where it belongs and taken away again; the rest and the order stay", () => {
  const changed = withNumber(level, "high.yellow", 7);
  assert.equal(textOf(changed), textOf(level).replace('"yellow": 8', '"yellow": 7'));
  assert.equal(level.high.yellow, 8);
  assert.deepEqual(withNumber(level, "high.yellow", null)["high"], { orange: 9 });
  assert.ok(!("deadband" in withNumber(level, "deadband", null)));
  assert.equal(withNumber(level, "on_delay_s", 30)["on_delay_s"], 30);
});

test("two bodies differ by path, whichever of them says more", () => {
  const other = { ...withNumber(withNumber(level, "high.yellow", 7), "deadband", null), worse_in_grades: [1, 2] };
  assert.deepEqual(differences(level, other), [
    { path: "high.yellow", was: "8", is: "7" }, { path: "deadband", was: "0.1", is: "" },
    { path: "worse_in_grades", was: "", is: "[1,2]" },
  ]);
  assert.deepEqual(differences(level, { ...level }), []);
});

test("a text that is no table is no body", () => {
  assert.deepEqual(bodyOf(textOf(level)), level);
  for (const text of ["", "{", "[]", "3", "null"]) assert.equal(bodyOf(text), null, text);
});

test("a result is told line by line, and what it does not say is left open", () => {
  const result = {
    today: { alarms: 212, per_day: 30.286, tiers: { red: 2 }, chattering: { alarms: 9 } }, candidate: { alarms: 340, tiers: { red: 2 } },
    episodes: { kept: 212, lost: 0, gained: 128, added_delay_s: { p50: -12 } },
  };
  const lines = new Map(loadLines(result).map(({ name, ...both }) => [name, both]));
  assert.deepEqual(lines.get("alarms"), { today: 212, candidate: 340 });
  assert.deepEqual(lines.get("tiers.red"), { today: 2, candidate: 2 });
  assert.deepEqual(lines.get("chattering.alarms"), { today: 9, candidate: null });
  assert.deepEqual(episodesOf(result).map(({ n }) => n), [212, 0, 128]);
  assert.equal(addedDelayS(result), -12);
  assert.equal(addedDelayS({ episodes: { added_delay_s: null } }), null);
});
