import assert from "node:assert/strict";
import test from "node:test";
import { PATTERNS, toneOf, worstOf } from "../src/core/soundPlan.ts";
import { alarm } from "./rows.ts";

test("only the worst unacknowledged tier sounds", () => {
  assert.equal(worstOf([]), null);
  assert.equal(worstOf([alarm("a", 1, { tier: "yellow" }), alarm("b", 1, { tier: "orange" })]), "orange");
  const seen = alarm("c", 1, { tier: "red", ack: { by: "x", at: "2026-11-22T01:00:00Z" } });
  assert.equal(worstOf([seen, alarm("a", 1, { tier: "yellow" })]), "yellow");
});

test("what was found late, or is a drill, startles nobody", () => {
  assert.equal(worstOf([alarm("a", 1, { tier: "red", late: true }), alarm("b", 1, { tier: "red", sim: true })]), null);
});

test("a lost link is heard before all else, and silence covers both", () => {
  assert.equal(toneOf("red", true, false), "link");
  assert.equal(toneOf("red", false, false), "red");
  assert.equal(toneOf("red", false, true), null);
  assert.equal(toneOf("blue", false, false), null);
});

test("worse tiers repeat sooner and with more pulses", () => {
  const { red, orange, yellow } = PATTERNS;
  assert.ok(red.everyMs < orange.everyMs && orange.everyMs < yellow.everyMs);
  assert.ok(red.pulses.length > orange.pulses.length && orange.pulses.length > yellow.pulses.length);
});

test("in a flood only red and orange are heard", () => {
  assert.deepEqual([toneOf("yellow", false, false, true), toneOf("orange", false, false, true), toneOf("red", false, false, true)], [null, "orange", "red"]);
});
