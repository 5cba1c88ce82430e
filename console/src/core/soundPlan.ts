// What sounds, and when: which pattern is due. Pure; the sound itself is made in sound.ts.
import type { CompactAlarm, TierName } from "../api/model.ts";
import { isUnacked } from "./order.ts";
import { severity } from "./tiers.ts";

/** A pulse: `at` and `lasts` in seconds from the start of the pattern, `hz` of its tones. */
export interface Pulse { at: number; lasts: number; hz: readonly number[] }
export interface Pattern { pulses: readonly Pulse[]; everyMs: number }
export type ToneName = TierName | "link";

const pulses = (count: number, lasts: number, gap: number, hz: readonly number[]): Pulse[] =>
  Array.from({ length: count }, (_, nth) => ({ at: nth * (lasts + gap), lasts, hz }));

/** Priority is told by count and tempo of the pulses; blue sounds once and is off by default. */
export const PATTERNS: Readonly<Record<Exclude<ToneName, "blue">, Pattern>> = {
  red: { pulses: pulses(3, 0.15, 0.1, [880, 1175]), everyMs: 2_000 },
  orange: { pulses: pulses(2, 0.18, 0.12, [784]), everyMs: 6_000 },
  yellow: { pulses: pulses(1, 0.2, 0, [659]), everyMs: 30_000 },
  link: {
    pulses: [659, 440, 330].map((hz, nth) => ({ at: nth * 0.25, lasts: 0.22, hz: [hz] })), everyMs: 10_000,
  },
};
export const SILENCE_MS = 120_000;

/** The worst tier that nobody has acknowledged; what was only found late, or is a drill, is quiet. */
export function worstOf(alarms: Iterable<CompactAlarm>): TierName | null {
  let worst: TierName | null = null;
  for (const alarm of alarms) {
    if (!isUnacked(alarm) || alarm.late || alarm.sim) continue;
    if (severity(alarm.tier) > severity(worst ?? "none")) worst = alarm.tier;
  }
  return worst;
}

/** In a flood one tone at most this often. */
export const FLOOD_EVERY_MS = 10_000;

/** What is to be heard now; in a flood of yellow ones nothing. A lost link is heard before all else: nothing newer is known. */
export function toneOf(worst: TierName | null, linkLost: boolean, silenced: boolean, inFlood = false): Exclude<ToneName, "blue"> | null {
  if (silenced) return null;
  if (linkLost) return "link";
  if (inFlood && worst === "yellow") return null;
  return worst === null || worst === "blue" ? null : worst;
}
