// Which alarms an act on several would take: chosen by id, so that no change of the rows changes
// the choice; and in words before the click, what the act takes and what it leaves.
import type { CompactAlarm, TierName } from "../api/model.ts";
import { isUnacked } from "./order.ts";
import { TIERS } from "./tiers.ts";

/** More than so many at once nobody knows any more; the server refuses them, too. */
export const MOST_ACKNOWLEDGED = 200;

export interface Choice {
  /** Those that the act takes, as they are seen now. */
  taken: readonly CompactAlarm[];
  /** Of the chosen those that are acknowledged one by one: red, and in a flood orange. */
  single: number;
  /** Chosen ones that somebody has seen already, or that are withheld. */
  seen: number;
}

export function choiceOf(alarms: Iterable<CompactAlarm>, inFlood = false): Choice {
  const taken: CompactAlarm[] = [];
  let [single, seen] = [0, 0];
  for (const alarm of alarms) {
    if (!isUnacked(alarm)) seen += 1;
    else if (alarm.tier === "red" || (inFlood && alarm.tier === "orange")) single += 1;
    else taken.push(alarm);
  }
  return { taken, single, seen };
}

/** How many of each tier, the worst first; tiers with none are left out. */
export const mixOf = (alarms: readonly CompactAlarm[]): [TierName, number][] =>
  TIERS.map((tier): [TierName, number] => [tier, alarms.filter((one) => one.tier === tier).length]).filter(([, n]) => n > 0);

/** The ids from one row to another, both included, in the order shown; only `to` where `from` is gone. */
export function rangeOf(ids: readonly string[], from: string | null, to: string): string[] {
  const [a, b] = [from === null ? -1 : ids.indexOf(from), ids.indexOf(to)];
  if (b < 0) return [];
  return a < 0 ? [to] : ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}
