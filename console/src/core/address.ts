// What is shown, in the address bar: screen, filter and open alarm survive reload, Back and a
// shared link.
import { shallowRef } from "vue";
import { filterFromQuery, filterToQuery, type Filter } from "./order.ts";
import type { PageId } from "./pages.ts";

/** `page` null: where the person starts. `item`: what is open on a screen that is not of alarms. */
export interface Place { page: string | null; filter: Filter; alarm: string | null; item: string | null }

function read(): Place {
  const query = new URLSearchParams(window.location.search);
  return {
    page: query.get("page"), filter: filterFromQuery(query), alarm: query.get("alarm"), item: query.get("item"),
  };
}

export const place = shallowRef<Place>(read());
window.addEventListener("popstate", () => (place.value = read()));

export function addressOf({ page, filter, alarm, item }: Place): string {
  const query = new URLSearchParams(page === null ? {} : { page });
  for (const [name, value] of Object.entries(filterToQuery(filter))) query.set(name, value);
  if (alarm !== null) query.set("alarm", alarm);
  if (item !== null) query.set("item", item);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/** Goes to another place; opening something is a step that Back undoes, typing a filter is not. */
export function go(change: Partial<Place>): void {
  const before = place.value;
  const next = { ...before, ...change };
  const opens = (next.alarm !== null && before.alarm === null) || (next.item !== null && before.item === null);
  const leaves = next.page !== before.page;
  place.value = next;
  window.history[opens || leaves ? "pushState" : "replaceState"](null, "", addressOf(next));
}

/** Goes to another screen; what was open on the one before is left there. */
export function visit(page: PageId, open: { alarm?: string; item?: string } = {}): void {
  go({ page, alarm: open.alarm ?? null, item: open.item ?? null });
}
