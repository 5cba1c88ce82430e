// The keys that work on every screen. A single key acts only while no text is being typed, and all
// of them can be switched off (WCAG 2.1.4). What a key does is written where the help shows it.
import { shallowRef, watch } from "vue";
import { recall, remember } from "./prefs.ts";

/** `g` waits so long for its second key. */
const CHORD_MS = 1_500;

export const singleKeys = shallowRef(recall("keys", true));
watch(singleKeys, (on) => remember("keys", on));

/** Does this element take what is typed for itself? */
export function takesText(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return element?.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]") != null;
}

export type Wish = { to: "screen"; key: string } | { to: "help" | "search" | "worst" };

/** What a key asks for, knowing whether `g` was pressed just before; null where it asks nothing. */
export function wishOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">, afterG: boolean): Wish | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (afterG) return /^[a-z]$/.test(event.key) ? { to: "screen", key: event.key } : null;
  if (event.key === "?") return { to: "help" };
  return event.key === "/" ? { to: "search" } : null;
}

/**
 * Listens until the result is called: before the screens do, so that the second key after `g` never
 * reaches a list where it would acknowledge or shelve. F8 is no letter: it works while typing, too.
 */
export function listen(take: (wish: Wish) => void): () => void {
  let gAt = Number.NEGATIVE_INFINITY;
  function pressed(event: KeyboardEvent): void {
    const afterG = performance.now() - gAt < CHORD_MS;
    gAt = Number.NEGATIVE_INFINITY;
    if (document.querySelector("dialog[open]")) return;
    const single = singleKeys.value && !takesText(event.target);
    if (single && !afterG && event.key === "g" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      gAt = performance.now();
      return;
    }
    const wish: Wish | null = event.key === "F8" ? { to: "worst" } : single ? wishOf(event, afterG) : null;
    if (wish === null && !(single && afterG)) return;
    event.preventDefault();
    event.stopPropagation();
    if (wish) take(wish);
  }
  window.addEventListener("keydown", pressed, true);
  return () => window.removeEventListener("keydown", pressed, true);
}

/** The keys as the help lists them: where they work, which, and the name of what they do. */
export const HELP: readonly { where: string; keys: readonly [keys: string, does: string][] }[] = [
  { where: "everywhere", keys: [["?", "help"], ["/", "search"], ["F8", "worst"], ["Alt+M", "silence"]] },
  {
    where: "list",
    keys: [
      ["↑ ↓ · J I", "move"], ["PgUp PgDn Home End", "page"], ["Space", "pick"], ["Shift+↑ ↓", "range"], ["Ctrl+A", "all"],
      ["K", "acknowledge"], ["Enter", "open"], ["D", "dispatch"], ["S", "shelve"], ["C", "comment"], ["1–4", "tier"], ["U", "unacked"],
      ["Esc", "escape"],
    ],
  },
  {
    where: "detail",
    keys: [["K", "acknowledge"], ["D S C E", "forms"], ["[ ]", "neighbours"], ["Esc", "close"]],
  },
];
