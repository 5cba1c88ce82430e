// The screens: what each is called in the address, who sees it, where it stands in the menu.
// A screen is shown to whoever holds the permission its data need; `roles` narrows that to those
// whose work it is. The server refuses all the same what is not allowed.
import type { Component } from "vue";
import type { Me, Role } from "../api/model.ts";

export type PageId =
  | "alarms" | "stream" | "simulation" | "tasks" | "sent" | "history" | "mine" | "review" | "holds" | "handover" | "cases" | "hazards" | "drills"
  | "journal" | "performance" | "reports" | "figures" | "notices" | "contacts" | "registry" | "intake" | "ledger"
  | "wall" | "levels" | "plan" | "system" | "rules";
export type MenuGroup = "watch" | "work" | "figures" | "system";

export interface Screen {
  id: PageId;
  group: MenuGroup;
  needs: string;
  roles?: readonly Role[];
  /** Pressed after `g`, it leads here. */
  key?: string;
  /** Fills the screen by itself, without bar and menu. */
  bare?: true;
  load: () => Promise<{ default: Component }>;
}

/** In the order of the menu. */
export const SCREENS: readonly Screen[] = [
  {
    id: "tasks", group: "watch", needs: "cases.step", roles: ["enterprise", "authority"],
    load: () => import("../pages/tasks/TasksPage.vue"),
  },
  {
    id: "sent", group: "watch", needs: "cases.step", roles: ["enterprise", "authority"],
    load: () => import("../pages/sent/SentPage.vue"),
  },
  {
    id: "history", group: "watch", needs: "cases.read", roles: ["enterprise", "authority"],
    load: () => import("../pages/history/HistoryPage.vue"),
  },
  { id: "alarms", group: "watch", key: "a", needs: "alarms.read", load: () => import("../pages/alarms/AlarmsPage.vue") },
  { id: "holds", group: "watch", key: "s", needs: "alarms.read", load: () => import("../pages/holds/HoldsPage.vue") },
  { id: "handover", group: "watch", key: "h", needs: "shifts.read", load: () => import("../pages/handover/HandoverPage.vue") },
  { id: "plan", group: "watch", key: "m", needs: "registry.read", load: () => import("../pages/plan/PlanPage.vue") },
  {
    id: "wall", group: "watch", key: "w", needs: "figures.read", bare: true,
    roles: ["admin", "supervisor", "operator", "authority", "auditor", "tester"], load: () => import("../pages/wall/WallPage.vue"),
  },
  {
    id: "review", group: "work", key: "r", needs: "cases.step", roles: ["authority", "supervisor", "operator"],
    load: () => import("../pages/review/ReviewPage.vue"),
  },
  { id: "cases", group: "work", key: "c", needs: "cases.read", load: () => import("../pages/cases/CasesPage.vue") },
  { id: "journal", group: "work", key: "j", needs: "alarms.read", load: () => import("../pages/journal/JournalPage.vue") },
  { id: "hazards", group: "work", needs: "hazards.read", load: () => import("../pages/hazards/HazardsPage.vue") },
  { id: "levels", group: "work", key: "l", needs: "registry.read", load: () => import("../pages/levels/LevelsPage.vue") },
  { id: "drills", group: "work", needs: "drills.read", load: () => import("../pages/drills/DrillsPage.vue") },
  { id: "figures", group: "figures", key: "k", needs: "figures.read", load: () => import("../pages/figures/FiguresPage.vue") },
  {
    id: "performance", group: "figures", key: "p", needs: "shifts.read", load: () => import("../pages/performance/PerformancePage.vue"),
  },
  { id: "reports", group: "figures", needs: "reports.read", load: () => import("../pages/reports/ReportsPage.vue") },
  { id: "rules", group: "system", needs: "rules.read", load: () => import("../pages/rules/RulesPage.vue") },
  { id: "registry", group: "system", needs: "registry.read", load: () => import("../pages/registry/RegistryPage.vue") },
  { id: "intake", group: "system", needs: "dead_letters.read", load: () => import("../pages/intake/IntakePage.vue") },
  { id: "notices", group: "system", needs: "notices.read", load: () => import("../pages/notices/NoticesPage.vue") },
  { id: "contacts", group: "system", needs: "contacts.read", load: () => import("../pages/contacts/ContactsPage.vue") },
  {
    id: "simulation", group: "system", needs: "simulations.read",
    load: () => import("../pages/simulation/SimulationPage.vue"),
  },
  {
    id: "stream", group: "system", needs: "alarms.read", roles: ["tester", "admin"],
    load: () => import("../pages/stream/StreamPage.vue"),
  },
  { id: "mine", group: "system", needs: "contacts.read", load: () => import("../pages/mine/MinePage.vue") },
  { id: "system", group: "system", needs: "system.read", load: () => import("../pages/system/SystemPage.vue") },
  { id: "ledger", group: "system", needs: "ledger.read", load: () => import("../pages/ledger/LedgerPage.vue") },
];

/** The four of a phone, within reach of a thumb. */
export const PHONE_TABS: readonly PageId[] = ["tasks", "sent", "history", "mine"];

type Viewer = Pick<Me, "role" | "permissions">;

export const mayOpen = (screen: Screen, viewer: Viewer): boolean =>
  viewer.permissions.includes(screen.needs) && (screen.roles?.includes(viewer.role) ?? true);

export const screensOf = (viewer: Viewer): Screen[] => SCREENS.filter((screen) => mayOpen(screen, viewer));

/** Where a person starts: who answers for handling on a phone at their tasks, everybody else at the alarms. */
export const landing = (viewer: Viewer, narrow: boolean): PageId =>
  narrow && viewer.role === "enterprise" ? "tasks" : "alarms";

/** The screen asked for, or where this person starts when it is none of theirs. */
export function screenFor(wanted: string | null, viewer: Viewer, narrow: boolean): Screen {
  const mine = screensOf(viewer);
  const found = mine.find(({ id }) => id === wanted) ?? mine.find(({ id }) => id === landing(viewer, narrow));
  return found ?? mine[0] ?? SCREENS[0]!;
}
