// Names of rules, kinds and quantities, from the device kinds' catalogue.
import { computed, shallowRef } from "vue";
import { deviceKinds } from "../api/client.ts";
import type { Bilingual } from "../api/model.ts";
import { said } from "./i18n.ts";

const rules = shallowRef<ReadonlyMap<string, Bilingual>>(new Map());
const kinds = shallowRef<ReadonlyMap<string, Bilingual>>(new Map());

/** Reads the catalogue; without it the page shows the codes. */
export async function loadNames(): Promise<void> {
  try {
    const { items } = await deviceKinds();
    const named = new Map<string, Bilingual>();
    for (const kind of items) {
      for (const rule of kind.rules ?? []) {
        named.set(rule.id, rule.name);
        named.set(`${kind.code}.${rule.id}`, rule.name);
      }
    }
    rules.value = named;
    kinds.value = new Map(items.map((kind) => [kind.code, kind.name]));
  } catch {
    // codes are readable enough; the next login tries again
  }
}

export const ruleName = (id: string): string => said(rules.value.get(id), id);
export const kindName = (kind: string): string => said(kinds.value.get(kind), kind);
/** All kinds by the names of the reader's language, for choosing one. */
export const kindChoices = computed(() =>
  [...kinds.value].map(([value, name]) => ({ value, text: said(name, value) })).sort((a, b) => a.text.localeCompare(b.text)));
