// One grid of the picture: a canvas that answers to pointer and keys.
import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { painted } from "../parts/theme";
import { direction, spec } from "../store";
import { drawLight, drawValues, placeOf, type Sheet, sheetOf } from "./draw";
import { choose, chosen, focus, type Grid, hovered, links, lit, numbers, playing, slices } from "./state";

const NAMES: Record<Grid, string> = { in: "Input", kernel: "Kernel", out: "Output" };

export function Map({ grid, cell, onEdit }: { grid: Grid; cell: number; onEdit: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  // Below what is lit lie the values, on a canvas of their own.
  const below = useRef<HTMLCanvasElement>(null);
  const kept = useRef(cell);
  kept.current = cell;

  const sheet = (): Sheet => sheetOf(spec.value, grid, kept.current, slices[grid].value);

  const paint = () => {
    const brush = cleared(canvas.current, sheet());
    if (brush)
      drawLight(brush, spec.value, numbers.value, sheet(), {
        focus: focus.value, links: links.value, term: lit.value,
      });
  };
  const repaint = () => {
    const brush = cleared(below.current, sheet());
    const scattered = grid === "in" && direction.value === "transposed";
    if (brush) drawValues(brush, spec.value, numbers.value, sheet(), scattered);
  };
  // Values are drawn when they change; what is lit, over them, with every move of the pointer; and
  // both at most once in a frame, however much has changed.
  const frame = useRef({ asked: 0, values: true });
  const ask = (values: boolean) => {
    const wanted = frame.current;
    wanted.values ||= values;
    wanted.asked ||= requestAnimationFrame(() => {
      wanted.asked = 0;
      if (wanted.values) repaint();
      wanted.values = false;
      paint();
    });
  };
  useSignalEffect(() => {
    [painted.value, spec.value, numbers.value, direction.value, slices[grid].value];
    ask(true);
  });
  useSignalEffect(() => {
    [focus.value, links.value, lit.value];
    ask(false);
  });
  useEffect(() => ask(true), [cell]);

  const under = (event: { clientX: number; clientY: number }): number[] | null => {
    const box = canvas.current!.getBoundingClientRect();
    const now = sheet();
    const column = Math.floor((event.clientX - box.left) / now.cell);
    const row = Math.max(0, Math.floor((event.clientY - box.top - now.above) / now.cell));
    if (row >= now.rows || column < 0 || column >= now.columns) return null;
    return placeOf(spec.value, now, row, column);
  };
  const hover = (event: PointerEvent) => {
    const at = under(event);
    const old = hovered.value;
    if (at && old?.grid === grid && String(old.at) === String(at)) return;
    hovered.value = at && { grid, at };
  };
  /** Where the keys begin. */
  const first = () => placeOf(spec.value, { ...sheet(), top: 0, left: 0 }, 0, 0);
  const press = (event: KeyboardEvent) => {
    const axis = { ArrowLeft: -1, ArrowRight: -1, ArrowUp: -2, ArrowDown: -2, PageUp: -3, PageDown: -3 }[event.key];
    if (axis !== undefined) {
      const rank = spec.value.axes.length;
      const which = rank + axis;
      if (which < 0) return;
      event.preventDefault();
      const here = chosen.value.grid === grid ? [...chosen.value.at] : first();
      here[which] += /Left|Up/.test(event.key) ? -1 : 1;
      playing.value = false;
      choose({ grid, at: here });
    } else if (event.key === "Enter" || /^[-0-9]$/.test(event.key)) {
      if (event.key === "Enter") event.preventDefault();
      if (chosen.value.grid !== grid) choose({ grid, at: first() });
      onEdit();
    }
  };
  return (
    <div class="layers">
    <canvas ref={below} aria-hidden="true" />
    <canvas
      ref={canvas}
      class="map"
      tabIndex={0}
      role="application"
      aria-roledescription="map of numbers"
      aria-label={`${NAMES[grid]}: arrow keys choose an entry, Enter changes its number`}
      onPointerMove={(event) => event.pointerType === "mouse" && hover(event)}
      onPointerLeave={() => (hovered.value = null)}
      onClick={(event) => {
        const at = under(event);
        playing.value = false;
        if (at) choose({ grid, at });
      }}
      onDblClick={onEdit}
      onKeyDown={press}
    />
    </div>
  );
}

/** A canvas of the right size, and nothing on it. */
function cleared(target: HTMLCanvasElement | null, now: Sheet): CanvasRenderingContext2D | null {
  const brush = target?.getContext("2d");
  if (!target || !brush) return null;
  const [wide, high] = [now.columns * now.cell, now.above + now.rows * now.cell];
  const [x, y] = [Math.round(wide * ratio()), Math.round(high * ratio())];
  if (target.width !== x || target.height !== y) {
    [target.width, target.height] = [x, y];
    target.style.width = `${wide}px`;
    target.style.height = `${high}px`;
  }
  brush.setTransform(1, 0, 0, 1, 0, 0);
  brush.clearRect(0, 0, x, y);
  brush.scale(ratio(), ratio());
  return brush;
}

const ratio = () => Math.min(3, devicePixelRatio || 1);
