// What each step of a case asks of the person who takes it. Which steps are allowed comes from
// the server; this table only says what their small forms hold.
import type { TierName, Verdict } from "../api/model.ts";

export type FieldKind = "text" | "long" | "date" | "verdict" | "file";
export interface Field { name: string; kind: FieldKind; required: boolean }

export const VERDICTS: readonly Verdict[] = ["real", "false_alarm", "test", "maintenance", "unknown"];

const note = (required: boolean): Field => ({ name: "note", kind: "long", required });
const long = (name: string): Field => ({ name, kind: "long", required: true });

/** The five that a red alarm needs: responsible, measures, funds, deadline, plan (五落实). */
const RED_FIELDS: readonly Field[] = [
  { name: "responsible", kind: "text", required: true },
  { name: "funds", kind: "text", required: true },
  { name: "deadline", kind: "date", required: true },
  long("plan"),
];

const FIELDS: Readonly<Record<string, readonly Field[]>> = {
  dispatch: [note(false)],
  sign: [],
  verify: [{ name: "verdict", kind: "verdict", required: true }, note(false)],
  handle: [note(false)],
  submit: [long("cause"), long("measures")],
  close: [note(false)],
  return: [note(true)],
  reopen: [note(false)],
  escalate: [note(false)],
  comment: [note(true)],
  attach: [{ name: "file", kind: "file", required: true }],
  permit: [{ name: "permit", kind: "long", required: true }],
  tick: [{ name: "item", kind: "text", required: true }],
  untick: [{ name: "item", kind: "text", required: true }],
};

/** The fields of a step's form. Red and orange are submitted with evidence, if none is there yet. */
export function fieldsOf(action: string, tier: TierName, evidence = 0): readonly Field[] {
  const fields = FIELDS[action] ?? [note(false)];
  if (action !== "submit") return fields;
  const needsProof = (tier === "red" || tier === "orange") && evidence === 0;
  const file: Field = { name: "file", kind: "file", required: needsProof };
  return [...fields, ...(tier === "red" ? RED_FIELDS : []), file];
}

/** Steps that carry a case on, in the order in which they come. */
const ONWARD: readonly string[] = [
  "dispatch", "sign", "verify", "handle", "submit", "close", "return", "reopen",
];
const BESIDE: readonly string[] = ["attach", "comment", "escalate"];

/** Steps that are no button here: items are ticked in their list, the others have no form yet. */
const ELSEWHERE: readonly string[] = ["tick", "untick", "amend", "merge", "split"];

/** The allowed steps: the next one first, then the others; unknown ones last, never dropped. */
export function inOrder(allowed: readonly string[]): string[] {
  const rank = [...ONWARD, ...BESIDE];
  const place = (action: string) => (rank.includes(action) ? rank.indexOf(action) : rank.length);
  return allowed.filter((action) => !ELSEWHERE.includes(action)).sort((a, b) => place(a) - place(b));
}

export const carriesOn = (action: string): boolean => ONWARD.includes(action);

/** Names of required fields that are still empty. */
export function missing(fields: readonly Field[], values: Readonly<Record<string, unknown>>): string[] {
  const isEmpty = (value: unknown) =>
    value === undefined || value === null || (typeof value === "string" && value.trim() === "");
  return fields.filter((field) => field.required && isEmpty(values[field.name])).map((field) => field.name);
}

/** The body of the step: filled fields only, texts trimmed. */
export function bodyOf(
  action: string, revision: number, fields: readonly Field[], values: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const body: Record<string, unknown> = { action: action === "permit" ? "attach" : action, revision };
  for (const { name, kind } of fields) {
    if (kind === "file") continue; // goes by itself, as evidence
    const value = values[name];
    const text = typeof value === "string" ? value.trim() : value;
    if (text !== undefined && text !== null && text !== "") body[name] = text;
  }
  return body;
}
