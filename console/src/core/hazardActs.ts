// What each act on a hazard asks of the person who takes it. Which acts are allowed comes from the
// server; this table only says what their small forms hold.
import type { FormField } from "./forms.ts";

type Plain = Omit<FormField, "label">;
const note = (required: boolean): Plain => ({ name: "note", kind: "long", required });
/** What is settled before work begins; of a major hazard all five (五落实). */
const five = (required: boolean): Plain[] => [
  { name: "responsible", required }, { name: "measures", kind: "long", required }, { name: "funds", required },
  { name: "deadline", kind: "date", required }, { name: "plan", kind: "long", required },
];
export const LEVELS = ["province", "city", "county"] as const;

export function hazardFields(act: string, major: boolean): Plain[] {
  switch (act) {
    case "register": return [...five(false), note(false)];
    case "rectify": return [...five(major), note(false)];
    case "close": return [{ name: "recheck_due", kind: "date" }, note(false)];
    case "supervise": return [{ name: "level", options: [] }, { name: "batch" }, note(true)];
    case "recheck": return [{ name: "recurred", kind: "check" }, note(true)];
    default: return [note(true)];
  }
}
