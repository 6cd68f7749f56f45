// The charts of the section about the processor, on logarithmic axes.
import { signal } from "@preact/signals";
import { Behind } from "../parts/behind";
import type { Curve, Processor as Facts } from "./processor_data";

const LEVELS = ["first-level cache", "second-level cache", "third-level cache", "memory"];
// Drawn smaller on a phone, so that the words stay as large.
const WIDTH = innerWidth < 600 ? 330 : 560;
const HEIGHT = 300;
const LEFT = 62;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 42;
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "4 2", "12 4"];
/** Methods that are not drawn. */
const hidden = signal<readonly string[]>([]);

/** Nanoseconds for people, with three digits, as plan/plan.py says them. */
export function duration(ns: number): string {
  for (const [unit, size] of [
    ["s", 1e9],
    ["ms", 1e6],
    ["µs", 1e3],
  ] as const) {
    if (ns >= size) return `${Number((ns / size).toPrecision(3))} ${unit}`;
  }
  return `${ns.toFixed(0)} ns`;
}

const three = (value: number) => String(Number(value.toPrecision(3)));

/** From a number to a place on a logarithmic axis. */
function log(low: number, high: number, from: number, to: number) {
  return (value: number) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
}

const tens = (low: number, high: number, by = 10) => {
  const found: number[] = [];
  for (let t = by ** Math.ceil(Math.log(low) / Math.log(by) - 1e-9); t <= high * 1.0001; t *= by)
    found.push(t);
  return found;
};

export function Roofline({ now }: { now: Facts }) {
  const { flops, bytes, peak, rates, level, points } = now.roofline;
  const intensity = flops / bytes;
  const low = Math.min(0.1, intensity / 2);
  const high = Math.max(1000, intensity * 3);
  const least = Math.min(...points.map((p) => p.gflops), peak / 100) / 2;
  const most = Math.max(...points.map((p) => p.gflops), peak) * 2;
  const x = log(low, high, LEFT, WIDTH - RIGHT);
  const y = log(least, most, HEIGHT - BOTTOM, TOP);
  const roof = (rate: number) =>
    [low, peak / rate, high]
      .map((i) => `${x(Math.max(i, low))},${y(Math.max(Math.min(i * rate, peak), least))}`)
      .join(" ");
  const bound = Math.min(peak, intensity * rates[level]);
  return (
    <>
      <h3>Under the roofline</h3>
      <p>
        {three(intensity)} operations for each byte of input, weight and output. One core makes{" "}
        {three(peak)} GFLOP/s at most, and the arrays fit the {LEVELS[level]}: a sum of products can
        reach {three(bound)}. A transform does fewer operations than it is credited with, and may
        stand above the roof.
      </p>
      <svg
        class="chart"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Roofline: ${points.map((p) => `${p.name} ${three(p.gflops)} GFLOP/s`).join(", ")}; the peak is ${three(peak)}`}
      >
        {tens(low, high).map((t) => (
          <g key={t}>
            <line class="grid" x1={x(t)} x2={x(t)} y1={TOP} y2={HEIGHT - BOTTOM} />
            <text x={x(t)} y={HEIGHT - BOTTOM + 16} text-anchor="middle">
              {three(t)}
            </text>
          </g>
        ))}
        {tens(least, most).map((t) => (
          <g key={t}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(t)} y2={y(t)} />
            <text x={LEFT - 6} y={y(t) + 4} text-anchor="end">
              {three(t)}
            </text>
          </g>
        ))}
        <text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} text-anchor="middle">
          operations per byte
        </text>
        <text x="0" y={TOP - 2}>
          GFLOP/s
        </text>
        {rates.map((rate, i) => (
          <polyline key={i} class={i === level ? "roof here" : "roof"} points={roof(rate)}>
            <title>
              {LEVELS[i]}, {rate} GB/s
            </title>
          </polyline>
        ))}
        <line class="here" x1={x(intensity)} x2={x(intensity)} y1={TOP} y2={HEIGHT - BOTTOM} />
        {points.map((p, i) => (
          <g key={p.name} transform={`translate(${x(intensity)} ${y(p.gflops)})`}>
            <circle r={i === 0 ? 6 : 4} class={i === 0 ? "point chosen" : "point"} />
            <text
              x={i % 2 ? -10 : 10}
              y="4"
              text-anchor={i % 2 ? "end" : "start"}
              class={i === 0 ? "chosen" : undefined}
            >
              {p.name}
            </text>
          </g>
        ))}
      </svg>
      <Behind
        title="The roofline as a table"
        head={["method", "GFLOP/s", "of the peak"]}
        rows={() =>
          points.map((p) => [p.name, three(p.gflops), `${((100 * p.gflops) / peak).toFixed(0)}%`])
        }
      />
    </>
  );
}

export function Curves({ now }: { now: Facts }) {
  const names = [...new Set(now.curves.flatMap((curve) => curve.methods.map((m) => m.name)))];
  return (
    <>
      <h3>As the problem grows</h3>
      <p>
        Prices of one core as the kernel or the channels change and all else stays. Rings mark the
        method that is chosen, the grey area what no sum of products can reach.
      </p>
      <fieldset class="row legend">
        <legend class="unseen">Methods</legend>
        {names.map((name, i) => (
          <label key={name} class="check">
            <input
              type="checkbox"
              checked={!hidden.value.includes(name)}
              onChange={() =>
                (hidden.value = hidden.value.includes(name)
                  ? hidden.value.filter((h) => h !== name)
                  : [...hidden.value, name])
              }
            />
            <svg width="26" height="10" aria-hidden="true">
              <line
                class={`method-${i % 6}`}
                x1="0"
                x2="26"
                y1="5"
                y2="5"
                stroke-dasharray={DASHES[i % 6]}
              />
            </svg>
            {name}
          </label>
        ))}
      </fieldset>
      <div class="curves">
        {now.curves.map((curve) => (
          <OneCurve key={curve.along} curve={curve} names={names} />
        ))}
      </div>
    </>
  );
}

function OneCurve({ curve, names }: { curve: Curve; names: readonly string[] }) {
  const { at, bound, chosen } = curve;
  const shown = curve.methods.filter((m) => !hidden.value.includes(m.name));
  const all = [...bound, ...shown.flatMap((m) => m.ns.filter((ns) => ns !== null))];
  const low = Math.min(...all) / 1.6;
  const high = Math.max(...all) * 1.6;
  const x = log(at[0], at[at.length - 1], LEFT, WIDTH - RIGHT);
  const y = log(low, high, HEIGHT - BOTTOM, TOP);
  const title = curve.along === "kernel" ? "kernel" : "channels";
  return (
    <figure>
      <figcaption>Over the {title}</figcaption>
      <svg
        class="chart"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Time over the ${title}: ${at.map((a, i) => `${a}: ${chosen[i]}`).join(", ")}`}
      >
        <polygon
          class="beyond"
          points={`${LEFT},${HEIGHT - BOTTOM} ${at.map((a, i) => `${x(a)},${y(bound[i])}`).join(" ")} ${WIDTH - RIGHT},${HEIGHT - BOTTOM}`}
        />
        {tens(low, high).map((t) => (
          <g key={t}>
            <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(t)} y2={y(t)} />
            <text x={LEFT - 6} y={y(t) + 4} text-anchor="end">
              {duration(t)}
            </text>
          </g>
        ))}
        {at.map((a, i) => (
          <text
            key={a}
            x={x(a)}
            y={HEIGHT - BOTTOM + 16}
            text-anchor="middle"
            class={a === curve.now ? "chosen" : undefined}
          >
            {(at.length > 11 || WIDTH < 400) && i % 2 && a !== curve.now ? "" : a}
          </text>
        ))}
        {at.includes(curve.now) && (
          <line class="here" x1={x(curve.now)} x2={x(curve.now)} y1={TOP} y2={HEIGHT - BOTTOM} />
        )}
        <text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} text-anchor="middle">
          {title === "kernel" ? "kernel along each axis" : "channels in and out"}
        </text>
        {shown.map((m) => {
          const k = names.indexOf(m.name);
          const path = m.ns
            .map((ns, i) =>
              ns === null
                ? ""
                : `${i && m.ns[i - 1] !== null ? "L" : "M"}${x(at[i]).toFixed(1)} ${y(ns).toFixed(1)}`,
            )
            .join("");
          return (
            <g key={m.name}>
              <path class={`method-${k % 6}`} d={path} stroke-dasharray={DASHES[k % 6]} />
              {m.ns.map(
                (ns, i) =>
                  ns !== null &&
                  chosen[i] === m.name && (
                    <circle
                      key={i}
                      class={`ring method-${k % 6}`}
                      cx={x(at[i])}
                      cy={y(ns)}
                      r="4.5"
                    />
                  ),
              )}
            </g>
          );
        })}
      </svg>
      <Behind
        title={`Over the ${title}, as a table`}
        head={[title, "chosen", "bound", ...curve.methods.map((m) => m.name)]}
        rows={() =>
          at.map((a, i) => [
            a,
            chosen[i],
            duration(bound[i]),
            ...curve.methods.map((m) => (m.ns[i] === null ? "" : duration(m.ns[i]))),
          ])
        }
      />
    </figure>
  );
}
