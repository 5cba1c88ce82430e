// The page's live state: the alarm store fed by snapshot and stream, the counters, the link.
import { computed, shallowRef, triggerRef } from "vue";
import { alarmCounts, openAlarms } from "../api/client.ts";
import type { HubMessage } from "../api/hub.ts";
import type { Counts } from "../api/model.ts";
import { openStream, type Stream } from "../api/stream.ts";
import { AlarmStore } from "./alarmStore.ts";
import { serverNow } from "./clock.ts";
import { linkAfter, type Link } from "./link.ts";
import { refreshSession } from "./session.ts";
import { noteHeard, notePainted } from "./traffic.ts";

/** Snapshot retries back off up to this. */
const RETRY_MAX_MS = 30_000;

export const store = new AlarmStore(() => scheduleFrame());
/** Triggered once per frame in which rows changed; the map itself is never made reactive. */
export const rows = shallowRef(store.rows);
export const counts = shallowRef<Counts | null>(null);
/** False while the last snapshot failed: the list shown is the last good one. */
export const isFresh = shallowRef(false);
export const hasList = shallowRef(false);

/** Version of the service that the stream comes from. */
export const build = shallowRef("");

const heardAt = shallowRef(Date.now());
const lagMs = shallowRef<number | null>(null);
const isConnected = shallowRef(false);
/** Ticks once a second; server time in Unix milliseconds. */
export const now = shallowRef(serverNow());
const pcNow = shallowRef(Date.now());

export const link = computed<Link>(() =>
  linkAfter(pcNow.value - heardAt.value, isConnected.value, lagMs.value));

let stream: Stream | null = null;
let ticker = 0;
let frame = 0;
let retryTimer = 0;
let retryMs = 1_000;
let loading = false;
let again = false;

function scheduleFrame(): void {
  if (frame !== 0) return;
  const draw = () => {
    frame = 0;
    triggerRef(rows);
    notePainted();
  };
  // A hidden page gets no frames; its rows shall still be right when it is shown.
  frame = document.hidden ? window.setTimeout(draw, 200) : window.requestAnimationFrame(draw);
}

export function startLive(): void {
  if (stream !== null) return;
  heardAt.value = pcNow.value = Date.now();
  stream = openStream(take);
  store.reset();
  ticker = window.setInterval(() => {
    pcNow.value = Date.now();
    now.value = serverNow();
  }, 1_000);
  void takeSnapshot();
}

/** Somebody signed in here: connect with the new session; of another person nothing stays. */
export function restartLive(samePerson: boolean): void {
  if (!samePerson) forget();
  startLive();
  stream?.session();
  resnapshot();
}

function forget(): void {
  store.clear();
  counts.value = null;
  isFresh.value = hasList.value = false;
}

export function stopLive(): void {
  stream?.session(); // other tabs share the session that has just ended
  stream?.close();
  stream = null;
  window.clearInterval(ticker);
  window.clearTimeout(retryTimer);
  isConnected.value = false;
  forget();
}

let cutTimer = 0;
/** Hears nothing for so long, as if the network were gone; for trying out what the page says then. */
export function cutLive(ms: number): void {
  stream?.close();
  isConnected.value = false;
  window.clearTimeout(cutTimer);
  cutTimer = window.setTimeout(() => {
    if (stream === null) return; // signed out meanwhile
    stream = openStream(take);
    resnapshot();
  }, ms);
}

function take(message: HubMessage): void {
  noteHeard(message);
  if (message.type === "down") {
    isConnected.value = false;
    void refreshSession(); // refused because the session ended, or really unreachable
    return;
  }
  heardAt.value = pcNow.value = Date.now();
  switch (message.type) {
    case "up":
      isConnected.value = true;
      build.value = message.hello.build ?? "";
      if (store.ready && store.epoch !== message.hello.epoch) resnapshot();
      else if (!isFresh.value) void takeSnapshot();
      break;
    case "alarms": {
      const outcome = store.apply(message.epoch, message.batch);
      if (outcome === "gap" || outcome === "epoch") resnapshot();
      break;
    }
    case "counts":
      counts.value = message.counts;
      break;
    case "hb":
      lagMs.value = Math.max(0, serverNow() - Date.parse(message.hb.t));
      // A server that cannot see its database knows nothing newer, however well it is connected.
      heardAt.value -= (message.hb.behind_s ?? 0) * 1_000;
      break;
    case "reset":
      resnapshot();
      break;
    case "session": // another tab signed in or out
      void refreshSession().then(resnapshot);
      break;
  }
}

function resnapshot(): void {
  store.reset();
  void takeSnapshot();
}

async function takeSnapshot(): Promise<void> {
  if (loading) {
    again = true; // the one under way may be from before the reason for this one
    return;
  }
  loading = true;
  window.clearTimeout(retryTimer);
  try {
    const snapshot = await openAlarms();
    if (store.load(snapshot) === "gap") again = true;
    isFresh.value = hasList.value = true;
    retryMs = 1_000;
    counts.value = await alarmCounts();
  } catch {
    isFresh.value = store.ready;
    if (stream !== null) retryTimer = window.setTimeout(() => void takeSnapshot(), retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
  } finally {
    loading = false;
  }
  if (again) {
    again = false;
    resnapshot();
  }
}
