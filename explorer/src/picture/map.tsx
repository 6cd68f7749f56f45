// One grid of the picture: a canvas that answers to pointer and keys.
import { untracked, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { painted } from "../parts/theme";
import { direction, spec } from "../store";
import { drawLight, drawValues, placeOf, type Sheet, sheetOf } from "./draw";
import { choose, chosen, focus, type Grid, hovered, links, lit, numbers, playing, slices } from "./state";

const NAMES: Record<Grid, string> = { in: "Input", kernel: "Kernel", out: "Output" };

export function Map({ grid, cell, onEdit }: { grid: Grid; cell: number; onEdit: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const kept = useRef({ base: document.createElement("canvas"), cell });
  kept.current.cell = cell;

  const sheet = (): Sheet => sheetOf(spec.value, grid, kept.current.cell, slices[grid].value);

  const paint = () => {
    const target = canvas.current;
    if (!target) return;
    const now = spec.value;
    const brush = target.getContext("2d")!;
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.clearRect(0, 0, target.width, target.height);
    brush.drawImage(kept.current.base, 0, 0);
    brush.scale(ratio(), ratio());
    drawLight(brush, now, numbers.value, sheet(), {
      focus: focus.value, links: links.value, term: lit.value,
    });
  };
  const repaint = () => {
    const target = canvas.current;
    if (!target) return;
    painted.value;
    const { base } = kept.current;
    const now = sheet();
    const [wide, high] = [now.columns * now.cell, now.above + now.rows * now.cell];
    for (const each of [base, target])
      [each.width, each.height] = [Math.round(wide * ratio()), Math.round(high * ratio())];
    target.style.width = `${wide}px`;
    target.style.height = `${high}px`;
    const brush = base.getContext("2d")!;
    brush.setTransform(ratio(), 0, 0, ratio(), 0, 0);
    const scattered = grid === "in" && direction.value === "transposed";
    drawValues(brush, spec.value, numbers.value, now, scattered);
  };
  // Values are drawn when they change; what is lit, over them, with every move of the pointer.
  useSignalEffect(() => {
    repaint();
    untracked(paint);
  });
  useSignalEffect(() => {
    painted.value;
    paint();
  });
  useEffect(() => {
    repaint();
    paint();
  }, [cell]);

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
  const press = (event: KeyboardEvent) => {
    const axis = { ArrowLeft: -1, ArrowRight: -1, ArrowUp: -2, ArrowDown: -2, PageUp: -3, PageDown: -3 }[event.key];
    if (axis !== undefined) {
      const rank = spec.value.axes.length;
      const which = rank + axis;
      if (which < 0) return;
      event.preventDefault();
      const here = chosen.value.grid === grid ? [...chosen.value.at] : placeOf(spec.value, sheet(), 0, 0);
      here[which] += /Left|Up/.test(event.key) ? -1 : 1;
      playing.value = false;
      choose({ grid, at: here });
    } else if (event.key === "Enter" || /^[-0-9]$/.test(event.key)) {
      if (event.key === "Enter") event.preventDefault();
      if (chosen.value.grid !== grid) choose({ grid, at: placeOf(spec.value, sheet(), 0, 0) });
      onEdit();
    }
  };
  return (
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
  );
}

const ratio = () => Math.min(3, devicePixelRatio || 1);
