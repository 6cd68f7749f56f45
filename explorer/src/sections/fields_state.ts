// What the section about fields shows: the network, the layer, the unit.
import { batch, computed, signal } from "@preact/signals";
import { middle, seen, space } from "../parts/sight";
import { data } from "../store";
import builtin from "./fields_builtin.json";
import type { FieldLayer, FieldNet, Measured } from "./fields_data";

export const own = data.fields ?? [];
export const nets: FieldNet[] = own.length ? own : (builtin as unknown as FieldNet[]);

/** The first layer worth a look: one with several positions in the middle of the network. */
function start(net: FieldNet): number {
  const several = (layer: FieldLayer) => layer.axes && layer.shape.slice(1).some((n) => n > 1);
  const wide = net.layers.flatMap((layer, i) => (several(layer) ? [i] : []));
  const told = wide.filter((i) => net.layers[i]!.measured);
  const some = told.length ? told : wide;
  return some[Math.floor(some.length / 2)] ?? 0;
}

export const netNumber = signal(0);
export const layerNumber = signal(start(nets[0]!));
export const unit = signal<number[]>(middle(nets[0]!.layers[layerNumber.value]!));
export const slice = signal<number | null>(null);

export const net = computed(() => nets[netNumber.value]!);
export const layer = computed(() => net.value.layers[layerNumber.value]!);
export const spans = computed(() => seen(net.value, layer.value, unit.value));
export const shownSlice = computed(() => {
  const depth = spans.value[spans.value.length - 3];
  if (!depth) return 0;
  const size = space(net.value)[spans.value.length - 3]!;
  return slice.value ?? Math.min(size - 1, Math.max(0, Math.floor((depth[0] + depth[1]) / 2)));
});
export const measured = computed<Measured | null>(() => {
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

export function chooseNet(number: number): void {
  const next = start(nets[number]!);
  look(number, next, middle(nets[number]!.layers[next]!));
}

export function chooseLayer(number: number): void {
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

export function move(place: number[]): void {
  look(netNumber.value, layerNumber.value, place);
}

export function choosePlace(axis: number, place: number): void {
  move(unit.value.map((old, i) => (i === axis ? place : old)));
}
