// "n1 c3>64 224x224 k7 s2 p3" and the Spec that it means: src/faltung/geometry/text.py.
import { Axis, type Lengths } from "./axis";
import { Mistake, repr, shown, type Value } from "./errors";
import { type Entry, modes, NAMES, type Padding, pads } from "./padding";
import { DTYPES, type Spec } from "./spec";

const FORM = "'n1 c3>64 224x224 k7 s2 p3'";
const NUMBERS = "[0-9]+(?:x[0-9]+)*";
const BY_LENGTH = Object.keys(NAMES).sort((a, b) => b.length - a.length);
const PAD = `(?:[0-9]+|\\([0-9]+,[0-9]+\\)|${BY_LENGTH.join("|")})`;
const TYPE_WORDS = Object.values(DTYPES).map(([, word]) => word);
const WORDS: Record<string, RegExp> = {
  size: new RegExp(`^(${NUMBERS})$`),
  channels: /^c([0-9]+>[0-9]+)$/,
  kernel: new RegExp(`^k(${NUMBERS})$`),
  batch: /^n([0-9]+)$/,
  stride: new RegExp(`^s(${NUMBERS})$`),
  dilation: new RegExp(`^d(${NUMBERS})$`),
  padding: new RegExp(`^p(${PAD}(?:x${PAD})*)$`),
  groups: /^g([0-9]+)$/,
  padding_mode: /^m:([a-z_-]+(?:,[a-z_-]+)*)$/,
  dtype: new RegExp(`^(${TYPE_WORDS.join("|")})$`),
  flip: /^(flip)$/,
};
// Where Python's str.split() cuts.
const BLANK = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
/** The page's own bound: products of two numbers are then exact; Python has none. */
export const LARGEST = 2 ** 26 - 1;

/** The words of a line by what they say, without their first letters. */
export function sort(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const word of text.split(BLANK).filter(Boolean)) {
    const name = Object.keys(WORDS).find((each) => WORDS[each].test(word));
    if (name === undefined)
      throw new Mistake(`text=${repr(text)}: ${repr(word)} means nothing; write as in ${FORM}`);
    if (name in found)
      throw new Mistake(`text=${repr(text)}: ${repr(word)} gives the ${name} twice`);
    found[name] = word.match(WORDS[name])![1];
  }
  return found;
}

/** The problem that one line of text means. */
export function parse(text: string): Spec {
  const found = sort(text);
  for (const need of ["size", "channels", "kernel"])
    if (!(need in found))
      throw new Mistake(`text=${repr(text)}: has no ${need}; write it as in ${FORM}`);
  for (const [name, word] of Object.entries(found))
    if (name !== "dtype" && (word.match(/[0-9]+/g) ?? []).some((n) => Number(n) > LARGEST))
      throw new Mistake(
        `${name}=${word}: this page keeps numbers below 2**26; Python has no bound`,
      );
  const size = numbers(found.size);
  const [channelsIn, channelsOut] = found.channels.split(">").map(Number);
  let kernel = numbers(found.kernel);
  const groups = Number(found.groups ?? 1);
  if (kernel.length !== 1 && kernel.length !== size.length)
    throw new Mistake(
      `kernel=${repr(kernel)}: must be one int, or ${size.length}, one for each axis`,
    );
  if (kernel.length === 1) kernel = size.map(() => kernel[0]);
  if (groups < 1 || channelsIn % groups)
    throw new Mistake(`groups=${groups}: must divide the input channels, ${channelsIn}`);
  const names = (found.padding_mode ?? "zeros").split(",");
  const axes = (): Axis[] => {
    const stride = perAxis("stride", found.stride ?? "1", size.length);
    const dilation = perAxis("dilation", found.dilation ?? "1", size.length);
    const pairs = pads(paddingOf(found.padding ?? "0"), size, kernel, stride, dilation);
    const given = names.length === 1 ? names[0] : names;
    return makeAxes(size, kernel, stride, dilation, pairs, modes(given, size.length));
  };
  return {
    ...checked(
      [Number(found.batch ?? 1), channelsIn, ...size],
      [channelsOut, channelsIn / groups, ...kernel],
      groups,
    ),
    axes: axes(),
    dtype: Object.keys(DTYPES).find((each) => DTYPES[each][1] === (found.dtype ?? "f32"))!,
    flip: "flip" in found,
  };
}

function checked(x: number[], w: number[], groups: number) {
  if (Math.min(...x.slice(1)) < 1)
    throw new Mistake(`input_shape=${repr(x)}: channels and sizes must be at least 1`);
  if (Math.min(...w) < 1)
    throw new Mistake(`weight_shape=${repr(w)}: every entry must be at least 1`);
  if (w[0] % groups)
    throw new Mistake(`groups=${groups}: must divide the output channels, ${w[0]}`);
  return { batch: x[0], channelsIn: x[1], channelsOut: w[0], groups };
}

/** One axis for each size; a mistake says which of several it is about. */
export function makeAxes(
  size: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
  pairs: readonly (readonly [number, number])[],
  names: readonly Axis["mode"][],
): Axis[] {
  return size.map((n, i) => {
    try {
      return new Axis(n, kernel[i], stride[i], dilation[i], pairs[i][0], pairs[i][1], names[i]);
    } catch (error) {
      const where = size.length > 1 ? ` (spatial axis ${i})` : "";
      throw new Mistake(`${(error as Error).message}${where}`);
    }
  });
}

const numbers = (word: string) => word.split("x").map(Number);

function perAxis(name: string, word: string, rank: number): number[] {
  const given = numbers(word);
  const value: Value = given.length === 1 ? given[0] : given;
  const all = given.length === 1 ? Array<number>(rank).fill(given[0]) : given;
  if (all.length !== rank)
    throw new Mistake(`${name}=${shown(value)}: must be one int or ${rank}, one for each axis`);
  if (all.some((n) => n < 1))
    throw new Mistake(`${name}=${shown(value)}: every ${name} must be at least 1`);
  return all;
}

/** One entry is for all axes, except a pair. */
function paddingOf(word: string): Padding {
  const entries = word.match(new RegExp(PAD, "g"))!.map((entry): Entry => {
    if (entry in NAMES) return entry;
    const found = entry.match(/[0-9]+/g)!.map(Number);
    return found.length === 1 ? found[0] : [found[0], found[1]];
  });
  const [only] = entries;
  return entries.length > 1 || typeof only === "object" ? entries : only;
}

const folded = (items: readonly unknown[]) =>
  new Set(items).size === 1 ? String(items[0]) : items.join("x");

/** A problem that need not be one yet; an axis may call its padding by a name. */
export interface Draft extends Omit<Spec, "axes"> {
  readonly axes: readonly (Lengths & { readonly name?: string })[];
}

/** The canonical line: batch, then what is needed, then what is not the default. */
export function written(spec: Draft): string {
  const { axes } = spec;
  const padding = axes.map(({ lo, hi, name }) => name ?? (lo === hi ? `${lo}` : `(${lo},${hi})`));
  const options = [
    ["s", folded(axes.map((axis) => axis.stride)), "1"],
    // A pair (before, after) is for one axis alone, so equal ones are not folded.
    ["p", padding[0][0] === "(" ? padding.join("x") : folded(padding), "0"],
    ["d", folded(axes.map((axis) => axis.dilation)), "1"],
    ["g", String(spec.groups), "1"],
  ];
  const all = axes.map((axis) => axis.mode);
  const names = new Set(all).size > 1 ? all : all.slice(0, 1);
  return [
    `n${spec.batch}`,
    `c${spec.channelsIn}>${spec.channelsOut}`,
    axes.map((axis) => axis.size).join("x"),
    `k${folded(axes.map((axis) => axis.kernel))}`,
    ...options.filter(([, word, usual]) => word !== usual).map(([key, word]) => key + word),
    ...(names.join() === "zeros" ? [] : [`m:${names.join(",")}`]),
    ...(spec.dtype === "float32" ? [] : [DTYPES[spec.dtype][1]]),
    ...(spec.flip ? ["flip"] : []),
  ].join(" ");
}
