import assert from "node:assert/strict";
import test from "node:test";
import { percent } from "../src/core/percent.ts";

test("a share is cut, not rounded, and 100 % means all", () => {
  assert.equal(percent(0.9996), "99.9 %");
  assert.equal(percent(0.966), "96.6 %");
  assert.equal(percent(1), "100.0 %");
  assert.equal(percent(0.99999999), "99.9 %");
  assert.equal(percent(0), "0.0 %");
});

test("no denominator is no share, not 100 %", () => {
  assert.equal(percent(null), "–");
});
