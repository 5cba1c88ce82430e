import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, fieldsOf, inOrder, missing } from "../src/core/steps.ts";

const names = (action: string, tier: "red" | "orange" | "yellow", evidence = 1) =>
  fieldsOf(action, tier, evidence).filter(({ required }) => required).map(({ name }) => name);

test("a red case is submitted with the five, a yellow one with cause and measures", () => {
  assert.deepEqual(names("submit", "red"), ["cause", "measures", "responsible", "funds", "deadline", "plan"]);
  assert.deepEqual(names("submit", "yellow"), ["cause", "measures"]);
});
test("red and orange need evidence with the submission while there is none", () => {
  assert.ok(names("submit", "orange", 0).includes("file"));
  assert.ok(!names("submit", "orange", 1).includes("file"));
  assert.ok(!names("submit", "yellow", 0).includes("file"));
});
test("signing asks for nothing, verifying for a verdict, returning for a reason", () => {
  assert.deepEqual(fieldsOf("sign", "red"), []);
  assert.deepEqual(names("verify", "red"), ["verdict"]);
  assert.deepEqual(names("return", "red"), ["note"]);
});
test("the step that carries the case on comes first, whatever order the server sends", () => {
  assert.deepEqual(inOrder(["comment", "attach", "verify", "escalate"])[0], "verify");
});
test("a step this page does not know is offered last, not dropped", () => {
  assert.deepEqual(inOrder(["inspect", "comment"]), ["comment", "inspect"]);
});
test("blank text is missing", () => {
  const fields = fieldsOf("submit", "yellow", 1);
  assert.deepEqual(missing(fields, { cause: "  ", measures: "valve closed" }), ["cause"]);
});
test("the body holds the filled fields only, trimmed, and never the file", () => {
  const fields = fieldsOf("submit", "red", 0);
  const body = bodyOf("submit", 4, fields, { cause: " leak ", measures: "m", funds: "", file: {}, other: 1 });
  assert.deepEqual(body, { action: "submit", revision: 4, cause: "leak", measures: "m" });
});
test("a permit is granted by an attach step", () => {
  assert.deepEqual(bodyOf("permit", 2, fieldsOf("permit", "red"), { permit: "sensor broken" }), { action: "attach", revision: 2, permit: "sensor broken" });
});
