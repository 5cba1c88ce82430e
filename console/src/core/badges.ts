// How many wait behind each line of the menu, from the live list; nothing is asked for it.
import { computed } from "vue";
import type { CompactAlarm, Stage } from "../api/model.ts";
import { counts, rows } from "./live.ts";
import type { PageId } from "./pages.ts";
import { TIERS } from "./tiers.ts";

const TO_HANDLE: readonly (Stage | undefined)[] = ["dispatched", "signed", "verified", "handling"];

export function countStages(alarms: Iterable<CompactAlarm>): { toHandle: number; toReview: number } {
  let [toHandle, toReview] = [0, 0];
  for (const { stage } of alarms) {
    if (TO_HANDLE.includes(stage)) toHandle += 1;
    else if (stage === "submitted") toReview += 1;
  }
  return { toHandle, toReview };
}

export const badges = computed<Partial<Record<PageId, number>>>(() => {
  const { toHandle, toReview } = countStages(rows.value.values());
  const unacked = TIERS.reduce((sum, tier) => sum + (counts.value?.tiers[tier]?.unacked ?? 0), 0);
  const overdue = TIERS.reduce((sum, tier) => sum + (counts.value?.tiers[tier]?.overdue ?? 0), 0);
  return { cases: overdue, alarms: unacked, holds: counts.value?.shelved ?? 0, tasks: toHandle, review: toReview };
});
