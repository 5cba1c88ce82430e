import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

type Catalogue = Record<string, Record<string, string>>;
const read = (name: string): Catalogue =>
  JSON.parse(readFileSync(new URL(`../locales/${name}.json`, import.meta.url), "utf8")) as Catalogue;
const [chinese, english] = [read("zh-CN"), read("en")];
const flat = (catalogue: Catalogue) => Object.entries(catalogue).flatMap(([section, words]) =>
  Object.entries(words).map(([key, text]): [string, string] => [`${section}.${key}`, text]));
const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

test("both languages say the same things", () => {
  assert.deepEqual(flat(english).map(([key]) => key).sort(), flat(chinese).map(([key]) => key).sort());
});

test("nothing is said with no words, and every sentence has the same holes in both languages", () => {
  const others = new Map(flat(english));
  for (const [key, text] of flat(chinese)) {
    assert.ok(text.trim() && others.get(key)?.trim(), key);
    assert.deepEqual(holes(text), holes(others.get(key) ?? ""), key);
  }
});

test("the English catalogue holds no Chinese", () => {
  for (const [key, text] of flat(english)) assert.doesNotMatch(text, /[\u4e00-\u9fff]/, key);
});
