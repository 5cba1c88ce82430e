// Both languages, switchable while the page runs; English is fetched by those who read it. The
// catalogues are read by Python too.
import { createI18n } from "vue-i18n";
import zhCN from "../../locales/zh-CN.json";
import type { Bilingual } from "../api/model.ts";
import { recall, remember } from "./prefs.ts";

export type Language = "zh-CN" | "en";
export const LANGUAGES: readonly Language[] = ["zh-CN", "en"];

export const i18n = createI18n({
  legacy: false,
  locale: "zh-CN" as Language,
  fallbackLocale: "zh-CN",
  messages: { "zh-CN": zhCN, en: zhCN },
});
const { t, te, locale } = i18n.global;
export { t, locale };

let hasEnglish = false;
/** The page speaks it from now on, if it can be had: without network it stays as it is. */
async function speak(language: Language): Promise<void> {
  if (language === "en" && !hasEnglish) {
    try {
      const { default: english } = await import("../../locales/en.json");
      i18n.global.setLocaleMessage("en", english as typeof zhCN);
      hasEnglish = true;
    } catch {
      return;
    }
  }
  locale.value = language;
  document.documentElement.lang = language;
}

export async function setLanguage(language: Language): Promise<void> {
  await speak(language);
  if (locale.value === language) remember("language", language);
}

/** The language chosen on this PC, else the account's, else Chinese. */
export async function startLanguage(account?: string): Promise<void> {
  const wanted = recall<string>("language", account ?? "zh-CN");
  await speak(LANGUAGES.find((language) => language === wanted) ?? "zh-CN");
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
