// One convolution as a question, in whole numbers: src/faltung/geometry/conv.py.
import type { Axis } from "./axis";

export type { Axis, Mode } from "./axis";

export interface Spec {
  readonly axes: readonly Axis[];
  readonly channelsIn: number;
  readonly channelsOut: number;
  readonly batch: number;
  readonly groups: number;
  readonly dtype: string;
  readonly flip: boolean;
}

/** Bytes of one number, and what the text form calls it. */
export const DTYPES: Record<string, readonly [bytes: number, word: string]> = {
  float32: [4, "f32"],
  float64: [8, "f64"],
  float16: [2, "f16"],
  bfloat16: [2, "bf16"],
  int32: [4, "i32"],
  int64: [8, "i64"],
  complex64: [8, "c64"],
  complex128: [16, "c128"],
};

/** Counts are products of many numbers: big integers, which are exact as Python's are. */
export function product(...numbers: number[]): bigint {
  return numbers.reduce((found, n) => found * BigInt(n), 1n);
}

export const sizes = (spec: Spec) => spec.axes.map((axis) => axis.size);
export const outputs = (spec: Spec) => spec.axes.map((axis) => axis.output);
export const kernels = (spec: Spec) => spec.axes.map((axis) => axis.kernel);

export const inputShape = (spec: Spec) => [spec.batch, spec.channelsIn, ...sizes(spec)];
export const outputShape = (spec: Spec) => [spec.batch, spec.channelsOut, ...outputs(spec)];
export const weightShape = (spec: Spec) => [
  spec.channelsOut,
  spec.channelsIn / spec.groups,
  ...kernels(spec),
];

/** Multiply-adds; taps that read padding count too. */
export const macs = (spec: Spec) =>
  product(...outputShape(spec)) * product(...weightShape(spec).slice(1));

export const weightParameters = (spec: Spec) => product(...weightShape(spec));

/** Bytes of input, weight and output, each counted once. */
export const bytesMoved = (spec: Spec) =>
  (product(...inputShape(spec)) + weightParameters(spec) + product(...outputShape(spec))) *
  BigInt(DTYPES[spec.dtype][0]);

export interface Ladder {
  dense: bigint;
  local: bigint;
  conv: bigint;
}

/** The parameters of this mapping as a dense matrix, as a local layer, as a convolution. */
export function ladder(spec: Spec): Ladder {
  const conv = weightParameters(spec);
  return {
    dense: product(...inputShape(spec).slice(1)) * product(...outputShape(spec).slice(1)),
    local: product(...outputs(spec)) * conv,
    conv,
  };
}
