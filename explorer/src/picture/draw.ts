// A map of values on a canvas: the values once, and over them what is lit at the moment.
import type { Spec } from "../geometry/spec";
import { colours, type Colour } from "../parts/theme";
import { short } from "../say";
import {
  type Entry,
  flat,
  type Grid,
  type Link,
  MOST,
  type Numbers,
  stored,
  type Term,
} from "./state";

export interface Sheet {
  grid: Grid;
  rows: number;
  columns: number;
  /** The place of the first row and column. */
  top: number;
  left: number;
  /** Pixels of an entry, and the room above for a curve. */
  cell: number;
  above: number;
  /** The place along the first axis of a volume. */
  slice: number | null;
}

export const STEMS = 84;

/** Rows and columns of a grid, as far as they are drawn. */
export function sheetOf(now: Spec, grid: Grid, cell: number, slice: number): Sheet {
  const rank = now.axes.length;
  const spans = now.axes.map((axis): [number, number] =>
    grid === "in" ? [-axis.lo, axis.padded] : [0, grid === "out" ? axis.output : axis.kernel],
  );
  const [top, rows] = rank === 1 ? [0, 1] : spans[rank - 2];
  const [left, columns] = spans[rank - 1];
  return {
    grid,
    cell,
    top,
    left,
    rows: Math.min(rows, MOST),
    columns: Math.min(columns, MOST),
    above: rank === 1 ? STEMS : 0,
    slice: rank === 3 ? slice : null,
  };
}

/** The place of a cell, as many numbers as there are axes. */
export function placeOf(now: Spec, sheet: Sheet, row: number, column: number): number[] {
  const at = [sheet.left + column];
  if (now.axes.length > 1) at.unshift(sheet.top + row);
  if (sheet.slice !== null) at.unshift(sheet.slice);
  return at;
}

/** The cell of a place, if it is on this sheet. */
function cellOf(sheet: Sheet, at: readonly number[]): [row: number, column: number] | null {
  if (sheet.slice !== null && at[0] !== sheet.slice) return null;
  const row = at.length > 1 ? at.at(-2)! - sheet.top : 0;
  const column = at.at(-1)! - sheet.left;
  return row < sheet.rows && column < sheet.columns ? [row, column] : null;
}

export interface Cell {
  value: number;
  kind: "plain" | "padding";
  /** No output reads it, because of the stride. */
  unread: boolean;
  /** The entry that a place in the padding copies. */
  from: readonly number[] | null;
}

/** What stands at a place. */
export function cellAt(now: Spec, numbers: Numbers, grid: Grid, at: readonly number[]): Cell {
  const { axes } = now;
  if (grid === "kernel") {
    const shape = axes.map((axis) => axis.kernel);
    return {
      value: numbers.kernel[flat(stored(now, at), shape)],
      kind: "plain",
      unread: false,
      from: null,
    };
  }
  if (grid === "out") {
    const shape = axes.map((axis) => axis.output);
    return { value: numbers.out[flat(at, shape)], kind: "plain", unread: false, from: null };
  }
  const from = axes.map((axis, i) => axis.source(at[i]));
  const known = from.every((entry) => entry !== null) ? (from as number[]) : null;
  const inside = axes.every((axis, i) => at[i] >= 0 && at[i] < axis.size);
  const shape = axes.map((axis) => axis.size);
  const unread = axes.some((axis, i) => at[i] >= axis.size + axis.hi - axis.unread);
  return {
    value: known ? numbers.in[flat(known, shape)] : 0,
    kind: inside ? "plain" : "padding",
    unread,
    from: inside ? null : known,
  };
}

const OF: Record<Grid, Colour> = { in: "input", kernel: "kernel", out: "output" };
type Brush = CanvasRenderingContext2D;

function hatched(brush: Brush, x: number, y: number, cell: number, colour: string): void {
  brush.save();
  brush.beginPath();
  brush.rect(x, y, cell, cell);
  brush.clip();
  brush.strokeStyle = colour;
  brush.globalAlpha = 0.45;
  brush.lineWidth = 1;
  brush.beginPath();
  for (let d = -cell; d < cell; d += Math.max(4, cell / 5)) {
    brush.moveTo(x + d, y + cell);
    brush.lineTo(x + d + cell, y);
  }
  brush.stroke();
  brush.restore();
}

/** The values themselves. `plain`: without the padding's numbers, where they are only dropped. */
export function drawValues(
  brush: Brush,
  now: Spec,
  numbers: Numbers,
  sheet: Sheet,
  scattered: boolean,
): void {
  const colour = colours();
  const { cell, above, grid } = sheet;
  const values = numbers[grid];
  let most = 1e-9;
  for (const value of values) most = Math.max(most, Math.abs(value));
  const size = Math.min(15, Math.max(8, cell * 0.4));
  brush.font = `${size}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace`;
  brush.textAlign = "center";
  brush.textBaseline = "middle";
  const gap = cell > 14 ? 1 : cell > 6 ? 0.5 : 0;
  for (let row = 0; row < sheet.rows; row++)
    for (let column = 0; column < sheet.columns; column++) {
      const found = cellAt(now, numbers, grid, placeOf(now, sheet, row, column));
      const [x, y] = [column * cell, above + row * cell];
      const hue = found.kind === "padding" ? colour.padding : colour[OF[grid]];
      brush.fillStyle = found.value < 0 ? colour.quiet : hue;
      brush.globalAlpha =
        (found.kind === "padding" ? 0.13 : 0.07) + 0.5 * Math.min(1, Math.abs(found.value) / most);
      if (scattered && found.kind === "padding") brush.globalAlpha = 0.1;
      brush.fillRect(x + gap, y + gap, cell - 2 * gap, cell - 2 * gap);
      brush.globalAlpha = 1;
      if (found.unread) hatched(brush, x, y, cell, colour.quiet);
      if (found.kind === "padding" && cell > 9) {
        brush.strokeStyle = colour.padding;
        brush.globalAlpha = 0.65;
        brush.lineWidth = 1;
        brush.setLineDash([2, 2]);
        brush.strokeRect(x + 1.5, y + 1.5, cell - 3, cell - 3);
        brush.setLineDash([]);
        brush.globalAlpha = 1;
      }
      if (cell < 16 || (scattered && found.kind === "padding")) continue;
      const text = short(found.value);
      if (text.length * size * 0.62 > cell - 1) continue;
      brush.fillStyle = found.kind === "padding" ? colour.padding : colour.ink;
      brush.fillText(text, x + cell / 2, y + cell / 2 + 0.5);
    }
  if (above) drawStems(brush, now, numbers, sheet, most, colour[OF[grid]], colour);
}

/** A signal: a stem for each entry, above its cell. */
function drawStems(
  brush: Brush,
  now: Spec,
  numbers: Numbers,
  sheet: Sheet,
  most: number,
  hue: string,
  colour: Record<Colour, string>,
): void {
  const cells = Array.from({ length: sheet.columns }, (_, column) =>
    cellAt(now, numbers, sheet.grid, placeOf(now, sheet, 0, column)),
  );
  const low = cells.some((each) => each.value < 0);
  const zero = low ? STEMS / 2 : STEMS - 8;
  const scale = (zero - 10) / most;
  brush.strokeStyle = colour.edge;
  brush.lineWidth = 1;
  brush.beginPath();
  brush.moveTo(0, zero + 0.5);
  brush.lineTo(sheet.columns * sheet.cell, zero + 0.5);
  brush.stroke();
  const xs = (column: number) => (column + 0.5) * sheet.cell;
  brush.strokeStyle = hue;
  brush.globalAlpha = 0.4;
  brush.beginPath();
  cells.forEach((each, column) => brush.lineTo(xs(column), zero - each.value * scale));
  brush.stroke();
  brush.globalAlpha = 1;
  cells.forEach((each, column) => {
    const ink = each.kind === "padding" ? colour.padding : hue;
    brush.strokeStyle = brush.fillStyle = ink;
    brush.lineWidth = Math.min(3, Math.max(1, sheet.cell / 8));
    brush.beginPath();
    brush.moveTo(xs(column), zero);
    brush.lineTo(xs(column), zero - each.value * scale);
    brush.stroke();
    brush.beginPath();
    brush.arc(xs(column), zero - each.value * scale, Math.min(4.5, sheet.cell / 4), 0, 7);
    if (each.kind === "padding") brush.stroke();
    else brush.fill();
  });
}

function framed(
  brush: Brush,
  sheet: Sheet,
  row: number,
  column: number,
  ink: string,
  wide: number,
) {
  const { cell } = sheet;
  brush.strokeStyle = ink;
  brush.lineWidth = wide;
  const half = wide / 2;
  brush.strokeRect(column * cell + half, sheet.above + row * cell + half, cell - wide, cell - wide);
}

export interface Light {
  focus: Entry;
  links: readonly Link[];
  term: { term: Term; axis: number } | null;
  /** One of the links, which stands out. */
  single: Link | null;
}

/** What is lit: entries that go with the one in focus, and the thing that a term counts. */
export function drawLight(
  brush: Brush,
  now: Spec,
  numbers: Numbers,
  sheet: Sheet,
  { focus, links, term, single }: Light,
): void {
  const colour = colours();
  const { grid, cell } = sheet;
  if (focus.at.length !== now.axes.length) return;
  const shape = now.axes.map((axis) => axis.kernel);
  const wide = cell > 20 ? 2 : cell > 9 ? 1.5 : 1;
  const near = grid === "in" ? "at" : grid === "out" ? "out" : "tap";
  if (grid !== focus.grid) {
    const tag = grid !== "kernel" && cell >= 30;
    const size = Math.max(8, cell * 0.26);
    brush.font = `600 ${size}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace`;
    brush.textAlign = "right";
    brush.textBaseline = "alphabetic";
    const seen = new Map<string, number>();
    for (const link of links) {
      const place = cellOf(sheet, link[near]);
      if (!place) continue;
      const [row, column] = place;
      brush.fillStyle = colour.kernel;
      brush.globalAlpha = 0.2;
      brush.fillRect(column * cell, sheet.above + row * cell, cell, cell);
      brush.globalAlpha = 1;
      framed(brush, sheet, row, column, colour.kernel, wide);
      // Through copies in the padding an entry may have several weights.
      const w = numbers.kernel[flat(stored(now, link.tap), shape)];
      seen.set(`${row} ${column}`, (seen.get(`${row} ${column}`) ?? 0) + w);
    }
    if (tag)
      for (const [key, w] of seen) {
        const [row, column] = key.split(" ").map(Number);
        brush.fillStyle = colour.kernel;
        const [x, y] = [(column + 1) * cell - 3, sheet.above + (row + 1) * cell - 3.5];
        brush.fillText(`\u00d7${short(w)}`, x, y);
      }
    if (focus.grid === "kernel" && grid !== "kernel") usedBy(brush, now, sheet, focus.at);
  } else {
    const place = cellOf(sheet, focus.at);
    if (place) {
      brush.fillStyle = colour[OF[grid]];
      brush.globalAlpha = 0.16;
      brush.fillRect(place[1] * cell, sheet.above + place[0] * cell, cell, cell);
      brush.globalAlpha = 1;
      framed(brush, sheet, place[0], place[1], colour.ink, wide + 1);
    }
    if (grid === "in") copies(brush, now, numbers, sheet, focus.at);
  }
  if (grid === "in" && focus.grid === "out") outlined(brush, now, sheet, focus.at);
  if (single) {
    const place = cellOf(sheet, single[near]);
    if (place) framed(brush, sheet, place[0], place[1], colour.ink, wide + 1.5);
  }
  if (term) pointed(brush, now, sheet, term, focus);
}

/** All entries that one entry of the kernel meets, or all outputs, which use it. */
function usedBy(brush: Brush, now: Spec, sheet: Sheet, tap: readonly number[]): void {
  const colour = colours();
  for (let row = 0; row < sheet.rows; row++)
    for (let column = 0; column < sheet.columns; column++) {
      const at = placeOf(now, sheet, row, column);
      const meets = now.axes.every((axis, i) => {
        if (sheet.grid === "out") return true;
        const o = (at[i] + axis.lo - tap[i] * axis.dilation) / axis.stride;
        return Number.isInteger(o) && o >= 0 && o < axis.output;
      });
      if (meets) framed(brush, sheet, row, column, colour.kernel, sheet.cell > 9 ? 1.5 : 0.75);
    }
}

/** The frame from the first tap to the last. */
function outlined(brush: Brush, now: Spec, sheet: Sheet, out: readonly number[], shift = 0): void {
  const first = now.axes.map((axis, i) => axis.position(out[i], 0));
  const last = now.axes.at(-1)!;
  const high = now.axes.length > 1 ? now.axes.at(-2)!.extent : 1;
  const row = now.axes.length > 1 ? first.at(-2)! - sheet.top : 0;
  const x = (first.at(-1)! - sheet.left) * sheet.cell + shift;
  const y = sheet.above + row * sheet.cell + shift;
  brush.strokeStyle = colours().output;
  brush.lineWidth = sheet.cell > 12 ? 2.5 : 1.5;
  brush.strokeRect(x + 1, y + 1, last.extent * sheet.cell - 2, high * sheet.cell - 2);
}

/** Lines between an entry of the padding and the entry that it copies. */
function copies(brush: Brush, now: Spec, numbers: Numbers, sheet: Sheet, at: readonly number[]) {
  const { from, kind } = cellAt(now, numbers, "in", at);
  if (kind === "plain" || !from) return;
  const [here, there] = [cellOf(sheet, at), cellOf(sheet, from)];
  if (!here || !there) return;
  const ink = colours().padding;
  framed(brush, sheet, there[0], there[1], ink, 3);
  const centre = ([row, column]: [number, number]) =>
    [(column + 0.5) * sheet.cell, sheet.above + (row + 0.5) * sheet.cell] as const;
  const [[x0, y0], [x1, y1]] = [centre(there), centre(here)];
  const turn = Math.atan2(y1 - y0, x1 - x0);
  brush.strokeStyle = brush.fillStyle = ink;
  brush.lineWidth = 2;
  brush.beginPath();
  brush.moveTo(x0, y0);
  brush.quadraticCurveTo((x0 + x1) / 2 - (y1 - y0) / 5, (y0 + y1) / 2 + (x1 - x0) / 5, x1, y1);
  brush.stroke();
  brush.beginPath();
  for (const spread of [2.6, -2.6, 0])
    brush.lineTo(
      x1 + (spread ? 9 * Math.cos(turn + spread) : 0),
      y1 + (spread ? 9 * Math.sin(turn + spread) : 0),
    );
  brush.fill();
}

/** The thing that a term of the formula counts, along its axis. */
function pointed(
  brush: Brush,
  now: Spec,
  sheet: Sheet,
  { term, axis: which }: { term: Term; axis: number },
  focus: Entry,
): void {
  const axis = now.axes[which];
  const rank = now.axes.length;
  const across = which === rank - 1;
  if (sheet.slice !== null && which === 0) return;
  const colour = colours();
  const out = focus.grid === "out" ? focus.at[which] : 0;
  const bar = (first: number, count: number, ink: string) => {
    if (count <= 0) return;
    const [c, start] = [sheet.cell, across ? first - sheet.left : first - sheet.top];
    brush.fillStyle = brush.strokeStyle = ink;
    brush.globalAlpha = 0.22;
    const box: [number, number, number, number] = across
      ? [start * c, sheet.above, count * c, sheet.rows * c]
      : [0, sheet.above + start * c, sheet.columns * c, count * c];
    brush.fillRect(...box);
    brush.globalAlpha = 1;
    brush.lineWidth = 3;
    brush.strokeRect(box[0] + 1.5, box[1] + 1.5, box[2] - 3, box[3] - 3);
  };
  if (sheet.grid === "out") {
    if (term === "output") bar(0, axis.output, colour.output);
    if (term === "stride") bar(out, Math.min(2, axis.output - out), colour.stride);
    return;
  }
  if (sheet.grid === "kernel") {
    if (term === "extent") bar(0, axis.kernel, colour.kernel);
    return;
  }
  if (term === "size") bar(0, axis.size, colour.input);
  if (term === "padding") {
    bar(-axis.lo, axis.lo, colour.padding);
    bar(axis.size, axis.hi, colour.padding);
  }
  if (term === "extent") bar(axis.position(out, 0), axis.extent, colour.kernel);
  if (term === "dilation")
    bar(axis.position(out, 0), axis.kernel > 1 ? axis.dilation : 1, colour.dilation);
  if (term === "stride")
    bar(axis.position(Math.min(out, Math.max(0, axis.output - 2)), 0), axis.stride, colour.stride);
  if (term === "unread") bar(axis.size + axis.hi - axis.unread, axis.unread, colour.quiet);
}
