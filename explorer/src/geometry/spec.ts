// One convolution as a question, in whole numbers: src/faltung/geometry/axis.py and conv.py.

export type Mode = "zeros" | "reflect" | "symmetric" | "replicate" | "circular";

export interface Axis {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly lo: number;
  readonly hi: number;
  readonly mode: Mode;
}

export interface Spec {
  readonly axes: readonly Axis[];
  readonly channelsIn: number;
  readonly channelsOut: number;
  readonly batch: number;
  readonly groups: number;
  readonly dtype: string;
  readonly flip: boolean;
}
