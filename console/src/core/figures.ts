// Measured values in words.
import type { Direction } from "../api/model.ts";
import { durationText } from "./time.ts";

/** UCUM codes that read better as the sign people know. */
const SIGNS: Readonly<Record<string, string>> = {
  Cel: "°C", "[ppm]": "ppm", "1": "", "%{LEL}": "%LEL",
  "m3/h": "m³/h", m3: "m³", m2: "m²", s: "s", "{floor}": "", "": "",
};
export function unitText(unit: string | null | undefined): string {
  const code = unit ?? "";
  const worked = /^(.+)([/.])(s|min|h)$/.exec(code); // a slope, or a dose
  if (!worked || code in SIGNS) return SIGNS[code] ?? code;
  const [, of = "", between, time] = worked;
  return `${SIGNS[of] ?? of}${between === "." ? "·" : "/"}${time}`;
}

const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2, useGrouping: false });
export function numberText(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value) ? "" : plain.format(value);
}

export interface Measured { value: string; unit: string; limit: string }

/** A value beside its limit; a state has neither number, silence is a duration. */
export function measured(
  value: number | null | undefined, limit: number | null | undefined,
  direction: Direction | null | undefined, unit: string | null | undefined,
): Measured {
  if (direction === "state") return { value: "", unit: "", limit: "" };
  if (direction === "stale") {
    const text = (seconds: number | null | undefined) =>
      seconds === null || seconds === undefined ? "" : durationText(seconds * 1000);
    return { value: text(value), unit: "", limit: limit == null ? "" : `≥ ${text(limit)}` };
  }
  const sign = direction === "low" ? "≤" : "≥";
  const limitText = numberText(limit);
  return {
    value: numberText(value), unit: unitText(unit), limit: limitText ? `${sign} ${limitText}` : "",
  };
}
