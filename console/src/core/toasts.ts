// Short sentences at the edge of the screen; one may carry an act, as undoing what was just done.
import { shallowRef } from "vue";

export interface Toast { id: number; text: string; isTrouble: boolean; act?: { text: string; run: () => void } }

export const toasts = shallowRef<readonly Toast[]>([]);
const STAYS_MS = 4_000;
const TROUBLE_STAYS_MS = 10_000;
let last = 0;

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function show(toast: Omit<Toast, "id">, staysMs: number): void {
  last += 1;
  const id = last;
  // The same sentence twice is said once.
  toasts.value = [...toasts.value.filter(({ text }) => text !== toast.text), { id, ...toast }];
  window.setTimeout(() => dismiss(id), staysMs);
}

export const say = (text: string): void => show({ text, isTrouble: false }, STAYS_MS);
export const complain = (text: string): void => show({ text, isTrouble: true }, TROUBLE_STAYS_MS);
export const offer = (text: string, act: Toast["act"], staysMs: number): void =>
  show({ text, isTrouble: false, ...(act && { act }) }, staysMs);
