// What the API says, by the names the console uses: shapes from its OpenAPI description, words
// narrowed to the closed lists they come from. The stream has no description, so it stands here.
import type { components } from "./types.gen.ts";

type Schemas = components["schemas"];
/** `Wide` with some of its fields said more exactly; a field that `Wide` lost is an error. */
type Said<Wide, Exact extends Partial<Record<keyof Wide, unknown>>> = Omit<Wide, keyof Exact> & Exact;

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
  | "comment" | "attach" | "escalate" | "tick" | "untick" | "amend" | "merge" | "split";
export type Verdict = "real" | "false_alarm" | "test" | "maintenance" | "unknown";
export type Role =
  | "admin" | "supervisor" | "operator" | "authority" | "enterprise" | "auditor" | "tester";
export type Party = "enterprise" | "authority";

/** A text in both languages, as catalogue and rules carry it. */
export type Bilingual = Schemas["Words"];
export type Me = Said<Schemas["Me"], { role: Role }>;

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
  /** `latched`: normal, to be reset; `shelved`, `suppressed`, `out_of_service`: no sound, no flash. */
  flags?: string[];
  shelf?: { kind: string; by: string; why: string; until: string };
}

export type Snapshot = Said<Schemas["SnapshotOut"], { items: CompactAlarm[] }>;
export type AlarmOp =
  | { op: "put"; a: CompactAlarm }
  | { op: "del"; id: string; ver: number; why?: string };
export interface AlarmBatch { from: number; seq: number; ops: AlarmOp[] }

export type Counts = Schemas["CountsOut"];
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

export type Limit = Said<Schemas["LimitOut"], { tier: TierName; direction: Direction }>;
export type Episode = Said<Schemas["Episode"], { tier: TierNow | null }>;
export type Alarm = Said<Schemas["Alarm"], {
  tier: TierName;
  tier_now: TierNow | null;
  condition: Condition;
  direction: Direction;
  limits: Limit[];
  episodes: Episode[];
}>;

export type BulkResult = Schemas["BulkOut"];

export type CaseStep = Schemas["StepOut"];
export type Evidence = Schemas["EvidenceOut"];
export type Case = Said<Schemas["CaseBrief"], { tier: TierName }> & {
  steps: CaseStep[];
  evidence: Evidence[];
  checks: Said<Schemas["CheckOut"], { text: Bilingual }>[];
  deadlines: Schemas["DeadlineOut"][];
};

export type CaseBrief = Said<Schemas["CaseBrief"], { tier: TierName }>;
export type AlarmLine = Said<Schemas["AlarmLine"], { tier: TierName }>;
export type Hold = Said<Schemas["HoldOut"], { tier: TierName }>;
export type Shift = Schemas["ShiftOut"];
export type CurrentShift = Schemas["CurrentOut"];
export type LogLine = Schemas["LineOut"];

export type HazardBrief = Schemas["HazardBrief"];
export type Hazard = Schemas["HazardOut"];
export type Drill = Said<Schemas["DrillOut"], { tier: TierName }>;
export type DeadLetter = Schemas["DeadLetter"];
export type Statement = Schemas["StatementOut"];
export type Balance = Schemas["Balance"];
export type Notice = Said<Schemas["NoticeOut"], { tier: TierName }>;
export type Contact = Schemas["Contact"];
export type SimulationRun = Schemas["SimulationOut"];
export type SimulationList = Schemas["SimulationList"];
export type SimulationReport = Schemas["SimulationReport"];
export type StandIn = Schemas["StandIn"];
export type LedgerLine = Schemas["LedgerLine"];
export type Anchor = Schemas["Anchor"];
export type Enterprise = Schemas["Enterprise"];
export type Gateway = Schemas["Gateway"];
export type GatewaySecret = Schemas["GatewayWithSecret"];
export type Device = Schemas["Device"];
export type PointLimits = Schemas["PointLimits"];
export type LatestReading = Schemas["LatestReading"];

export type Plan = Schemas["Plan"];
export type PlacedDevice = Schemas["PlacedDevice"];
export type HazardUnit = Schemas["HazardUnit"];
export type LevelPart = Schemas["LevelPart"];
export type NotedLevel = Schemas["NotedOut"];
export type Risk = Schemas["RiskOut"];
export type RiskChange = Schemas["RiskChange"];
export type UnitLevel = Schemas["UnitLevelOut"];
export type WhatIf = Schemas["WhatIfOut"];

export type Handling = Schemas["HandlingOut"];
export type Response = Schemas["ResponseOut"];
export type Connectivity = Schemas["ConnectivityOut"];
export type AlarmSystem = Schemas["AlarmSystemOut"];
export type SystemHealth = Schemas["SystemHealth"];
export type Ready = Schemas["Ready"];
export type Members = Said<Schemas["MembersOut"], { next_cursor: string | null }>;

export type Report = Schemas["ReportOut"];
export type ReportWithContents = Schemas["ReportWithContents"];

/** One line of a section of the handover sheet: an alarm, a case or a hold. */
export interface SheetItem {
  id: string | number;
  tier?: number;
  point?: string;
  device?: string;
  enterprise?: string;
  stage?: Stage;
  due_at?: string;
  raised_at?: string;
  kind?: string;
  until?: string;
  by?: string;
  reason?: string;
  alarm_id?: string;
}
export interface SheetSection { total: number; items: SheetItem[] }
export type Sheet = Said<Schemas["SheetOut"], { sheet: Record<string, SheetSection> }>;

/** A raw reading, or the summary of a bucket of them. */
export type ReadingItem =
  | Pick<Schemas["Reading"], "observed_at" | "value" | "quality">
  | Pick<Schemas["Bucket"], "from" | "min" | "max" | "mean">;
export interface Page<Item> { items: Item[]; next_cursor: string | null }

export type DeviceKind = Said<Schemas["DeviceKindOut"], { rules: { id: string; name: Bilingual }[] }>;
export type RuleLine = Schemas["RuleLine"];
export type RuleLife = Schemas["RuleLife"];
export type RuleVersion = Schemas["VersionOut"];
export type RuleDraft = Schemas["DraftOut"];
export type Backtest = Schemas["BacktestWithResult"];
