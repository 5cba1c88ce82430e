// Light, dark, or as the PC says.
import { shallowRef, watchEffect } from "vue";
import { recall, remember } from "./prefs.ts";

export type Theme = "auto" | "light" | "dark";
export const THEMES: readonly Theme[] = ["auto", "light", "dark"];

const system = window.matchMedia("(prefers-color-scheme: dark)");
const systemDark = shallowRef(system.matches);
system.addEventListener("change", (event) => (systemDark.value = event.matches));

export const theme = shallowRef<Theme>(recall<Theme>("theme", "auto"));

export function setTheme(wanted: Theme): void {
  theme.value = wanted;
  remember("theme", wanted);
}

watchEffect(() => {
  const dark = theme.value === "dark" || (theme.value === "auto" && systemDark.value);
  document.documentElement.classList.toggle("dark", dark);
});
