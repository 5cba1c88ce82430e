// A full alarm as the row of the list, so that one's own act is seen before the stream brings it.
import type { Alarm, CompactAlarm } from "../api/model.ts";

export function rowOf(alarm: Alarm, known: CompactAlarm): CompactAlarm {
  const row: CompactAlarm = {
    ...known, ver: alarm.version, tier: alarm.tier, tier_now: alarm.tier_now ?? "none", cond: alarm.condition,
  };
  if (alarm.acknowledged) {
    row.ack = { by: alarm.acknowledged_by ?? "", at: alarm.acknowledged_at ?? "" };
    if (row.wf === "new") row.wf = "acked";
  }
  if (alarm.cleared_at) row.rtn = alarm.cleared_at;
  return row;
}
