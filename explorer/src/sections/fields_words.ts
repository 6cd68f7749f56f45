// What a unit sees, in words.
import { axisNames, clipped, plural, space, times, type Span } from "../parts/sight";
import type { Measured } from "./fields_data";
import { layer, net, spans, unit } from "./fields_state";

/** "rows 2 to 15": the last entry belongs to it. */
function ranges(some: Span[]): string {
  const names = axisNames(some.length, net.value.tokens);
  return some
    .map(([a, b], i) => {
      return b - a === 1 ? `${names[i]} ${a}` : `${plural(names[i]!)} ${a} to ${b - 1}`;
    })
    .join(", ");
}

export function sentence(): string {
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
export function details(): string[] {
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
    const way = "By way of a factor that all positions share it depends on everything";
    said.push(`${way}: ${layer.value.why}.`);
  }
  if (net.value.repeats.length) {
    said.push(
      `Padding here repeats entries (${net.value.repeats.join(", ")}): near the border a unit ` +
        "also sees those that are repeated.",
    );
  }
  return said;
}

export function effective(found: Measured): string {
  if (!found.most.length) {
    return "For this sample its gradient is zero: its units are switched off.";
  }
  const box = found.most.map(([a, b]) => b - a);
  const full = spans.value.map((each, i) => {
    const [a, b] = clipped(each, space(net.value)[i]!);
    return b - a;
  });
  const smaller = box.some((n, i) => n < full[i]!);
  const outside = 100 * (1 - found.inside);
  if (outside > 10) {
    const part = `${outside.toFixed(0)}% of its gradient`;
    return `${part} lie outside of this field, by way of the factor that all positions share.`;
  }
  return smaller
    ? `Nine tenths of its gradient lie within ${times(box)} of the ${times(full)} that it can ` +
        "see: the effective field is smaller than the theoretical one (Luo et al., 2016)."
    : "Its gradient is spread over the whole field.";
}
