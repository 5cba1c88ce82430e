// Both languages, switchable while the page runs. The catalogues are read by Python too.
import { createI18n } from "vue-i18n";
import en from "../../locales/en.json";
import zhCN from "../../locales/zh-CN.json";
import type { Bilingual } from "../api/model.ts";
import { recall, remember } from "./prefs.ts";

export type Language = "zh-CN" | "en";
export const LANGUAGES: readonly Language[] = ["zh-CN", "en"];

export const i18n = createI18n({
  legacy: false,
  locale: "zh-CN" as Language,
  fallbackLocale: "zh-CN",
  messages: { "zh-CN": zhCN, en: en as typeof zhCN },
});
const { t, te, locale } = i18n.global;
export { t, locale };

export function setLanguage(language: Language): void {
  locale.value = language;
  document.documentElement.lang = language;
  remember("language", language);
}

/** The language chosen on this PC, else the account's, else Chinese. */
export function startLanguage(account?: string): void {
  const wanted = recall<string>("language", account ?? "zh-CN");
  const known = LANGUAGES.find((language) => language === wanted) ?? "zh-CN";
  locale.value = known;
  document.documentElement.lang = known;
}

/** A word of a closed list in the reader's language; an unknown one as the server sent it. */
export const word = (list: string, name: string | null | undefined): string =>
  name === null || name === undefined || name === "" ? "" : te(`${list}.${name}`) ? t(`${list}.${name}`) : name;

/** A text that the catalogue carries in both languages. */
export function said(text: Bilingual | null | undefined, otherwise = ""): string {
  if (!text) return otherwise;
  const [first, second] = locale.value === "en" ? [text.en, text.zh] : [text.zh, text.en];
  return first || second || otherwise;
}
