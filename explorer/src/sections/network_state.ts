// What the section about a network at work shows: the step, the map, the unit under the pointer.
import { computed, signal } from "@preact/signals";
import { largest, rank } from "../parts/maps";
import { seen, space, type Span } from "../parts/sight";
import { data } from "../store";
import type { FieldNet } from "./fields_data";
import type { Block, Group, Maps, NetworkView, Step } from "./network_data";

export const view = data.network;
export const net = view ? data.fields?.[0] : undefined;

export const stepNumber = signal(0);
export const playing = signal(false);
export const scale = signal<"layer" | "network" | "map">("layer");
export const depth = signal(0.5);
/** The map that is shown large: the name of its layer and its number. */
export const chosen = signal<{ group: string; map: number } | null>(null);
/** The unit under the pointer, as parts of the axes. */
export const under = signal<{ group: string; at: number[] } | null>(null);
export const heatNumber = signal(0);
export const veil = signal(true);

export const isBlock = (step: Step): step is Block => "branches" in step;
export const groups = (step: Step): Group[] =>
  isBlock(step) ? step.branches.flatMap((branch) => branch.groups) : [step];

const most = view
  ? Math.max(
      ...view.steps.flatMap(groups).map((group) => (rank(group.maps) ? largest(group.maps) : 0)),
    )
  : 0;

/** The end of the scale on which a map is drawn. */
export function endOf(maps: Maps, map: number): number {
  if (rank(maps) === 0 || scale.value === "layer") return largest(maps);
  return scale.value === "map" ? maps.ends[map]! : most;
}

export const blank = (view: NetworkView): FieldNet => ({
  title: "",
  input: view.input,
  tokens: view.sample.kind === "tokens",
  layers: [],
  repeats: [],
  measured: "",
});

/** What the unit under the pointer sees. */
export const looking = computed<Span[] | undefined>(() => {
  const here = under.value;
  const layer = here && net?.layers.find((one) => one.name === here.group);
  if (!layer || !net) return undefined;
  const sizes = layer.shape.slice(1);
  if (sizes.length !== here.at.length) return undefined;
  return seen(
    net,
    layer,
    sizes.map((n, i) => Math.min(n - 1, Math.floor(here.at[i]! * n))),
  );
});

/** Of a volume, the slice that is shown. */
export function sliceOf(view: NetworkView): number {
  const sizes = space(blank(view));
  return sizes.length > 2 ? Math.floor(depth.value * sizes[sizes.length - 3]! * 0.9999) : 0;
}

/** Three significant digits. */
export function said(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 || size < 0.001 ? size.toExponential(2) : String(+size.toPrecision(3));
  return (value < 0 ? "\u2212" : "") + text;
}
