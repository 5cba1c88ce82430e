import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, boundsOf, EVERYTHING, queryFromText, queryToText, type JournalQuery } from "../src/core/journal.ts";

const NOON = Date.parse("2026-11-22T04:00:00Z"); // noon in Beijing

test("a query comes back from the address as it went in, and the usual one is not written", () => {
  const query: JournalQuery = { ...EVERYTHING, span: "own", first: "2026-11-01", last: "2026-11-05", tiers: ["red", "blue"], state: "open", drill: "false", device: "GD-1" };
  assert.deepEqual(queryFromText(queryToText(query)), query);
  assert.equal(queryToText(EVERYTHING), "");
  assert.deepEqual(queryFromText("span=nonsense&tier=green"), EVERYTHING);
});

test("own days are whole days of the district, in either order", () => {
  const own = (first: string, last: string) => boundsOf({ ...EVERYTHING, span: "own", first, last }, NOON);
  const three = { from: "2026-10-31T16:00:00.000Z", to: "2026-11-03T16:00:00.000Z", firstDay: "2026-11-01", lastDay: "2026-11-03" };
  assert.deepEqual(own("2026-11-01", "2026-11-03"), three);
  assert.deepEqual(own("2026-11-03", "2026-11-01"), three);
  assert.equal(own("", "").firstDay, "2026-11-22");
});

test("a preset begins at midnight of its first day, at one minute past midnight as well", () => {
  const late = Date.parse("2026-11-22T15:59:00Z");
  assert.equal(boundsOf({ ...EVERYTHING, span: "today" }, late).firstDay, "2026-11-22");
  assert.equal(boundsOf({ ...EVERYTHING, span: "today" }, late + 2 * 60_000).firstDay, "2026-11-23");
  assert.equal(boundsOf(EVERYTHING, NOON).to, null);
});

test("a device with its quantity is asked for as a point, and nothing empty is asked", () => {
  const query = asked({ ...EVERYTHING, device: " GD-1.lel ", acknowledged: "false" }, NOON);
  assert.deepEqual(query, { from: "2026-11-15T16:00:00.000Z", acknowledged: "false", point: "GD-1.lel" });
});
