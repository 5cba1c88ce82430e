import assert from "node:assert/strict";
import test from "node:test";
import { screenFor, SCREENS, screensOf } from "../src/core/pages.ts";

const operator = { role: "operator", permissions: ["alarms.read", "cases.read", "cases.step", "shifts.read"] } as const;
const enterprise = { role: "enterprise", permissions: ["alarms.read", "cases.read", "cases.step"] } as const;
const viewer = (one: { role: "operator" | "enterprise"; permissions: readonly string[] }) =>
  ({ role: one.role, permissions: [...one.permissions] });

test("a screen is in the menu of those who hold its permission and whose work it is", () => {
  const ids = screensOf(viewer(operator)).map(({ id }) => id);
  assert.ok(ids.includes("handover") && ids.includes("review"));
  assert.ok(!ids.includes("tasks"));
  const others = screensOf(viewer(enterprise)).map(({ id }) => id);
  assert.ok(others.includes("tasks"));
  assert.ok(!others.includes("handover") && !others.includes("review"));
});

test("an address of a screen that is not yours, or none, leads to where you start", () => {
  assert.equal(screenFor("handover", viewer(enterprise), false).id, "alarms");
  assert.equal(screenFor("nothing", viewer(operator), false).id, "alarms");
  assert.equal(screenFor(null, viewer(enterprise), true).id, "tasks");
  assert.equal(screenFor(null, viewer(operator), true).id, "alarms");
});

test("no two screens share an address", () => {
  assert.equal(new Set(SCREENS.map(({ id }) => id)).size, SCREENS.length);
});
