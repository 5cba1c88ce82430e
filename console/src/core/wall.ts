// What the wall display shows of the live list, and when it may load itself anew.
import type { CompactAlarm } from "../api/model.ts";
import { byUrgency, isUnacked } from "./order.ts";
import { severity } from "./tiers.ts";

const isGrave = ({ tier }: CompactAlarm): boolean => tier === "red" || tier === "orange";
const ordered = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Red and orange that nobody has seen, the worst and newest first. */
export const unseen = (alarms: Iterable<CompactAlarm>): CompactAlarm[] =>
  [...alarms].filter((one) => isGrave(one) && isUnacked(one)).sort(byUrgency);

/** Past the time of what is owed: the worst tier first, of each the longest overdue. */
export const overdue = (alarms: Iterable<CompactAlarm>, nowMs: number): CompactAlarm[] =>
  [...alarms].filter(({ due }) => due !== undefined && Date.parse(due[1]) < nowMs).sort((a, b) =>
    severity(b.tier) - severity(a.tier) || ordered(a.due?.[1] ?? "", b.due?.[1] ?? "") || ordered(a.id, b.id));

export const newest = (alarms: Iterable<CompactAlarm>): CompactAlarm[] =>
  [...alarms].sort((a, b) => ordered(b.raised, a.raised) || ordered(a.id, b.id));

/** A page is not older than a day for long; a newer build is taken without waiting for that. */
const OLD_MS = 20 * 3_600_000;
const [FROM_HOUR, TO_HOUR] = [2, 5];

export interface Quiet {
  /** How long the page has been shown. */
  shownMs: number;
  /** Of the district's day. */
  hour: number;
  connected: boolean;
  /** The service is of another build than when the page was loaded. */
  outdated: boolean;
  alarms: Iterable<CompactAlarm>;
}

/** Once a night, with nothing red or orange open and a service that answers. */
export function mayReload({ shownMs, hour, connected, outdated, alarms }: Quiet): boolean {
  if (!connected || [...alarms].some(isGrave)) return false;
  return outdated || (shownMs >= OLD_MS && hour >= FROM_HOUR && hour < TO_HOUR);
}
