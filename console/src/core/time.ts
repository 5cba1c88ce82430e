// Instants and durations in words. The zone is the district's, whatever zone the PC is set to.

export const ZONE = "Asia/Shanghai";
/** The zone has no summer time. */
export const ZONE_OFFSET = "+08:00";

const parts = new Intl.DateTimeFormat("en-CA", {
  timeZone: ZONE, hourCycle: "h23",
  year: "numeric", month: "2-digit", day: "2-digit",
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});

interface Civil { day: string; monthDay: string; minute: string; second: string }

function civil(atMs: number): Civil {
  const found: Record<string, string> = {};
  for (const part of parts.formatToParts(atMs)) found[part.type] = part.value;
  const minute = `${found["hour"]}:${found["minute"]}`;
  const monthDay = `${found["month"]}-${found["day"]}`;
  return {
    day: `${found["year"]}-${monthDay}`, monthDay, minute, second: `${minute}:${found["second"]}`,
  };
}

/** `2026-11-22`, the day of an instant. */
export const civilDay = (atMs: number): string => civil(atMs).day;

/** `09:12:07`, whatever the day. */
export const clockText = (atMs: number): string => civil(atMs).second;

/** `09:12:07` today, `11-21 23:59` on another day; empty for no or an unreadable instant. */
export function instantText(stamp: string | null | undefined, nowMs: number): string {
  const at = Date.parse(stamp ?? "");
  if (Number.isNaN(at)) return "";
  const [then, now] = [civil(at), civil(nowMs)];
  return then.day === now.day ? then.second : `${then.monthDay} ${then.minute}`;
}

/** `2026-11-22 09:12:07 +08:00`, for hovering and for the record. */
export function fullText(stamp: string | null | undefined): string {
  const at = Date.parse(stamp ?? "");
  if (Number.isNaN(at)) return "";
  const then = civil(at);
  return `${then.day} ${then.second} +08:00`;
}

/** `2:51` minutes, `3:02:51` hours, `2d 03:02` days; negative counts as zero. */
export function durationText(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1000));
  const [seconds, minutes] = [total % 60, Math.floor(total / 60) % 60];
  const [hours, days] = [Math.floor(total / 3600) % 24, Math.floor(total / 86_400)];
  const two = (part: number) => String(part).padStart(2, "0");
  if (days > 0) return `${days}d ${two(hours)}:${two(minutes)}`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds)}`;
  return `${minutes}:${two(seconds)}`;
}

/** The instant that `2026-11-22T09:12`, typed by a person of the district, means. */
export const instantOf = (civilText: string): string => `${civilText}:00${ZONE_OFFSET}`;
