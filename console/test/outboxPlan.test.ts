import assert from "node:assert/strict";
import test from "node:test";
import { ApiError, Unreachable } from "../src/api/client.ts";
import type { Case } from "../src/api/model.ts";
import { due, foreseen, stillMeant, verdictOn, type Kept } from "../src/core/outboxPlan.ts";
import { fitted } from "../src/core/shrink.ts";

const at = "2026-11-22T01:00:00.000Z";
const charge = (party: "enterprise" | "authority", signed_at: string | null) =>
  ({ party, post: "assignee", assigned_to: "", dispatched_at: at, sign_due_at: at, signed_at, signed_by: null });
const dispatched = {
  id: "c", stage: "dispatched", tier: "orange", revision: 2, allowed_actions: ["sign", "comment", "attach"],
  assignments: [charge("enterprise", null), charge("authority", at)], checks: [],
} as unknown as Case;
const item = (n: number, change: Partial<Kept>): Kept => ({
  n, key: `k${n}`, by: "zhang", case: "c", alarm: "a", point: "GD-1.lel", action: "sign", body: {}, revision: 2, stage: "dispatched",
  tier: "orange", at: Date.parse(at), ...change,
});

test("a person without network walks on through steps that are only kept", () => {
  const walk = [
    item(1, {}), item(2, { action: "verify", body: { verdict: "real" }, stage: "signed" }), item(3, { action: "handle", stage: "verified" }),
  ];
  assert.deepEqual(walk.map((_, nth) => foreseen(dispatched, walk.slice(0, nth), "enterprise").stage), ["dispatched", "signed", "verified"]);
  const end = foreseen(dispatched, walk, "enterprise");
  assert.equal(end.stage, "handling");
  assert.equal(end.verdict, "real");
  assert.deepEqual(end.allowed_actions, ["comment", "attach", "submit"]);
});

test("where the other side has not signed, signing leads nowhere yet", () => {
  const open = { ...dispatched, assignments: [charge("enterprise", null), charge("authority", null)] } as Case;
  const seen = foreseen(open, [item(1, {})], "enterprise");
  assert.equal(seen.stage, "dispatched");
  assert.deepEqual(seen.allowed_actions, ["comment", "attach"]);
});

test("what waits for a person foretells nothing", () => {
  assert.equal(foreseen(dispatched, [item(1, { stuck: "409" })], "enterprise").stage, "dispatched");
});

test("a refusal is final where trying again cannot help", () => {
  const refusals = [[401, "", "login"], [409, "overtaken", "look"], [409, "step_refused", "stuck"], [404, "", "stuck"], [413, "", "stuck"],
    [415, "", "stuck"], [422, "", "stuck"], [429, "", "wait"], [500, "", "wait"], [503, "", "wait"]] as const;
  for (const [status, code, verdict] of refusals) assert.equal(verdictOn(new ApiError(status, { code })), verdict, `${status} ${code}`);
  assert.equal(verdictOn(new Unreachable("no answer")), "wait");
});

test("another revision matters only where it is another thing that the person decided on", () => {
  const now = (change: Partial<Case>) => ({ ...dispatched, revision: 5, ...change }) as Case;
  assert.ok(stillMeant(item(1, {}), now({})));
  assert.ok(stillMeant(item(1, {}), now({ tier: "yellow" })));
  assert.ok(!stillMeant(item(1, {}), now({ tier: "red" })));
  assert.ok(!stillMeant(item(1, {}), now({ stage: "signed" })));
  assert.ok(!stillMeant(item(1, {}), now({ allowed_actions: ["comment"] })));
  assert.ok(stillMeant(item(1, { action: "comment" }), now({ stage: "handling", tier: "red" })));
});

test("a step that waits for a person holds up the steps behind it in its case, and nothing else", () => {
  const file = new Blob(["x"]);
  const items = [item(1, { stuck: "409" }), item(2, { action: "verify" }), item(3, { action: "attach", file }), item(4, { case: "d" }),
    item(5, { case: "e", action: "attach", file, stuck: "415" }), item(6, { case: "e", action: "comment" })];
  assert.deepEqual(due(items).map(({ n }) => n), [3, 4, 6]);
});

test("a picture is fitted into 1,600 px and never blown up", () => {
  assert.deepEqual(fitted(4000, 3000), [1600, 1200]);
  assert.deepEqual(fitted(300, 8000), [60, 1600]);
  assert.deepEqual(fitted(640, 480), [640, 480]);
  assert.deepEqual(fitted(20000, 1), [1600, 1]);
});
