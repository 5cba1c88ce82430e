// The four tiers: how bad, which digit, which shape. Colour alone never says it.
import type { TierName, TierNow } from "../api/model.ts";

export const TIERS: readonly TierName[] = ["red", "orange", "yellow", "blue"];

const SEVERITY: Readonly<Record<TierNow, number>> = { red: 4, orange: 3, yellow: 2, blue: 1, none: 0 };
/** Larger is worse; 0 for none. */
export const severity = (tier: TierNow | undefined): number => SEVERITY[tier ?? "none"] ?? 0;

/** Digits are for display only; on the wire a tier is its name. */
export const DIGIT: Readonly<Record<TierName, string>> = { red: "1", orange: "2", yellow: "3", blue: "4" };

/** Outlines in a 24 by 24 box: octagon, triangle, diamond, circle. */
export const SHAPE: Readonly<Record<TierName, string>> = {
  red: "M8 2h8l6 6v8l-6 6H8l-6-6V8z",
  orange: "M12 1.5 23 21.5H1z",
  yellow: "M12 1 23 12 12 23 1 12z",
  blue: "M12 1.8a10.2 10.2 0 1 1 0 20.4 10.2 10.2 0 0 1 0-20.4z",
};
