// How far the live data can be trusted, from the silence since the last event.

export const AMBER_MS = 10_000;
export const RED_MS = 60_000;

export interface Link {
  state: "connecting" | "ok" | "amber" | "red";
  silentMs: number;
  lagMs: number | null;
}

/** A heartbeat comes every 5 s; two missed are a warning, a minute without is no live data. */
export function linkAfter(silentMs: number, connected: boolean, lagMs: number | null): Link {
  const state =
    silentMs >= RED_MS ? "red" : silentMs >= AMBER_MS ? "amber" : connected ? "ok" : "connecting";
  return { state, silentMs, lagMs };
}
