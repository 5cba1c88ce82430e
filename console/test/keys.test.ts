import assert from "node:assert/strict";
import { test } from "node:test";
import { SCREENS } from "../src/core/pages.ts";

// keys.ts itself reads the window's storage when it is loaded.
(globalThis as { localStorage?: unknown }).localStorage = { getItem: () => null, setItem: () => {} };
const { wishOf } = await import("../src/core/keys.ts");
const key = (one: string, more: object = {}) => ({ key: one, ctrlKey: false, metaKey: false, altKey: false, ...more });

test("a letter leads to a screen only after g, and never with another key held", () => {
  assert.deepEqual(wishOf(key("h"), true), { to: "screen", key: "h" });
  assert.equal(wishOf(key("h"), false), null);
  assert.equal(wishOf(key("h", { ctrlKey: true }), true), null);
  assert.deepEqual(wishOf(key("?"), false), { to: "help" });
  assert.deepEqual(wishOf(key("/"), false), { to: "search" });
});

test("no two screens answer to the same letter", () => {
  const letters = SCREENS.flatMap((screen) => (screen.key ? [screen.key] : []));
  assert.equal(new Set(letters).size, letters.length);
  for (const letter of letters) assert.match(letter, /^[a-z]$/);
});
