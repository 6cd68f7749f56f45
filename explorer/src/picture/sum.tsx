// The sum behind the entry in focus, written out.
import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { kernels, outputs, sizes, type Spec } from "../geometry/spec";
import { NumberField } from "../parts/controls";
import { Behind } from "../parts/behind";
import { short } from "../say";
import { spec } from "../store";
import { edit } from "../values";
import { cellAt, placeOf, sheetOf } from "./draw";
import {
  channelIn, channelOut, choose, chosen, fedBy, flat, focus, given, type Grid, links, made, numbers,
  playing, readBy, slices, stored, weight,
} from "./state";

const MOST_TERMS = 60;
const MOST_COLUMNS = 64;

export const placed = (at: readonly number[]) => `[${at.join(", ")}]`;

interface Summand {
  /** The number at the other end, if there is one. */
  value: number | null;
  /** What it is called, where it is no number yet. */
  name: string;
  weight: number;
  padding: boolean;
}

/** What goes into the entry in focus, or where it goes. */
export const summands = computed<Summand[]>(() => {
  const now = spec.value;
  const { grid } = focus.value;
  const kernel = kernels(now);
  return links.value.map((link) => {
    const w = numbers.value.kernel[flat(stored(now, link.tap), kernel)];
    const padding = link.at.some((p, i) => p < 0 || p >= now.axes[i].size);
    if (grid === "out")
      return {
        value: cellAt(now, numbers.value, "in", link.at).value,
        name: `x${placed(link.at)}`, weight: w, padding,
      };
    const value = numbers.value.out[flat(link.out, outputs(now))];
    const name = made.value === "in" ? `y${placed(link.out)}` : `g${placed(link.out)}`;
    return { value: made.value === "in" ? value : null, name, weight: w, padding };
  });
});

function Terms({ scatter }: { scatter: boolean }) {
  const { grid } = focus.value;
  const all = summands.value;
  const other = grid === "out" ? "of-input" : "of-output";
  return (
    <span class="terms">
      {all.slice(0, MOST_TERMS).map((each, i) => (
        <span key={i} class={each.padding ? "term padded" : "term"}>
          {i > 0 && <span class="quiet">{scatter ? ", " : " + "}</span>}
          <b class={each.padding && grid === "out" ? "of-padding" : other}>
            {each.value === null || scatter ? each.name : short(each.value)}
          </b>
          <span class="quiet">{scatter ? " += " : "\u00b7"}</span>
          <b class="of-kernel">{each.weight < 0 ? `(${short(each.weight)})` : short(each.weight)}</b>
        </span>
      ))}
      {all.length > MOST_TERMS && <span class="quiet"> + {all.length - MOST_TERMS} more</span>}
    </span>
  );
}

/** The parts of the sum that other channels give. */
function others(now: Spec, grid: Grid): [channel: number, sum: number][] {
  const [co, ci] = [channelOut.value, channelIn.value];
  const [channels, shown] = grid === "out" ? [readBy(now, co), ci] : [fedBy(now, ci), co];
  if (channels.length > 16) return [];
  const kernel = kernels(now);
  return channels.filter((c) => c !== shown).map((c) => {
    const values = given(c);
    const w = grid === "out" ? weight(co, c) : weight(c, ci);
    const shape = grid === "out" ? sizes(now) : outputs(now);
    let sum = 0;
    for (const link of links.value) {
      const at = grid === "out" ? link.from : link.out;
      if (at) sum += values[flat(at, shape)] * w[flat(stored(now, link.tap), kernel)];
    }
    return [c, sum];
  });
}

export function Sum() {
  const now = spec.value;
  const { grid, at } = focus.value;
  if (at.length !== now.axes.length) return null;
  const cell = cellAt(now, numbers.value, grid, at);
  const many = links.value.length;
  let head: ComponentChildren;
  let body: ComponentChildren = null;
  const more = (grid === made.value ? others(now, grid) : []).map(([c, sum]) => (
    <span key={`c${c}`} class="term">
      <span class="quiet"> + channel {c}: </span>
      <b>{short(sum)}</b>
    </span>
  ));
  if (grid === "kernel") {
    const where = stored(now, at);
    head = (
      <>
        Weight <b class="of-kernel">w{placed(where)} = {short(cell.value)}</b> is shared: every output
        uses it, each with the input that is framed.
      </>
    );
  } else if (cell.kind === "padding") {
    head = (
      <>
        Padding at <b class="of-padding">{placed(at)}</b>:{" "}
        {cell.from ? <>copies entry <b class="of-input">{placed(cell.from)} = {short(cell.value)}</b></> : "a zero"}
        , read by {many} {many === 1 ? "output" : "outputs"}.
      </>
    );
  } else if (grid === made.value) {
    const name = grid === "out" ? "output" : "input";
    head = (
      <>
        <span class={grid === "out" ? "of-output" : "of-input"}>
          {name} {placed(at)} = <b>{short(cell.value)}</b>
        </span>{" "}
        <span class="quiet">{many ? "=" : "no tap lands here"}</span>
      </>
    );
    body = <><Terms scatter={false} />{more}</>;
  } else if (grid === "in") {
    head = (
      <>
        <span class="of-input">Input {placed(at)} = <b>{short(cell.value)}</b></span> feeds {many}{" "}
        {many === 1 ? "output" : "outputs"}
        {many ? ". Its gradient, with g that of the outputs: " : ", so its gradient is 0."}
      </>
    );
    body = <Terms scatter={false} />;
  } else {
    head = (
      <>
        <span class="of-output">Entry {placed(at)} = <b>{short(cell.value)}</b></span> is scattered to{" "}
        {many} places: each gets {short(cell.value)} times a weight.
      </>
    );
  }
  return (
    <div class="sum panel">
      <p class="said" aria-live={playing.value ? "off" : "polite"}>{head} {body}</p>
    </div>
  );
}

const inside = (now: Spec, at: readonly number[]) =>
  at.every((p, i) => p >= 0 && p < now.axes[i].size);

/** The entry that is chosen, as numbers that may be typed; a given one may get another value. */
export function Chosen({ names }: { names: readonly string[] }) {
  const now = spec.value;
  const { grid, at } = chosen.value;
  if (at.length !== now.axes.length) return null;
  const said = { in: "Input", kernel: "Kernel", out: "Output" }[grid];
  const entry = grid === "kernel" ? stored(now, at) : at;
  const cell = cellAt(now, numbers.value, grid, at);
  const own = grid === "kernel" || (grid !== made.value && (grid === "out" || inside(now, at)));
  const span = (axis: number): [number, number] => {
    const { lo, size, hi, output, kernel } = now.axes[axis];
    return grid === "in" ? [-lo, size + hi - 1] : [0, (grid === "out" ? output : kernel) - 1];
  };
  return (
    <div class="row chosen">
      <label class="small">
        <span class="unseen">Which grid the chosen entry is in</span>
        <select value={grid} onChange={(event) => choose({
          grid: event.currentTarget.value as Grid,
          at: now.axes.map((axis, i) => (event.currentTarget.value === "in" ? Math.min(at[i], axis.size - 1) : at[i])),
        })}>
          <option value="out" selected={grid === "out"}>Output</option>
          <option value="in" selected={grid === "in"}>Input</option>
          <option value="kernel" selected={grid === "kernel"}>Kernel</option>
        </select>
      </label>
      {at.map((place, axis) => (
        <label key={axis} class="small">
          <span class="quiet">{now.axes.length === 2 ? ["row", "column"][axis] : names[axis]} </span>
          <NumberField label="" name={`${said}: ${names[axis]}`} value={place} min={span(axis)[0]}
            max={span(axis)[1]}
            onChange={(value) => choose({ grid, at: at.map((p, i) => (i === axis ? value : p)) })} />
        </label>
      ))}
      {own ? (
        <label class="small">
          <span class="quiet">value </span>
          <input id="value" type="number" step="any" value={cell.value} onInput={(event) => {
            const typed = event.currentTarget.valueAsNumber;
            if (!Number.isFinite(typed)) return;
            const [co, ci] = [channelOut.value, channelIn.value];
            const each = now.channelsIn / now.groups;
            if (grid === "kernel") edit(`w${co * each + (ci % each)}`, flat(entry, kernels(now)), typed);
            else if (grid === "in") edit(`x${ci}`, flat(at, sizes(now)), typed);
            else edit(`x${co}`, flat(at, outputs(now)), typed);
          }} />
        </label>
      ) : (
        <span class="small numbers"><span class="quiet">value</span> <b>{short(cell.value)}</b></span>
      )}
    </div>
  );
}

/** The same as a table. */
export function Links() {
  const { grid, at } = chosen.value;
  return (
    <Behind
      title={`Table: what goes with ${{ in: "input", out: "output", kernel: "weight" }[grid]} ${placed(at)}`}
      head={["output", "weight", "reads position", "which is"]}
      rows={() => {
        const now = spec.value;
        const kernel = kernels(now);
        return links.value.map((link) => [
          placed(link.out),
          `${placed(stored(now, link.tap))} = ${short(numbers.value.kernel[flat(stored(now, link.tap), kernel)])}`,
          placed(link.at),
          link.from ? `input ${placed(link.from)} = ${short(numbers.value.in[flat(link.from, sizes(now))])}` : "padding: 0",
        ]);
      }}
    />
  );
}

/** The numbers of a grid as they are drawn: in a volume, those of the slice. */
export function Numbers({ grid }: { grid: Grid }) {
  const now = spec.value;
  const name = { in: "input", kernel: "kernel", out: "output" }[grid];
  const sheet = sheetOf(now, grid, 1, slices[grid].value);
  const columns = Math.min(sheet.columns, MOST_COLUMNS);
  return (
    <Behind
      title={`Table: the numbers of the ${name}${sheet.slice === null ? "" : `, slice ${sheet.slice}`}`}
      head={["", ...Array.from({ length: columns }, (_, i) => sheet.left + i)]}
      rows={() =>
        Array.from({ length: sheet.rows }, (_, row) => [
          sheet.top + row,
          ...Array.from({ length: columns }, (_, column) =>
            short(cellAt(now, numbers.value, grid, placeOf(now, sheet, row, column)).value),
          ),
        ])
      }
    />
  );
}
