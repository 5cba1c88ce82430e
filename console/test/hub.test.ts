import assert from "node:assert/strict";
import { test } from "node:test";
import { DEAF_MS, Hub, type HubMessage } from "../src/api/hub.ts";

class Line {
  readonly address: string;
  closed = false;
  private readonly listeners = new Map<string, (event: { data?: unknown }) => void>();
  constructor(address: string) {
    this.address = address;
  }
  addEventListener(type: string, listener: (event: { data?: unknown }) => void): void {
    this.listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  say(type: string, data?: unknown): void {
    this.listeners.get(type)?.({ data: data === undefined ? undefined : JSON.stringify(data) });
  }
}

/** A hub with its lines and its timers in the test's hands. */
function setUp() {
  const lines: Line[] = [];
  const timers = new Set<{ callback: () => void; ms: number }>();
  const hub = new Hub({
    connect: (address) => {
      const line = new Line(address);
      lines.push(line);
      return line;
    },
    later: (callback, ms) => {
      const timer = { callback, ms };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    random: () => 0.5,
  });
  const fire = () => {
    const [timer] = timers;
    assert.ok(timer, "a timer is set");
    timers.delete(timer);
    timer.callback();
    return timer.ms;
  };
  const last = () => lines.at(-1) as Line;
  return { hub, lines, fire, last, timers };
}
const HELLO = { epoch: "e1", seq: 40, server_time: "2026-11-22T01:12:07Z" };
const types = (heard: HubMessage[]) => heard.map(({ type }) => type);

test("many pages share one connection and all hear the same", () => {
  const { hub, lines, last } = setUp();
  const [one, two]: [HubMessage[], HubMessage[]] = [[], []];
  hub.join((message) => one.push(message));
  hub.join((message) => two.push(message));
  last().say("hello", HELLO);
  last().say("alarms", { from: 41, seq: 41, ops: [] });
  assert.equal(lines.length, 1);
  assert.deepEqual(types(one), ["up", "alarms"]);
  assert.deepEqual(one, two);
});
test("a page that joins later is greeted with the number reached", () => {
  const { hub, last } = setUp();
  hub.join(() => {});
  last().say("hello", HELLO);
  last().say("alarms", { from: 41, seq: 43, ops: [] });
  const heard: HubMessage[] = [];
  hub.join((message) => heard.push(message));
  assert.deepEqual(heard, [{ type: "up", hello: { ...HELLO, seq: 43 } }]);
});
test("a lost connection is told and resumed after a pause where it broke off", () => {
  const { hub, last, fire, lines } = setUp();
  const heard: HubMessage[] = [];
  hub.join((message) => heard.push(message));
  last().say("hello", HELLO);
  last().say("alarms", { from: 41, seq: 44, ops: [] });
  last().say("error");
  assert.equal(heard.at(-1)?.type, "down");
  assert.equal(fire(), 3_000);
  assert.equal(lines.length, 2);
  assert.ok(last().address.endsWith("?since=e1:44"), last().address);
});
test("a connection that says nothing is given up", () => {
  const { hub, last, fire, lines } = setUp();
  const heard: HubMessage[] = [];
  hub.join((message) => heard.push(message));
  last().say("hello", HELLO);
  assert.equal(fire(), DEAF_MS);
  assert.equal(lines[0]?.closed, true);
  assert.equal(heard.at(-1)?.type, "down");
});
test("after a reset it goes on from the number that the reset names", () => {
  const { hub, last, fire } = setUp();
  hub.join(() => {});
  last().say("hello", HELLO);
  last().say("reset", { reason: "gap", seq: 90 });
  last().say("error");
  fire();
  assert.ok(last().address.endsWith("?since=e1:90"));
});
test("the last page to leave ends the connection and its timers", () => {
  const { hub, lines, timers } = setUp();
  const page = () => {};
  hub.join(page);
  hub.leave(page);
  assert.equal(lines[0]?.closed, true);
  assert.equal(timers.size, 0);
});
test("another session starts without the former one's position and tells the other pages", () => {
  const { hub, last } = setUp();
  const other: HubMessage[] = [];
  const page = () => {};
  hub.join(page);
  hub.join((message) => other.push(message));
  last().say("hello", HELLO);
  hub.session(page);
  assert.equal(last().address, "/api/v1/stream");
  assert.deepEqual(types(other), ["up", "session"]);
});
test("a line that cannot be read is left out", () => {
  const { hub, last } = setUp();
  const heard: HubMessage[] = [];
  hub.join((message) => heard.push(message));
  last().say("alarms");
  assert.deepEqual(heard, []);
});
