// Numbers that Python kept as levels of 8 bits, and their colours.
import type { Levels } from "../sections/fields_data";

const decoded = new WeakMap<Levels, Uint8Array>();

/** The levels as bytes; decoded once. */
export function bytes(levels: Levels): Uint8Array {
  let found = decoded.get(levels);
  if (!found) {
    const text = atob(levels.data);
    found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
    decoded.set(levels, found);
  }
  return found;
}

type Ramp = readonly (readonly [number, number, number])[];

// The scales of faltung/train/array_images.py: from cold to hot, each lighter than the one before;
// and below zero, zero, above.
const HEAT: Ramp = [
  [40, 11, 84],
  [101, 21, 110],
  [159, 42, 99],
  [212, 72, 66],
  [245, 125, 21],
  [250, 193, 39],
];
const SIGNED: Ramp = [
  [5, 48, 97],
  [67, 147, 195],
  [247, 247, 247],
  [214, 96, 77],
  [103, 0, 31],
];

/** 256 colours of a ramp, as red, green, blue in turn. */
function table(ramp: Ramp): Uint8ClampedArray {
  const made = new Uint8ClampedArray(768);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (ramp.length - 1);
    const low = Math.min(Math.floor(at), ramp.length - 2);
    for (let c = 0; c < 3; c++) {
      made[3 * i + c] = ramp[low]![c]! + (at - low) * (ramp[low + 1]![c]! - ramp[low]![c]!);
    }
  }
  return made;
}

const heatTable = table(HEAT);
const signedTable = table(SIGNED);

/** A scale as a background, for its legend. */
export function gradient(signed: boolean): string {
  const colours = (signed ? SIGNED : HEAT).map((c) => `rgb(${c.join(" ")})`);
  return `linear-gradient(to right, ${colours.join(", ")})`;
}

/** Paint values, from -1 (or 0) to 1, one pixel each. */
export function paint(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  value: (i: number) => number,
  signed: boolean,
): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  const colours = signed ? signedTable : heatTable;
  for (let i = 0; i < width * height; i++) {
    const v = signed ? (value(i) + 1) / 2 : value(i);
    const at = 3 * Math.round(255 * Math.min(Math.max(v, 0), 1));
    image.data[4 * i] = colours[at]!;
    image.data[4 * i + 1] = colours[at + 1]!;
    image.data[4 * i + 2] = colours[at + 2]!;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** A picture (height, width, 1 or 3) out of levels, from an offset on, as a data URI. */
export function picture(levels: Levels, height: number, width: number, offset = 0): string {
  const all = bytes(levels);
  const channels = levels.shape[levels.shape.length - 1]!;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = all[offset + channels * i + (channels === 3 ? c : 0)]!;
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** Heat (height, width) out of levels, as a data URI; with `veil` what is cold is transparent. */
export function heat(
  levels: Levels,
  height: number,
  width: number,
  offset = 0,
  veil = false,
): string {
  const all = bytes(levels);
  const canvas = document.createElement("canvas");
  paint(canvas, width, height, (i) => all[offset + i]! / 255, false);
  if (veil) {
    const context = canvas.getContext("2d")!;
    const image = context.getImageData(0, 0, width, height);
    for (let i = 0; i < width * height; i++) image.data[4 * i + 3] = 0.75 * all[offset + i]!;
    context.putImageData(image, 0, 0);
  }
  return canvas.toDataURL();
}
