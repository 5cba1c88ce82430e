// The order shown, which is allowed to differ from the order wanted: a list never moves under
// the pointer. Values change in place at any time; inserts, moves and removals wait.
import type { CompactAlarm } from "../api/model.ts";
import { isUnacked } from "./order.ts";

/** The pointer has to leave the rows alone for this long before they may move. */
export const POINTER_REST_MS = 2_000;
/** A row just acknowledged stays where it is, so that the hand finds it again. */
export const ACKED_STAYS_MS = 3_000;
/** A closed alarm stays as a grey row before it leaves. */
export const CLOSED_STAYS_MS = 5_000;

export interface ShownRow { alarm: CompactAlarm; gone: boolean }
export interface Pending { added: number; red: number }

export class SettledList {
  shown: ShownRow[] = [];
  pending: Pending = { added: 0, red: 0 };
  private readonly closedAt = new Map<string, number>();
  private heldUntil = 0;

  /** Keeps the order as it is for `ms` from `now`. */
  hold(now: number, ms: number): void {
    this.heldUntil = Math.max(this.heldUntil, now + ms);
  }

  /**
   * The rows to draw.
   *
   * @param wanted the alarms that pass the filter, most urgent first
   * @param alive whether an id is still open at all
   * @param mayMove the reader is at the top and the pointer rests elsewhere
   */
  update(
    wanted: readonly CompactAlarm[], alive: (id: string) => boolean, mayMove: boolean, now: number,
  ): ShownRow[] {
    for (const { alarm } of this.shown) {
      if (alive(alarm.id)) this.closedAt.delete(alarm.id);
      else if (!this.closedAt.has(alarm.id)) this.closedAt.set(alarm.id, now);
    }
    const fading = this.shown.some(({ alarm }) => this.fades(alarm.id, now));
    if ((mayMove && now >= this.heldUntil && !fading) || this.shown.length === 0) {
      return this.settle(wanted);
    }
    const byId = new Map(wanted.map((alarm) => [alarm.id, alarm]));
    this.shown = this.shown.map(({ alarm }) => ({
      alarm: byId.get(alarm.id) ?? alarm, gone: !alive(alarm.id),
    }));
    const here = new Set(this.shown.map(({ alarm }) => alarm.id));
    const added = wanted.filter((alarm) => !here.has(alarm.id));
    const red = added.filter((alarm) => alarm.tier === "red" && isUnacked(alarm)).length;
    this.pending = { added: added.length, red };
    return this.shown;
  }

  /** Shows exactly what is wanted; the reader asked for it. */
  settle(wanted: readonly CompactAlarm[]): ShownRow[] {
    this.closedAt.clear();
    this.pending = { added: 0, red: 0 };
    this.shown = wanted.map((alarm) => ({ alarm, gone: false }));
    return this.shown;
  }

  private fades(id: string, now: number): boolean {
    const at = this.closedAt.get(id);
    return at !== undefined && now - at < CLOSED_STAYS_MS;
  }
}
