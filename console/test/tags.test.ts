import assert from "node:assert/strict";
import { test } from "node:test";
import { tagsFromText, tagsToText } from "../src/core/tags.ts";

test("tags come back as they were written, numbers and truths as such", () => {
  const tags = { gas: "CH4", height_m: 12.5, roof: true, serial: "007", big: "1e3", note: "a=b" };
  assert.deepEqual(tagsFromText(tagsToText(tags)), { tags });
  assert.deepEqual(tagsFromText("\n gas = CH4 \n"), { tags: { gas: "CH4" } });
});

test("a line that is no tag is named", () => {
  assert.deepEqual(tagsFromText("gas=CH4\nno tag here"), { wrong: "no tag here" });
});
