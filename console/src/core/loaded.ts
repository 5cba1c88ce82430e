// What a screen asked the service for: being loaded, there, or failed with the last good answer
// kept. A screen is never blank and never shows old data as if they were new.
import { computed, onScopeDispose, shallowRef, watch, type ComputedRef, type ShallowRef, type WatchSource } from "vue";
import type { Page } from "../api/model.ts";
import { serverNow } from "./clock.ts";
import { problemText } from "./problems.ts";

export interface Loaded<Value> {
  value: ShallowRef<Value | null>;
  /** Why the last attempt failed; empty when it did not. */
  trouble: ShallowRef<string>;
  busy: ShallowRef<boolean>;
  /** When `value` was true, server time in Unix milliseconds. */
  asOf: ShallowRef<number>;
  state: ComputedRef<"loading" | "failed" | "ready">;
  reload: () => Promise<void>;
}

interface Options {
  /** Asked again at once when this changes, because another thing is wanted. */
  when?: WatchSource;
  /** Asked again soon when this changes, because the same thing may have changed. */
  after?: WatchSource;
  everyMs?: number;
  /** Under this name the last answer is kept for as long as the page is open, for when there is no network. */
  keep?: string;
}

const kept = new Map<string, { value: unknown; asOf: number }>();
/** Of another person nothing stays. */
export const forgetKept = (): void => kept.clear();

/** A change of the live list is followed within this, however many there are. */
export const FOLLOW_MS = 1_000;

export function useLoaded<Value>(ask: () => Promise<Value>, options: Options = {}): Loaded<Value> {
  const value = shallowRef<Value | null>(null);
  const [trouble, busy, asOf] = [shallowRef(""), shallowRef(false), shallowRef(0)];
  let asked = 0;
  let timer = 0;
  const { keep } = options;
  const before = keep === undefined ? undefined : kept.get(keep);
  if (before) [value.value, asOf.value] = [before.value as Value, before.asOf];

  async function reload(): Promise<void> {
    asked += 1;
    const mine = asked;
    busy.value = true;
    try {
      const found = await ask();
      if (mine !== asked) return; // overtaken: another thing is wanted by now
      value.value = found;
      asOf.value = serverNow();
      trouble.value = "";
      if (keep !== undefined) kept.set(keep, { value: found, asOf: asOf.value });
    } catch (problem) {
      if (mine === asked) trouble.value = problemText(problem);
    } finally {
      if (mine === asked) busy.value = false;
    }
  }
  function soon(): void {
    if (timer !== 0) return;
    timer = window.setTimeout(() => {
      timer = 0;
      void reload();
    }, FOLLOW_MS);
  }

  void reload();
  if (options.when) watch(options.when, () => {
    value.value = null;
    void reload();
  });
  if (options.after) watch(options.after, soon);
  const { everyMs } = options;
  const ticker = everyMs === undefined ? 0 : window.setInterval(() => document.hidden || void reload(), everyMs);
  onScopeDispose(() => {
    window.clearTimeout(timer);
    window.clearInterval(ticker);
    asked += 1;
  });
  const state = computed(() => (value.value !== null ? "ready" : trouble.value !== "" ? "failed" : "loading"));
  return { value, trouble, busy, asOf, state, reload };
}

export const PAGE = 100;
const PAGE_MAX = 1_000;

export interface Listed<Item> extends Loaded<Page<Item>> {
  items: ComputedRef<readonly Item[]>;
  more: () => Promise<void>;
}

/** A list that grows by its cursor; asked again, it keeps its length, so that nothing jumps. */
export function useListed<Item>(
  ask: (query: { limit: number; cursor?: string }) => Promise<Page<Item>>, options: Options = {},
): Listed<Item> {
  let shown = 0;
  const loaded = useLoaded(async () => {
    const page = await ask({ limit: Math.min(PAGE_MAX, Math.max(PAGE, shown)) });
    shown = page.items.length;
    return page;
  }, options);
  async function more(): Promise<void> {
    const before = loaded.value.value;
    if (!before?.next_cursor) return;
    try {
      const next = await ask({ limit: PAGE, cursor: before.next_cursor });
      if (loaded.value.value !== before) return;
      loaded.value.value = { items: [...before.items, ...next.items], next_cursor: next.next_cursor };
      shown = before.items.length + next.items.length;
    } catch (problem) {
      loaded.trouble.value = problemText(problem);
    }
  }
  return { ...loaded, items: computed(() => loaded.value.value?.items ?? []), more };
}
