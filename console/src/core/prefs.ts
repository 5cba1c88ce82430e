// What a person prefers on this PC. Losing it costs nothing, so a blocked storage is no error.

export function recall<Value>(key: string, otherwise: Value): Value {
  try {
    const kept = localStorage.getItem(`hazardloop.${key}`);
    return kept === null ? otherwise : (JSON.parse(kept) as Value);
  } catch {
    return otherwise;
  }
}

export function remember(key: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem(`hazardloop.${key}`);
    else localStorage.setItem(`hazardloop.${key}`, JSON.stringify(value));
  } catch {
    // private windows and full disks: the page works, it only forgets
  }
}
