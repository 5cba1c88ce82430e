// One connection to the live stream, shared by every tab of this browser. Browsers allow six
// connections to a server over HTTP/1.1; a stream per tab would hang the seventh tab.
// The class knows neither SharedWorker nor page: both hand it what it needs.
import type { AlarmBatch, Counts, Heartbeat, Hello, Reset } from "./model.ts";

/** What the hub tells its pages. */
export type HubMessage =
  | { type: "up"; hello: Hello }
  | { type: "down" }
  | { type: "alarms"; epoch: string; batch: AlarmBatch }
  | { type: "counts"; counts: Counts }
  | { type: "hb"; hb: Heartbeat }
  | { type: "reset"; reason: string }
  | { type: "session" };
/** What pages tell the hub; `session` = somebody logged in or out, so the scope is another. */
export type PageMessage = { type: "join" } | { type: "leave" } | { type: "session" };

/** The part of EventSource that is used. */
export interface Source {
  addEventListener(type: string, listener: (event: { data?: unknown }) => void): void;
  close(): void;
}

export interface Surroundings {
  connect(address: string): Source;
  /** Calls back after `ms`; the result cancels it. */
  later(callback: () => void, ms: number): () => void;
  random(): number;
}

export const STREAM = "/api/v1/stream";
/** Reconnecting after 1 to 5 s, so that 200 clients do not return in one instant. */
const RETRY_FROM_MS = 1_000;
const RETRY_SPREAD_MS = 4_000;
/** Without a heartbeat for this long the connection is dead, whatever the browser thinks of it. */
export const DEAF_MS = 15_000;

export class Hub {
  private readonly world: Surroundings;
  private readonly pages = new Set<(message: HubMessage) => void>();
  private source: Source | null = null;
  private hello: Hello | null = null;
  private seq = -1;
  private isUp = false;
  private cancelRetry: (() => void) | null = null;
  private cancelDeaf: (() => void) | null = null;

  constructor(world: Surroundings) {
    this.world = world;
  }

  join(page: (message: HubMessage) => void): void {
    this.pages.add(page);
    if (this.isUp && this.hello) page({ type: "up", hello: { ...this.hello, seq: this.seq } });
    else if (this.source === null && this.cancelRetry === null) this.connect();
  }

  leave(page: (message: HubMessage) => void): void {
    this.pages.delete(page);
    if (this.pages.size === 0) this.drop();
  }

  /** Starts anew as whoever is logged in now. */
  session(from: (message: HubMessage) => void): void {
    for (const page of this.pages) if (page !== from) page({ type: "session" });
    this.drop();
    this.hello = null;
    this.seq = -1;
    if (this.pages.size > 0) this.connect();
  }

  private connect(): void {
    const since = this.hello && this.seq >= 0 ? `?since=${this.hello.epoch}:${this.seq}` : "";
    const source = this.world.connect(STREAM + since);
    this.source = source;
    const on = <Data>(type: string, take: (parsed: Data) => void) =>
      source.addEventListener(type, (event) => {
        if (this.source !== source) return; // an event of a connection already given up
        const parsed = parse<Data>(event.data);
        if (parsed === null) return;
        this.listen();
        take(parsed);
      });
    on<Hello>("hello", (hello) => this.greeted(hello));
    on<AlarmBatch>("alarms", (batch) => this.carry(batch));
    on<Counts>("counts", (counts) => this.tell({ type: "counts", counts }));
    on<Heartbeat>("hb", (hb) => this.tell({ type: "hb", hb }));
    on<Reset>("reset", ({ reason, seq }) => {
      this.seq = seq ?? this.seq;
      this.tell({ type: "reset", reason });
    });
    source.addEventListener("error", () => this.source === source && this.retry());
    this.listen();
  }

  private greeted(hello: Hello): void {
    // A resumed stream goes on after what was heard last; a new epoch starts at its own number.
    if (this.hello?.epoch !== hello.epoch || this.seq < 0) this.seq = hello.seq;
    this.hello = hello;
    this.isUp = true;
    this.tell({ type: "up", hello });
  }

  private carry(batch: AlarmBatch): void {
    this.seq = Math.max(this.seq, batch.seq);
    this.tell({ type: "alarms", epoch: this.hello?.epoch ?? "", batch });
  }

  private listen(): void {
    this.cancelDeaf?.();
    this.cancelDeaf = this.world.later(() => this.retry(), DEAF_MS);
  }

  private retry(): void {
    this.drop();
    this.tell({ type: "down" });
    if (this.pages.size === 0) return;
    this.cancelRetry = this.world.later(() => {
      this.cancelRetry = null;
      this.connect();
    }, RETRY_FROM_MS + this.world.random() * RETRY_SPREAD_MS);
  }

  private drop(): void {
    this.cancelRetry?.();
    this.cancelDeaf?.();
    this.cancelRetry = this.cancelDeaf = null;
    this.source?.close();
    this.source = null;
    this.isUp = false;
  }

  private tell(message: HubMessage): void {
    for (const page of this.pages) page(message);
  }
}

function parse<Data>(text: unknown): Data | null {
  try {
    return JSON.parse(String(text)) as Data;
  } catch {
    return null; // a broken line is left out; the gap it leaves asks for a snapshot
  }
}
