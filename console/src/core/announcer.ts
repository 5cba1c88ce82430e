// One sentence for screen readers at most every 5 s, never one per alarm; a new red at once.
import { shallowRef } from "vue";

const EVERY_MS = 5_000;
export const polite = shallowRef("");
export const assertive = shallowRef("");
let waiting = "";
let timer = 0;

export function announce(sentence: string): void {
  waiting = sentence;
  if (timer !== 0) return;
  polite.value = waiting;
  waiting = "";
  timer = window.setTimeout(() => {
    timer = 0;
    if (waiting !== "") announce(waiting);
  }, EVERY_MS);
}
export function announceNow(sentence: string): void {
  assertive.value = sentence;
}
