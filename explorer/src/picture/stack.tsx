// A volume as a stack of slices that one turns; what is read is lit in it.
import { signal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { sizes } from "../geometry/spec";
import { colours, painted } from "../parts/theme";
import { spec } from "../store";
import { focus, links, slices } from "./state";

const turn = signal(-0.55);
const [WIDE, HIGH] = [300, 230];

export function Stack() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useSignalEffect(() => {
    painted.value;
    const target = canvas.current;
    if (!target || spec.value.axes.length !== 3) return;
    const colour = colours();
    const ratio = Math.min(3, devicePixelRatio || 1);
    [target.width, target.height] = [WIDE * ratio, HIGH * ratio];
    const brush = target.getContext("2d")!;
    brush.scale(ratio, ratio);
    const [d, h, w] = sizes(spec.value);
    const [cos, sin] = [Math.cos(turn.value), Math.sin(turn.value)];
    const scale = 165 / Math.max(d * 1.3, h, w);
    // Slices stand one behind the other; the eye is a little above.
    const spot = (z: number, y: number, x: number): [number, number] => {
      const [a, b, c] = [x - w / 2, y - h / 2, (z - (d - 1) / 2) * 1.3];
      const right = a * cos + c * sin;
      const deep = -a * sin + c * cos;
      return [WIDE / 2 + right * scale, HIGH / 2 + (b * 0.92 + deep * 0.4) * scale];
    };
    const face = (z: number, y: number, x: number, high: number, wide: number) => {
      brush.beginPath();
      for (const [dy, dx] of [
        [0, 0],
        [0, wide],
        [high, wide],
        [high, 0],
      ])
        brush.lineTo(...spot(z, y + dy, x + dx));
      brush.closePath();
    };
    const read = links.value;
    const [entry] = [focus.value];
    for (let i = 0; i < d; i++) {
      const z = cos > 0 ? i : d - 1 - i;
      face(z, 0, 0, h, w);
      brush.globalAlpha = 0.1;
      brush.fillStyle = colour.input;
      brush.fill();
      brush.globalAlpha = 1;
      brush.strokeStyle = z === slices.in.value ? colour.ink : colour.input;
      brush.lineWidth = z === slices.in.value ? 2 : 0.8;
      brush.stroke();
      const cells = entry.grid === "in" ? [entry.at] : read.map((link) => link.at);
      for (const [az, ay, ax] of cells) {
        if (az !== z || ay < 0 || ay >= h || ax < 0 || ax >= w) continue;
        face(z, ay, ax, 1, 1);
        brush.fillStyle = colour.kernel;
        brush.globalAlpha = 0.75;
        brush.fill();
        brush.globalAlpha = 1;
      }
    }
  });
  return (
    <figure class="stack">
      <figcaption class="quiet">The volume, and what is read of it: drag to turn</figcaption>
      <canvas
        ref={canvas}
        width={WIDE}
        height={HIGH}
        style={{ width: `${WIDE}px`, height: `${HIGH}px` }}
        role="img"
        aria-label="The slices of the input, one behind the other, with the entries that are read"
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={(event) => {
          if (event.buttons) turn.value += event.movementX / 90;
        }}
      />
      <label class="slider small">
        <span>turn</span>
        <input
          type="range"
          min={-180}
          max={180}
          value={Math.round((turn.value * 180) / Math.PI)}
          onInput={(event) => (turn.value = (event.currentTarget.valueAsNumber * Math.PI) / 180)}
        />
      </label>
    </figure>
  );
}
