// The numbers that the picture begins with, and what the reader made of them. A channel is made
// when it is shown: a network's layer may have thousands.
import { signal } from "@preact/signals";

export const INPUTS = [
  ["integers", "small integers"],
  ["ramp", "a ramp"],
  ["digit", "a digit"],
  ["one", "a single 1"],
  ["ones", "all ones"],
  ["random", "random"],
] as const;
export const KERNELS = [
  ["integers", "small integers"],
  ["ramp", "1, 2, 3, ..."],
  ["edge", "edges"],
  ["mean", "the mean"],
  ["one", "a single 1"],
  ["random", "random"],
] as const;

export const inputKind = signal<string>("integers");
export const kernelKind = signal<string>("integers");
/** Other numbers of the same kind. */
export const seed = signal(1);
/** What was typed over: "x 0 17" -> 5. */
export const edits = signal<ReadonlyMap<string, number>>(new Map());

export function reset(): void {
  edits.value = new Map();
}

export function edit(which: string, at: number, value: number): void {
  edits.value = new Map(edits.value).set(`${which} ${at}`, value);
}

/** A hash of whole numbers as a fraction. */
function drawn(...keys: number[]): number {
  let h = 0x9e3779b9;
  for (const key of keys) {
    h = Math.imul(h ^ key, 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return (h >>> 0) / 2 ** 32;
}

// A seven, as one writes it: 10 x 10, brightness in ninths.
const DIGIT = [
  "0000000000",
  "0178888820",
  "0389999980",
  "0010002970",
  "0000008930",
  "0002899940",
  "0001598100",
  "0000930000",
  "0003900000",
  "0004600000",
];

function digit(at: readonly number[], shape: readonly number[]): number {
  const [y, x] = [shape.at(-2) ?? 1, shape.at(-1)!];
  const row = shape.length === 1 ? 4 : Math.floor(((at.at(-2)! + 0.5) * 10) / y);
  return Number(DIGIT[row][Math.floor(((at.at(-1)! + 0.5) * 10) / x)]);
}

type Fill = (at: readonly number[], shape: readonly number[], flat: number, key: number) => number;
const middle: Fill = (at, shape) => (at.every((i, axis) => i === (shape[axis] - 1) >> 1) ? 1 : 0);
const random: Fill = (_at, _shape, flat, key) =>
  Math.round((2 * drawn(seed.value, key, flat) - 1) * 100) / 100;
const FILLS: Record<"x" | "w", Record<string, Fill>> = {
  x: {
    integers: (_at, _shape, flat, key) => Math.floor(drawn(seed.value, key, flat) * 6),
    ramp: (at, _shape, _flat, key) => at.reduce((sum, i) => sum + i, key % 3),
    digit: (at, shape) => digit(at, shape),
    one: middle,
    ones: () => 1,
    random,
  },
  w: {
    integers: (_at, _shape, flat, key) => Math.floor(drawn(seed.value, key, flat, 7) * 5) - 2,
    ramp: (_at, _shape, flat) => flat + 1,
    // Sobel's: a difference along the last axis, smoothed along the others.
    edge: (at, shape) =>
      at.reduce((product, i, axis) => {
        const far = 2 * i - (shape[axis] - 1);
        if (axis === shape.length - 1) return product * Math.sign(far);
        return product * (Math.abs(far) <= 1 && shape[axis] > 2 ? 2 : 1);
      }, 1),
    mean: (_at, shape) => 1 / shape.reduce((n, size) => n * size, 1),
    one: middle,
    random,
  },
};

/** One channel of the input (`which` "x"), or of the kernel ("w"), with what was typed over. */
export function filled(which: "x" | "w", key: number, shape: readonly number[]): Float64Array {
  const fill =
    FILLS[which][(which === "x" ? inputKind : kernelKind).value] ?? FILLS[which].integers;
  const made = new Float64Array(shape.reduce((n, size) => n * size, 1));
  const at = shape.map(() => 0);
  for (let flat = 0; flat < made.length; flat++) {
    made[flat] = fill(at, shape, flat, key);
    for (let axis = shape.length - 1; axis >= 0 && ++at[axis] === shape[axis]; axis--) at[axis] = 0;
  }
  const prefix = `${which}${key} `;
  for (const [name, value] of edits.value)
    if (name.startsWith(prefix)) made[Number(name.slice(prefix.length))] = value;
  return made;
}
