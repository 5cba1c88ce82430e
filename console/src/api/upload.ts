// A file on its way, with how far it is: fetch does not tell, so this is the older way to ask.
import { address, ApiError, Unreachable } from "./client.ts";

/** A phone's network may be slow; beyond this it is as good as none, and the file is tried again. */
const WITHIN_MS = 120_000;

export function sendFile(
  id: string, file: Blob, name: string, key: string, tell: (share: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(`/cases/${encodeURIComponent(id)}/evidence`));
    request.timeout = WITHIN_MS;
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = ({ loaded, total }) => tell(total > 0 ? loaded / total : 0);
    request.onload = () => {
      if (request.status < 300) resolve();
      else reject(new ApiError(request.status, problemOf(request.responseText)));
    };
    request.onerror = request.ontimeout = () => reject(new Unreachable("no answer"));
    const form = new FormData();
    form.append("file", file, name);
    request.send(form);
  });
}

function problemOf(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
