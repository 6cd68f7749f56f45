// A change by a control: the other numbers give way, so that what is shown is always a convolution.
import type { Lengths, Mode } from "./geometry/axis";
import { NAMES } from "./geometry/padding";
import { type Draft, sort } from "./geometry/text";
import { line, problem, show, spec } from "./store";

export type Part = Lengths & { readonly name?: string };

/** What is shown, with the names that the line has for its paddings. */
export function draft(): Draft {
  const now = spec.value;
  const entries = problem.value ? [] : entriesOf(sort(line.value).padding ?? "");
  return {
    ...now,
    axes: now.axes.map((axis, i): Part => {
      const entry = entries.length === 1 ? entries[0] : entries[i];
      const { size, kernel, stride, dilation, lo, hi, mode } = axis;
      const name = entry in NAMES ? entry : undefined;
      return { size, kernel, stride, dilation, lo, hi, mode, name };
    }),
  };
}

/** The entries of a padding word, of which the names alone matter here. */
function entriesOf(word: string): string[] {
  const entries = word.split(/x(?=[0-9(svc])/);
  return entries[0] ? entries : ["0"];
}

const SUPPLY: Partial<Record<Mode, (size: number) => number>> = {
  reflect: (size) => size - 1,
  symmetric: (size) => size,
  circular: (size) => size,
};

/** The same axis with other numbers, the rest made to fit. */
export function fitted(axis: Part, change: Partial<Part>): Part {
  let made: Part = { ...axis, ...change };
  const resolve = () => {
    if (!made.name) return;
    const extent = made.dilation * (made.kernel - 1) + 1;
    const [lo, hi] = NAMES[made.name](made.size, extent, made.stride);
    made = { ...made, lo, hi };
  };
  const bound = () => {
    const most = SUPPLY[made.mode]?.(made.size) ?? Infinity;
    if (Math.max(made.lo, made.hi) <= most) return true;
    if (made.name) return false;
    made = { ...made, lo: Math.min(made.lo, most), hi: Math.min(made.hi, most) };
    return true;
  };
  for (;;) {
    resolve();
    const fits = bound();
    if (fits && made.dilation * (made.kernel - 1) + 1 <= made.lo + made.size + made.hi) return made;
    // The kernel gives way, unless it is what was asked for and the dilation can.
    if (change.kernel !== undefined && made.dilation > 1)
      made = { ...made, dilation: made.dilation - 1 };
    else if (made.kernel > 1) made = { ...made, kernel: made.kernel - 1 };
    else return { ...made, lo: 0, hi: 0, name: undefined };
  }
}

/** Change one axis, or all of them (`which` = null). */
export function changeAxes(which: number | null, change: Partial<Part>): void {
  const now = draft();
  show({
    ...now,
    axes: now.axes.map((axis, i) => (which === null || which === i ? fitted(axis, change) : axis)),
  });
}

export function changeRank(rank: number): void {
  const now = draft();
  const limit = rank === 3 ? 8 : rank === 2 ? 32 : 64;
  const axes = Array.from({ length: rank }, (_, i) => now.axes[i] ?? now.axes.at(-1)!);
  show({ ...now, axes: axes.map((axis) => fitted(axis, { size: Math.min(axis.size, limit) })) });
}

/** Channels and groups: the groups are brought to a number that divides both. */
export function changeChannels(change: {
  channelsIn?: number;
  channelsOut?: number;
  groups?: number;
}): void {
  const made = { ...draft(), ...change };
  if (change.groups !== undefined) {
    const up = (n: number) => Math.ceil(n / made.groups) * made.groups;
    show({ ...made, channelsIn: up(made.channelsIn), channelsOut: up(made.channelsOut) });
    return;
  }
  let groups = made.groups;
  while (made.channelsIn % groups || made.channelsOut % groups) groups--;
  show({ ...made, groups });
}
