// Several alarms acknowledged at once: exactly those that the button named, and what became of each.
import { bulk, type BulkAction } from "../api/client.ts";
import type { CompactAlarm } from "../api/model.ts";
import { offline } from "./acts.ts";
import { serverNow } from "./clock.ts";
import { t, word } from "./i18n.ts";
import { store } from "./live.ts";
import { problemText } from "./problems.ts";
import { user } from "./session.ts";
import { complain, offer } from "./toasts.ts";

/** As long as for a single one. */
const UNDO_MS = 10_000;

interface Acted { done: readonly string[]; skipped: readonly string[] }

/** The ids that were done and those that were not; null when nothing is known to have been done. */
export async function acknowledgeAll(alarms: readonly CompactAlarm[]): Promise<Acted | null> {
  const acted = await act("acknowledge", alarms);
  if (acted === null) return null;
  const [done, skipped] = [acted.results.filter(({ ok }) => ok), acted.results.filter(({ ok }) => !ok)];
  const seen = alarms.filter(({ id }) => done.some((one) => one.id === id)).map((alarm) => ({ ...alarm, ver: alarm.ver + 1 }));
  const undo = { text: t("toast.undo"), run: () => void act("unacknowledge", seen) };
  const text = skipped.length === 0 ? t("bulk.done", { n: done.length }) : t("bulk.partly", {
    n: done.length, skipped: skipped.length, why: reasons(skipped.map(({ code }) => code ?? "")),
  });
  if (done.length > 0) offer(text, undo, UNDO_MS);
  else complain(text);
  return { done: done.map(({ id }) => id), skipped: skipped.map(({ id }) => id) };
}

function reasons(codes: readonly string[]): string {
  const counted = new Map<string, number>();
  for (const code of codes) counted.set(code, (counted.get(code) ?? 0) + 1);
  return [...counted].map(([code, n]) => `${word("bulkSkip", code)} ${n}`).join(t("filter.or"));
}

async function act(action: BulkAction, alarms: readonly CompactAlarm[]) {
  if (offline.value || alarms.length === 0) return null;
  try {
    const answer = await bulk(action, alarms.map(({ id, ver }) => ({ id, version: ver })));
    for (const { id, ok, version } of answer.results) {
      const row = store.rows.get(id);
      if (ok && row && version !== null && row.ver < version) store.put(after(action, row, version));
    }
    return answer;
  } catch (problem) {
    complain(problemText(problem));
    return null;
  }
}

/** The row as the stream will say it in a moment. */
function after(action: BulkAction, row: CompactAlarm, ver: number): CompactAlarm {
  const { ack: _, ...bare } = row;
  const stage = row.stage === undefined || row.stage === "raised" ? null : row.stage;
  if (action === "acknowledge") {
    const ack = { by: user.value?.username ?? "", at: new Date(serverNow()).toISOString() };
    return { ...bare, ver, ack, wf: stage ?? "acked" };
  }
  return { ...bare, ver, wf: stage === null || stage === "dispatched" ? "new" : stage };
}
