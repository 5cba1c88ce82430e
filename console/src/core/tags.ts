// Tags of a device as lines `name=value`. A value that is written as a number or a truth is one.

export type Tag = string | number | boolean;

export const tagsToText = (tags: Readonly<Record<string, unknown>>): string =>
  Object.entries(tags).map(([name, value]) => `${name}=${String(value)}`).join("\n");

/** The tags, or the first line that is none. */
export function tagsFromText(text: string): { tags: Record<string, Tag> } | { wrong: string } {
  const tags: Record<string, Tag> = {};
  for (const line of text.split(/\n/)) {
    if (line.trim() === "") continue;
    const found = /^\s*([A-Za-z0-9_-]{1,64})\s*=\s*(.*?)\s*$/.exec(line);
    if (!found) return { wrong: line.trim() };
    tags[found[1]!] = valueOf(found[2]!);
  }
  return { tags };
}

function valueOf(text: string): Tag {
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text);
  // 007 and 1e3 are codes that somebody wrote so, and would not come back as written.
  return text !== "" && String(number) === text ? number : text;
}
