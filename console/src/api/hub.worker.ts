// The hub in a SharedWorker: one per browser, whatever the number of tabs. A worker's timers are
// also not throttled when its tabs are in the background.
import { Hub, type HubMessage, type PageMessage, type Source } from "./hub.ts";

const hub = new Hub({
  connect: (address) => new EventSource(address) as unknown as Source,
  later: (callback, ms) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
});

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  const tell = (message: HubMessage) => port.postMessage(message);
  port.onmessage = ({ data }: MessageEvent<PageMessage>) => {
    if (data.type === "join") hub.join(tell);
    else if (data.type === "leave") hub.leave(tell);
    else hub.session(tell);
  };
};
