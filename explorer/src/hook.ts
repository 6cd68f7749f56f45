// What the tests ask of the page, and anybody may in the browser's console: `faltung.parse(...)`.
// It is a script of its own, which needs no page: the tests run it in Node, too.
import { onnx, python, torch } from "./code";
import { compute } from "./compute";
import { Field, receptiveField } from "./geometry/field";
import { bytesMoved, ladder, macs } from "./geometry/spec";
import { parse, written } from "./geometry/text";

/** What tests/explore compares with Python, for one line: the same texts and numbers. */
export function evaluated(text: string): unknown {
  try {
    const spec = parse(text);
    const rungs = ladder(spec);
    return [
      written(spec),
      spec.axes.map((axis) => {
        const o = axis.output >> 1;
        const at = [-axis.lo, -1, 0, axis.size - 1, axis.size, axis.size + axis.hi - 1];
        const field = new Field(3, 2, 1.5).through(axis);
        const back = new Field(3, 2 * axis.stride, 1.5).back(axis);
        return [
          [axis.size, axis.kernel, axis.stride, axis.dilation, axis.lo, axis.hi, axis.mode],
          [axis.extent, axis.output, axis.unread],
          at.filter((i) => i >= -axis.lo && i < axis.size + axis.hi).map((i) => axis.source(i)),
          [...axis.validTaps(0), ...axis.validTaps(o), ...axis.validTaps(axis.output - 1)],
          [...axis.inputRange(o, axis.output), ...axis.inputRange(1, 1)],
          [field.size, field.jump, field.start, ...field.interval(o)],
          [back.size, back.jump, back.start, ...back.interval(1)],
          ...(axis.output <= 8 && axis.kernel <= 8
            ? [Array.from({ length: axis.output * axis.kernel }, (_, i) =>
                axis.source(axis.position(Math.floor(i / axis.kernel), i % axis.kernel)))]
            : []),
        ];
      }),
      [macs(spec), bytesMoved(spec), rungs.dense, rungs.local, rungs.conv].map(String),
    ];
  } catch (error) {
    return (error as Error).message;
  }
}

/** A digest of many lines, so that a test need not carry their results out of the page. */
export function digest(texts: readonly string[]): number[] {
  // CRC-32 over UTF-8, for each hundred lines: a difference says where it is.
  const table = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const found: number[] = [];
  const utf8 = new TextEncoder();
  for (let start = 0; start < texts.length; start += 100) {
    let sum = -1;
    for (const text of texts.slice(start, start + 100))
      for (const byte of utf8.encode(JSON.stringify(evaluated(text))))
        sum = table[(sum ^ byte) & 255] ^ (sum >>> 8);
    found.push(~sum >>> 0);
  }
  return found;
}

export const faltung = {
  parse,
  written,
  receptiveField,
  evaluated,
  digest,
  code: (text: string, way: "forward" | "transposed") => {
    const spec = parse(text);
    return { python: python(spec, way), torch: torch(spec, way), onnx: onnx(spec, way) };
  },
  compute: (text: string, x: number[], w: number[], g: number[]) => compute(parse(text), x, w, g),
};
(globalThis as { faltung?: typeof faltung }).faltung = faltung;
