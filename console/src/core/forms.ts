// Forms as tables of fields.

export type FormValue = string | number | boolean | undefined;
export type FormValues = Record<string, FormValue>;
export interface FormField {
  name: string;
  label: string;
  kind?: "text" | "long" | "date" | "datetime-local" | "number" | "check" | undefined;
  required?: boolean;
  options?: readonly { value: string; text: string }[];
  min?: number;
  max?: number;
}

const isEmpty = (value: FormValue) => value === undefined || (typeof value === "string" && value.trim() === "");

/** Names of required fields that are still empty. */
export const missing = (fields: readonly FormField[], values: FormValues): string[] =>
  fields.filter(({ name, required }) => required && isEmpty(values[name])).map(({ name }) => name);

/** What was filled in, texts trimmed; of these fields only. */
export function filled(fields: readonly FormField[], values: FormValues): FormValues {
  const pairs = fields.map(({ name }) => [name, values[name]] as const).filter(([, value]) => !isEmpty(value));
  return Object.fromEntries(pairs.map(([name, value]) => [name, typeof value === "string" ? value.trim() : value]));
}
