// What a unit sees, out of the numbers of explore/fields.py.
import type { Along, FieldLayer, FieldNet } from "../sections/fields_data";

export type Span = [number, number];

/** The half-open range of input entries of a unit; of a field also beyond the borders. */
export function span(along: Along, unit: number): Span {
  if ("spans" in along) return along.spans[unit]!;
  const [size, jump, start] = along.field;
  const first = Math.round(start - size / 2) + unit * jump;
  return [first, first + size];
}

/** The axes of the input: those of space, or the length of tokens. */
export function space(net: FieldNet): number[] {
  return net.tokens ? net.input : net.input.slice(1);
}

/** What a unit of a layer sees along each axis of the input. */
export function seen(net: FieldNet, layer: FieldLayer, unit: readonly number[]): Span[] {
  if (!layer.axes) return space(net).map((size) => [0, size]);
  return layer.axes.map((along, i) => span(along, unit[i] ?? 0));
}

export function clipped([first, stop]: Span, size: number): Span {
  return [Math.max(0, first), Math.min(size, stop)];
}

/** The unit in the middle of a layer. */
export function middle(layer: FieldLayer): number[] {
  return layer.shape.slice(1).map((n) => Math.floor(n / 2));
}

/** What the axes of a map are called. */
export function axisNames(rank: number, tokens = false): string[] {
  if (rank === 1) return [tokens ? "word" : "position"];
  if (rank === 2) return ["row", "column"];
  if (rank === 3) return ["slice", "row", "column"];
  return Array.from({ length: rank }, (_, i) => `axis ${i + 1}`);
}

export const plural = (name: string) => (name.startsWith("axis") ? name : `${name}s`);

/** A dotted name that may be broken after its dots. */
export const breaking = (name: string) => name.replace(/\./g, ".\u200b");

export const times = (sizes: readonly number[]) => sizes.join(" × ");
