// What a unit sees: the theoretical receptive field of any unit of any layer, and what gradients
// measure of it.
import { batch, computed, signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { Behind } from "../parts/behind";
import { Select, Slider } from "../parts/controls";
import { Input } from "../parts/input";
import { flow } from "../parts/flow";
import { Section } from "../parts/section";
import { axisNames, breaking, clipped, middle, plural, seen, space, times, type Span } from "../parts/sight";
import { data } from "../store";
import builtin from "./fields_builtin.json";
import type { FieldLayer, FieldNet, Measured } from "./fields_data";

const own = data.fields ?? [];
const nets: FieldNet[] = own.length ? own : (builtin as unknown as FieldNet[]);

/** The first layer worth a look: one with several positions in the middle of the network. */
function start(net: FieldNet): number {
  const wide = net.layers.flatMap((layer, i) => (layer.axes && layer.shape.slice(1).some((n) => n > 1) ? [i] : []));
  const told = wide.filter((i) => net.layers[i]!.measured);
  const some = told.length ? told : wide;
  return some[Math.floor(some.length / 2)] ?? 0;
}

const netNumber = signal(0);
const layerNumber = signal(start(nets[0]!));
const unit = signal<number[]>(middle(nets[0]!.layers[layerNumber.value]!));
const slice = signal<number | null>(null);

const net = computed(() => nets[netNumber.value]!);
const layer = computed(() => net.value.layers[layerNumber.value]!);
const spans = computed(() => seen(net.value, layer.value, unit.value));
const shownSlice = computed(() => {
  const depth = spans.value[spans.value.length - 3];
  if (!depth) return 0;
  const size = space(net.value)[spans.value.length - 3]!;
  return slice.value ?? Math.min(size - 1, Math.max(0, Math.floor((depth[0] + depth[1]) / 2)));
});
const measured = computed<Measured | null>(() => {
  const here = unit.value.join();
  return layer.value.measured?.find((one) => one.unit.join() === here) ?? null;
});

/** Show a unit of a layer of the first network. */
export function ask(name: string, place: number[]): void {
  const found = nets[0]!.layers.findIndex((one) => one.name === name);
  if (found < 0) return;
  look(0, found, place);
  document.getElementById("fields")?.scrollIntoView();
}

/** All that says what is shown changes at once. */
function look(number: number, next: number, place: number[]): void {
  batch(() => {
    netNumber.value = number;
    layerNumber.value = next;
    unit.value = place;
    slice.value = null;
  });
}

function chooseNet(number: number): void {
  const next = start(nets[number]!);
  look(number, next, middle(nets[number]!.layers[next]!));
}

function chooseLayer(number: number): void {
  const before = layer.value.shape.slice(1);
  const next = net.value.layers[number]!;
  // The same place in the new map, as far as there is one.
  const alike = before.length === next.shape.length - 1 && before.length === unit.value.length;
  const place = next.shape.slice(1).map((n, i) => {
    const at = (unit.value[i]! + 0.5) / before[i]!;
    return Math.min(n - 1, Math.floor(at * n));
  });
  look(netNumber.value, number, alike ? place : middle(next));
}

function move(place: number[]): void {
  look(netNumber.value, layerNumber.value, place);
}

function choosePlace(axis: number, place: number): void {
  move(unit.value.map((old, i) => (i === axis ? place : old)));
}

export function Fields() {
  return (
    <Section
      id="fields"
      title="What a unit sees"
      lead="Every unit of a convolutional network sees a window of the input, its receptive field.
        Choose a layer, then a unit of its map: the window is marked in the input."
    >
      <div class="choices">
        {nets.length > 1 && (
          <Select
            label="Network"
            value={String(netNumber.value)}
            options={nets.map((one, i) => [String(i), one.title] as const)}
            onChange={(next) => chooseNet(Number(next))}
          />
        )}
        <Select
          label="Layer"
          value={String(layerNumber.value)}
          options={net.value.layers.map((one, i) => {
            const told = one.measured ? " (measured)" : "";
            return [String(i), `${one.name}: ${one.what}${told}`] as const;
          })}
          onChange={(next) => chooseLayer(Number(next))}
        />
      </div>
      <div class="sight">
        <Column />
        <div class="right">
          <Said />
          <div class="views">
            <Unit />
            <Views />
          </div>
          <Note />
        </div>
      </div>
      <Table />
    </Section>
  );
}

// The network ------------------------------------------------------------------------------------

const STEP = 46;
const HIGH = 30;
const px = (n: number) => `${n}px`;

function Column() {
  const made = useMemo(() => flow(net.value.layers.map((one) => one.reads)), [net.value]);
  const box = useRef<HTMLDivElement>(null);
  const chosen = layerNumber.value;
  const upstream = useMemo(() => {
    const found = new Set([chosen]);
    for (let i = chosen; i >= 0; i--) {
      if (found.has(i)) for (const j of net.value.layers[i]!.reads) found.add(j);
    }
    return found;
  }, [net.value, chosen]);
  useEffect(() => {
    const rank = made.places[chosen]!.rank + 1;
    const at = rank * STEP - box.current!.clientHeight / 2;
    const { left, right } = made.places[chosen]!;
    const across = ((left + right) / 2) * box.current!.scrollWidth;
    box.current!.scrollTo({ top: at, left: across - box.current!.clientWidth / 2 });
  }, [made, chosen]);
  const gutter = 14 + 7 * Math.max(0, ...made.edges.map((edge) => edge.around));
  const walk = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const next = chosen + (by ?? 0);
    if (!by || next < 0 || next >= net.value.layers.length) return;
    event.preventDefault();
    chooseLayer(next);
    requestAnimationFrame(() =>
      box.current?.querySelector<HTMLElement>("[aria-pressed=true]")?.focus({ preventScroll: true }),
    );
  };
  const top = (i: number) => (i < 0 ? 0 : (made.places[i]!.rank + 1) * STEP);
  const centre = (i: number) =>
    i < 0 ? 50 : 50 * (made.places[i]!.left + made.places[i]!.right);
  const height = (made.ranks + 1) * STEP;
  return (
    <div class="column" ref={box} role="group" aria-label="The layers, from the input down">
      <div
        class="flow"
        style={{
          height: px(height),
          minWidth: px(made.lanes * 76 + gutter),
          paddingRight: px(gutter),
        }}
        onKeyDown={walk}
      >
        <div class="inner">
          <svg viewBox={`0 0 100 ${height}`} preserveAspectRatio="none" aria-hidden="true">
            {made.edges.map(({ from, to, around }) => {
              const [x, y] = [centre(from), top(from) + HIGH];
              const [u, v] = [centre(to), top(to)];
              const live = upstream.has(to) && upstream.has(from);
              if (around) return null;
              const middle = (y + v) / 2;
              return (
                <path
                  class={live ? "live" : ""}
                  d={
                    x === u
                      ? `M${x} ${y}V${v}`
                      : v - y <= STEP
                        ? `M${x} ${y}C${x} ${middle} ${u} ${middle} ${u} ${v}`
                        : made.places[to]!.right - made.places[to]!.left >
                            (from < 0 ? 1 : made.places[from]!.right - made.places[from]!.left)
                          ? `M${x} ${y}V${v - STEP + HIGH}C${x} ${v - 7} ${u} ${v - 10} ${u} ${v}`
                          : `M${x} ${y}C${x} ${y + 8} ${u} ${y + 6} ${u} ${y + STEP - HIGH}V${v}`
                  }
                />
              );
            })}
          </svg>
          <span class="layer source" style={{ top: 0, left: 0, width: "100%", height: px(HIGH) }}>
            <span>input</span>
            <span class="sees">{times(net.value.input)}</span>
          </span>
          {net.value.layers.map((one, i) => {
            const { left, right } = made.places[i]!;
            return (
              <button
                type="button"
                class={`layer ${upstream.has(i) ? "live" : ""} ${right - left > 0.4 ? "wide" : ""}`}
                aria-pressed={i === chosen}
                tabIndex={i === chosen ? 0 : -1}
                title={`${one.name}: ${one.what}`}
                style={{
                  top: px(top(i)),
                  left: `${100 * left}%`,
                  width: `${100 * (right - left)}%`,
                  height: px(HIGH),
                }}
                onClick={() => chooseLayer(i)}
              >
                <span>
                  {one.measured ? <i class="dot" aria-label="measured" role="img" /> : null}
                  {brief(one, right - left > 0.4)}
                </span>
                <span class="sees">{size(one)}</span>
              </button>
            );
          })}
        </div>
        <svg
          class="gutter"
          style={{ width: px(gutter) }}
          viewBox={`0 0 ${gutter} ${height}`}
          preserveAspectRatio="none"
          aria-hidden="true"
        >
          {made.edges.map(({ from, to, around }) => {
            if (!around) return null;
            const live = upstream.has(to) && upstream.has(from);
            const [y, v] = [top(from) + HIGH / 2 + 3, top(to) + HIGH / 2 - 3];
            const x = 5 + 7 * around;
            return <path class={live ? "live" : ""} d={`M0 ${y}H${x - 4}q4 0 4 4V${v - 4}q0 4 -4 4H0`} />;
          })}
        </svg>
      </div>
    </div>
  );
}

/** What a layer is, in a lane without its padding. */
function brief(one: FieldLayer, wide: boolean): string {
  const first = one.what.split(", ")[0]!;
  return wide ? first : first.replace(/ p(\d+|\(.*?\))/, "");
}

/** How much the units of a layer see, in a few characters. */
function size(one: FieldLayer): string {
  if (!one.axes) return "all";
  const sizes = one.axes.map((along) => ("field" in along ? along.field[0] : null));
  if (sizes.includes(null)) return "varies";
  return new Set(sizes).size === 1 ? String(sizes[0]) : times(sizes as number[]);
}

// The unit ---------------------------------------------------------------------------------------

function Unit() {
  const one = layer.value;
  const sizes = one.shape.slice(1);
  if (!one.axes || sizes.length === 0) return null;
  const names = axisNames(sizes.length, net.value.tokens);
  return (
    <div class="unit">
      <h3>
        The map of {breaking(one.name)} <small>{times(sizes)}</small>
      </h3>
      <Grid sizes={sizes} />
      {sizes.map((n, axis) => (
        <Slider
          key={axis}
          label={names[axis]!}
          value={unit.value[axis]!}
          min={0}
          max={n - 1}
          onChange={(place) => choosePlace(axis, place)}
        />
      ))}
      {one.measured && (
        <p class="told">
          Measured:{" "}
          {one.measured.map((each) => (
            <button
              type="button"
              aria-pressed={each === measured.value}
              onClick={() => move(each.unit)}
            >
              unit {each.unit.join(", ")}
            </button>
          ))}
        </p>
      )}
    </div>
  );
}

/** The last two axes of a map; of a series one. A pointer chooses the unit. */
function Grid({ sizes }: { sizes: number[] }) {
  const flat = sizes.length === 1;
  const [h, w] = flat ? [1, sizes[0]!] : (sizes.slice(-2) as [number, number]);
  const choose = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const at = (part: number, n: number) => Math.min(n - 1, Math.max(0, Math.floor(part * n)));
    const column = at((event.clientX - box.left) / box.width, w);
    const row = at((event.clientY - box.top) / box.height, h);
    const next = [...unit.value];
    next[next.length - 1] = column;
    if (!flat) next[next.length - 2] = row;
    if (next.join() !== unit.value.join()) move(next);
  };
  const last = unit.value.length - 1;
  const lines = Math.max(h, w) <= 48;
  return (
    <svg
      class={`grid ${flat ? "flat" : ""}`}
      viewBox={`0 0 ${w} ${h}`}
      preserveAspectRatio="none"
      style={flat ? {} : { aspectRatio: `${w} / ${h}`, width: `min(100%, ${(15 * w) / h}rem)` }}
      aria-hidden="true"
      onPointerDown={(event) => {
        (event.currentTarget as Element).setPointerCapture(event.pointerId);
        choose(event);
      }}
      onPointerMove={(event) => event.buttons && choose(event)}
    >
      <rect class="blank" width={w} height={h} />
      {lines && (
        <path
          class="lines"
          d={[
            ...Array.from({ length: w - 1 }, (_, i) => `M${i + 1} 0V${h}`),
            ...Array.from({ length: h - 1 }, (_, i) => `M0 ${i + 1}H${w}`),
          ].join("")}
        />
      )}
      <rect
        class="chosen"
        x={unit.value[last]}
        y={flat ? 0 : unit.value[last - 1]}
        width={1}
        height={1}
      />
    </svg>
  );
}

function Views() {
  const sizes = space(net.value);
  if (!sizes.length) return null;
  const found = measured.value;
  const depth = sizes.length - 3;
  const sample = net.value.sample ?? data.network?.sample;
  return (
    <div class={`pictures ${sizes.length === 1 ? "flat" : found ? "two" : ""}`}>
      <figure>
        <Input
          net={net.value}
          sample={own.length ? sample : undefined}
          spans={spans.value}
          slice={shownSlice.value}
          label={`The input with the field of the unit. ${sentence()}`}
        />
        <figcaption>what it can see</figcaption>
      </figure>
      {found && (
        <figure>
          <Input
            net={net.value}
            spans={spans.value}
            most={found.most.length ? found.most : undefined}
            warm={found}
            slice={shownSlice.value}
            label={`What gradients measure of it. ${effective(found)}`}
          />
          <figcaption>what it uses, by gradients</figcaption>
        </figure>
      )}
      {depth >= 0 && (
        <Slider
          label="slice"
          name="slice of the input"
          value={shownSlice.value}
          min={0}
          max={sizes[depth]! - 1}
          onChange={(next) => (slice.value = next)}
        />
      )}
    </div>
  );
}

// In words ---------------------------------------------------------------------------------------

/** "rows 2 to 15": the last entry belongs to it. */
function ranges(some: Span[]): string {
  const names = axisNames(some.length, net.value.tokens);
  return some
    .map(([a, b], i) => (b - a === 1 ? `${names[i]} ${a}` : `${plural(names[i]!)} ${a} to ${b - 1}`))
    .join(", ");
}

function sentence(): string {
  const sizes = space(net.value);
  const one = layer.value;
  if (!one.axes) {
    return `The units of ${one.name} see the whole input${one.why ? `: ${one.why}` : ""}.`;
  }
  const inside = spans.value.map((each, i) => clipped(each, sizes[i]!));
  const many = inside.reduce((n, [a, b]) => n * Math.max(0, b - a), 1);
  const all = sizes.reduce((n, size) => n * size, 1);
  const part = (100 * many) / all;
  const share = part >= 99.95 ? "all" : `${part < 10 ? part.toFixed(1) : part.toFixed(0)}%`;
  const at = unit.value.length ? `Unit ${unit.value.join(", ")} of ${one.name}` : `${one.name}`;
  return `${at} sees ${ranges(inside)}: ${share} of the input.`;
}

/** Size, jump, centre, and what lies beyond the border. */
function details(): string[] {
  const sizes = space(net.value);
  const axes = layer.value.axes;
  if (!axes) return [];
  const said: string[] = [];
  const full = spans.value.map(([a, b]) => b - a);
  const centre = spans.value.map(([a, b]) => (a + b) / 2);
  said.push(`Its field is ${times(full)} in size, with the centre at ${centre.join(", ")}.`);
  const jumps = axes.map((along) => ("field" in along ? along.field[1] : null));
  if (jumps.includes(null)) {
    said.push("Between this layer and the input sizes change back, so fields differ by unit.");
  } else {
    const one = new Set(jumps).size === 1 ? String(jumps[0]) : times(jumps as number[]);
    const entries = one === "1" ? "entry" : "entries";
    said.push(`The fields of neighbouring units lie ${one} ${entries} apart: the jump.`);
  }
  const out = spans.value.map(([a, b], i) => Math.max(0, -a) + Math.max(0, b - sizes[i]!));
  if (out.some((n) => n > 0)) {
    const each = new Set(out).size === 1;
    const many = each ? `${out[0]} ${out[0] === 1 ? "entry" : "entries"}` : `${times(out)} entries`;
    const along = each && out.length > 1 ? " along each axis" : "";
    const lie = each && out[0] === 1 ? "lies" : "lie";
    said.push(`Of it ${many}${along} ${lie} beyond the border, in the padding.`);
  }
  if (layer.value.why) {
    said.push(`By way of a factor that all positions share it depends on everything: ${layer.value.why}.`);
  }
  if (net.value.repeats.length) {
    said.push(
      `Padding here repeats entries (${net.value.repeats.join(", ")}): near the border a unit ` +
        "also sees those that are repeated.",
    );
  }
  return said;
}

function effective(found: Measured): string {
  if (!found.most.length) return "For this sample its gradient is zero: its units are switched off.";
  const box = found.most.map(([a, b]) => b - a);
  const full = spans.value.map((each, i) => {
    const [a, b] = clipped(each, space(net.value)[i]!);
    return b - a;
  });
  const smaller = box.some((n, i) => n < full[i]!);
  const outside = 100 * (1 - found.inside);
  if (outside > 10) {
    return `${outside.toFixed(0)}% of its gradient lie outside of this field, by way of the shared factor.`;
  }
  return smaller
    ? `Nine tenths of its gradient lie within ${times(box)} of the ${times(full)} that it can ` +
        "see: the effective field is smaller than the theoretical one (Luo et al., 2016)."
    : "Its gradient is spread over the whole field.";
}

function Said() {
  const found = measured.value;
  return (
    <div class="in-words">
      <p role="status">{sentence()}</p>
      <p>{details().join(" ")}</p>
      {found && <p>{effective(found)}</p>}
    </div>
  );
}

function Note() {
  const told = net.value.layers.some((one) => one.measured);
  return (
    <p class="note">
      {net.value.measured}
      {told && !layer.value.measured
        ? " This layer was not measured; those with a dot were."
        : ""}
    </p>
  );
}

function Table() {
  return (
    <Behind
      title={`All layers of ${net.value.title} as a table`}
      head={["layer", "what it is", "output", "sees", "jump", "centre of unit 0"]}
      rows={() =>
        net.value.layers.map((one) => [
          one.name,
          one.what,
          times(one.shape),
          ...[0, 1, 2].map((k) => cell(one, k)),
        ])
      }
    />
  );
}

function cell(one: FieldLayer, k: number): string {
  if (!one.axes) return k ? "" : "everything";
  const some = one.axes.map((along) => ("field" in along ? along.field[k]! : null));
  if (some.includes(null)) return k ? "" : "varies";
  return new Set(some).size === 1 ? String(some[0]) : times(some as number[]);
}
