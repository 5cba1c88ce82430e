// Named periods whose bounds are said in words: days of the district's zone, up to now.
import { civilDay, ZONE_OFFSET } from "./time.ts";

export const PERIODS = ["today", "week", "month", "quarter"] as const;
export type PeriodName = (typeof PERIODS)[number];
const DAYS: Readonly<Record<PeriodName, number>> = { today: 1, week: 7, month: 30, quarter: 90 };
const DAY_MS = 86_400_000;

export interface Period { from: string; to: string; firstDay: string }

/** The last 1, 7, 30 or 90 days, today included, from midnight of the first one. */
export function periodOf(name: PeriodName, nowMs: number): Period {
  const firstDay = civilDay(nowMs - (DAYS[name] - 1) * DAY_MS);
  return {
    from: new Date(`${firstDay}T00:00:00${ZONE_OFFSET}`).toISOString(), to: new Date(nowMs).toISOString(), firstDay,
  };
}
