// The open alarms as a map, kept true by a snapshot and the numbered batches that follow it.
// Plain TypeScript without Vue: the page is told through `onChange` and sorts once per frame.
import type { AlarmBatch, AlarmOp, CompactAlarm, Snapshot } from "../api/model.ts";

/** What a batch did: `gap` and `epoch` mean that a new snapshot is needed. */
export type Outcome = "applied" | "old" | "early" | "gap" | "epoch";

export class AlarmStore {
  readonly rows = new Map<string, CompactAlarm>();
  epoch = "";
  /** Number of the last change contained in `rows`; -1 before the first snapshot. */
  seq = -1;
  asOf = "";
  total = 0;
  truncated = false;
  /** Versions of rows removed since the snapshot, so that a late answer does not bring one back. */
  private readonly removed = new Map<string, number>();
  private waiting: { epoch: string; batch: AlarmBatch }[] = [];
  private readonly onChange: () => void;

  constructor(onChange: () => void = () => {}) {
    this.onChange = onChange;
  }

  get ready(): boolean {
    return this.seq >= 0;
  }

  /** Replaces everything, then applies what the stream said meanwhile. */
  load(snapshot: Snapshot): Outcome {
    this.rows.clear();
    this.removed.clear();
    for (const row of snapshot.items) this.rows.set(row.id, row);
    this.epoch = snapshot.epoch;
    this.seq = snapshot.seq;
    this.asOf = snapshot.as_of;
    this.total = snapshot.total;
    this.truncated = snapshot.truncated;
    const waiting = this.waiting;
    this.waiting = [];
    let outcome: Outcome = "applied";
    for (const { epoch, batch } of waiting) {
      // A batch of another epoch was overtaken by the snapshot; it cannot be placed.
      const one = epoch === this.epoch ? this.apply(epoch, batch) : "old";
      if (one === "gap") outcome = "gap";
    }
    this.onChange();
    return outcome;
  }

  /** Takes one batch of the stream; keeps it back while no snapshot is there. */
  apply(epoch: string, batch: AlarmBatch): Outcome {
    if (!this.ready) {
      this.waiting.push({ epoch, batch });
      return "early";
    }
    if (epoch !== this.epoch) return this.restart("epoch", epoch, batch);
    if (batch.seq <= this.seq) return "old";
    if (batch.from > this.seq + 1) return this.restart("gap", epoch, batch);
    for (const op of batch.ops) this.take(op);
    this.seq = batch.seq;
    this.onChange();
    return "applied";
  }

  /** The result of one's own act, seen at once and not only when the stream brings it. */
  put(row: CompactAlarm): void {
    this.take({ op: "put", a: row });
    this.onChange();
  }

  /** Asks for a new snapshot: rows stay as the last good list, batches wait again. */
  reset(): void {
    this.seq = -1;
    this.waiting = [];
  }

  clear(): void {
    this.reset();
    this.rows.clear();
    this.removed.clear();
    this.epoch = "";
    this.onChange();
  }

  private restart(why: "gap" | "epoch", epoch: string, batch: AlarmBatch): Outcome {
    this.reset();
    this.waiting.push({ epoch, batch });
    return why;
  }

  private take(op: AlarmOp): void {
    if (op.op === "put") {
      const known = this.rows.get(op.a.id)?.ver ?? -1;
      const gone = this.removed.get(op.a.id) ?? -1;
      // A reopened case comes back with a higher version than the one it left with.
      if (op.a.ver < known || op.a.ver <= gone) return;
      this.removed.delete(op.a.id);
      this.rows.set(op.a.id, op.a);
    } else {
      if (op.ver < (this.rows.get(op.id)?.ver ?? -1)) return;
      this.removed.set(op.id, Math.max(op.ver, this.removed.get(op.id) ?? -1));
      this.rows.delete(op.id);
    }
  }
}
