// Who is logged in, as far as this page knows. The session itself is the server's.
import { shallowRef } from "vue";
import { ApiError, login, logout, me, Unreachable, whenSignedOut } from "../api/client.ts";
import type { Me } from "../api/model.ts";
import { forgetKept } from "./loaded.ts";

/** `expired`: somebody was logged in; the page stays, a login sheet lies over it. */
export type SessionState = "asking" | "unreachable" | "out" | "in" | "expired";

export const user = shallowRef<Me | null>(null);
export const sessionState = shallowRef<SessionState>("asking");

whenSignedOut(() => {
  if (sessionState.value === "in") sessionState.value = "expired";
});

/** Asks the server who we are; called at load, and when a connection was refused. */
export async function refreshSession(): Promise<void> {
  try {
    user.value = await me();
    sessionState.value = "in";
  } catch (problem) {
    const wasIn = sessionState.value === "in" || sessionState.value === "expired";
    if (problem instanceof ApiError && problem.status === 401) {
      sessionState.value = wasIn ? "expired" : "out";
    } else if (problem instanceof Unreachable || problem instanceof ApiError) {
      if (!wasIn) sessionState.value = "unreachable";
    } else throw problem;
  }
}

export async function signIn(username: string, password: string): Promise<void> {
  const found = (await login(username, password)).user;
  if (found.username !== user.value?.username) forgetKept();
  user.value = found;
  sessionState.value = "in";
}

export async function signOut(): Promise<void> {
  await logout();
  forgetKept();
  user.value = null;
  sessionState.value = "out";
}
