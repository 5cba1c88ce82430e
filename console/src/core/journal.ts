// What is asked of the journal: filters and a period, as they stand in the address and are kept by name.
import type { TierName } from "../api/model.ts";
import { PERIODS, periodOf, type PeriodName } from "./period.ts";
import { civilDay, ZONE_OFFSET } from "./time.ts";

export type Span = PeriodName | "own";
export type YesNo = "" | "true" | "false";
export interface JournalQuery {
  span: Span;
  /** Civil days of the district's zone, both in it; used where `span` is `own`. */
  first: string;
  last: string;
  tiers: readonly TierName[];
  state: "" | "active" | "cleared" | "open";
  acknowledged: YesNo;
  drill: YesNo;
  enterprise: string;
  device: string;
  kind: string;
  rule: string;
}
export const EVERYTHING: JournalQuery = {
  span: "week", first: "", last: "", tiers: [], state: "", acknowledged: "", drill: "", enterprise: "", device: "", kind: "", rule: "",
};
const TIERS = ["red", "orange", "yellow", "blue"] as const;
const PLAIN = ["first", "last", "state", "acknowledged", "drill", "enterprise", "device", "kind", "rule"] as const;
const DAY_MS = 86_400_000;

/** As it stands in the address; what is as usual is left out. */
export function queryToText(query: JournalQuery): string {
  const said = new URLSearchParams(query.span === EVERYTHING.span ? {} : { span: query.span });
  if (query.tiers.length > 0) said.set("tier", query.tiers.join(","));
  for (const name of PLAIN) if (query[name] !== "") said.set(name, query[name]);
  return said.toString();
}

export function queryFromText(text: string): JournalQuery {
  const said = new URLSearchParams(text);
  const named = (said.get("tier") ?? "").split(",");
  const span = [...PERIODS, "own" as const].find((one) => one === said.get("span")) ?? EVERYTHING.span;
  const plain = Object.fromEntries(PLAIN.map((name) => [name, said.get(name) ?? ""]));
  return { ...EVERYTHING, ...plain, span, tiers: TIERS.filter((tier) => named.includes(tier)) };
}

/** `from` and `to` as instants, `until` null: up to now; `firstDay` and `lastDay` are what to say. */
export interface Bounds { from: string; to: string | null; firstDay: string; lastDay: string | null }

export function boundsOf(query: JournalQuery, nowMs: number): Bounds {
  if (query.span !== "own") {
    const { from, firstDay } = periodOf(query.span, nowMs);
    return { from, to: null, firstDay, lastDay: null };
  }
  const today = civilDay(nowMs);
  const [a, b] = [query.first || today, query.last || query.first || today];
  const [firstDay, lastDay] = a <= b ? [a, b] : [b, a];
  const midnight = (day: string) => Date.parse(`${day}T00:00:00${ZONE_OFFSET}`);
  return {
    from: new Date(midnight(firstDay)).toISOString(), to: new Date(midnight(lastDay) + DAY_MS).toISOString(), firstDay, lastDay,
  };
}

/** The parameters of `/alarms` and `/alarms-export`; what is not asked is left out. */
export function asked(query: JournalQuery, nowMs: number): Record<string, string | readonly string[]> {
  const { from, to } = boundsOf(query, nowMs);
  const said: Record<string, string | readonly string[]> = { from, ...(to !== null && { to }) };
  if (query.tiers.length > 0) said["tier"] = query.tiers;
  for (const name of ["state", "acknowledged", "drill", "enterprise", "kind", "rule"] as const) {
    if (query[name].trim() !== "") said[name] = query[name].trim();
  }
  const device = query.device.trim();
  // A point is written with its quantity behind a dot.
  if (device !== "") said[device.includes(".") ? "point" : "device"] = device;
  return said;
}
