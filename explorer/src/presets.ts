// Convolutions to begin with, each for something that it shows.
import type { Direction } from "./store";

export interface Preset {
  name: string;
  line: string;
  direction?: Direction;
  input?: string;
  kernel?: string;
  says: string;
}

export const PRESETS: readonly Preset[] = [
  { name: "The classic", line: "n1 c1>1 7x7 k3 p1", says: "3x3, padded by 1: the size stays." },
  {
    name: "Edges",
    line: "n1 c1>1 12x12 k3 p1 m:replicate",
    input: "digit",
    kernel: "edge",
    says: "Sobel's kernel answers where the picture changes from left to right.",
  },
  {
    name: "Stride",
    line: "n1 c1>1 8x8 k3 s2",
    says: "Every second place; the last column is not read.",
  },
  { name: "Dilated", line: "n1 c1>1 11x11 k3 p2 d2", says: "Nine taps that span 5x5." },
  {
    name: "Depthwise",
    line: "n1 c4>4 8x8 k3 p1 g4",
    says: "As many groups as channels: each channel has a kernel of its own.",
  },
  {
    name: "Causal",
    line: "n1 c1>1 16 k3 pcausal d2",
    says: "A series: no output reads what comes later.",
  },
  {
    name: "Globe",
    line: "n1 c1>1 8x16 k3 p1 m:replicate,circular",
    says: "Longitude goes round, latitude ends at the poles: a mode for each axis.",
  },
  { name: "Volume", line: "n1 c1>1 6x6x6 k3 p1", says: "Three axes: slices of a volume." },
  {
    name: "Transposed",
    line: "n1 c1>1 9x9 k3 s2",
    direction: "transposed",
    input: "ones",
    says: "Each entry scatters the kernel: the gradient for the input.",
  },
  {
    name: "True convolution",
    line: "n1 c1>1 7x7 k3 p1 flip",
    input: "one",
    kernel: "ramp",
    says: "The kernel is turned over, so that a single 1 gives the kernel back.",
  },
];
