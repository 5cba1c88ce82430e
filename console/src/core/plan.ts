// What stands where on a plan: plain functions, so that thousands of devices are one path and only
// what is abnormal is a mark of its own.
import type { CompactAlarm, PlacedDevice, TierName } from "../api/model.ts";
import { byUrgency, isUnacked } from "./order.ts";
import { severity } from "./tiers.ts";

export interface Spot { x: number; y: number }
/** A device with open alarms: the worst of them, and how many there are. */
export interface Marked extends Spot { device: string; alarm: CompactAlarm; alarms: number; unacked: boolean }
/** Marks that would lie on each other, as one. */
export interface Cluster extends Spot { key: string; members: Marked[]; tier: TierName; alarms: number; unacked: boolean }

type Placed = PlacedDevice & Spot;
export const isPlaced = (device: PlacedDevice): device is Placed => device.x !== null && device.y !== null;

/** Open alarms of one enterprise, the worst first. */
export const alarmsOf = (alarms: Iterable<CompactAlarm>, enterprise: string): CompactAlarm[] =>
  [...alarms].filter(({ ent }) => ent[0] === enterprise).sort(byWorst);

/** The worst tier first, unseen before seen. */
const byWorst = (a: CompactAlarm, b: CompactAlarm): number => severity(b.tier) - severity(a.tier) || byUrgency(a, b);

/** Devices with alarms, the worst first; `alarms` in the order of `alarmsOf`. */
export function marksOf(devices: readonly PlacedDevice[], alarms: readonly CompactAlarm[]): Marked[] {
  const spots = new Map(devices.filter(isPlaced).map((one) => [one.code, one]));
  const marks = new Map<string, Marked>();
  for (const alarm of alarms) {
    const [device] = alarm.dev;
    const [spot, known] = [spots.get(device), marks.get(device)];
    if (known) {
      known.alarms += 1;
      known.unacked ||= isUnacked(alarm);
    } else if (spot) marks.set(device, { device, x: spot.x, y: spot.y, alarm, alarms: 1, unacked: isUnacked(alarm) });
  }
  return [...marks.values()];
}

/** Marks gathered in squares of `cell` units of the drawing; each stands at its worst member. */
export function clusters(marks: readonly Marked[], cell: number): Cluster[] {
  const found = new Map<string, Cluster>();
  for (const mark of marks) {
    const key = `${Math.floor(mark.x / cell)}:${Math.floor(mark.y / cell)}`;
    const known = found.get(key);
    if (known) {
      known.members.push(mark);
      known.alarms += mark.alarms;
      known.unacked ||= mark.unacked;
    } else {
      const { x, y, alarm, alarms, unacked } = mark;
      found.set(key, { key, x, y, members: [mark], tier: alarm.tier, alarms, unacked });
    }
  }
  return [...found.values()];
}

/** One path of dots for all of them: lines without length, which round ends make into dots. */
export const dots = (spots: readonly Spot[]): string => spots.map(({ x, y }) => `M${x} ${y}h0`).join("");

/** The device nearest to a place, no farther than `within`. */
export function nearest(devices: readonly PlacedDevice[], { x, y }: Spot, within: number): PlacedDevice | null {
  let [best, least] = [null as PlacedDevice | null, within];
  for (const one of devices) {
    if (!isPlaced(one)) continue;
    const away = Math.hypot(one.x - x, one.y - y);
    if (away <= least) [best, least] = [one, away];
  }
  return best;
}

/** What is seen: its centre, and how many pixels a unit of the drawing takes. */
export interface View extends Spot { scale: number }
export interface Size { width: number; height: number }
export type Box = readonly [left: number, top: number, width: number, height: number];
const [FARTHEST, NEAREST] = [0.5, 60];

export const fitted = ([left, top, width, height]: Box, size: Size): View =>
  ({ x: left + width / 2, y: top + height / 2, scale: Math.min(size.width / width, size.height / height) });

/** Nearer or farther, with the place under the pointer staying where it is. */
export function zoomed(view: View, factor: number, at: Spot, fit: View): View {
  const scale = Math.min(fit.scale * NEAREST, Math.max(fit.scale * FARTHEST, view.scale * factor));
  const kept = view.scale / scale;
  return { x: at.x + (view.x - at.x) * kept, y: at.y + (view.y - at.y) * kept, scale };
}

/** The place of the drawing at a pixel of the view. */
export const placeAt = (view: View, size: Size, px: Spot): Spot =>
  ({ x: view.x + (px.x - size.width / 2) / view.scale, y: view.y + (px.y - size.height / 2) / view.scale });
