// One spatial axis: its output size, and which input each output reads: geometry/axis.py.
import { source } from "./border";
import { Mistake, repr } from "./errors";

export type Mode = "zeros" | "reflect" | "symmetric" | "replicate" | "circular";
export const MODES: readonly Mode[] = ["zeros", "reflect", "symmetric", "replicate", "circular"];

/** The numbers of an axis, whether or not they make one. */
export interface Lengths {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly lo: number;
  readonly hi: number;
  readonly mode: Mode;
}

/** Output `o` reads, at tap `k`, position `o * stride + k * dilation - lo`. */
export class Axis implements Lengths {
  constructor(
    readonly size: number,
    readonly kernel: number,
    readonly stride = 1,
    readonly dilation = 1,
    readonly lo = 0,
    readonly hi = 0,
    readonly mode: Mode = "zeros",
  ) {
    for (const name of ["size", "kernel", "stride", "dilation"] as const)
      if (this[name] < 1) throw new Mistake(`${name}=${this[name]}: must be at least 1`);
    this.checkMode();
    if (this.extent > this.padded)
      throw new Mistake(
        `kernel=${kernel}: must not be larger than the padded input; with dilation ` +
          `${dilation} it spans ${this.extent}, the input ${lo} + ${size} + ${hi} = ${this.padded}`,
      );
  }

  private checkMode(): void {
    const most = { reflect: this.size - 1, symmetric: this.size, circular: this.size }[
      this.mode as string
    ];
    if (most !== undefined && Math.max(this.lo, this.hi) > most)
      throw new Mistake(
        `padding=${repr([this.lo, this.hi])}: ${this.mode} padding must be at most ${most} on an ` +
          `axis of size ${this.size}; faltung.ndimage has borders of any width`,
      );
  }

  /** Entries from the first tap to the last, both included. */
  get extent(): number {
    return this.dilation * (this.kernel - 1) + 1;
  }

  /** Size with the padding. */
  get padded(): number {
    return this.lo + this.size + this.hi;
  }

  /** floor((H - d(h-1) - 1 + lo + hi) / s) + 1 */
  get output(): number {
    return Math.floor((this.padded - this.extent) / this.stride) + 1;
  }

  /** Entries at the end of the padded input that no output reads, because of the stride. */
  get unread(): number {
    return (this.padded - this.extent) % this.stride;
  }

  /** The position that tap `k` of output `o` reads; below 0 and from `size` on is the padding. */
  position(o: number, k: number): number {
    return o * this.stride + k * this.dilation - this.lo;
  }

  /** The entry that position `i` repeats, null for a zero. */
  source(i: number): number | null {
    return source(i, this.size, this.mode);
  }

  /** Half-open range of the input positions that outputs `start` .. `stop - 1` read. */
  inputRange(start: number, stop: number): [number, number] {
    const first = start * this.stride - this.lo;
    if (stop <= start) return [first, first];
    return [first, first + (stop - 1 - start) * this.stride + this.extent];
  }

  /** Half-open range of the taps of output `o` that read inside the array. */
  validTaps(o: number): [number, number] {
    const first = o * this.stride - this.lo;
    const lo = Math.min(Math.max(0, -Math.floor(first / this.dilation)), this.kernel);
    const hi = Math.min(Math.floor((this.size - 1 - first) / this.dilation) + 1, this.kernel);
    return [lo, Math.max(lo, hi)];
  }
}
