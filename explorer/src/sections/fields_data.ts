// What explore/fields.py says of one network. A page only evaluates these numbers: where the field
// of a unit begins is `floor(start - size / 2) + unit * jump` (geometry/field.py), or is listed.

/** Numbers as levels of 8 bits, base64, in the order of memory. */
export interface Levels {
  shape: number[];
  data: string;
}

/** A sample as it is shown: a picture or slices of a volume (channels last, 1 or 3), the curves of
 * a series (channels, length), or words. */
export interface Sample {
  kind: "picture" | "volume" | "series" | "tokens";
  levels?: Levels;
  /** Of a series: what the levels 0 and 255 stand for. */
  low?: number;
  high?: number;
  words?: string[];
}

/** Along one axis: [size, jump, start], or the half-open span of each unit. */
export type Along = { field: [number, number, number] } | { spans: [number, number][] };

/** |d unit / d input| of one unit, measured. */
export interface Measured {
  unit: number[];
  /** Where the levels begin in the input, by axis, and how many entries each covers along it. */
  from: number[];
  step: number;
  levels: Levels;
  /** The box around the centre of the field that holds nine tenths of the sum: half-open spans. */
  most: [number, number][];
  /** Part of the sum that lies in the theoretical field. */
  inside: number;
}

export interface FieldLayer {
  name: string;
  /** Its kind and what follows it: "Conv k3 p1, ReLU". */
  what: string;
  /** (C, *space). */
  shape: number[];
  /** Numbers of the layers that it reads; -1 is the input. */
  reads: number[];
  /** null: its units see everything, because of `why`. */
  axes: Along[] | null;
  why?: string;
  measured?: Measured[];
}

export interface FieldNet {
  title: string;
  /** (C, *space) of the input, or (length,) of tokens. */
  input: number[];
  tokens: boolean;
  layers: FieldLayer[];
  /** Padding of layers on the way that repeats entries: "reflect", ... */
  repeats: string[];
  sample?: Sample;
  /** What was measured, or why nothing was. */
  measured: string;
}
