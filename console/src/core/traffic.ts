// What the live stream brought to this page and when it was painted: for whoever inspects the
// stream, and for the measurements. A few numbers a batch; the rows themselves are not kept.
import type { HubMessage } from "../api/hub.ts";
import { serverNow } from "./clock.ts";

/** One line of the record. */
export interface Heard {
  n: number;
  /** Server time in Unix milliseconds at which the page had it. */
  at: number;
  type: HubMessage["type"];
  text: string;
  seq: number | null;
  /** Numbers that are missing before it. */
  gap: number;
  ops: number;
  /** Milliseconds from its coming to its being painted; null: it changed nothing on screen. */
  paintMs: number | null;
}

const KEPT = 500;
/** Told on `window` when changes were painted: how old each of them was then, in milliseconds. */
export const PAINTED = "hazardloop:painted";

let record: Heard[] = [];
let unpainted: { heard: Heard; atMs: number; changedAt: number[] }[] = [];
let last: number | null = null;
let n = 0;
let listener: (() => void) | null = null;

/** The last lines, oldest first. */
export const heard = (): readonly Heard[] => record;
/** Called after each change of the record; one at a time. */
export function onHeard(callback: (() => void) | null): void {
  listener = callback;
}
export const forgetHeard = (): void => void (record = []);

export function noteHeard(message: HubMessage): void {
  if (message.type === "up") last = null;
  const batch = message.type === "alarms" ? message.batch : null;
  const gap = batch && last !== null ? Math.max(0, batch.from - last - 1) : 0;
  if (batch) last = batch.seq;
  const line: Heard = {
    n: (n += 1), at: serverNow(), type: message.type, text: textOf(message), seq: batch?.seq ?? null, gap,
    ops: batch?.ops.length ?? 0, paintMs: null,
  };
  record = [...record.slice(1 - KEPT), line];
  if (batch) {
    const changedAt = batch.ops.flatMap((op) => (op.op === "put" ? [Date.parse(op.a.upd ?? op.a.raised)] : []));
    unpainted.push({ heard: line, atMs: Date.now(), changedAt });
  }
  listener?.();
}

/** The rows were just handed to the page: after its next frame they are painted. */
export function notePainted(): void {
  if (unpainted.length === 0) return;
  const painting = unpainted;
  unpainted = [];
  const done = () => {
    const [now, server] = [Date.now(), serverNow()];
    for (const one of painting) one.heard.paintMs = now - one.atMs;
    const ages = painting.flatMap(({ changedAt }) => changedAt.map((at) => server - at));
    window.dispatchEvent(new CustomEvent(PAINTED, { detail: { ages, at: now } }));
    listener?.();
  };
  if (document.hidden) done();
  else window.requestAnimationFrame(() => window.setTimeout(done)); // a timer set in a frame runs after it
}

function textOf(message: HubMessage): string {
  switch (message.type) {
    case "alarms": return message.batch.ops.map((op) => (op.op === "put" ? `${op.a.pt} v${op.a.ver}` : `− ${op.id.slice(0, 8)}`)).join(" ");
    case "up": return `${message.hello.epoch}:${message.hello.seq}`;
    case "hb": return message.hb.t;
    case "reset": return message.reason;
    default: return "";
  }
}
