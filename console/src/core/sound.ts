// The one sound of this browser. Made by Web Audio, no files. A browser keeps an AudioContext
// silent until somebody has clicked; that state is always on screen, since silence must never be
// mistaken for safety. Of several windows the last one that was clicked in sounds.
import { computed, shallowRef, watch } from "vue";
import { counts, link, now, rows } from "./live.ts";
import { isUnacked } from "./order.ts";
import { FLOOD_EVERY_MS, PATTERNS, SILENCE_MS, toneOf, worstOf, type Pattern } from "./soundPlan.ts";

/** The window that sounds says so this often; without it for `LOST_MS` another one takes over. */
const HERE_MS = 2_000;
const LOST_MS = 20_000;
/** A window just opened asks who sounds, and waits so long for an answer. */
const ASK_MS = 2_000;
const TICK_MS = 250;

export type SoundState = "blocked" | "elsewhere" | "silenced" | "on";
const context = new AudioContext();
const running = shallowRef(context.state === "running");
const mine = shallowRef(false);
const silencedUntil = shallowRef(0);
let heardOther = performance.now() - LOST_MS + ASK_MS;
context.addEventListener("statechange", () => (running.value = context.state === "running"));

const silenced = computed(() => now.value < silencedUntil.value);
export const soundState = computed<SoundState>(() =>
  !running.value ? "blocked" : !mine.value ? "elsewhere" : silenced.value ? "silenced" : "on");
export const silenceLeftMs = computed(() => Math.max(0, silencedUntil.value - now.value));
const inFlood = computed(() => counts.value?.flood?.on ?? false);
/** What is being sounded, also where it cannot be heard. */
export const tone = computed(() =>
  toneOf(worstOf(rows.value.values()), link.value.state === "amber" || link.value.state === "red", silenced.value, inFlood.value));

const channel = new BroadcastChannel("hazardloop-sound");
channel.onmessage = ({ data }: MessageEvent<"who" | "mine" | "gone">) => {
  if (data === "who") {
    if (mine.value) channel.postMessage("mine");
  } else if (data === "gone") heardOther = Number.NEGATIVE_INFINITY;
  else {
    heardOther = performance.now();
    mine.value = false;
  }
};
channel.postMessage("who");
window.addEventListener("pagehide", () => mine.value && channel.postMessage("gone"));

/** A click: the browser lets us sound, and this window is the one that does. */
export async function enableSound(): Promise<void> {
  await context.resume();
  mine.value = true;
  channel.postMessage("mine");
  play(PATTERNS.yellow);
}

/** Two minutes of quiet; nothing is acknowledged by it. */
export function silence(): void {
  silencedUntil.value = silenced.value ? 0 : now.value + SILENCE_MS;
}

function play({ pulses }: Pattern): void {
  for (const { at, lasts, hz } of pulses) {
    for (const one of hz) {
      const [from, until] = [context.currentTime + at, context.currentTime + at + lasts];
      const [wave, volume] = [context.createOscillator(), context.createGain()];
      wave.frequency.value = one;
      volume.gain.setValueAtTime(0, from);
      volume.gain.linearRampToValueAtTime(0.25, from + 0.01);
      volume.gain.setValueAtTime(0.25, until - 0.02);
      volume.gain.linearRampToValueAtTime(0, until);
      wave.connect(volume).connect(context.destination);
      wave.start(from);
      wave.stop(until);
    }
  }
}

let playedAt = Number.NEGATIVE_INFINITY;
let played: string | null = null;
let saidHere = 0;
function tick(): void {
  const at = performance.now();
  if (running.value && !mine.value && at - heardOther > LOST_MS) mine.value = true;
  if (!running.value || !mine.value) return;
  if (at - saidHere > HERE_MS) {
    channel.postMessage("mine");
    saidHere = at;
  }
  const wanted = tone.value;
  const everyMs = wanted === null ? 0 : Math.max(PATTERNS[wanted].everyMs, inFlood.value ? FLOOD_EVERY_MS : 0);
  if (wanted === null) played = null;
  else if ((wanted !== played && !inFlood.value) || at - playedAt >= everyMs) {
    play(PATTERNS[wanted]);
    [played, playedAt] = [wanted, at];
  }
}

// A new red breaks the silence.
const reds = computed(() => [...rows.value.values()].filter((one) => one.tier === "red" && isUnacked(one)).map(({ id }) => id));
watch(reds, (ids, before) => {
  if (silenced.value && ids.some((id) => !before.includes(id))) silencedUntil.value = 0;
});

let ticker = 0;
export function startSound(): void {
  window.clearInterval(ticker);
  ticker = window.setInterval(tick, TICK_MS);
}
export function stopSound(): void {
  window.clearInterval(ticker);
}
