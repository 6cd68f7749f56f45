// What stands beyond the ends of an axis: src/faltung/geometry/border.py.

/** The remainder that is never negative. */
export function mod(i: number, n: number): number {
  return ((i % n) + n) % n;
}

/** The entry of an axis of `size` that stands at position `i`; null where none does. */
export function source(i: number, size: number, mode: string): number | null {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case "reflect": {
      const period = 2 * (size - 1);
      const at = period ? mod(i, period) : 0;
      return at < size ? at : period - at;
    }
    case "symmetric": {
      const at = mod(i, 2 * size);
      return at < size ? at : 2 * size - 1 - at;
    }
    case "replicate":
      return i < 0 ? 0 : size - 1;
    case "circular":
      return mod(i, size);
    default:
      return null;
  }
}
