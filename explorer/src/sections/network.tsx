// A trained network at work on one sample: what it says and why, and the maps of every layer on the
// way.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { Behind } from "../parts/behind";
import { Check, Select } from "../parts/controls";
import { Input } from "../parts/input";
import { bytes, heat as heated, paint } from "../parts/levels";
import { largest } from "../parts/maps";
import { Section } from "../parts/section";
import { clipped, space, times, type Span } from "../parts/sight";
import { Depth } from "./depth";
import type { Heat, NetworkView } from "./network_data";
import {
  blank,
  depth,
  groups,
  heatNumber,
  looking,
  said,
  sliceOf,
  veil,
  view,
} from "./network_state";
import { Shown, Way } from "./network_steps";

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

/** How many entries are seen along each axis. */
function inside(told: Span[], sizes: number[]): number[] {
  return told.map((each, i) => {
    const [a, b] = clipped(each, sizes[i]!);
    return b - a;
  });
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
          ? `seen by the unit: ${times(inside(told, sizes))}`
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
        {n < filters.all ? `${n} of ${filters.all}` : `the ${n}`} filters of the first layer, each
        of {times(filters.shape)}
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
