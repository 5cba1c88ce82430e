// The page's end of the live stream: through the shared hub where the browser has SharedWorker,
// through its own connection where not (phones).
import { Hub, type HubMessage, type PageMessage, type Source } from "./hub.ts";

export interface Stream {
  /** Somebody logged in or out: connect anew with the session of now. */
  session(): void;
  close(): void;
}

export function openStream(take: (message: HubMessage) => void): Stream {
  return typeof SharedWorker === "undefined" ? ownStream(take) : sharedStream(take);
}

function sharedStream(take: (message: HubMessage) => void): Stream {
  const worker = new SharedWorker(new URL("./hub.worker.ts", import.meta.url), {
    type: "module", name: "hazardloop-hub",
  });
  const tell = (message: PageMessage) => worker.port.postMessage(message);
  worker.port.onmessage = ({ data }: MessageEvent<HubMessage>) => take(data);
  const leave = () => tell({ type: "leave" });
  // A page kept in the back/forward cache left the hub; it joins again when it is shown.
  const shown = (event: PageTransitionEvent) => event.persisted && tell({ type: "join" });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", shown);
  tell({ type: "join" });
  return {
    session: () => tell({ type: "session" }),
    close: () => {
      window.removeEventListener("pagehide", leave);
      window.removeEventListener("pageshow", shown);
      leave();
      worker.port.close();
    },
  };
}

function ownStream(take: (message: HubMessage) => void): Stream {
  const hub = new Hub({
    connect: (address) => new EventSource(address) as unknown as Source,
    later: (callback, ms) => {
      const timer = window.setTimeout(callback, ms);
      return () => window.clearTimeout(timer);
    },
    random: Math.random,
  });
  hub.join(take);
  return { session: () => hub.session(take), close: () => hub.leave(take) };
}
