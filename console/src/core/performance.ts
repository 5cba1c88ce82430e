// The alarm system's figures beside what is aimed at. The figures are the service's; the aims are
// starting values from public readings of EEMUA 191 and ISA-18.2, to be set by each centre.
import type { AlarmSystem, TierName } from "../api/model.ts";
import { TIERS } from "./tiers.ts";

export interface Measure { name: string; value: number | null; aim: number; form: "share" | "number"; strict: boolean; isOver: boolean }

type Figures = Pick<AlarmSystem, "per_10_min" | "peak_10_min" | "over_10" | "time_in_flood" | "top10_share" | "chattering" | "fleeting" | "stale" | "seats">;

export function measuresOf(found: Figures): Measure[] {
  const measure = (name: string, value: number | null, aim: number, form: Measure["form"], strict = false): Measure =>
    ({ name, value, aim, form, strict, isOver: value !== null && (strict ? value >= aim : value > aim) });
  return [
    measure("per_10_min", found.per_10_min, 1, "number"),
    measure("peak_10_min", found.peak_10_min, 10 * found.seats, "number"),
    measure("over_10", found.over_10, 0.01, "share", true),
    measure("time_in_flood", found.time_in_flood, 0.01, "share", true),
    measure("top10_share", found.top10_share, 0.05, "share"),
    measure("chattering", found.chattering, 0, "number"),
    measure("fleeting", found.fleeting.length, 0, "number"),
    measure("stale", found.stale.length, 5, "number", true),
  ];
}

/** About 5 / 15 / 80 for three classes; with a fourth above them: below 1, then 5, 15, 80. */
const AIMS: Readonly<Record<TierName, string>> = { red: "< 1 %", orange: "≈ 5 %", yellow: "≈ 15 %", blue: "≈ 80 %" };

export function mixAgainstTarget(tiers: Readonly<Record<string, number>>): { tier: TierName; alarms: number; share: number | null; aim: string }[] {
  const total = TIERS.reduce((sum, tier) => sum + (tiers[tier] ?? 0), 0);
  return TIERS.map((tier) => {
    const alarms = tiers[tier] ?? 0;
    return { tier, alarms, share: total === 0 ? null : alarms / total, aim: AIMS[tier] };
  });
}
