// The body of a rule as it is written in a file: what it says at a glance, what of it a small form
// can change, and where two of them differ.
import type { TierName } from "../api/model.ts";
import { TIERS } from "./tiers.ts";

export type RuleBody = Readonly<Record<string, unknown>>;
export type Side = "high" | "low";
/** Null: the tier of a state or of silence, which has no number. */
export interface TierLimit { tier: TierName; limit: number | null }
/** A number of a body, by its dotted path; null where the body does not say it. */
export interface RuleNumber { path: string; value: number | null }
export interface Difference { path: string; was: string; is: string }
export interface Hours { from: string; to: string; days: readonly string[] }

const isTable = (value: unknown): value is RuleBody => typeof value === "object" && value !== null && !Array.isArray(value);
const numberAt = (body: RuleBody, path: string): number | null => {
  const value = at(body, path);
  return typeof value === "number" ? value : null;
};

function at(body: RuleBody, path: string): unknown {
  return path.split(".").reduce<unknown>((part, name) => (isTable(part) ? part[name] : undefined), body);
}

export const sideOf = (body: RuleBody): Side | null => (isTable(body["high"]) ? "high" : isTable(body["low"]) ? "low" : null);

/** Worst first. */
export function limitsOf(body: RuleBody): TierLimit[] {
  const side = sideOf(body);
  if (side === null) return TIERS.filter((tier) => tier === body["tier"]).map((tier) => ({ tier, limit: null }));
  return TIERS.map((tier) => ({ tier, limit: numberAt(body, `${side}.${tier}`) })).filter(({ limit }) => limit !== null);
}

/** Part of the local day in which the rule looks; null: always. */
export function hoursOf(body: RuleBody): Hours | null {
  const hours = body["window"];
  if (!isTable(hours)) return null;
  const days = Array.isArray(hours["days"]) ? hours["days"].map(String) : [];
  return { from: String(hours["from"] ?? ""), to: String(hours["to"] ?? ""), days };
}

const SAID_ANYWAY = ["on_delay_s", "off_delay_s"];
const WHERE_SAID = ["deadband_percent", "over_s", "after_s", "after_intervals", "min_s", "re_alarm_s"];

/** What people tune, in the order of a form. Silence takes no delays, a percentage no second deadband. */
export function numbersOf(body: RuleBody): RuleNumber[] {
  const side = sideOf(body);
  const limits = side === null ? [] : TIERS.map((tier) => `${side}.${tier}`);
  const band = side !== null && !("deadband_percent" in body) ? ["deadband"] : [];
  const delays = body["kind"] === "stale" ? [] : SAID_ANYWAY;
  const paths = [...limits, ...band, ...WHERE_SAID.filter((name) => name in body), ...delays];
  return paths.map((path) => ({ path, value: numberAt(body, path) }));
}

/** The body with that number at the path; with null it no longer says it. */
export function withNumber(body: RuleBody, path: string, value: number | null): RuleBody {
  const [first = "", ...rest] = path.split(".");
  const inner = rest.length > 0
    ? withNumber(isTable(body[first]) ? body[first] : {}, rest.join("."), value)
    : value;
  if (inner !== null) return { ...body, [first]: inner };
  return Object.fromEntries(Object.entries(body).filter(([name]) => name !== first));
}

/** Every part by its dotted path; a list is one part. */
function parts(body: RuleBody, above = ""): [string, string][] {
  return Object.entries(body).flatMap(([name, value]): [string, string][] => (isTable(value)
    ? parts(value, `${above}${name}.`)
    : [[above + name, typeof value === "string" ? value : JSON.stringify(value)]]));
}

/** Where two bodies differ; empty text: this one does not say it. */
export function differences(before: RuleBody, after: RuleBody): Difference[] {
  const [was, is] = [new Map(parts(before)), new Map(parts(after))];
  return [...new Set([...was.keys(), ...is.keys()])]
    .map((path) => ({ path, was: was.get(path) ?? "", is: is.get(path) ?? "" }))
    .filter((one) => one.was !== one.is);
}

export const textOf = (body: RuleBody): string => JSON.stringify(body, null, 2);

/** The body that a text says, or null when it is none. */
export function bodyOf(text: string): RuleBody | null {
  try {
    const read: unknown = JSON.parse(text);
    return isTable(read) ? read : null;
  } catch {
    return null;
  }
}

/** What a backtest counts of the rules in force and of the candidate, by its path there. */
export const LOADS = [
  "alarms", "per_day", "per_operator_hour", "per_shift", "tiers.red", "tiers.orange", "tiers.yellow", "tiers.blue",
  "chattering.alarms", "true_events", "missed_true_events", "false_alarms", "spared_false_alarms",
] as const;
export const loadLines = (result: RuleBody) => LOADS.map((name) =>
  ({ name, today: numberAt(result, `today.${name}`), candidate: numberAt(result, `candidate.${name}`) }));

export const EPISODES = ["kept", "lost", "gained"] as const;
export const episodesOf = (result: RuleBody) => EPISODES.map((name) => ({ name, n: numberAt(result, `episodes.${name}`) }));
/** By how much later it would be noticed, in the middle; null: nothing to compare. */
export const addedDelayS = (result: RuleBody): number | null => numberAt(result, "episodes.added_delay_s.p50");
