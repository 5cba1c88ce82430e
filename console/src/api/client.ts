// The one HTTP client. The session is a cookie that scripts cannot read; nothing is kept here.
import { noteServerTime } from "../core/clock.ts";
import type { Alarm, BulkResult, Case, Counts, DeviceKind, Me, Page, Ready, ReadingItem, Snapshot } from "./model.ts";

const PREFIX = "/api/v1";

/** An answer that is not a success, with the machine word and extras of its problem document. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly problem: Readonly<Record<string, unknown>>;
  readonly retryAfterS: number | null;

  constructor(status: number, problem: Record<string, unknown>, retryAfterS: number | null = null) {
    super(String(problem["detail"] ?? problem["title"] ?? `HTTP ${status}`));
    this.status = status;
    this.code = String(problem["code"] ?? "");
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }
}

/** The server gave no answer at all. */
export class Unreachable extends Error {}

let signedOut: () => void = () => {};
/** Called when the server no longer knows the session. */
export function whenSignedOut(callback: () => void): void {
  signedOut = callback;
}

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

export function address(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    [value ?? []].flat().map((one): [string, string] => [key, String(one)]));
  const text = new URLSearchParams(pairs).toString();
  return PREFIX + path + (text ? `?${text}` : "");
}

async function problemOf(answer: Response): Promise<Record<string, unknown>> {
  try {
    const parsed: unknown = await answer.json();
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {}; // a proxy's HTML page, or nothing
  }
}

/** One request and its answer; the addresses stand here and in screens.ts. */
export async function ask<Answer>(
  method: string, path: string, options: { query?: Query; body?: unknown; key?: string } = {},
): Promise<Answer> {
  const isForm = options.body instanceof FormData;
  // What is answered in words is answered in the language of the page, not of the browser.
  const headers: Record<string, string> = { "Accept-Language": document.documentElement.lang };
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store", headers };
  if (options.body !== undefined) {
    init.body = isForm ? (options.body as FormData) : JSON.stringify(options.body);
    if (!isForm) headers["Content-Type"] = "application/json";
  }
  if (options.key !== undefined) init.headers = { ...init.headers, "Idempotency-Key": options.key };
  const asked = Date.now();
  let answer: Response;
  try {
    answer = await fetch(address(path, options.query), init);
  } catch (cause) {
    throw new Unreachable("no answer", { cause });
  }
  noteServerTime(answer.headers.get("X-Server-Time"), asked, Date.now());
  if (answer.status === 401 && path !== "/auth/login") signedOut();
  if (!answer.ok) {
    const wait = Number(answer.headers.get("Retry-After") ?? Number.NaN);
    throw new ApiError(answer.status, await problemOf(answer), Number.isFinite(wait) ? wait : null);
  }
  return (answer.status === 204 ? undefined : await answer.json()) as Answer;
}

/** Which part of the service can do its job; 503 says so as well as 200. */
export async function readiness(): Promise<Ready> {
  let answer: Response;
  try {
    answer = await fetch("/readyz", { cache: "no-store" });
  } catch (cause) {
    throw new Unreachable("no answer", { cause });
  }
  const said = await problemOf(answer);
  if (!Array.isArray(said["checks"])) throw new ApiError(answer.status, said);
  return said as unknown as Ready;
}

export const login = (username: string, password: string) =>
  ask<{ user: Me }>("POST", "/auth/login", { body: { username, password } });
export const logout = () => ask<unknown>("POST", "/auth/logout");
export const me = () => ask<Me>("GET", "/me");

export const openAlarms = () => ask<Snapshot>("GET", "/alarms/open");
export const alarmCounts = () => ask<Counts>("GET", "/alarms/counts");
export const alarm = (id: string) => ask<Alarm>("GET", `/alarms/${encodeURIComponent(id)}`);
/** Acknowledges exactly the version that was on screen; 409 `changed` when it has got worse. */
export const acknowledge = (id: string, version: number, note?: string) =>
  ask<Alarm>("POST", `/alarms/${encodeURIComponent(id)}/acknowledge`, {
    body: note ? { version, note } : { version },
  });
export type BulkAction = "acknowledge" | "unacknowledge";
/** Acknowledges those that can be, each in the version seen, and says of the others why not. */
export const bulk = (action: BulkAction, items: readonly { id: string; version: number }[]) =>
  ask<BulkResult>("POST", "/alarms/bulk", { body: { action, items } });
/** Takes one's own acknowledgement back; a second entry, the first one stays. */
export const unacknowledge = (id: string) =>
  ask<Alarm>("POST", `/alarms/${encodeURIComponent(id)}/unacknowledge`, { body: {} });
/** Lets go of the latch of an alarm that is normal again; `unseen` acknowledges it with that. */
export const resetLatch = (id: string, unseen: boolean) =>
  ask<Alarm>("POST", `/alarms/${encodeURIComponent(id)}/reset`, { body: { acknowledge: unseen } });

export const oneCase = (id: string) => ask<Case>("GET", `/cases/${encodeURIComponent(id)}`);
export const takeStep = (id: string, step: Record<string, unknown>) =>
  ask<Case>("POST", `/cases/${encodeURIComponent(id)}/steps`, { body: step });
/** The same, sent again under the same key it is done once. */
export const sendStep = (id: string, step: Record<string, unknown>, key: string) =>
  ask<Case>("POST", `/cases/${encodeURIComponent(id)}/steps`, { body: step, key });
export function attachEvidence(id: string, file: File): Promise<unknown> {
  const form = new FormData();
  form.append("file", file);
  return ask<unknown>("POST", `/cases/${encodeURIComponent(id)}/evidence`, { body: form });
}
export const evidenceAddress = (id: string) => address(`/evidence/${encodeURIComponent(id)}`);

export const readings = (point: number, from: string, to: string, bucket?: string) =>
  ask<Page<ReadingItem>>("GET", `/points/${point}/readings`, {
    query: { from, to, bucket, limit: 1000 },
  });
export const deviceKinds = () => ask<Page<DeviceKind>>("GET", "/device-kinds");
