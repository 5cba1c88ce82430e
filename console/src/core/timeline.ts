// One story of an alarm: what its signal did and what people did, in the order it happened.
import type { Alarm, Case, TierNow } from "../api/model.ts";

export interface Entry {
  at: string;
  /** Catalogue key under `event`, or the action's name. */
  what: string;
  side: "signal" | "person";
  tier: TierNow | null;
  value: number | null;
  limit: number | null;
  actor: string;
  role: string;
  note: string;
  /** What a step brought, in the order of its form. */
  details: { name: string; value: string }[];
}

/** The ledger's first line says again what the signal's first episode says. */
const OPENING = "raise";
const BROUGHT = [
  "verdict", "cause", "measures", "responsible", "funds", "deadline", "plan", "permit", "file_name",
] as const;

/** The ledger also notes clocks and digests; people read what was brought. */
function broughtBy(body: Record<string, unknown>): Entry["details"] {
  return BROUGHT.flatMap((name) => (body[name] ? [{ name, value: String(body[name]) }] : []));
}

export function timelineOf(alarm: Alarm, disposal: Case | null): Entry[] {
  const signals: Entry[] = (alarm.episodes ?? []).map((episode) => ({
    at: episode.changed_at, what: episode.change, side: episode.actor ? "person" : "signal",
    tier: episode.tier, value: episode.value ?? null, limit: episode.limit ?? null,
    actor: episode.actor ?? "", role: "", note: episode.note ?? "", details: [],
  }));
  const steps: Entry[] = (disposal?.steps ?? []).filter(({ action }) => action !== OPENING).map((step) => ({
    at: step.taken_at, what: step.action, side: step.actor_role === "system" ? "signal" : "person",
    tier: null, value: null, limit: null,
    actor: step.actor, role: step.actor_role, note: step.note ?? "", details: broughtBy(step.body),
  }));
  // Stable: of entries of one instant the signal's come first, then the ledger's own order.
  return [...signals, ...steps].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}
