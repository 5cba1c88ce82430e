// What is shown, in the address bar: filter and open alarm survive reload, Back and a shared link.
import { shallowRef } from "vue";
import { filterFromQuery, filterToQuery, type Filter } from "./order.ts";

interface Place { filter: Filter; alarm: string | null }

function read(): Place {
  const query = new URLSearchParams(window.location.search);
  return { filter: filterFromQuery(query), alarm: query.get("alarm") };
}

export const place = shallowRef<Place>(read());
window.addEventListener("popstate", () => (place.value = read()));

/** Goes to another place; opening an alarm is a step that Back undoes, typing a filter is not. */
export function go(change: Partial<Place>): void {
  const next = { ...place.value, ...change };
  const query = new URLSearchParams(filterToQuery(next.filter));
  if (next.alarm !== null) query.set("alarm", next.alarm);
  const text = query.toString();
  const opens = next.alarm !== null && place.value.alarm === null;
  place.value = next;
  window.history[opens ? "pushState" : "replaceState"](null, "", text ? `/?${text}` : "/");
}
