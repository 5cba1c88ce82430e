// One thing sent at a time: busy meanwhile, and in words what went wrong.
import { shallowRef, type ShallowRef } from "vue";
import { problemText } from "./problems.ts";

export interface Doing {
  busy: ShallowRef<boolean>;
  trouble: ShallowRef<string>;
  /** True when it was done. */
  run: (act: () => Promise<unknown>) => Promise<boolean>;
}

export function useDoing(): Doing {
  const [busy, trouble] = [shallowRef(false), shallowRef("")];
  async function run(act: () => Promise<unknown>): Promise<boolean> {
    if (busy.value) return false;
    busy.value = true;
    trouble.value = "";
    try {
      await act();
      return true;
    } catch (problem) {
      trouble.value = problemText(problem);
      return false;
    } finally {
      busy.value = false;
    }
  }
  return { busy, trouble, run };
}
