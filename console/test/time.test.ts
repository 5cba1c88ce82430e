import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { forgetServerTime, noteServerTime, offsetMs } from "../src/core/clock.ts";
import { AMBER_MS, linkAfter, RED_MS } from "../src/core/link.ts";
import { measured, numberText } from "../src/core/figures.ts";
import { clockText, durationText, fullText, instantText } from "../src/core/time.ts";

const now = Date.parse("2026-11-22T01:14:58Z"); // 09:14:58 in Beijing

test("instants of today are shown to the second, in Beijing time", () => {
  assert.equal(instantText("2026-11-22T01:12:07.120Z", now), "09:12:07");
  assert.equal(clockText(now), "09:14:58");
});
test("the day is Beijing's day: 23:59 there yesterday is yesterday, though both are one day in UTC", () => {
  const morning = Date.parse("2026-11-21T16:01:00Z"); // 00:01 on the 22nd
  assert.equal(instantText("2026-11-21T15:59:00Z", morning), "11-21 23:59");
  assert.equal(instantText("2026-11-21T16:00:30Z", morning), "00:00:30");
});
test("midnight is 00, never 24", () => {
  assert.equal(clockText(Date.parse("2026-11-21T16:00:00Z")), "00:00:00");
});
test("the full form carries the offset", () => {
  assert.equal(fullText("2026-11-22T01:12:07.120Z"), "2026-11-22 09:12:07 +08:00");
});
test("no instant and an unreadable one are empty", () => {
  for (const stamp of [null, undefined, "", "soon"]) {
    assert.equal(instantText(stamp, now), "");
    assert.equal(fullText(stamp), "");
  }
});
test("durations grow from minutes to hours to days", () => {
  const seconds = (text: string, s: number) => assert.equal(durationText(s * 1000), text);
  seconds("0:00", -5);
  seconds("2:51", 171);
  seconds("59:59", 3599);
  seconds("1:00:00", 3600);
  seconds("23:59:59", 86_399);
  seconds("2d 03:02", 2 * 86_400 + 3 * 3600 + 2 * 60);
});

test("the link is amber after ten seconds of silence and red after sixty", () => {
  const state = (silentMs: number, connected = true) => linkAfter(silentMs, connected, 0).state;
  assert.deepEqual([0, AMBER_MS - 1, AMBER_MS, RED_MS - 1, RED_MS].map((ms) => state(ms)), ["ok", "ok", "amber", "amber", "red"]);
  assert.equal(state(3_000, false), "connecting");
  assert.equal(state(RED_MS, true), "red", "a connection that says nothing is no live data");
});

beforeEach(forgetServerTime);
test("the offset is taken from the middle of the round trip", () => {
  noteServerTime("2026-11-22T01:00:10.000Z", Date.parse("2026-11-22T01:00:04Z"), Date.parse("2026-11-22T01:00:06Z"));
  assert.equal(offsetMs(), 5_000);
});
test("a slow answer does not spoil the offset of a quick one", () => {
  const at = Date.parse("2026-11-22T01:00:00Z");
  noteServerTime("2026-11-22T01:00:05.010Z", at, at + 20);
  noteServerTime("2026-11-22T01:00:06.000Z", at + 100, at + 4_100);
  assert.equal(offsetMs(), 5_000);
});
test("an old sample gives way to a new one, even a slower", () => {
  const at = Date.parse("2026-11-22T01:00:00Z");
  noteServerTime("2026-11-22T01:00:05.010Z", at, at + 20);
  noteServerTime("2026-11-22T01:10:00.050Z", at + 600_000, at + 600_100);
  assert.equal(offsetMs(), 0);
});
test("an answer without server time changes nothing", () => {
  noteServerTime(null, 0, 10);
  noteServerTime("nonsense", 0, 10);
  assert.equal(offsetMs(), 0);
});

test("a value stands beside its limit with the sign of its direction", () => {
  assert.deepEqual(measured(62.4, 50, "high", "%{LEL}"), { value: "62.4", unit: "%LEL", limit: "≥ 50" });
  assert.deepEqual(measured(0.2, 0.5, "low", "m"), { value: "0.2", unit: "m", limit: "≤ 0.5" });
});
test("silence is a duration and a state has no number", () => {
  assert.deepEqual(measured(132, 60, "stale", "s"), { value: "2:12", unit: "", limit: "≥ 1:00" });
  assert.deepEqual(measured(1, 1, "state", ""), { value: "", unit: "", limit: "" });
});
test("no value is empty, zero is not", () => {
  assert.equal(numberText(null), "");
  assert.equal(numberText(Number.NaN), "");
  assert.equal(numberText(0), "0");
});
