// What the screens beside the alarm list ask for and send.
import { ask, type Query } from "./client.ts";
import type { AlarmLine, CaseBrief, CurrentShift, Hold, LogLine, Page, Sheet, Shift } from "./model.ts";

export interface Paged { limit?: number; cursor?: string }
const id = (one: string | number): string => encodeURIComponent(one);
const list = <Item>(path: string, query: object) => ask<Page<Item>>("GET", path, { query: query as Query });

export interface CaseQuery extends Paged { state?: "open" | "closed"; stage?: readonly string[]; overdue?: boolean }
export const cases = (query: CaseQuery) => list<CaseBrief>("/cases", query);
export const alarms = (query: Paged) => list<AlarmLine>("/alarms", query);

export const holds = (query: Paged & { state?: Hold["state"] }) => list<Hold>("/shelves", query);
export const approveHold = (hold: number) => ask<Hold>("POST", `/shelves/${id(hold)}/approve`);
/** Ends what is in force, declines what was asked, or withdraws what one asked oneself. */
export const releaseHold = (hold: number) => ask<Hold>("POST", `/shelves/${id(hold)}/release`, { body: {} });

export const shifts = () => list<Shift>("/shifts", {});
export const currentShift = () => ask<CurrentShift>("GET", "/shifts/current");
export const sheet = (shift: number) => ask<Sheet>("GET", `/shifts/${id(shift)}`);
export const keepNotes = (shift: number, notes: string) =>
  ask<Sheet>("PUT", `/shifts/${id(shift)}`, { body: { notes } });
export const signSheet = (shift: number, step: "submit" | "accept") =>
  ask<Sheet>("POST", `/shifts/${id(shift)}/${step}`);
export const watchLog = (query: Paged & { q?: string }) => list<LogLine>("/log", query);
export const writeLog = (line: { category: string; text: string }) => ask<LogLine>("POST", "/log", { body: line });
