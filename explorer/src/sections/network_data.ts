import type { Levels, Sample } from "./fields_data";

/** Maps (n, *space) of one sample, the first of `all`: level / 255 (or with `signed`, (level - 128)
 * / 127) times the entry of `ends` for the map is its value. Vectors have the shape (n). */
export interface Maps {
  levels: Levels;
  all: number;
  ends: number[];
  signed: boolean;
  /** How many of all are zero everywhere. */
  dead: number;
}

export interface Group {
  name: string;
  what: string;
  /** (C, *space). */
  shape: number[];
  maps: Maps;
}

export interface Branch {
  name: string;
  groups: Group[];
  /** Its channels in what the block makes: the first and the last. */
  channels: [number, number];
  /** What it contributes to the answer, to first order; parts of all sizes together. */
  part: number;
}

export interface Block {
  name: string;
  shape: number[];
  branches: Branch[];
}

export type Step = Group | Block;

export interface Answer {
  name: string;
  said: string;
  /** Of the longest bar, from -1 to 1. */
  part: number;
  chosen: boolean;
}

/** Grad-CAM of one class. */
export interface Heat {
  name: string;
  /** Over the positions of the layer, or words. */
  levels: Levels;
  /** Nothing speaks for the class. */
  cold: boolean;
}

/** What explore/network.py says of one sample in one trained network. */
export interface NetworkView {
  title: string;
  run: string;
  /** Shapes and parameters, in words. */
  said: string;
  sample: Sample;
  /** (C, *space) of the input. */
  input: number[];
  isClass: boolean;
  /** Whether answers compare classes, so that parts of branches do. */
  compared: boolean;
  answers: Answer[];
  heats: Heat[];
  heatLayer: string;
  /** Of the first convolution: (n, height, width, 1 or 3), or (n, 1, length). */
  filters?: { levels: Levels; all: number; shape: number[]; end: number };
  steps: Step[];
}
