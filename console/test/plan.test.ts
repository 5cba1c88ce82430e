import assert from "node:assert/strict";
import test from "node:test";
import type { CompactAlarm, PlacedDevice } from "../src/api/model.ts";
import { alarmsOf, clusters, dots, fitted, marksOf, nearest, placeAt, zoomed } from "../src/core/plan.ts";
import { alarm } from "./rows.ts";

const device = (code: string, x: number | null, y: number | null): PlacedDevice =>
  ({ id: 1, code, name: "", kind: "gas_detector", online: true, x, y });
const at = (code: string, id: string, more: Partial<CompactAlarm> = {}) => alarm(id, 1, { dev: [code, code], ...more });
const ack = { by: "operator", at: "2026-11-22T01:00:00Z" };

test("a device is marked by its worst alarm, and one that stands nowhere is not", () => {
  const devices = [device("A", 1, 2), device("B", 3, 4), device("C", null, null)];
  const alarms = alarmsOf([
    at("A", "1", { tier: "yellow" }), at("A", "2", { tier: "red", ack }), at("B", "3"), at("C", "4", { tier: "red" }),
    at("B", "5", { ent: ["E2", "other"] }),
  ], "E001");
  const marks = marksOf(devices, alarms);
  assert.deepEqual(marks.map((one) => [one.device, one.alarm.tier, one.alarms, one.unacked]), [["A", "red", 2, true], ["B", "orange", 1, true]]);
});

test("marks that lie together become one with the worst tier, none is lost", () => {
  const devices = Array.from({ length: 5_000 }, (_, nth) => device(`D${nth}`, nth % 100, Math.floor(nth / 100)));
  const alarms = alarmsOf(devices.slice(0, 500).map(({ code }, nth) => at(code, code, { tier: nth === 7 ? "red" : "blue" })), "E001");
  const marks = marksOf(devices, alarms);
  assert.equal(marks.length, 500);
  const found = clusters(marks, 10);
  assert.equal(found.length, 10);
  assert.equal(found.reduce((sum, one) => sum + one.alarms, 0), 500);
  assert.deepEqual(found.filter(({ tier }) => tier === "red").map(({ x, y }) => [x, y]), [[7, 0]]);
  assert.equal(clusters(marks, 0.5).length, 500);
  assert.equal(dots([{ x: 1, y: 2 }, { x: 3, y: -4.5 }]), "M1 2h0M3 -4.5h0");
});

test("the nearest device within reach is found", () => {
  const devices = [device("A", 0, 0), device("B", 3, 0), device("C", null, null)];
  assert.equal(nearest(devices, { x: 2, y: 0 }, 5)?.code, "B");
  assert.equal(nearest(devices, { x: 20, y: 0 }, 5), null);
});

test("zooming keeps the place under the pointer, within bounds", () => {
  const size = { width: 400, height: 200 };
  const fit = fitted([0, 0, 100, 100], size);
  assert.deepEqual(fit, { x: 50, y: 50, scale: 2 });
  const px = { x: 300, y: 150 };
  const place = placeAt(fit, size, px);
  const near = zoomed(fit, 4, place, fit);
  assert.deepEqual(placeAt(near, size, px), place);
  assert.equal(zoomed(fit, 1e9, place, fit).scale, 120);
  assert.equal(zoomed(fit, 1e-9, place, fit).scale, 1);
});
