// Inception v1: several sizes of window at once, and what 1x1 convolutions save.
// C. Szegedy et al., "Going deeper with convolutions", CVPR 2015; its block 3a.
import { useState } from "preact/hooks";
import { Check } from "../parts/controls";
import { grouped } from "../say";

const [SIDE, IN] = [28, 192];

interface Branch {
  name: string;
  window: number;
  /** Channels of the 1x1 convolution before (of the pool: after). */
  reduced: number;
  out: number;
  hue: string;
}
const BRANCHES: readonly Branch[] = [
  { name: "1\u00d71", window: 1, reduced: 0, out: 64, hue: "input" },
  { name: "3\u00d73", window: 3, reduced: 96, out: 128, hue: "kernel" },
  { name: "5\u00d75", window: 5, reduced: 16, out: 32, hue: "output" },
  { name: "pool 3\u00d73", window: 3, reduced: 32, out: 32, hue: "padding" },
];

/** Weights of a branch, without biases. */
function weights({ window, reduced, out, name }: Branch, cut: boolean): number {
  if (name.startsWith("pool")) return cut ? IN * reduced : 0;
  const area = window * window;
  return cut && reduced ? IN * reduced + reduced * area * out : IN * area * out;
}
const channels = (branch: Branch, cut: boolean) =>
  !cut && branch.name.startsWith("pool") ? IN : branch.out;

export function Inception() {
  const [cut, setCut] = useState(true);
  const [on, setOn] = useState<number | null>(null);
  const counts = BRANCHES.map((branch) => weights(branch, cut));
  const total = counts.reduce((sum, n) => sum + n, 0);
  const without = BRANCHES.reduce((sum, branch) => sum + weights(branch, false), 0);
  const out = BRANCHES.reduce((sum, branch) => sum + channels(branch, cut), 0);
  const cell = 22;
  return (
    <div class="inception">
      <h3>Which size of window? All of them: Inception v1</h3>
      <p class="quiet">
        Its blocks look at the same place through windows of 1, 3 and 5, and let training decide.
        The first block, 3a, reads {IN} maps of {SIDE}
        {"\u00d7"}
        {SIDE}.
      </p>
      <Check label="1×1 convolutions that make it cheap" value={cut} onChange={setCut} />
      <div class="block">
        <svg
          width={9 * cell}
          height={9 * cell}
          viewBox={`0 0 ${9 * cell} ${9 * cell}`}
          role="img"
          aria-label={
            "The windows of the four branches around the same place: 1, 3, 5 and 3 entries " +
            "wide"
          }
        >
          {Array.from({ length: 81 }, (_, i) => (
            <rect
              key={i}
              x={(i % 9) * cell + 1}
              y={Math.floor(i / 9) * cell + 1}
              width={cell - 2}
              height={cell - 2}
              rx="2"
              fill="var(--input)"
              opacity="0.12"
            />
          ))}
          {[2, 3, 1, 0].map((b) => {
            const { window, hue } = BRANCHES[b];
            const inset = b === 3 ? 4 : 0;
            const start = ((9 - window) / 2) * cell + inset;
            const strong = on === b;
            return (
              <rect
                key={b}
                x={start}
                y={start}
                width={window * cell - 2 * inset}
                height={window * cell - 2 * inset}
                rx="3"
                fill={`var(--${hue})`}
                fill-opacity={strong ? 0.45 : 0.14}
                stroke={`var(--${hue})`}
                stroke-width={strong ? 4 : 2.5}
                stroke-dasharray={b === 3 ? "5 3" : undefined}
              />
            );
          })}
        </svg>
        <ol class="branches">
          {BRANCHES.map((branch, b) => {
            const pool = branch.name.startsWith("pool");
            const small = cut && branch.reduced > 0;
            return (
              <li
                key={branch.name}
                class={on === b ? "on" : undefined}
                style={{ "--hue": `var(--${branch.hue})` }}
                onMouseEnter={() => setOn(b)}
                onMouseLeave={() => setOn(null)}
              >
                <span class="path">
                  <span class="quiet">{IN}</span>
                  {small && !pool && (
                    <>
                      <i>{"\u2192"}</i>
                      <span class="op">1{"\u00d7"}1</span>
                      <i>{"\u2192"}</i>
                      {branch.reduced}
                    </>
                  )}
                  <i>{"\u2192"}</i>
                  <span class="op strong">{branch.name}</span>
                  {small && pool && (
                    <>
                      <i>{"\u2192"}</i>
                      <span class="op">1{"\u00d7"}1</span>
                    </>
                  )}
                  <i>{"\u2192"}</i>
                  <b>{channels(branch, cut)}</b>
                </span>
                <span class="quiet small numbers">{grouped(counts[b])} weights</span>
                <span class="bar" style={{ width: `${(100 * counts[b]) / 221184}%` }} />
              </li>
            );
          })}
        </ol>
      </div>
      <p>
        Side by side they give <b>{out}</b> maps for <b class="numbers">{grouped(total)}</b> weights
        and <span class="numbers">{grouped(total * SIDE * SIDE)}</span> multiply-adds.{" "}
        {cut ? (
          <>
            Without the 1{"\u00d7"}1 convolutions it would be {grouped(without)} weights,{" "}
            {(without / total).toFixed(1)} times as many, for {64 + 128 + 32 + IN} maps: each of
            them mixes channels first, and leaves the window fewer to read.
          </>
        ) : (
          <>
            And the pool passes all of its {IN} maps on, so that every block would be wider than the
            one before.
          </>
        )}
      </p>
    </div>
  );
}
