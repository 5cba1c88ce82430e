// What is kept on the phone until the service has it, and what follows from how the service
// answers. No storage and no network here; outbox.ts has both.
import { ApiError, Unreachable } from "../api/client.ts";
import type { Action, Case, CaseBrief, Party, Role, Stage, TierName } from "../api/model.ts";
import { TIERS } from "./tiers.ts";

/** A step or a file, as it was meant: on which case, as the person saw it. */
export interface Kept {
  /** Of the storage, in the order of keeping. */
  n?: number;
  /** Under which the service knows it when it comes again. */
  key: string;
  by: string;
  case: string;
  alarm: string;
  point: string;
  action: Action;
  body: Record<string, unknown>;
  /** Null: on whatever the step kept before it leaves behind. */
  revision: number | null;
  stage: Stage;
  tier: TierName;
  file?: Blob;
  name?: string;
  /** Unix milliseconds of this phone, shown and not sent. */
  at: number;
  /** Why it needs a person: empty while it only waits. */
  stuck?: string;
}

/** What to do with an item after the service refused it, or did not answer. */
export type Verdict = "wait" | "look" | "stuck" | "login";

/** `wait`: the same again later. `look`: see how the case stands. `stuck`: a person decides. */
export function verdictOn(problem: unknown): Verdict {
  if (problem instanceof Unreachable) return "wait";
  if (!(problem instanceof ApiError)) return "stuck";
  if (problem.status === 401) return "login";
  if (problem.status === 429 || problem.status >= 500) return "wait";
  return problem.code === "overtaken" ? "look" : "stuck";
}

const BESIDE: ReadonlySet<Action> = new Set(["comment", "attach"]);

/** Whether the case is still what the person decided on, although its revision is another. */
export function stillMeant(item: Kept, found: Case): boolean {
  if (!found.allowed_actions.includes(item.action)) return false;
  if (BESIDE.has(item.action)) return true;
  return found.stage === item.stage && TIERS.indexOf(found.tier) >= TIERS.indexOf(item.tier);
}

/** Which items may be tried now: in each case up to the first that waits for a person; files go on. */
export function due(items: readonly Kept[]): Kept[] {
  const held = new Set<string>();
  return items.filter((item) => {
    if (item.stuck && item.file === undefined) held.add(item.case);
    return !item.stuck && (item.file !== undefined || !held.has(item.case));
  });
}

const SIDES: Partial<Record<Role, Party>> = { enterprise: "enterprise", authority: "authority" };
const ON: Readonly<Record<string, { from: Stage; to: Stage; then: readonly Action[] }>> = {
  verify: { from: "signed", to: "verified", then: ["handle"] },
  handle: { from: "verified", to: "handling", then: ["submit"] },
  submit: { from: "handling", to: "submitted", then: [] },
};

/** What is foreseen of a case, whether all of it is known or only what lists show. */
type Known = CaseBrief & Partial<Pick<Case, "checks">>;

/** The case as it will be once `items` are taken, so that a person without network goes on. */
export function foreseen<Found extends Known>(found: Found, items: readonly Kept[], role: Role): Found {
  return items.filter((item) => item.case === found.id && !item.stuck)
    .reduce((before, item) => ({ ...before, ...after(before, item, role) }), found);
}

function after(before: Known, item: Kept, role: Role): Partial<Known> {
  if (item.action === "sign") return signed(before, item, role);
  if (item.action === "tick" || item.action === "untick") return ticked(before, item);
  const step = ON[item.action];
  if (!step || before.stage !== step.from) return {};
  const verdict = item.action === "verify" ? { verdict: item.body["verdict"] as Case["verdict"] } : {};
  return { ...verdict, stage: step.to, allowed_actions: [...besides(before), ...step.then], due: null };
}

const besides = (before: Known) =>
  before.allowed_actions.filter((one) => BESIDE.has(one) || one === "tick" || one === "untick");

function signed(before: Known, item: Kept, role: Role): Partial<Known> {
  let open = before.stage === "dispatched";
  const assignments = before.assignments.map((one) => {
    if (!open || one.party !== SIDES[role] || one.signed_at) return one;
    open = false;
    return { ...one, signed_at: new Date(item.at).toISOString(), signed_by: item.by };
  });
  if (assignments.some(({ signed_at: at }) => at === null)) {
    const own = assignments.some(({ party, signed_at: at }) => party === SIDES[role] && at === null);
    return { assignments, allowed_actions: own ? before.allowed_actions : besides(before), due: null };
  }
  const then: Action[] = role === "enterprise" ? ["verify"] : [];
  return { assignments, stage: "signed", allowed_actions: [...besides(before), ...then], due: null };
}

const ticked = (before: Known, item: Kept): Partial<Known> => ({
  checks: (before.checks ?? []).map((one) => (one.item !== item.body["item"] ? one : item.action === "tick"
    ? { ...one, ticked_at: new Date(item.at).toISOString(), ticked_by: item.by }
    : { ...one, ticked_at: null, ticked_by: null })),
});
