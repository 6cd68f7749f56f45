// Values, in float64: a convolution and both of its gradients, by its definition.
import { kernels, outputs, type Spec, sizes } from "./geometry/spec";

const count = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1);

/** For every output and tap, which entry of the input is read: -1 for a zero. */
export interface Reads {
  outs: number;
  taps: number;
  ins: number;
  from: Int32Array;
}

/** Entries of the table of `reads` that the page is willing to make. */
export const MOST_READS = 8_000_000;
export const readable = (spec: Spec) => count(outputs(spec)) * count(kernels(spec)) <= MOST_READS;

let known: [Spec["axes"], boolean, Reads] | null = null;

/** Taps are counted as the kernel is stored: with `flip`, entry t lies at the other end. */
export function reads(spec: Spec): Reads {
  if (known && known[0] === spec.axes && known[1] === spec.flip) return known[2];
  let [outs, taps, ins] = [1, 1, 1];
  let from: Int32Array = Int32Array.of(0);
  for (const axis of spec.axes) {
    const [o, k] = [axis.output, axis.kernel];
    const next = new Int32Array(outs * o * taps * k);
    for (let a = 0; a < outs; a++)
      for (let i = 0; i < o; i++)
        for (let t = 0; t < taps; t++)
          for (let j = 0; j < k; j++) {
            const before = from[a * taps + t];
            const entry = axis.source(axis.position(i, spec.flip ? k - 1 - j : j));
            next[(a * o + i) * taps * k + t * k + j] =
              before < 0 || entry === null ? -1 : before * axis.size + entry;
          }
    [outs, taps, ins, from] = [outs * o, taps * k, ins * axis.size, next];
  }
  const made = { outs, taps, ins, from };
  known = [spec.axes, spec.flip, made];
  return made;
}

type Numbers = ArrayLike<number>;

/** One channel of the output of one sample. `x`: one array for each channel in. */
export function outputChannel(
  spec: Spec,
  co: number,
  x: (channel: number) => Numbers,
  w: (co: number, ci: number) => Numbers,
): Float64Array {
  const { outs, taps, from } = reads(spec);
  const y = new Float64Array(outs);
  const each = spec.channelsIn / spec.groups;
  const first = Math.floor(co / (spec.channelsOut / spec.groups)) * each;
  for (let c = 0; c < each; c++) {
    const [values, kernel] = [x(first + c), w(co, c)];
    for (let o = 0, at = 0; o < outs; o++) {
      let sum = 0;
      for (let t = 0; t < taps; t++, at++) if (from[at] >= 0) sum += kernel[t] * values[from[at]];
      y[o] += sum;
    }
  }
  return y;
}

/** One channel of the gradient for the input, which is the transposed convolution. */
export function inputChannel(
  spec: Spec,
  ci: number,
  g: (channel: number) => Numbers,
  w: (co: number, ci: number) => Numbers,
): Float64Array {
  const { outs, taps, ins, from } = reads(spec);
  const x = new Float64Array(ins);
  const [each, made] = [spec.channelsIn / spec.groups, spec.channelsOut / spec.groups];
  const first = Math.floor(ci / each) * made;
  for (let c = first; c < first + made; c++) {
    const [values, kernel] = [g(c), w(c, ci % each)];
    for (let o = 0, at = 0; o < outs; o++)
      for (let t = 0; t < taps; t++, at++) if (from[at] >= 0) x[from[at]] += kernel[t] * values[o];
  }
  return x;
}

/** All of it, for flat arrays with batch and channels: what the tests compare with Python. */
export function compute(spec: Spec, x: Numbers, w: Numbers, g: Numbers) {
  const [ins, outs, taps] = [count(sizes(spec)), count(outputs(spec)), count(kernels(spec))];
  const each = spec.channelsIn / spec.groups;
  const slice = (from: Numbers, at: number, n: number) =>
    Array.prototype.slice.call(from, at * n, (at + 1) * n) as number[];
  const kernel = (co: number, ci: number) => slice(w, co * each + ci, taps);
  const output: number[] = [];
  const inputGrad: number[] = [];
  const weightGrad = new Float64Array(w.length);
  const { from } = reads(spec);
  for (let n = 0; n < spec.batch; n++) {
    const input = (ci: number) => slice(x, n * spec.channelsIn + ci, ins);
    const grad = (co: number) => slice(g, n * spec.channelsOut + co, outs);
    for (let co = 0; co < spec.channelsOut; co++) {
      output.push(...outputChannel(spec, co, input, kernel));
      const first = Math.floor(co / (spec.channelsOut / spec.groups)) * each;
      const grads = grad(co);
      for (let ci = 0; ci < each; ci++) {
        const values = input(first + ci);
        for (let o = 0, at = 0; o < outs; o++)
          for (let t = 0; t < taps; t++, at++)
            if (from[at] >= 0)
              weightGrad[(co * each + ci) * taps + t] += grads[o] * values[from[at]];
      }
    }
    for (let ci = 0; ci < spec.channelsIn; ci++)
      inputGrad.push(...inputChannel(spec, ci, grad, kernel));
  }
  return { output, inputGrad, weightGrad: [...weightGrad] };
}
