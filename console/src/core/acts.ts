// What a person does to the signal of an alarm, from whatever screen: acknowledge, take that back,
// reset. An act applies to exactly the version that was seen.
import { computed, shallowRef } from "vue";
import * as api from "../api/client.ts";
import type { Alarm, CompactAlarm } from "../api/model.ts";
import { t } from "./i18n.ts";
import { link, store } from "./live.ts";
import { isUnacked } from "./order.ts";
import { problemText } from "./problems.ts";
import { rowOf } from "./rowOf.ts";
import { user } from "./session.ts";
import { complain, offer, say } from "./toasts.ts";

/** What was seen beside what is, when the alarm got worse between reading and clicking. */
export interface Changed { seen: CompactAlarm; current: Alarm }

/** Undoing is offered for so long; it is a second entry, both stay. */
const UNDO_MS = 10_000;

export const busy = shallowRef<ReadonlySet<string>>(new Set());
export const changed = shallowRef<Changed | null>(null);
/** The act that was answered last, well or ill: whoever shows that alarm looks again. */
export const acted = shallowRef<{ id: string; done: boolean } | null>(null);
export const offline = computed(() => link.value.state === "red");

export const may = (permission: string): boolean => user.value?.permissions.includes(permission) ?? false;
export const mayAck = computed(() => may("alarms.acknowledge") && !offline.value);

export async function acknowledge(id: string, version?: number, note?: string): Promise<void> {
  const seen = store.rows.get(id);
  if (!mayAck.value || (seen && !isUnacked(seen) && version === undefined)) return;
  const done = await acting(id, () => api.acknowledge(id, version ?? seen?.ver ?? 1, note));
  if (!done) return;
  const undo = { text: t("toast.undo"), run: () => void acting(id, () => api.unacknowledge(id)) };
  offer(t("toast.acked", { point: done.point.code }), undo, UNDO_MS);
}

export const resetLatch = (id: string, unseen: boolean) => acting(id, () => api.resetLatch(id, unseen));

/** One act on an alarm, at most one at a time; null when it was not done. */
export async function acting(id: string, act: () => Promise<Alarm>): Promise<Alarm | null> {
  const seen = store.rows.get(id);
  if (offline.value || busy.value.has(id)) return null;
  busy.value = new Set([...busy.value, id]);
  let alarm: Alarm | null = null;
  try {
    alarm = await act();
    acted.value = { id, done: true };
    if (seen) store.put(rowOf(alarm, store.rows.get(id) ?? seen));
    changed.value = null;
  } catch (problem) {
    await refused(id, seen, problem);
    acted.value = { id, done: false };
  } finally {
    busy.value = new Set([...busy.value].filter((one) => one !== id));
  }
  return alarm;
}

async function refused(id: string, seen: CompactAlarm | undefined, problem: unknown): Promise<void> {
  if (problem instanceof api.ApiError && problem.code === "changed" && seen) {
    const current = (problem.problem["current"] as Alarm | undefined) ?? (await api.alarm(id));
    changed.value = { seen, current };
  } else if (problem instanceof api.ApiError && problem.code === "already_acknowledged") {
    say(t("alarm.alreadyAcked"));
  } else complain(problemText(problem));
}
