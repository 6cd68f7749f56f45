// "n1 c3>64 224x224 k7 s2 p3" and the Spec that it means: src/faltung/geometry/text.py.
import type { Spec } from "./spec";

export function parse(text: string): Spec {
  // A place to begin with: the whole of text.py comes here.
  const size = text.match(/\b(\d+(?:x\d+)*)(?:\s|$)/)?.[1].split("x").map(Number) ?? [6, 6];
  const kernel = Number(text.match(/k(\d+)/)?.[1] ?? 3);
  const axes = size.map((n) => ({
    size: n, kernel, stride: 1, dilation: 1, lo: 0, hi: 0, mode: "zeros" as const,
  }));
  return { axes, channelsIn: 1, channelsOut: 1, batch: 1, groups: 1, dtype: "float32", flip: false };
}

export function written(spec: Spec): string {
  return `n${spec.batch} c${spec.channelsIn}>${spec.channelsOut} ${spec.axes.map((a) => a.size).join("x")} k${spec.axes[0].kernel}`;
}
