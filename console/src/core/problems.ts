// What went wrong, in the reader's language, with what to do next.
import { ApiError, Unreachable } from "../api/client.ts";
import { i18n, t } from "./i18n.ts";

export function problemText(problem: unknown): string {
  if (problem instanceof Unreachable) return t("problem.unreachable");
  if (!(problem instanceof ApiError)) throw problem;
  const key = `problem.${problem.code}`;
  if (problem.code !== "" && i18n.global.te(key)) return t(key, { detail: problem.message });
  const byStatus = `problem.s${problem.status}`;
  if (i18n.global.te(byStatus)) return t(byStatus, { detail: problem.message });
  return t("problem.other", { detail: problem.message });
}

/** All that the service found wrong with what was sent, in its own words. */
export function refusals(problem: unknown): string[] {
  const errors = problem instanceof ApiError ? problem.problem["errors"] : undefined;
  if (!Array.isArray(errors)) return [];
  return errors.map((one: { loc?: readonly (string | number)[]; msg?: string; message?: string }) =>
    [(one.loc ?? []).slice(1).join("."), one.msg ?? one.message ?? ""].filter(Boolean).join(" · "));
}
