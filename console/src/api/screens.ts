// What the screens beside the alarm list ask for and send.
import { address, ask, type Query } from "./client.ts";
import type {
  AlarmLine, AlarmSystem, Anchor, CaseBrief, Contact, CurrentShift, DeadLetter, Device, Drill, Enterprise, Gateway, GatewaySecret,
  Connectivity, Handling, Hazard, HazardBrief, Hold, LatestReading, LedgerLine, LogLine, Members, Notice, Page, PointLimits, Report, ReportWithContents,
  Response, Sheet, Shift, SimulationList, SimulationReport, SimulationRun, StandIn, Statement,
  Backtest, HazardUnit, NotedLevel, PlacedDevice, Plan, Risk, RiskChange, RuleDraft, RuleLife, RuleLine, SystemHealth, UnitLevel, WhatIf,
} from "./model.ts";

export interface Paged { limit?: number; cursor?: string }
const id = (one: string | number): string => encodeURIComponent(one);
const list = <Item>(path: string, query: object) => ask<Page<Item>>("GET", path, { query: query as Query });

export interface CaseQuery extends Paged { state?: "open" | "closed"; stage?: readonly string[]; overdue?: boolean; from?: string }
export const cases = (query: CaseQuery) => list<CaseBrief>("/cases", query);
export const alarms = (query: Paged & Query) => list<AlarmLine>("/alarms", query);
export const alarmExport = (query: Query) => address("/alarms-export", query);

export const holds = (query: Paged & { state?: Hold["state"] }) => list<Hold>("/shelves", query);
export const shelve = (alarm: string, wish: object) => ask<Hold>("POST", `/alarms/${id(alarm)}/shelve`, { body: wish });
export const approveHold = (hold: number) => ask<Hold>("POST", `/shelves/${id(hold)}/approve`);
/** Ends what is in force, declines what was asked, or withdraws what one asked oneself. */
export const releaseHold = (hold: number) => ask<Hold>("POST", `/shelves/${id(hold)}/release`, { body: {} });

export const shifts = (query: { to?: string } = {}) => list<Shift>("/shifts", query);
export const currentShift = () => ask<CurrentShift>("GET", "/shifts/current");
export const sheet = (shift: number) => ask<Sheet>("GET", `/shifts/${id(shift)}`);
export const keepNotes = (shift: number, notes: string) =>
  ask<Sheet>("PUT", `/shifts/${id(shift)}`, { body: { notes } });
export const signSheet = (shift: number, step: "submit" | "accept") =>
  ask<Sheet>("POST", `/shifts/${id(shift)}/${step}`);
export const watchLog = (query: Paged & { q?: string }) => list<LogLine>("/log", query);
export const writeLog = (line: { category: string; text: string }) => ask<LogLine>("POST", "/log", { body: line });

export const hazards = (query: Paged & { state?: string; grade?: string; supervised?: boolean; recheck_due?: boolean }) =>
  list<HazardBrief>("/hazards", query);
export const hazard = (one: number) => ask<Hazard>("GET", `/hazards/${id(one)}`);
export const addHazard = (found: object) => ask<Hazard>("POST", "/hazards", { body: found });
export const hazardDeed = (one: number, deed: object) => ask<Hazard>("POST", `/hazards/${id(one)}/deeds`, { body: deed });
export const hazardExport = (wanted: "problems" | "measures") => address("/hazards-export", { list: wanted });

export const drills = (query: Paged) => list<Drill>("/drills", query);
export const announceDrill = (drill: object) => ask<Drill>("POST", "/drills", { body: drill });
export const cancelDrill = (one: number) => ask<Drill>("POST", `/drills/${id(one)}/cancel`);
export const certificate = (one: number, lang: string) => address(`/drills/${id(one)}/certificate`, { format: "html", lang });

export const deadLetters = (query: Paged & { reason?: string; from?: string }) => list<DeadLetter>("/dead-letters", query);
export const retryLetter = (one: number) => ask<DeadLetter>("POST", `/dead-letters/${id(one)}/retry`);
export const statement = (day: string) => ask<Statement>("GET", "/balance/daily", { query: { day } });
export const statementDocument = (day: string) => address("/balance/daily/document", { day });

export const notices = (query: Paged & { state?: string; too_few?: boolean }) => list<Notice>("/notifications", query);
export const resendNotice = (one: number) => ask<Notice>("POST", `/notifications/${id(one)}/resend`);
export const contacts = (query: Paged) => list<Contact>("/contacts", query);
export const standIns = (query: Paged) => list<StandIn>("/stand-ins", query);
export const addStandIn = (wish: object) => ask<StandIn>("POST", "/stand-ins", { body: wish });
export const endStandIn = (one: number) => ask<StandIn>("POST", `/stand-ins/${id(one)}/end`);
export const testMine = () => ask<{ notice: number }>("POST", "/me/test-notice");
export const addContact = (body: object) => ask<Contact>("POST", "/contacts", { body });
export const changeContact = (one: number, body: object) => ask<Contact>("PATCH", `/contacts/${id(one)}`, { body });
export const planShift = (body: object) => ask<Shift>("POST", "/shifts", { body });
export const testContact = (one: number) => ask<unknown>("POST", `/contacts/${id(one)}/test`);

export const simulations = () => ask<SimulationList>("GET", "/simulations");
export const simulation = (run: string) => ask<SimulationReport>("GET", `/simulations/${id(run)}`);
export const startSimulation = (wish: object) => ask<SimulationRun>("POST", "/simulations", { body: wish });
export const stopSimulation = (run: string) => ask<SimulationRun>("POST", `/simulations/${id(run)}/stop`);

export const ledger = (query: Paged & { actor?: string; action?: string; subject?: string; from?: string; to?: string }) =>
  list<LedgerLine>("/ledger", query);
export const anchors = (query: Paged) => list<Anchor>("/ledger/anchors", query);

export const enterprises = (query: Paged) => list<Enterprise>("/enterprises", query);
export const gateways = (query: Paged & { enterprise?: string }) => list<Gateway>("/gateways", query);
/** The answer is the only place where the secret is ever shown. */
export const rotateSecret = (one: number) => ask<GatewaySecret>("POST", `/gateways/${id(one)}/rotate-secret`);
export const devices = (query: Paged & { enterprise?: string; gateway?: string }) => list<Device>("/devices", query);
export const addEnterprise = (body: object) => ask<Enterprise>("POST", "/enterprises", { body });
export const changeEnterprise = (code: string, body: object) => ask<Enterprise>("PATCH", `/enterprises/${id(code)}`, { body });
export const addGateway = (body: object) => ask<GatewaySecret>("POST", "/gateways", { body });
export const addDevice = (body: object) => ask<Device>("POST", "/devices", { body });
export const changeDevice = (one: number, body: object) => ask<Device>("PATCH", `/devices/${id(one)}`, { body });
export const pointLimits = (point: number) => ask<PointLimits>("GET", `/points/${id(point)}/limits`);
export const latest = (query: Paged & { device: string }) => list<LatestReading>("/readings/latest", query);

export const systemHealth = () => ask<SystemHealth>("GET", "/system/health");

export const plans = () => ask<Plan[]>("GET", "/plans");
/** Another address for every drawing, so that a browser never shows the one before. */
export const drawingOf = (plan: Plan) => address(`/plans/${id(plan.id)}/drawing`, { revision: plan.revision });
export const planDevices = (plan: number) => ask<PlacedDevice[]>("GET", `/plans/${id(plan)}/devices`);
export const addPlan = (plan: { enterprise: string; name: string; drawing: string }) => ask<Plan>("POST", "/plans", { body: plan });
export const redraw = (plan: number, change: { revision: number; drawing: string }) => ask<Plan>("PUT", `/plans/${id(plan)}`, { body: change });
/** Null takes the device off the plan. */
export const placeDevice = (plan: number, device: number, spot: { x: number; y: number } | null) =>
  ask<unknown>("PUT", `/plans/${id(plan)}/devices/${id(device)}`, { body: spot ?? { x: null, y: null } });

export const hazardUnits = (query: Paged) => list<HazardUnit>("/hazard-units", query);
export const unitLevel = (unit: number) => ask<UnitLevel>("GET", `/hazard-units/${id(unit)}/level`);
export const levelHistory = (unit: number) =>
  ask<NotedLevel[]>("GET", `/hazard-units/${id(unit)}/level-history`, { query: { limit: 50 } });
/** May so much come in? Nothing is changed by asking. */
export const whatIf = (unit: number, change: { name: string; add_t: number; device?: string }) =>
  ask<WhatIf>("POST", `/hazard-units/${id(unit)}/what-if`, { body: { changes: [change] } });
export const risks = () => ask<Risk[]>("GET", "/risks");
export const riskHistory = (subject: string) => ask<RiskChange[]>("GET", "/risk-history", { query: { subject, limit: 50 } });

export interface FigureQuery { from: string; to: string; group_by?: string }
const figure = <Answer>(name: string, query: object) => ask<Answer>("GET", `/kpi/${name}`, { query: query as Query });
export const handling = (query: FigureQuery) => figure<Handling>("handling", query);
export const response = (query: FigureQuery) => figure<Response>("response", query);
export const connectivity = (query: FigureQuery) => figure<Connectivity>("connectivity", query);
export const figureMembers = (query: Paged & FigureQuery & { figure: string; key?: string }) => figure<Members>("members", query);
export const alarmSystem = (query: FigureQuery & { seats?: number }) => figure<AlarmSystem>("alarm-system", query);
export const noteFlood = (one: number, note: string) => ask<unknown>("POST", `/alarm-floods/${id(one)}/note`, { body: { note } });

export const reports = (query: Paged & { kind?: string; of?: string }) => list<Report>("/reports", query);
export const askForReport = (wanted: object) => ask<Report>("POST", "/reports", { body: wanted });
export const reportFile = (one: number, format: string, lang: string) => address(`/reports/${id(one)}/file`, { format, lang });
export const oneReport = (one: number) => ask<ReportWithContents>("GET", `/reports/${id(one)}`);
export const reportMembers = (one: number, query: Paged & { figure: string; group_by?: string; key?: string }) =>
  list<{ alarm_id: string; raised_at: string }>(`/reports/${id(one)}/members`, query);

export const rules = (query: Paged & { device_kind?: string; undecided?: boolean }) => list<RuleLine>("/rules", query);
export const ruleLife = (rule: string) => ask<RuleLife>("GET", `/rules/${id(rule)}`);
export const draftRule = (rule: string, body: object) => ask<RuleDraft>("PUT", `/rules/${id(rule)}`, { body });
export const draftRetirement = (rule: string, body: object) => ask<RuleDraft>("POST", `/rules/${id(rule)}/retire`, { body });
export type Decision = "approve" | "decline" | "withdraw";
export const decideDraft = (draft: RuleDraft, decision: Decision, said: object) =>
  ask<RuleDraft>("POST", `/rules/${id(draft.rule)}/drafts/${id(draft.id)}/${decision}`, { body: said });
/** Nothing that is in force changes by asking. */
export const askForBacktest = (question: object) => ask<Backtest>("POST", "/rules/backtest", { body: question });
export const backtest = (one: number) => ask<Backtest>("GET", `/backtests/${id(one)}`);
export const cancelBacktest = (one: number) => ask<unknown>("POST", `/backtests/${id(one)}/cancel`);
