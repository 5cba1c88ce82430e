// Readings to the lines of a chart. A gap in the data stays a gap; nothing is drawn across it.
import type { ReadingItem } from "../api/model.ts";

/** One drawn place: the value, and of a bucket also its least and greatest. */
export interface Place { at: number; mid: number; low: number; high: number }
export interface Trend {
  /** Unbroken runs; between two runs there was no usable value. */
  runs: Place[][];
  count: number;
}

/** A pause longer than this many usual intervals is a gap. */
const RAW_GAP = 3.5;
const BUCKET_GAP = 1.5;
/** Raw values may be late by this much without a gap, whatever their interval. */
const RAW_SLACK_MS = 2_000;

function placeOf(item: ReadingItem): Place | { at: number } {
  if ("observed_at" in item) {
    const at = Date.parse(item.observed_at);
    if (item.value === null || item.quality === "bad") return { at };
    return { at, mid: item.value, low: item.value, high: item.value };
  }
  const at = Date.parse(item.from);
  const { min, max, mean } = item;
  return min === null || max === null || mean === null ? { at } : { at, mid: mean, low: min, high: max };
}

export function trendOf(items: readonly ReadingItem[]): Trend {
  const bucketed = items.some((item) => !("observed_at" in item));
  const places = items.map(placeOf).sort((a, b) => a.at - b.at);
  const steps = places.slice(1).map((place, nth) => place.at - (places[nth]?.at ?? 0)).filter((ms) => ms > 0);
  steps.sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] ?? 0;
  const gap = bucketed ? usual * BUCKET_GAP : usual * RAW_GAP + RAW_SLACK_MS;
  const runs: Place[][] = [];
  let run: Place[] = [];
  let last = Number.NaN;
  for (const place of places) {
    if (run.length > 0 && (!("mid" in place) || place.at - last > gap)) {
      runs.push(run);
      run = [];
    }
    if ("mid" in place) run.push(place);
    last = place.at;
  }
  if (run.length > 0) runs.push(run);
  return { runs, count: runs.reduce((sum, one) => sum + one.length, 0) };
}

/** Round steps 1, 2, 5 times a power of ten that divide `low..high` into about `wanted` parts. */
export function ticks(low: number, high: number, wanted = 4): number[] {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((one) => one >= rough) ?? rough;
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, nth) => Number(((first + nth) * step).toPrecision(12)));
}

/** `heights`, ascending, moved so that neighbours are at least `gap` apart and centred as before. */
export function apart(heights: readonly number[], gap: number): number[] {
  const moved: number[] = [];
  for (const height of heights) moved.push(Math.max(height, (moved.at(-1) ?? Number.NEGATIVE_INFINITY) + gap));
  const shift = moved.reduce((sum, height, nth) => sum + height - (heights[nth] ?? 0), 0) / (moved.length || 1);
  return moved.map((height) => height - shift);
}

/** The range of the value axis: all values and limits, and a little air. */
export function valueRange(runs: readonly Place[][], limits: readonly number[]): [number, number] {
  const all = [...limits, ...runs.flat().flatMap(({ low, high }) => [low, high])].filter(Number.isFinite);
  if (all.length === 0) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const air = (high - low || Math.abs(high) || 1) * 0.1;
  return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
}

/** At least this much is shown, however young the data are. */
const LEAST_SHOWN_MS = 10 * 60_000;

/**
 * Where the time axis begins: at `from`, or later where the point's data begin later, so that a
 * point just connected is not squeezed into the right edge. `until` stays in the picture.
 */
export function firstShown(runs: readonly Place[][], from: number, to: number, until: number): number {
  const first = runs[0]?.[0]?.at ?? from;
  return Math.max(from, Math.min(first - 30_000, to - LEAST_SHOWN_MS, until - 30_000));
}

export interface Window { from: number; to: number; bucket: string | undefined }
const MINUTE = 60_000;

/**
 * Half an hour that contains the raise, longer if the alarm stood longer, at most a day.
 * Longer windows come as the server's buckets.
 */
export function windowOf(raised: number, cleared: number | null, now: number): Window {
  const to = cleared === null ? now : Math.min(now, cleared + 5 * MINUTE);
  const from = Math.max(Math.min(raised - 10 * MINUTE, to - 30 * MINUTE), to - 1440 * MINUTE);
  const minutes = (to - from) / MINUTE;
  const bucket = minutes <= 45 ? undefined : minutes <= 600 ? "1m" : "5m";
  return { from, to, bucket };
}
