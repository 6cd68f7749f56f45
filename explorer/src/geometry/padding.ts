// Every form of padding, resolved to (lo, hi) and a mode for each axis: geometry/padding.py.
import { MODES, type Mode } from "./axis";
import { Mistake, shown } from "./errors";
import { meant, MODES_ELSEWHERE, MODE_WORDS } from "./words";

export type Entry = number | string | readonly [number, number];
export type Padding = number | string | readonly Entry[];
type Pair = [number, number];

const half = (n: number) => Math.floor(n / 2);

function sameUpper(size: number, extent: number, stride: number): Pair {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size);
  return [half(total), total - half(total)];
}

/** Each takes the size, the extent of the kernel and the stride of an axis. */
export const NAMES: Record<string, (size: number, extent: number, stride: number) => Pair> = {
  valid: () => [0, 0],
  same: (_, extent) => [half(extent - 1), half(extent)],
  same_upper: sameUpper,
  same_lower: (...axis) => sameUpper(...axis).reverse() as Pair,
  causal: (_, extent) => [extent - 1, 0],
};

export function pads(
  padding: Padding,
  size: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): Pair[] {
  const entries: readonly Entry[] = typeof padding === "object" ? padding : size.map(() => padding);
  if (entries.length !== size.length)
    throw new Mistake(
      `padding=${shown(padding)}: must have one entry for each of the ${size.length} spatial axes`,
    );
  return entries.map((entry, i) => {
    if (typeof entry === "string")
      return NAMES[entry](size[i], dilation[i] * (kernel[i] - 1) + 1, stride[i]);
    return typeof entry === "number" ? [entry, entry] : [entry[0], entry[1]];
  });
}

export function modes(given: string | readonly string[], rank: number): Mode[] {
  const names = typeof given === "string" ? Array<string>(rank).fill(given) : given;
  if (names.length !== rank)
    throw new Mistake(
      `padding_mode=${shown(given)}: must be one name, or ${rank} names, one for each axis`,
    );
  for (const name of names)
    if (!(MODES as readonly string[]).includes(name))
      throw new Mistake(
        `padding_mode=${shown(given)}: must be one of ${MODES.join(", ")}${instead(name)}`,
      );
  return names as Mode[];
}

/** What to say instead of a word that is no mode, where another library has it. */
function instead(word: string): string {
  const lower = word.toLowerCase();
  if (lower in NAMES) return `; say padding='${lower}'`;
  const mode = MODES_ELSEWHERE.get(lower) ?? lower;
  if ((MODES as readonly string[]).includes(mode)) return `; say padding_mode='${mode}'`;
  return meant(word, MODES, MODE_WORDS);
}
