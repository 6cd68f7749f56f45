// The same mapping as a matrix: dense, local, convolution; and the network that mixes sizes.
import { computed, signal, useComputed, useSignalEffect } from "@preact/signals";
import { useRef, useState } from "preact/hooks";
import { reads } from "../compute";
import { kernels, ladder, outputs, sizes } from "../geometry/spec";
import { Behind } from "../parts/behind";
import { Section } from "../parts/section";
import { useVisible } from "../parts/visible";
import { type Colour, colours, painted } from "../parts/theme";
import { channelIn, channelOut, drawn, hovered } from "../picture/state";
import { placed } from "../picture/sum";
import { grouped } from "../say";
import { spec } from "../store";
import { Inception } from "./inception";

/** From 0, dense, over 1, local, to 2, one kernel for all places. */
const at = signal(2);
const MOST_SIDE = 700;
const STAGES = [
  ["Dense", "Every output may weigh every input. Nothing is assumed, so everything has to be learned from examples: that a cat in the corner is the cat in the middle, too."],
  ["Local", "Locality: what belongs together is near. Only the entries within the window stay; each place still has a kernel of its own."],
  ["Convolution", "Translation invariance: what is worth finding here is worth finding there. All places share one kernel: one colour is one weight."],
] as const;

/** How far an entry lies from the window of its output, 0 within it, up to about 1. */
function distance(now: typeof spec.value, o: readonly number[], i: readonly number[]): number {
  let most = 0;
  now.axes.forEach((axis, a) => {
    const first = axis.position(o[a], 0);
    const off = Math.max(first - i[a], i[a] - (first + axis.extent - 1), 0);
    most = Math.max(most, off / axis.size);
  });
  return most;
}

function coordinates(flat: number, shape: readonly number[]): number[] {
  const found = shape.map(() => 0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    found[axis] = flat % shape[axis];
    flat = Math.floor(flat / shape[axis]);
  }
  return found;
}

/** A colour for each of many weights, between the colours of the page. */
function palette(count: number): [number, number, number][] {
  const names: Colour[] = ["input", "dilation", "output", "stride", "kernel", "bad", "padding"];
  const stops = names.map((name) => (colours()[name].match(/[\d.]+/g) ?? []).slice(0, 3).map(Number));
  return Array.from({ length: count }, (_, i) => {
    const place = count === 1 ? 4 : (i / (count - 1)) * (stops.length - 1);
    const [low, part] = [Math.min(Math.floor(place), stops.length - 2), place % 1];
    const mix = place >= stops.length - 1 ? 1 : part;
    return stops[low].map((c, k) => Math.round(c + (stops[low + 1][k] - c) * mix)) as [number, number, number];
  });
}

const scatter = (a: number, b: number) => {
  const h = Math.imul(a * 2654435761 + b * 40503 + 12345, 0x9e3779b1);
  return ((h ^ (h >>> 15)) >>> 0) / 2 ** 32;
};

/** How far the matrix has come: what is left of what lies outside, and which rows share. */
const progress = computed(() => ({ outside: Math.max(0, 1 - at.value), shared: Math.max(0, at.value - 1) }));

function Matrix() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [said, say] = useState("");
  const tables = useComputed(() => {
    const now = spec.value;
    const { outs, ins, taps, from } = reads(now);
    const [rows, columns] = [Math.min(outs, MOST_SIDE), Math.min(ins, MOST_SIDE)];
    const tap = new Int32Array(rows * columns).fill(-1);
    for (let o = 0; o < rows; o++)
      for (let t = 0; t < taps; t++) {
        const i = from[o * taps + t];
        if (i >= 0 && i < columns) tap[o * columns + i] = t;
      }
    return { rows, columns, outs, ins, taps, tap };
  });
  // Which entries go first on the way from dense to local; on the rest of the way nobody asks.
  const distances = useComputed(() => {
    const { rows, columns } = tables.value;
    const now = spec.value;
    const [outShape, inShape] = [outputs(now), sizes(now)];
    const far = new Float32Array(rows * columns);
    const os = Array.from({ length: rows }, (_, o) => coordinates(o, outShape));
    const is = Array.from({ length: columns }, (_, i) => coordinates(i, inShape));
    for (let o = 0; o < rows; o++)
      for (let i = 0; i < columns; i++) far[o * columns + i] = distance(now, os[o], is[i]);
    return far;
  });
  const visible = useVisible(canvas);
  useSignalEffect(() => {
    painted.value;
    const target = canvas.current;
    if (!target || !drawn.value || !visible.value) return;
    const { rows, columns, taps, tap } = tables.value;
    const { outside, shared } = progress.value;
    const far = outside > 0 && outside < 1 ? distances.value : null;
    const hues = palette(taps);
    const [r, g, b] = (colours().edge.match(/[\d.]+/g) ?? []).map(Number);
    [target.width, target.height] = [columns, rows];
    const image = new ImageData(columns, rows);
    for (let o = 0, p = 0; o < rows; o++)
      for (let i = 0; i < columns; i++, p++) {
        const t = tap[p];
        const own = 0.25 + 0.6 * scatter(o, i);
        if (t < 0) {
          if (outside === 0 || (far && far[p] > outside)) continue;
          image.data.set([r, g, b, 255 * own * 0.8], p * 4);
        } else {
          const mine = outside > 0.98 ? [r, g, b] : [r * 0.6 + 40, g * 0.6 + 30, b * 0.6 + 20];
          if (o < shared * rows) image.data.set([...hues[t], 255], p * 4);
          else image.data.set([...mine, 255 * (outside > 0.98 ? own * 0.8 : own)], p * 4);
        }
      }
    target.getContext("2d")!.putImageData(image, 0, 0);
  });
  const now = spec.value;
  const count = (shape: number[]) => shape.reduce((n, size) => n * size, 1);
  const [outs, ins] = [count(outputs(now)), count(sizes(now))];
  const [rows, columns] = [Math.min(outs, MOST_SIDE), Math.min(ins, MOST_SIDE)];
  const scale = Math.min(10, 560 / columns, 480 / rows);
  return (
    <figure class="matrix">
      <figcaption class="quiet">
        <b class="of-output">{grouped(outs)} outputs</b> down, <b class="of-input">{grouped(ins)} inputs</b> across
        {now.channelsIn * now.channelsOut > 1 && `; from channel ${channelIn.value} to channel ${channelOut.value}`}
        {(rows < outs || columns < ins) && `; the first ${rows} and ${columns} are drawn`}
      </figcaption>
              <canvas ref={canvas} role="img" style={{ width: `${columns * scale}px`, aspectRatio: `${columns} / ${rows}` }}
          aria-label={`A matrix of ${outs} rows and ${ins} columns, ${STAGES[Math.round(at.value)][0].toLowerCase()}`}
          onPointerMove={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            const o = Math.floor(((event.clientY - box.top) / box.height) * rows);
            const i = Math.floor(((event.clientX - box.left) / box.width) * columns);
            if (o < 0 || i < 0 || o >= rows || i >= columns) return;
            const t = tables.value.tap[o * columns + i];
            const place = coordinates(o, outputs(now));
            hovered.value = { grid: "out", at: place };
            const weight = t >= 0 ? `weight w${placed(coordinates(t, kernels(now)))}` : "outside the window";
            say(`output ${placed(place)}, input ${placed(coordinates(i, sizes(now)))}: ${weight}`);
          }}
          onPointerLeave={() => { hovered.value = null; say(""); }} />
      <p class="small quiet readout">{said || "Point at the matrix to see which weight it is."}</p>
    </figure>
  );
}

function Counts() {
  const rungs = ladder(spec.value);
  const all = [rungs.dense, rungs.local, rungs.conv];
  const most = Math.max(...all.map((n) => Math.log10(Number(n) + 1)), 1);
  const place = at.value;
  const low = Math.min(1, Math.floor(place));
  const part = place - low;
  const now = part === 0 ? all[low] : part === 1 ? all[low + 1]
    : BigInt(Math.round(Number(all[low]) * (1 - part) + Number(all[low + 1]) * part));
  return (
    <div class="counts">
      <p class="now">
        <b class="numbers">{grouped(now)}</b> <span class="quiet">weights{part > 0 && part < 1 ? ", about" : ""}</span>
      </p>
      {STAGES.map(([name], i) => (
        <button key={name} type="button" class="rung" aria-pressed={place === i} onClick={() => (at.value = i)}>
          <span>{name}</span>
          <span class="numbers">{grouped(all[i])}</span>
          <span class="bar" style={{ width: `${(100 * Math.log10(Number(all[i]) + 1)) / most}%` }} />
        </button>
      ))}
      <p class="small quiet">Bars on a logarithmic scale, all channels counted. {rungs.dense % rungs.conv === 0n || rungs.dense > rungs.conv ? `A matrix has ${grouped(rungs.dense / rungs.conv)} times as many weights as the kernel.` : ""}</p>
      <p class="stage"><b>{STAGES[Math.round(place)][0]}.</b> {STAGES[Math.round(place)][1]}</p>
    </div>
  );
}

export function Dense() {
  const rungs = ladder(spec.value);
  return (
    <Section id="dense" title="From dense to convolution"
      lead="A convolution is a matrix, too: most of its entries are zero, and the rest are a few numbers, again and again. Drag from the matrix that a multilayer perceptron would learn to the one that a convolution learns.">
      <label class="morph">
        <span class="unseen">From dense over local to convolution</span>
        <input type="range" min={0} max={2} step={0.01} value={at.value} list="stages"
          aria-valuetext={STAGES[Math.round(at.value)][0]}
          onInput={(event) => {
            const value = event.currentTarget.valueAsNumber;
            const near = Math.round(value);
            at.value = Math.abs(value - near) < 0.03 ? near : value;
          }} />
        <span class="ticks" aria-hidden="true"><span>dense</span><span>local</span><span>convolution</span></span>
      </label>
      <div class="matrix-row">
        {drawn.value ? <Matrix /> : <p class="panel">Too large to draw as a matrix; the counts hold.</p>}
        <Counts />
      </div>
      <Behind title="Table: the same mapping in three forms" head={["form", "weights", "what it assumes"]}
        rows={() => [
          ["dense", grouped(rungs.dense), "nothing"],
          ["local", grouped(rungs.local), "locality"],
          ["convolution", grouped(rungs.conv), "locality and translation invariance"],
        ]} />
      <Inception />
    </Section>
  );
}
