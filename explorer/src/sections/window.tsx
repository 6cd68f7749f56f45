// The window over the numbers: input, kernel, output, and what goes with what.
import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { axisNames } from "../panel";
import { kernels, outputs } from "../geometry/spec";
import { Check, Select, Slider } from "../parts/controls";
import { Section } from "../parts/section";
import { still } from "../parts/theme";
import { Channels } from "../picture/channels";
import { Map } from "../picture/map";
import { Stack } from "../picture/stack";
import { drawn, type Grid, made, MOST, playing, slices, step } from "../picture/state";
import { Chosen, Links, Sum } from "../picture/sum";
import { times } from "../say";
import { direction, spec } from "../store";
import { edits, inputKind, INPUTS, kernelKind, KERNELS, reset, seed } from "../values";

const GAP = 28;
const LARGEST_CELL = 46;

/** Whether numbers that can be read are worth more than grids beside each other. */
const large = signal(false);

/** The size of a cell, the same in all grids, and whether they stand beside each other. */
function laidOut(wide: number): { cell: number; beside: boolean } {
  const last = spec.value.axes.at(-1)!;
  const [padded, kernel, output] = [last.padded, last.kernel, last.output].map((n) => Math.min(n, MOST));
  // The words above the grids need room, too, and so do the sliders of a volume's slices.
  const least = spec.value.axes.length === 3 ? 155 : 130;
  const room = (c: number) =>
    padded * c + Math.max(kernel * c, least) + Math.max(output * c, least + 30) + 2 * GAP;
  let together = LARGEST_CELL;
  while (together > 1 && room(together) > wide) together--;
  // A signal reads better with its output below it.
  const enough = large.value ? 20 : spec.value.axes.length === 1 ? 30 : 10;
  if (together >= enough) return { cell: together, beside: true };
  const alone = Math.floor(wide / Math.max(padded, output));
  return { cell: Math.max(5, Math.min(38, alone)), beside: false };
}

export function Window() {
  const box = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(800);
  const [pace, setPace] = useState(3);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWide(Math.floor(entry.contentRect.width)));
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  useSignalEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => step(1), 1000 / pace);
    return () => clearInterval(timer);
  });
  const now = spec.value;
  const names = axisNames(now.axes.length);
  const { cell, beside } = laidOut(wide);
  const transposed = direction.value === "transposed";
  const figure = (grid: Grid) => <Figure key={grid} grid={grid} cell={cell} />;
  return (
    <Section
      id="window"
      title="The window over the numbers"
      lead={
        transposed
          ? "Backwards: each entry of the output scatters the kernel, times its own number, over the input. That is the gradient for the input, and what is called a transposed convolution."
          : "Point at an output to see what it reads, at an input to see which outputs it feeds, at the kernel to see where a weight is used."
      }
    >
      <div class="row tools">
        <button type="button" class="main" onClick={() => (playing.value = !playing.value)}>
          {playing.value ? "Pause" : "Play"}
        </button>
        <button type="button" aria-label="Step back" onClick={() => { playing.value = false; step(-1); }}>{"\u2190"}</button>
        <button type="button" aria-label="Step" onClick={() => { playing.value = false; step(1); }}>{"\u2192"}</button>
        <label class="row small">
          <span class="quiet">pace</span>
          <input class="pace" type="range" min={1} max={20} value={pace} onInput={(event) => setPace(event.currentTarget.valueAsNumber)} />
        </label>
        <span class="apart" />
        <Select label={<span class="unseen">Numbers of the {transposed ? "output" : "input"}</span>} value={inputKind.value}
          options={INPUTS} onChange={(kind) => { reset(); inputKind.value = kind; }} />
        <Select label={<span class="unseen">Numbers of the kernel</span>} value={kernelKind.value}
          options={KERNELS.map(([kind, said]) => [kind, `kernel: ${said}`] as const)}
          onChange={(kind) => { reset(); kernelKind.value = kind; }} />
        <button type="button" onClick={() => { reset(); seed.value++; }}>Other numbers</button>
        {edits.value.size > 0 && <button type="button" onClick={reset}>Undo my numbers</button>}
      </div>
      <Channels />
      <div ref={box} class="measure" />
      {drawn.value ? (
        <>
          <div class={beside ? "grids beside" : "grids"}>
            {(transposed ? ["out", "kernel", "in"] as const : ["in", "kernel", "out"] as const).map(figure)}
            {now.axes.length === 3 && <Stack />}
          </div>
          {(large.value || cell < 20) && now.axes.length > 1 && (
            <Check label="cells large enough for their numbers" value={large.value} onChange={(on) => (large.value = on)} />
          )}
          <Sum />
          <Chosen names={names} />
          <Links />
        </>
      ) : (
        <p class="panel">
          {now.axes.length > 3
            ? "Pictures are for one to three axes; the formula and the counts below hold for any number."
            : "This convolution is too large for a page to compute; the formula and the counts below hold all the same."}
        </p>
      )}
    </Section>
  );
}

function Figure({ grid, cell }: { grid: Grid; cell: number }) {
  const now = spec.value;
  const { axes, flip } = now;
  const turned = useTurn(grid === "kernel" && flip);
  const shape = grid === "in" ? axes.map((axis) => axis.size) : grid === "out" ? outputs(now) : kernels(now);
  const padded = axes.some((axis) => axis.lo || axis.hi);
  const unread = axes.some((axis) => axis.unread);
  const cut = grid !== "kernel" && axes.some((axis) => Math.max(axis.padded, axis.output) > MOST);
  const first = axes[0];
  const [low, count] = grid === "in" ? [-first.lo, first.padded] : [0, grid === "out" ? first.output : first.kernel];
  const name = { in: "Input", kernel: "Kernel", out: "Output" }[grid];
  const letter = { in: "x", kernel: "w", out: "y" }[grid];
  return (
    <figure class={axes.length === 3 ? "sliced" : undefined}>
      <figcaption>
        <b class={{ in: "of-input", kernel: "of-kernel", out: "of-output" }[grid]}>{name} {letter}</b>{" "}
        <span class="quiet numbers">{times(shape)}</span>
        {grid === made.value && <span class="quiet">, computed</span>}
        {made.value === "in" && grid === "out" && <span class="quiet">, given</span>}
        {grid === "kernel" && flip && <span class="quiet">, turned over</span>}
        {grid === "in" && padded && <span class="of-padding small key"> dashed: padding</span>}
        {grid === "in" && unread && <span class="quiet small key"> hatched: never read</span>}
      </figcaption>
      <div class="scroll" ref={turned}>
        <Map grid={grid} cell={grid === "kernel" ? Math.max(cell, 14) : cell}
          onEdit={() => document.querySelector<HTMLInputElement>("#value")?.select()} />
      </div>
      {cut && <p class="small quiet">The first {MOST} entries of an axis are drawn.</p>}
      {axes.length === 3 && count > 1 && (
        <Slider label="slice" name={`${name}: slice`} value={slices[grid].value} min={low} max={low + count - 1}
          onChange={(at) => (slices[grid].value = at)} />
      )}
    </figure>
  );
}

/** The kernel turns over when the convolution becomes a true one, or ceases to be one. */
function useTurn(flip: boolean) {
  const box = useRef<HTMLDivElement>(null);
  const before = useRef(flip);
  useEffect(() => {
    if (before.current !== flip && !still.value)
      box.current?.animate([{ transform: "rotate(180deg)" }, { transform: "none" }], {
        duration: 700, easing: "ease-in-out",
      });
    before.current = flip;
  }, [flip]);
  return box;
}
