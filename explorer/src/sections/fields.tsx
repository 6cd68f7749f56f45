// What a unit sees: the theoretical receptive field of any unit of any layer, and what gradients
// measure of it.
import { Behind } from "../parts/behind";
import { Select, Slider } from "../parts/controls";
import { Input } from "../parts/input";
import { Section } from "../parts/section";
import { axisNames, breaking, space, times } from "../parts/sight";
import { data } from "../store";
import { Column } from "./fields_column";
import type { FieldLayer } from "./fields_data";
import {
  chooseLayer,
  chooseNet,
  choosePlace,
  layer,
  layerNumber,
  measured,
  move,
  net,
  netNumber,
  nets,
  own,
  shownSlice,
  slice,
  spans,
  unit,
} from "./fields_state";
import { details, effective, sentence } from "./fields_words";

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
      {told && !layer.value.measured ? " This layer was not measured; those with a dot were." : ""}
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
