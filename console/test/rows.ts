// Rows for the tests.
import type { CompactAlarm } from "../src/api/model.ts";

export function alarm(id: string, ver: number, more: Partial<CompactAlarm> = {}): CompactAlarm {
  return {
    id, ver, tier: "orange", kind: "gas_detector.lel.high", cond: "active", wf: "new",
    ent: ["E001", "Example Chemicals"], dev: ["GD-1", "Gas detector"], pt: "GD-1.lel",
    raised: "2026-11-22T01:12:07.120Z", ...more,
  };
}
