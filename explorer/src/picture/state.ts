// What the picture shows: which entry is chosen, and which entries it reads or feeds.
//
// Two grids and a kernel between them. "in" is the convolution's input with its padding, at
// positions from -lo on; "out" its output; "kernel" the taps in the order in which they slide, that
// is turned over in a true convolution. In the transposed direction the numbers of "out" are given
// and those of "in" are made; which entry goes with which stays the same.
import { computed, effect, signal } from "@preact/signals";
import { inputChannel, outputChannel, readable } from "../compute";
import { kernels, outputs, sizes, type Spec } from "../geometry/spec";
import { direction, spec } from "../store";
import { filled } from "../values";

export type Grid = "in" | "kernel" | "out";
export interface Entry {
  grid: Grid;
  at: readonly number[];
}

/** Tap `tap` of output `out` reads position `at`, which stands for entry `from`, or for a zero. */
export interface Link {
  out: readonly number[];
  tap: readonly number[];
  at: readonly number[];
  from: readonly number[] | null;
}

export const chosen = signal<Entry>({ grid: "out", at: [0, 0] });
/** What the pointer is over; it counts before what is chosen. */
export const hovered = signal<Entry | null>(null);
export const focus = computed(() => hovered.value ?? chosen.value);
/** The channels that are shown. */
export const channelIn = signal(0);
export const channelOut = signal(0);
/** The slices of a volume that are shown, as positions along the first axis. */
export const slices = { in: signal(0), kernel: signal(0), out: signal(0) };
/** The term of the formula that the pointer is over, and its axis. */
export type Term = "size" | "extent" | "padding" | "stride" | "dilation" | "output" | "unread";
export const lit = signal<{ term: Term; axis: number } | null>(null);
export const playing = signal(false);

/** Entries of one axis beyond which a picture shows only the beginning. */
export const MOST = 128;

export const made = computed<"in" | "out">(() => (direction.value === "forward" ? "out" : "in"));
export const drawn = computed(() => spec.value.axes.length <= 3 && readable(spec.value));

export const groupOf = (now: Spec, co: number) => Math.floor(co / (now.channelsOut / now.groups));
/** The channels in that channel `co` out reads. */
export const readBy = (now: Spec, co: number) => {
  const each = now.channelsIn / now.groups;
  return Array.from({ length: each }, (_, i) => groupOf(now, co) * each + i);
};
/** The channels out that channel `ci` in feeds. */
export const fedBy = (now: Spec, ci: number) => {
  const each = now.channelsOut / now.groups;
  const group = Math.floor(ci / (now.channelsIn / now.groups));
  return Array.from({ length: each }, (_, i) => group * each + i);
};

// Channels that are no more, or that have nothing to do with each other, and entries that lie
// outside give way. What was shown last stays as near as can be.
effect(() => {
  const now = spec.value;
  if (channelOut.value >= now.channelsOut) channelOut.value = now.channelsOut - 1;
  const read = readBy(now, channelOut.value);
  if (!read.includes(channelIn.value)) channelIn.value = read[0];
});
const inside = (entry: Entry, now: Spec): Entry => {
  const at = now.axes.map((axis, i) => {
    const [first, count] =
      entry.grid === "in" ? [-axis.lo, axis.padded]
      : entry.grid === "out" ? [0, axis.output]
      : [0, axis.kernel];
    const given = entry.at.length === now.axes.length ? entry.at[i] : first + (count >> 1);
    return Math.min(Math.max(given, first), first + count - 1);
  });
  return { grid: entry.grid, at };
};
effect(() => {
  const now = spec.value;
  const next = inside(chosen.peek(), now);
  if (String(next.at) !== String(chosen.peek().at)) chosen.value = next;
  hovered.value = null;
  // Slices that show what is chosen.
  if (now.axes.length === 3) queueMicrotask(() => choose(chosen.peek()));
});

/** The kernel between two channels, as it is stored. */
export function weight(co: number, ci: number): Float64Array {
  const now = spec.value;
  const each = now.channelsIn / now.groups;
  return filled("w", co * each + (ci % each), kernels(now));
}
/** A channel of the side whose numbers are given. */
export function given(channel: number): Float64Array {
  return filled("x", channel, made.value === "out" ? sizes(spec.value) : outputs(spec.value));
}

export interface Numbers {
  in: Float64Array;
  out: Float64Array;
  kernel: Float64Array;
}
/** The numbers of the channels that are shown. */
export const numbers = computed<Numbers>(() => {
  const now = spec.value;
  const co = Math.min(channelOut.value, now.channelsOut - 1);
  const ci = Math.min(channelIn.value, now.channelsIn - 1);
  const kernel = weight(co, ci);
  return made.value === "out"
    ? { in: given(ci), out: outputChannel(now, co, given, weight), kernel }
    : { in: inputChannel(now, ci, given, weight), out: given(co), kernel };
});

/** Where an entry lies in a flat array. */
export const flat = (at: readonly number[], shape: readonly number[]) =>
  at.reduce((found, i, axis) => found * shape[axis] + i, 0);

/** The entry of the stored kernel that tap `tap` multiplies by. */
export const stored = (now: Spec, tap: readonly number[]) =>
  now.flip ? tap.map((k, i) => now.axes[i].kernel - 1 - k) : tap;

type Step = [out: number, tap: number, at: number, from: number | null];

function product(steps: readonly Step[][]): Link[] {
  let found: Link[] = [{ out: [], tap: [], at: [], from: [] }];
  for (const each of steps)
    found = found.flatMap((link) =>
      each.map(([out, tap, at, from]) => ({
        out: [...link.out, out],
        tap: [...link.tap, tap],
        at: [...link.at, at],
        from: link.from && from !== null ? [...link.from, from] : null,
      })),
    );
  return found;
}

/** What an output reads, in the order of the taps. */
export function linksOfOut(now: Spec, out: readonly number[]): Link[] {
  return product(
    now.axes.map((axis, i) =>
      Array.from({ length: axis.kernel }, (_, k): Step => {
        const at = axis.position(out[i], k);
        return [out[i], k, at, axis.source(at)];
      }),
    ),
  );
}

/** The outputs that an input feeds, also through its copies in the padding; or those that read a
 * place in the padding. */
export function linksOfIn(now: Spec, at: readonly number[]): Link[] {
  return product(
    now.axes.map((axis, i) => {
      const steps: Step[] = [];
      const real = at.every((p, j) => p >= 0 && p < now.axes[j].size);
      for (let k = axis.kernel - 1; k >= 0; k--) {
        const reads = (p: number) => {
          const o = (p + axis.lo - k * axis.dilation) / axis.stride;
          if (Number.isInteger(o) && o >= 0 && o < axis.output)
            steps.push([o, k, p, axis.source(p)]);
        };
        if (!real || axis.mode === "zeros") reads(at[i]);
        else
          for (let p = -axis.lo; p < axis.size + axis.hi; p++)
            if (axis.source(p) === at[i]) reads(p);
      }
      return steps;
    }),
  );
}

/** Of the entry that counts: none for an entry of the kernel, which all outputs use. */
export const links = computed<Link[]>(() => {
  const { grid, at } = focus.value;
  const now = spec.value;
  if (at.length !== now.axes.length || grid === "kernel") return [];
  return grid === "out" ? linksOfOut(now, at) : linksOfIn(now, at);
});

/** The next output (or the one before), in reading order; round at the end. */
export function step(by: number): void {
  const now = spec.value;
  const grid = "out";
  const shape = outputs(now);
  const here = chosen.value.grid === grid ? flat(chosen.value.at, shape) : by > 0 ? -1 : 0;
  const count = shape.reduce((n, size) => n * size, 1);
  let rest = (here + by + count) % count;
  const at = shape.map(() => 0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at[axis] = rest % shape[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  choose({ grid, at });
}

/** Choose an entry; in a volume the other grids turn to a slice that has to do with it. */
export function choose(entry: Entry): void {
  hovered.value = null;
  chosen.value = inside(entry, spec.value);
  const now = spec.value;
  if (now.axes.length !== 3) return;
  const found = links.value;
  slices[entry.grid].value = chosen.value.at[0];
  if (!found.some((link) => link.at[0] === slices.in.value && link.out[0] === slices.out.value)) {
    const near = found[found.length >> 1];
    if (near) [slices.in.value, slices.out.value] = [near.at[0], near.out[0]];
  }
  const seen = found.find((link) => link.at[0] === slices.in.value && link.out[0] === slices.out.value);
  if (seen) slices.kernel.value = seen.tap[0];
}
