// The network as a column of its layers, branches side by side.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { flow } from "../parts/flow";
import { times } from "../parts/sight";
import type { FieldLayer } from "./fields_data";
import { chooseLayer, layerNumber, net } from "./fields_state";

const STEP = 46;
const HIGH = 30;
const px = (n: number) => `${n}px`;

export function Column() {
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
    requestAnimationFrame(() => {
      const here = box.current?.querySelector<HTMLElement>("[aria-pressed=true]");
      here?.focus({ preventScroll: true });
    });
  };
  const top = (i: number) => (i < 0 ? 0 : (made.places[i]!.rank + 1) * STEP);
  const centre = (i: number) => (i < 0 ? 50 : 50 * (made.places[i]!.left + made.places[i]!.right));
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
            const d = `M0 ${y}H${x - 4}q4 0 4 4V${v - 4}q0 4 -4 4H0`;
            return <path class={live ? "live" : ""} d={d} />;
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
