// Server time. Ages and deadlines are measured against it, because the PC's clock may be wrong.

/** Of the last samples the one with the shortest round trip says the offset best. */
const KEPT_MS = 5 * 60_000;
/** From this skew on the page warns. */
export const SKEW_WARN_MS = 2_000;

interface Sample { offsetMs: number; tripMs: number; takenAt: number }
let best: Sample | null = null;

/** Takes one answer's `X-Server-Time`; `asked` and `answered` are this PC's Unix milliseconds. */
export function noteServerTime(stamp: string | null, asked: number, answered: number): void {
  const server = stamp === null ? Number.NaN : Date.parse(stamp);
  if (Number.isNaN(server)) return;
  const tripMs = Math.max(0, answered - asked);
  const expired = best === null || answered - best.takenAt > KEPT_MS || answered < best.takenAt;
  if (best === null || expired || tripMs <= best.tripMs) {
    best = { offsetMs: server - (asked + answered) / 2, tripMs, takenAt: answered };
  }
}

/** Server time minus PC time in milliseconds; 0 until the first answer. */
export const offsetMs = (): number => best?.offsetMs ?? 0;

/** Server time now, in Unix milliseconds. */
export const serverNow = (): number => Date.now() + offsetMs();

export function forgetServerTime(): void {
  best = null;
}
