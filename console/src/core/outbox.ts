// Steps and files on their way to the service. Each is kept on the phone first, sent when there is a
// network, and leaves the phone only once the service has answered for it.
import { computed, shallowRef } from "vue";
import { oneCase, sendStep } from "../api/client.ts";
import type { Action, Case, CaseBrief } from "../api/model.ts";
import { sendFile } from "../api/upload.ts";
import { due, stillMeant, verdictOn, type Kept } from "./outboxPlan.ts";
import { openStorage, type Storage } from "./outboxStore.ts";
import { problemText } from "./problems.ts";
import { user } from "./session.ts";

/** While something waits it is tried again this often; also when the network or the reader returns. */
export const RETRY_MS = 15_000;

export const kept = shallowRef<readonly Kept[]>([]);
/** False: this browser keeps nothing, so closing the page would lose what waits. */
export const durable = shallowRef(true);
/** Of the file under way: how much of it is sent, 0 to 1. */
export const progress = shallowRef<ReadonlyMap<string, number>>(new Map());
/** The case that was just changed by what was sent. */
export const arrived = shallowRef<Case | null>(null);

export const mine = computed(() => kept.value.filter(({ by }) => by === user.value?.username));
export const keptOf = (id: string): Kept[] => mine.value.filter((item) => item.case === id);

let storage: Promise<Storage> | null = null;
let timer = 0;
let flushing: Promise<void> | null = null;
let wanted = false;

async function opened(): Promise<Storage> {
  storage ??= openStorage();
  const found = await storage;
  durable.value = found.durable;
  return found;
}

async function reread(): Promise<void> {
  kept.value = await (await opened()).all();
}

/** 128 random bits; `crypto.randomUUID` is not there over plain http. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps `item`; resolved once it is on the phone's disk. What follows happens by itself. */
async function keep(item: Kept): Promise<void> {
  await (await opened()).put(item);
  await reread();
  void flush();
}

/** Keeps a step on the case as its person sees it: `found` as the service said, `seen` as foreseen. */
export function keepStep(found: CaseBrief, seen: CaseBrief, action: Action, body: Record<string, unknown> = {}): Promise<void> {
  const ahead = keptOf(found.id).some(({ stuck, file }) => !stuck && file === undefined);
  return keep({ ...meant(found), action, body, revision: ahead ? null : found.revision, stage: seen.stage, tier: seen.tier });
}

export const keepFile = (found: CaseBrief, file: Blob, name: string): Promise<void> =>
  keep({ ...meant(found), action: "attach", body: {}, revision: null, stage: found.stage, tier: found.tier, file, name });

const meant = (found: CaseBrief): Pick<Kept, "key" | "by" | "case" | "alarm" | "point" | "at"> => ({
  key: newKey(), by: user.value?.username ?? "", case: found.id, alarm: found.alarm_id, point: found.alarm.point, at: Date.now(),
});

/** A person decided: try again, on the case as it is now. */
export async function again(item: Kept, found: Case): Promise<void> {
  const { stuck: _, ...rest } = item;
  await save({ ...rest, revision: found.revision, stage: found.stage, tier: found.tier });
  void flush();
}

export async function discard(item: Kept): Promise<void> {
  await (await opened()).remove(item.n!);
  await reread();
}

async function save(item: Kept): Promise<Kept> {
  await (await opened()).put(item);
  await reread();
  return item;
}

/** Sends what is due; asked for while it runs, it runs once more. */
export function flush(): Promise<void> {
  wanted = true;
  flushing ??= run().finally(() => {
    flushing = null;
    window.clearTimeout(timer);
    if (mine.value.some(({ stuck }) => !stuck)) timer = window.setTimeout(() => void flush(), RETRY_MS);
  });
  return flushing;
}

async function run(): Promise<void> {
  while (wanted) {
    wanted = false;
    await reread();
    for (const item of due(mine.value)) {
      // What came before it in its case may have stopped meanwhile.
      if (!due(mine.value).some(({ n }) => n === item.n)) continue;
      if (!(await sent(item))) return;
    }
  }
}

/** False: nothing more gets through at present. */
async function sent(item: Kept): Promise<boolean> {
  try {
    arrived.value = item.file === undefined ? await stepped(item) : await filed(item, item.file);
    await discard(item);
    return true;
  } catch (problem) {
    const verdict = verdictOn(problem);
    if (verdict === "wait" || verdict === "login") return false;
    await reread();
    const still = kept.value.find(({ n }) => n === item.n); // another tab may have sent it meanwhile
    if (still) await save({ ...still, stuck: problemText(problem) });
    return true;
  }
}

/** Most revisions that may pass by while one step is on its way. */
const CHASES = 5;

async function stepped(first: Kept): Promise<Case> {
  let item = first;
  for (let chase = 0; ; chase += 1) {
    // The revision is kept before it is sent: sent again, it must be the same request.
    if (item.revision === null) item = await save({ ...item, revision: (await oneCase(item.case)).revision });
    try {
      return await sendStep(item.case, { ...item.body, action: item.action, revision: item.revision }, item.key);
    } catch (problem) {
      if (verdictOn(problem) !== "look" || chase === CHASES) throw problem;
      const found = await oneCase(item.case);
      arrived.value = found;
      if (!stillMeant(item, found)) throw problem;
      item = await save({ ...item, revision: found.revision });
    }
  }
}

async function filed(item: Kept, file: Blob): Promise<Case> {
  const tell = (share: number | null) => {
    const shares = new Map(progress.value);
    if (share === null) shares.delete(item.key);
    else shares.set(item.key, share);
    progress.value = shares;
  };
  try {
    await sendFile(item.case, file, item.name ?? "photo.jpg", item.key, tell);
  } finally {
    tell(null);
  }
  return oneCase(item.case);
}

const woken = () => document.hidden || void flush();
/** The browser asks once more before it closes a page that alone knows something. */
const warn = (event: BeforeUnloadEvent) => !durable.value && mine.value.length > 0 && event.preventDefault();

/** From now on what waits is sent whenever there is a chance. */
export function startOutbox(): void {
  window.addEventListener("online", woken);
  window.addEventListener("focus", woken);
  document.addEventListener("visibilitychange", woken);
  window.addEventListener("beforeunload", warn);
  void flush();
}

export function stopOutbox(): void {
  window.removeEventListener("online", woken);
  window.removeEventListener("focus", woken);
  document.removeEventListener("visibilitychange", woken);
  window.removeEventListener("beforeunload", warn);
  window.clearTimeout(timer);
}
