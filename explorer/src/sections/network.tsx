// A trained network at work on one sample: what it says and why, and the maps of every layer on the
// way.
import { computed, signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { Behind } from "../parts/behind";
import { Check, Choice, Select, Slider } from "../parts/controls";
import { Input } from "../parts/input";
import { bytes, gradient, heat as heated, paint } from "../parts/levels";
import { Bars, largest, rank, Tile, valueAt } from "../parts/maps";
import { Section } from "../parts/section";
import { breaking, clipped, seen, space, times, type Span } from "../parts/sight";
import { data } from "../store";
import { ask } from "./fields";
import type { FieldNet } from "./fields_data";
import type { Block, Group, Heat, Maps, NetworkView, Step } from "./network_data";

const view = data.network;
const net = view ? data.fields?.[0] : undefined;

const stepNumber = signal(0);
const playing = signal(false);
const scale = signal<"layer" | "network" | "map">("layer");
const depth = signal(0.5);
/** The map that is shown large: the name of its layer and its number. */
const chosen = signal<{ group: string; map: number } | null>(null);
/** The unit under the pointer, as parts of the axes. */
const under = signal<{ group: string; at: number[] } | null>(null);
const heatNumber = signal(0);
const veil = signal(true);

const isBlock = (step: Step): step is Block => "branches" in step;
const groups = (step: Step): Group[] =>
  isBlock(step) ? step.branches.flatMap((branch) => branch.groups) : [step];

const most = view
  ? Math.max(...view.steps.flatMap(groups).map((group) => (rank(group.maps) ? largest(group.maps) : 0)))
  : 0;

/** The end of the scale on which a map is drawn. */
function endOf(maps: Maps, map: number): number {
  if (rank(maps) === 0 || scale.value === "layer") return largest(maps);
  return scale.value === "map" ? maps.ends[map]! : most;
}

export function Network() {
  return view ? <View view={view} /> : null;
}

function View({ view }: { view: NetworkView }) {
  return (
    <Section
      id="network"
      title="A network at work"
      lead={
        <>
          <bdi>{view.title}</bdi> through <bdi>{view.run}</bdi>: {view.said}.
        </>
      }
    >
      <div class="answer">
        <Evidence view={view} />
        <Answers view={view} />
        {view.filters && <Filters filters={view.filters} />}
      </div>
      <Way view={view} />
      <Shown view={view} />
      <Table view={view} />
    </Section>
  );
}

// What it says and why ---------------------------------------------------------------------------

const blank = (view: NetworkView): FieldNet => ({
  title: "",
  input: view.input,
  tokens: view.sample.kind === "tokens",
  layers: [],
  repeats: [],
  measured: "",
});

/** What the unit under the pointer sees. */
const looking = computed<Span[] | undefined>(() => {
  const here = under.value;
  const layer = here && net?.layers.find((one) => one.name === here.group);
  if (!layer || !net) return undefined;
  const sizes = layer.shape.slice(1);
  if (sizes.length !== here.at.length) return undefined;
  return seen(net, layer, sizes.map((n, i) => Math.min(n - 1, Math.floor(here.at[i]! * n))));
});

/** Of a volume, the slice that is shown. */
function sliceOf(view: NetworkView): number {
  const sizes = space(blank(view));
  return sizes.length > 2 ? Math.floor(depth.value * sizes[sizes.length - 3]! * 0.9999) : 0;
}

function Evidence({ view }: { view: NetworkView }) {
  const heat = view.heats[heatNumber.value];
  const sizes = space(blank(view));
  const volume = sizes.length > 2;
  const told = looking.value;
  const cold = heat?.cold ? "; nothing speaks for it" : "";
  const label = heat
    ? `The sample${veil.value ? `, with what speaks for ${heat.name}, by Grad-CAM${cold}` : ""}`
    : "The sample";
  return (
    <figure class={`evidence ${sizes.length === 1 ? "flat" : ""}`}>
      {view.sample.kind === "tokens" ? (
        <Words view={view} heat={veil.value ? heat : undefined} spans={told} />
      ) : (
        <Input
          net={blank(view)}
          sample={view.sample}
          spans={told}
          slice={sliceOf(view)}
          label={label}
        >
          {heat && veil.value && !told && <Veil heat={heat} sizes={sizes} part={depth.value} />}
        </Input>
      )}
      <figcaption>
        {told
          ? `seen by the unit: ${told.map((each, i) => clipped(each, sizes[i]!)).map(([a, b]) => b - a).join(" × ")}`
          : heat && veil.value
            ? `what speaks for ${heat.name}: Grad-CAM of ${view.heatLayer}${cold}`
            : "the sample"}
      </figcaption>
      <div class="choices">
        <Check label="evidence for" value={veil.value} onChange={(on) => (veil.value = on)} />
        <Select
          label=""
          name="Evidence for the class"
          value={String(heatNumber.value)}
          options={view.heats.map((one, i) => [String(i), one.name] as const)}
          onChange={(next) => (heatNumber.value = Number(next))}
        />
      </div>
      {volume && <Depth />}
    </figure>
  );
}

function Depth() {
  return (
    <Slider
      label="slice"
      name="slice, in percent of the depth"
      value={Math.round(100 * depth.value)}
      min={0}
      max={100}
      onChange={(next) => (depth.value = next / 100)}
    />
  );
}

/** Heat over a sample; between its positions it is interpolated. */
function Veil({ heat, sizes, part }: { heat: Heat; sizes: number[]; part: number }) {
  const shape = heat.levels.shape;
  const flat = shape.length === 1;
  const [h, w] = flat ? [1, shape[0]!] : (shape.slice(-2) as [number, number]);
  const slices = shape.length > 2 ? shape[shape.length - 3]! : 1;
  const at = Math.min(slices - 1, Math.floor(part * slices));
  const uri = useMemo(() => heated(heat.levels, h, w, at * h * w, true), [heat, h, w, at]);
  if (shape.length !== sizes.length) return null;
  return (
    <image
      class="veil"
      href={uri}
      width={sizes[sizes.length - 1]}
      height={flat ? 100 : sizes[sizes.length - 2]}
      preserveAspectRatio="none"
    />
  );
}

function Words({ view, heat, spans }: { view: NetworkView; heat?: Heat; spans?: Span[] }) {
  const words = view.sample.words ?? [];
  const [first, stop] = spans?.[0] ?? [0, 0];
  const warm = (i: number) => {
    if (!heat || heat.levels.shape.length !== 1) return 0;
    const n = heat.levels.shape[0]!;
    return bytes(heat.levels)[Math.min(n - 1, Math.floor((i / view.input[0]!) * n))]! / 255;
  };
  return (
    <p class="words" tabIndex={0} role="group" aria-label="The text">
      {words.map((word, i) => (
        <span
          class={first <= i && i < stop ? "seen" : ""}
          style={{ borderBottom: `${(6 * warm(i)).toFixed(1)}px solid var(--kernel)` }}
        >
          {word}{" "}
        </span>
      ))}
    </p>
  );
}

function Answers({ view }: { view: NetworkView }) {
  return (
    <table class="answers">
      <caption>{view.isClass ? "What it takes it for" : "What it says"}</caption>
      <tbody>
        {view.answers.map((one) => (
          <tr class={one.chosen ? "chosen" : ""}>
            <th scope="row">
              <bdi>{one.name}</bdi>
            </th>
            <td>{one.said}</td>
            <td aria-hidden="true">
              <i
                class={one.part < 0 ? "less" : ""}
                style={{ width: `${Math.max(0.5, 100 * Math.abs(one.part)).toFixed(1)}%` }}
              />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Filters({ filters }: { filters: NonNullable<NetworkView["filters"]> }) {
  const [n, h, w, c] = filters.levels.shape as [number, number, number, number];
  return (
    <figure class="filters">
      <div
        class={h === 1 ? "flat" : ""}
        role="img"
        aria-label={`${n} filters of the first convolution`}
      >
        {Array.from({ length: n }, (_, i) => (
          <Filter levels={bytes(filters.levels)} at={i * h * w * c} h={h} w={w} c={c} />
        ))}
      </div>
      <figcaption>
        {n < filters.all ? `${n} of ${filters.all}` : `the ${n}`} filters of the first layer, each{" "}
        {times(filters.shape)}
      </figcaption>
    </figure>
  );
}

interface FilterProps {
  levels: Uint8Array;
  at: number;
  h: number;
  w: number;
  c: number;
}

function Filter({ levels, at, h, w, c }: FilterProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (c === 1) {
      paint(canvas.current!, w, h, (i) => (levels[at + i]! - 128) / 127, true);
      return;
    }
    canvas.current!.width = w;
    canvas.current!.height = h;
    const context = canvas.current!.getContext("2d")!;
    const image = context.createImageData(w, h);
    for (let i = 0; i < w * h; i++) {
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = levels[at + 3 * i + k]!;
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }, [levels, at, h, w, c]);
  return (
    <canvas ref={canvas} style={h === 1 ? { height: "1.1rem" } : { aspectRatio: `${w} / ${h}` }} />
  );
}

// The way through the network --------------------------------------------------------------------

function choose(number: number): void {
  stepNumber.value = number;
  chosen.value = null;
  under.value = null;
}

function Way({ view }: { view: NetworkView }) {
  const strip = useRef<HTMLDivElement>(null);
  const now = stepNumber.value;
  const last = view.steps.length - 1;
  const on = playing.value;
  useEffect(() => {
    const here = strip.current?.children[now] as HTMLElement | undefined;
    const box = strip.current;
    if (here && box) {
      box.scrollTo({ left: here.offsetLeft - box.clientWidth / 2 + here.clientWidth / 2 });
    }
  }, [now]);
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => {
      if (stepNumber.value < last) choose(stepNumber.value + 1);
      else playing.value = false;
    }, 1200);
    return () => clearInterval(timer);
  }, [on, last]);
  return (
    <div class="way">
      <div class="play">
        <button type="button" disabled={now === 0} onClick={() => choose(now - 1)}>
          Back
        </button>
        <button
          type="button"
          aria-pressed={on}
          onClick={() => {
            if (!on && now === last) choose(0);
            playing.value = !on;
          }}
        >
          {on ? "Pause" : "Play"}
        </button>
        <button type="button" disabled={now === last} onClick={() => choose(now + 1)}>
          Next
        </button>
        <Slider
          label="step"
          value={now + 1}
          min={1}
          max={last + 1}
          onChange={(next) => choose(next - 1)}
        />
      </div>
      <div class="strip" ref={strip} role="group" aria-label="The layers in their order">
        {view.steps.map((step, i) => (
          <button
            type="button"
            aria-pressed={i === now}
            tabIndex={i === now ? 0 : -1}
            onClick={() => choose(i)}
            onKeyDown={(event) => {
              const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
              if (!by || !view.steps[now + by]) return;
              event.preventDefault();
              choose(now + by);
              (strip.current!.children[now + by] as HTMLElement).focus();
            }}
          >
            <Thumb step={step} />
            <span title={step.name}>{step.name.split(".").pop()}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

/** The first maps of a step, small. */
function Thumb({ step }: { step: Step }) {
  const some = isBlock(step)
    ? step.branches.slice(0, 4).map((branch) => branch.groups[branch.groups.length - 1]!.maps)
    : [step.maps];
  if (rank(some[0]!) === 0) return <Bars maps={some[0]!} end={largest(some[0]!)} />;
  return (
    <span class={some.length > 1 ? "four" : ""}>
      {some.map((maps) => {
        const best = maps.ends.indexOf(largest(maps));
        return <Tile maps={maps} map={best} end={largest(maps)} depth={0.5} />;
      })}
    </span>
  );
}

// One step ---------------------------------------------------------------------------------------

function Shown({ view }: { view: NetworkView }) {
  const step = view.steps[stepNumber.value]!;
  const some = groups(step);
  const wide = some.some((group) => rank(group.maps) > 0);
  return (
    <div class="shown">
      <div class="titled">
        <h3>
          <bdi>{step.name}</bdi>{" "}
          <small>
            {isBlock(step) ? `${step.branches.length} branches side by side` : step.what},{" "}
            {times(step.shape)}
          </small>
        </h3>
        {wide && (
          <Choice
            legend="One scale for"
            name="scale"
            value={scale.value}
            options={[
              ["network", "the network"],
              ["layer", "each layer"],
              ["map", "each map"],
            ]}
            onChange={(next) => (scale.value = next)}
          />
        )}
      </div>
      {isBlock(step) ? (
        <Branches block={step} compared={view.compared} />
      ) : (
        <Layer group={step} />
      )}
      {wide && <Large step={step} />}
    </div>
  );
}

function Branches({ block, compared }: { block: Block; compared: boolean }) {
  return (
    <>
      <p class="note">
        All branches read the same maps; what they make is put one after the other. The bars say what
        each contributes to the answer{compared ? " rather than to the others" : ""}: its maps times
        their gradients.
      </p>
      <div class="beside-each-other">
        {block.branches.map((branch) => (
          <div class="branch">
            <h4>
              <bdi>{branch.name}</bdi>{" "}
              <small>
                channels {branch.channels[0]} to {branch.channels[1]}
              </small>
            </h4>
            <p class="part">
              <span>
                {percent(branch.part)}
              </span>
              <i
                class={branch.part < 0 ? "less" : ""}
                style={{ width: `${(100 * Math.abs(branch.part)).toFixed(1)}%` }}
              />
            </p>
            {branch.groups.map((group) => (
              <Layer group={group} inside />
            ))}
          </div>
        ))}
      </div>
    </>
  );
}

function percent(part: number): string {
  const whole = Math.round(100 * part);
  if (whole === 0) return "0%";
  return whole < 0 ? `\u2212${-whole}% against` : `+${whole}% for`;
}

function Layer({ group, inside = false }: { group: Group; inside?: boolean }) {
  const { maps } = group;
  const numbers = rank(maps) === 0;
  const count = maps.levels.shape[0]!;
  const many = numbers ? "numbers" : "maps";
  return (
    <div class={`layer-maps ${inside ? "inside" : ""} ${rank(maps) === 1 ? "curves" : ""}`}>
      {inside && (
        <p class="what">
          {group.what} <small>{times(group.shape)}</small>
        </p>
      )}
      {numbers ? <Bars maps={maps} end={largest(maps)} /> : <Tiles group={group} />}
      <p class="under">
        {!numbers && rank(maps) > 1 && <Scale maps={maps} />}
        {(numbers || rank(maps) === 1) && (
          <span>
            {maps.signed ? `${said(-endOf(maps, 0))} to ` : "0 to "}
            {said(numbers ? largest(maps) : endOf(maps, 0))}
          </span>
        )}
        {count < maps.all && (
          <span>
            {count} of {maps.all} {many}
          </span>
        )}
        {maps.dead > 0 && (
          <span>
            {maps.dead} of {maps.all} are zero
          </span>
        )}
      </p>
    </div>
  );
}

/** Three significant digits. */
function said(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 || size < 0.001 ? size.toExponential(2) : String(+size.toPrecision(3));
  return (value < 0 ? "\u2212" : "") + text;
}

function Scale({ maps }: { maps: Maps }) {
  const every = scale.value === "map";
  const end = endOf(maps, 0);
  return (
    <span class="scale">
      {maps.signed ? (every ? "least" : said(-end)) : "0"}
      <i style={{ background: gradient(maps.signed) }} />
      {every ? "largest of each map" : said(end)}
    </span>
  );
}

function Tiles({ group }: { group: Group }) {
  const { maps } = group;
  const box = useRef<HTMLDivElement>(null);
  const count = maps.levels.shape[0]!;
  const mine = chosen.value?.group === group.name ? chosen.value.map : -1;
  const pick = (map: number) => (chosen.value = { group: group.name, map });
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = Math.max(mine, 0) + (by ?? 0);
    if (!by || next < 0 || next >= count) return;
    event.preventDefault();
    pick(next);
    (box.current!.children[next] as HTMLElement).focus();
  };
  return (
    <div
      class={`tiles ${count <= 8 ? "few" : count <= 16 ? "some" : ""}`}
      ref={box}
      onKeyDown={move}
      role="group"
      aria-label={`Maps of ${group.name}`}
    >
      {Array.from({ length: count }, (_, map) => (
        <button
          type="button"
          aria-label={`map ${map}, largest ${said(maps.ends[map]!)}`}
          aria-pressed={map === mine}
          tabIndex={map === Math.max(mine, 0) ? 0 : -1}
          class={maps.ends[map] === 0 ? "dead" : ""}
          onPointerEnter={(event) => event.pointerType === "mouse" && pick(map)}
          onFocus={() => pick(map)}
          onClick={() => pick(map)}
        >
          <Tile maps={maps} map={map} end={endOf(maps, map)} depth={depth.value} />
        </button>
      ))}
    </div>
  );
}

/** One map, large: under the pointer its value, and in the sample what the unit sees. */
function Large({ step }: { step: Step }) {
  const some = groups(step);
  const first = some.find((one) => rank(one.maps) > 0)!;
  const strongest = first.maps.ends.indexOf(largest(first.maps));
  const here = chosen.value ?? { group: first.name, map: strongest };
  const group = some.find((one) => one.name === here.group) ?? some[0]!;
  const { maps } = group;
  if (rank(maps) === 0) return null;
  const shape = maps.levels.shape.slice(1);
  const sizes = group.shape.slice(1);
  const count = shape.reduce((n, each) => n * each, 1);
  const at = under.value?.group === group.name ? under.value.at : null;
  const entry = at?.reduce((sum, part, i) => {
    return sum * shape[i]! + Math.min(shape[i]! - 1, Math.floor(part * shape[i]!));
  }, 0);
  const place = at?.map((part, i) => Math.min(sizes[i]! - 1, Math.floor(part * sizes[i]!)));
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const part = (n: number) => Math.min(Math.max(n, 0), 0.999999);
    const found = [part((event.clientX - box.left) / box.width)];
    if (sizes.length > 1) found.unshift(part((event.clientY - box.top) / box.height));
    while (found.length < sizes.length) found.unshift(part(depth.value));
    under.value = { group: group.name, at: found };
  };
  const linked = net?.layers.some((one) => one.name === group.name && one.axes);
  return (
    <div class={`large ${sizes.length === 1 ? "flat" : ""}`}>
      <div
        class="one-map"
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={(event) => event.pointerType === "mouse" && (under.value = null)}
      >
        <Tile maps={maps} map={here.map} end={endOf(maps, here.map)} depth={depth.value} />
      </div>
      <p>
        Map {here.map} of <bdi>{breaking(group.name)}</bdi>.{" "}
        {place && entry !== undefined
          ? `Unit ${place.join(", ")}: ${said(valueAt(maps, here.map, entry, count))}.`
          : `Largest value ${said(maps.ends[here.map]!)}.`}
      </p>
      {data.network && data.network.sample.kind !== "tokens" && (
        <Input
          net={blank(data.network)}
          sample={data.network.sample}
          spans={looking.value}
          slice={sliceOf(data.network)}
          label="The sample, with what the unit under the pointer sees"
        />
      )}
      <p class="note">{looking.value ? "What this unit sees." : "Point at a unit of the map."}</p>
      {linked && (
        <button
          type="button"
          onClick={() => ask(group.name, place ?? sizes.map((n) => Math.floor(n / 2)))}
        >
          What does {place ? "this unit" : "its central unit"} see?
        </button>
      )}
      {sizes.length > 2 && <Depth />}
    </div>
  );
}

function Table({ view }: { view: NetworkView }) {
  return (
    <Behind
      title="All layers as a table"
      head={["layer", "what it is", "output", "largest value", "maps that are zero"]}
      rows={() =>
        view.steps
          .flatMap(groups)
          .map(({ name, what, shape, maps }) => [
            name,
            what,
            times(shape),
            said(largest(maps)),
            `${maps.dead} of ${maps.all}`,
          ])
      }
    />
  );
}
