// The way through a network, and one step of it: its maps, its branches, one map large.
import { useEffect, useRef } from "preact/hooks";
import { Choice, Slider } from "../parts/controls";
import { Input } from "../parts/input";
import { gradient } from "../parts/levels";
import { Bars, largest, rank, Tile, valueAt } from "../parts/maps";
import { breaking, times } from "../parts/sight";
import { data } from "../store";
import { Depth } from "./depth";
import { ask } from "./fields_state";
import type { Block, Group, Maps, NetworkView, Step } from "./network_data";
import {
  blank,
  chosen,
  depth,
  endOf,
  groups,
  isBlock,
  looking,
  net,
  playing,
  said,
  scale,
  sliceOf,
  stepNumber,
  under,
} from "./network_state";

function choose(number: number): void {
  stepNumber.value = number;
  chosen.value = null;
  under.value = null;
}

export function Way({ view }: { view: NetworkView }) {
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

export function Shown({ view }: { view: NetworkView }) {
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
      {isBlock(step) ? <Branches block={step} compared={view.compared} /> : <Layer group={step} />}
      {wide && <Large step={step} />}
    </div>
  );
}

function Branches({ block, compared }: { block: Block; compared: boolean }) {
  return (
    <>
      <p class="note">
        All branches read the same maps; what they make is put one after the other. The bars say
        what each contributes to the answer{compared ? " rather than to the others" : ""}: its maps
        times their gradients.
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
              <span>{percent(branch.part)}</span>
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
