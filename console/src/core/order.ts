// Which alarm stands first, and which are shown at all.
import type { CompactAlarm, TierName } from "../api/model.ts";
import { severity } from "./tiers.ts";

/** Does this alarm flash: has nobody seen it at the tier it has now, and does nothing withhold it? */
export const isUnacked = (alarm: CompactAlarm): boolean => !alarm.ack && !alarm.shelf;

/** Instants in Unix milliseconds stay below this, so tier and instant fit into one exact number. */
const BEYOND_TIME = 2 ** 43;
const ranks = new WeakMap<CompactAlarm, number>();

/** Rows are replaced, never changed, so a row's rank is computed once and not in every sort. */
function rank(alarm: CompactAlarm): number {
  let known = ranks.get(alarm);
  if (known === undefined) {
    const urgent = (isUnacked(alarm) ? 8 : 0) + severity(alarm.tier);
    known = urgent * BEYOND_TIME + (Date.parse(alarm.raised) || 0);
    ranks.set(alarm, known);
  }
  return known;
}

/** Unacknowledged first, then worst, then newest; the id last, so that equal rows never swap. */
export const byUrgency = (a: CompactAlarm, b: CompactAlarm): number =>
  rank(b) - rank(a) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/**
 * In a flood: what belongs together stands together (enterprise, place, rule), the group with the
 * most urgent alarm first, and within a group the most urgent first.
 */
export function inGroups(alarms: readonly CompactAlarm[]): CompactAlarm[] {
  const key = ({ ent, loc, kind }: CompactAlarm) => `${ent[0]}\n${loc ?? ""}\n${kind}`;
  const groups = new Map<string, CompactAlarm[]>();
  for (const alarm of [...alarms].sort(byUrgency)) {
    const group = groups.get(key(alarm));
    if (group) group.push(alarm);
    else groups.set(key(alarm), [alarm]);
  }
  return [...groups.values()].flat(); // a map keeps the order in which groups began: by their worst
}

export interface Filter { tiers: readonly TierName[]; unacked: boolean; text: string }
export const NO_FILTER: Filter = { tiers: [], unacked: false, text: "" };

export const isFiltered = (filter: Filter): boolean =>
  filter.tiers.length > 0 || filter.unacked || filter.text.trim() !== "";

/** Within an axis OR, across axes AND. No tier chosen means every tier. */
export function passes(alarm: CompactAlarm, filter: Filter, ruleName = ""): boolean {
  if (filter.tiers.length > 0 && !filter.tiers.includes(alarm.tier)) return false;
  if (filter.unacked && !isUnacked(alarm)) return false;
  const wanted = filter.text.trim().toLowerCase();
  if (wanted === "") return true;
  const words = [...alarm.ent, ...alarm.dev, alarm.pt, alarm.loc ?? "", alarm.kind, ruleName];
  return words.some((word) => word.toLowerCase().includes(wanted));
}

/** The filter as it stands in the address bar. */
export function filterToQuery(filter: Filter): Record<string, string> {
  const query: Record<string, string> = {};
  if (filter.tiers.length > 0) query["tier"] = filter.tiers.join(",");
  if (filter.unacked) query["unacked"] = "1";
  if (filter.text.trim() !== "") query["q"] = filter.text.trim();
  return query;
}

export function filterFromQuery(query: URLSearchParams): Filter {
  const named = (query.get("tier") ?? "").split(",");
  const tiers = (["red", "orange", "yellow", "blue"] as const).filter((tier) => named.includes(tier));
  return { tiers, unacked: query.get("unacked") === "1", text: query.get("q") ?? "" };
}
