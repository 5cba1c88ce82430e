// How a test message went, channel by channel.
import type { Notice } from "../api/model.ts";

export interface Line { channel: string; result: string; answer: string }
export interface Went { over: boolean; lines: Line[] }

/** The last attempt of each channel; over when none is under way any more. */
export function wentHow(notice: Notice): Went {
  const lines = new Map<string, Line>();
  for (const { deliveries } of notice.messages) {
    for (const one of deliveries) { // the last attempt stands last
      lines.set(one.key, { channel: one.channel, result: one.result, answer: one.answer ?? "" });
    }
  }
  const over = ["sent", "undeliverable"].includes(notice.state)
    && notice.messages.every(({ state }) => ["sent", "undeliverable"].includes(state));
  return { over, lines: [...lines.values()] };
}
