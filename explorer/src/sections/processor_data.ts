// What explore/processor.py says of one convolution on one processor. Times are nanoseconds of one
// core, by the plan's nominal prices.

export interface Processor {
  /** The convolution, in its canonical text. */
  spec: string;
  layout: string;
  machine: {
    name: string;
    arch: string;
    /** Numbers in a vector, and its bits. */
    lanes: number;
    bits: number;
    registers: number;
    /** Whether a multiply-add is one instruction. */
    fused: boolean;
    l1: number;
    l2: number;
    l3: number;
    ghz: number;
  };
  /** The chosen one first; why: not the others. */
  methods: { name: string; how: string; ns: number | null; why: string | null }[];
  kernel: {
    /** The name of the code, and of the step that runs it. */
    title: string;
    step: string;
    lines: Line[];
    /** The inner loop among the lines, half-open; both 0: none. */
    loop: [number, number];
    counts: Record<string, number>;
    /** Registers that its multiply-adds add to. */
    accumulators: number[];
    /** Multiply-adds that read an operand from memory. */
    fromMemory: number;
    /** Operations of one pass of the loop, and the fewest cycles that they take. */
    flops: number;
    cycles: number;
  };
  roofline: {
    flops: number;
    bytes: number;
    /** GFLOP/s of one core. */
    peak: number;
    /** GB/s of three caches and memory. */
    rates: number[];
    /** Which of them holds the arrays. */
    level: number;
    points: { name: string; gflops: number }[];
  };
  curves: Curve[];
  measured: { ns: number; calls: number; date: string } | null;
}

/** Text, what it does, and the vector register that it writes. */
export type Line = [text: string, kind: string, into?: number];

export interface Curve {
  along: "kernel" | "channels";
  at: number[];
  now: number;
  chosen: string[];
  /** The fewest nanoseconds by the roofline, for a sum of products. */
  bound: number[];
  methods: { name: string; ns: (number | null)[] }[];
}
