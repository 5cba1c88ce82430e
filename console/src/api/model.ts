// What the API says, by the names the console uses. Only fields that a page reads are listed.

export type TierName = "red" | "orange" | "yellow" | "blue";
export type TierNow = TierName | "none";
export type Condition = "active" | "cleared";
export type Direction = "high" | "low" | "state" | "stale";
export type Workflow =
  | "new" | "acked" | "dispatched" | "signed" | "verified" | "handling" | "submitted" | "closed";
export type Stage =
  | "raised" | "dispatched" | "signed" | "verified" | "handling" | "submitted" | "closed";
export type Action =
  | "dispatch" | "sign" | "verify" | "handle" | "submit" | "close" | "return" | "reopen"
  | "comment" | "attach" | "escalate";
export type Verdict = "real" | "false_alarm" | "test" | "maintenance" | "unknown";
export type Role =
  | "admin" | "supervisor" | "operator" | "authority" | "enterprise" | "auditor" | "tester";
export type Party = "enterprise" | "authority";

/** A text in both languages, as catalogue and rules carry it. */
export interface Bilingual { zh: string; en: string }
export interface Ref { id: number; code: string; name: string }

export interface Me {
  username: string;
  display_name: string;
  role: Role;
  language: string;
  enterprise: Ref | null;
  permissions: string[];
}

/** One row of the live list; fields without content are left out by the server. */
export interface CompactAlarm {
  id: string;
  ver: number;
  tier: TierName;
  tier_now?: TierNow;
  kind: string;
  cond: Condition;
  wf: Workflow;
  stage?: Stage;
  ack?: { by: string; at: string };
  ent: [code: string, name: string];
  dev: [code: string, name: string];
  pt: string;
  loc?: string;
  val?: number;
  unit?: string;
  lim?: number;
  dir?: Direction;
  raised: string;
  upd?: string;
  rtn?: string;
  case?: string;
  rev?: number;
  due?: [stage: string, at: string];
  late?: boolean;
  sim?: boolean;
}

export interface Snapshot {
  seq: number;
  epoch: string;
  as_of: string;
  total: number;
  truncated: boolean;
  items: CompactAlarm[];
}

export type AlarmOp =
  | { op: "put"; a: CompactAlarm }
  | { op: "del"; id: string; ver: number; why?: string };
export interface AlarmBatch { from: number; seq: number; ops: AlarmOp[] }

export interface TierCount { open: number; unacked: number; overdue: number }
export interface Counts { tiers: Partial<Record<TierName, TierCount>>; seq?: number }
export interface Hello {
  epoch: string;
  seq: number;
  server_time: string;
  batch_ms?: number;
  hb_s?: number;
  build?: string;
}
/** `behind_s`: the service itself has been without its database for so long. */
export interface Heartbeat { t: string; seq: number; behind_s?: number }
export interface Reset { reason: string; seq?: number }

export interface Limit { tier: TierName; limit: number; direction: Direction }
export interface Episode {
  version: number;
  change: "raised" | "tier" | "cleared" | "acknowledged";
  tier: TierNow | null;
  value?: number | null;
  limit?: number | null;
  changed_at: string;
  recorded_at?: string;
  actor?: string | null;
  note?: string | null;
}

export interface Alarm {
  id: string;
  version: number;
  tier: TierName;
  tier_now: TierNow | null;
  condition: Condition;
  acknowledged: boolean;
  acknowledged_by?: string | null;
  acknowledged_at?: string | null;
  acknowledge_note?: string | null;
  rule: {
    id: string;
    version: number;
    name?: Bilingual | null;
    guidance?: Bilingual | null;
    source?: string | null;
  };
  limit: number | null;
  value: number | null;
  direction: Direction;
  unit?: string | null;
  limits?: Limit[];
  point: { id: number; code: string; quantity: string };
  device: { id: number; code: string; name: string; kind: string; location?: unknown };
  enterprise: Ref;
  hazard_unit?: { code: string; name: string; grade?: number | null } | null;
  raised_at: string;
  recorded_at?: string | null;
  cleared_at?: string | null;
  found_late?: boolean;
  drill?: boolean;
  episodes?: Episode[];
  case?: { id: string; stage: Stage; revision: number; due?: Due | null } | null;
  allowed_actions: string[];
}

export interface Due { stage: string; at: string }
export interface Assignment {
  party: Party;
  assigned_to: string;
  dispatched_at: string;
  sign_due_at: string;
  signed_at?: string | null;
  signed_by?: string | null;
}
export interface Deadline { stage: string; due_at: string; done_at?: string | null; overdue?: boolean }
export interface CaseStep {
  revision: number;
  action: string;
  actor: string;
  actor_role?: string;
  taken_at: string;
  note?: string | null;
  body?: Record<string, unknown> | null;
}
export interface Evidence {
  id: string;
  file_name: string;
  media_type: string;
  size_bytes: number;
  sha256?: string;
  uploaded_by: string;
  uploaded_at: string;
}
export interface Case {
  id: string;
  alarm_id: string;
  stage: Stage;
  revision: number;
  tier: TierName;
  assignments: Assignment[];
  due?: Due | null;
  deadlines?: Deadline[];
  verdict?: Verdict | null;
  cause?: string | null;
  measures?: string | null;
  responsible?: string | null;
  funds?: string | null;
  deadline?: string | null;
  plan?: string | null;
  steps?: CaseStep[];
  evidence?: Evidence[];
  bypass_permit?: { granted_by: string; granted_at: string; reason: string } | null;
  reopened?: number;
  returned?: number;
  allowed_actions: string[];
}

/** A raw reading, or the summary of a bucket of them. */
export type ReadingItem =
  | { observed_at: string; value: number | null; quality: "good" | "uncertain" | "bad" }
  | { from: string; min: number | null; max: number | null; mean: number | null; last?: number | null };
export interface Page<Item> { items: Item[]; next_cursor: string | null }

export interface DeviceKind {
  code: string;
  name: Bilingual;
  rules: { id: string; name: Bilingual }[];
}
