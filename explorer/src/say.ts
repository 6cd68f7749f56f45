// A convolution in words.
import { inputShape, macs, outputShape, type Spec, weightParameters } from "./geometry/spec";
import type { Direction } from "./store";

export const times = (shape: readonly number[]) => shape.join("\u00d7");

/** A number with its thousands apart, in any language the same. */
export const grouped = new Intl.NumberFormat("en-US").format;

/** A value, short: at most four digits that count. */
export function short(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e5) return String(value).replace("-", "\u2212");
  return String(Number(value.toPrecision(3))).replace("-", "\u2212");
}

export function summary(spec: Spec, direction: Direction): string {
  const [from, to] = [times(inputShape(spec)), times(outputShape(spec))];
  const way = direction === "forward" ? `${from} \u2192 ${to}` : `${to} \u2192 ${from}, transposed`;
  return `${way}; ${grouped(weightParameters(spec))} weights; ${grouped(macs(spec))} multiply-adds`;
}
