// Ours alone: what the processor does for this convolution. The method and why the others lost, the
// tile in registers beside the assembly that fills it, the roofline, and times as the problem grows.
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Behind } from "../parts/behind";
import { Copy } from "../parts/code";
import { Select } from "../parts/controls";
import { Scroll } from "../parts/scroll";
import { Section } from "../parts/section";
import { written } from "../geometry/text";
import { data, spec } from "../store";
import builtin from "./processor_builtin.json";
import { Curves, Roofline, duration } from "./processor_charts";
import type { Line, Processor as Facts } from "./processor_data";

const own = data.processor ?? [];
const every = [...own, ...(builtin as unknown as Facts[])];
const number = signal(0);
const facts = computed(() => every[number.value]);
/** The line of the loop that runs, counted from the first line that is shown; -1: before it. */
const at = signal(-1);
const passes = signal(0);
const playing = signal(false);

const KINDS: Record<string, string> = {
  fma: "multiply-add",
  multiply: "multiply",
  add: "add",
  load: "load a vector",
  broadcast: "one number to all lanes",
  store: "store",
  prefetch: "prefetch",
  jump: "jump",
};

/** The line says something of vectors, so it is worth a step. */
const telling = ([, kind]: Line) => kind in KINDS;

function step(by: number): void {
  const { lines, loop } = facts.value.kernel;
  const stops = lines
    .map((_, i) => i)
    .filter((i) => i >= loop[0] && i < loop[1] && telling(lines[i]));
  if (!stops.length) return;
  const here = stops.indexOf(at.value);
  const next = here < 0 ? (by > 0 ? 0 : stops.length - 1) : here + by;
  if (next >= stops.length) passes.value += 1;
  if (next < 0 && passes.value > 0) passes.value -= 1;
  at.value = stops[(next + stops.length) % stops.length];
}

function rewind(): void {
  at.value = -1;
  passes.value = 0;
  playing.value = false;
}

export function Processor() {
  const now = facts.value;
  const shown = written(spec.value);
  const known = every.findIndex((one) => one.spec === shown);
  return (
    <Section
      id="processor"
      title="What the processor does"
      lead="Faltung writes machine code for exactly this convolution on exactly this processor. This is how it chooses, and what it writes."
    >
      <div class="row tools">
        <Select
          label="Explained"
          value={String(number.value)}
          options={every.map((one, i) => [`${i}`, `${one.spec} on ${one.machine.name}`] as const)}
          onChange={(next) => {
            number.value = Number(next);
            rewind();
          }}
        />
        {known >= 0 && every[known].spec !== now.spec && (
          <button type="button" onClick={() => ((number.value = known), rewind())}>
            Show that of the line
          </button>
        )}
      </div>
      {known < 0 && (
        <p class="small quiet">
          The line above says something else. <code>faltung see "{shown}"</code> makes a page with
          this part for it.
        </p>
      )}
      <Methods now={now} />
      <Kernel now={now} />
      <Roofline now={now} />
      <Curves now={now} />
    </Section>
  );
}

// The choice ---------------------------------------------------------------------------------------

function Methods({ now }: { now: Facts }) {
  const [best, ...others] = now.methods;
  return (
    <>
      <h3>The method</h3>
      <p>
        <b>{best.name}</b>
        {best.how && `, ${best.how}`}
        {best.ns !== null && <>: {duration(best.ns)} of one core, by its nominal price</>}
        {now.measured && (
          <>
            ; measured {duration(now.measured.ns)} on one thread ({now.measured.date}, the least of{" "}
            {now.measured.calls} calls)
          </>
        )}
        .
      </p>
      <Scroll label="Why no other method">
        <table class="methods">
          <thead>
            <tr>
              <th scope="col">method</th>
              <th scope="col">price</th>
              <th scope="col">why not</th>
            </tr>
          </thead>
          <tbody>
            <tr class="chosen">
              <th scope="row">{best.name}</th>
              <td>{best.ns === null ? "" : duration(best.ns)}</td>
              <td>chosen</td>
            </tr>
            {others.map((one) => (
              <tr key={one.name}>
                <th scope="row">{one.name}</th>
                <td>{one.ns === null ? "" : duration(one.ns)}</td>
                <td>
                  {one.why}
                  {one.how && <span class="quiet"> ({one.how})</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

// The kernel ---------------------------------------------------------------------------------------

function Kernel({ now }: { now: Facts }) {
  const { machine, kernel } = now;
  useEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => step(1), 220);
    return () => clearInterval(timer);
  }, [playing.value, now]);
  if (kernel.loop[1] === 0) {
    return (
      <>
        <h3>The code</h3>
        <p>
          Its kernel, {kernel.title}, has no inner loop of multiply-adds: what is repeated has been
          written out.
        </p>
      </>
    );
  }
  const { counts } = kernel;
  const adds = counts.fma || Math.min(counts.add, counts.multiply);
  const reads = counts.load + counts.broadcast + kernel.fromMemory;
  const line = at.value >= 0 ? kernel.lines[at.value] : null;
  return (
    <>
      <h3>The tile in registers</h3>
      <p>
        The step is <b>{kernel.step}</b>. {kernel.accumulators.length} of the {machine.registers}{" "}
        vector registers hold sums, {machine.lanes} numbers of {machine.bits / machine.lanes} bits
        in each. One pass of the inner loop makes <b>{adds} multiply-adds</b> of whole vectors
        {machine.fused ? "" : " (a multiply and an add, on this processor)"} and reads memory{" "}
        {reads} times: {(adds / Math.max(reads, 1)).toPrecision(2)} for each read. At two in a cycle
        it takes at least {kernel.cycles} cycles, for {kernel.flops.toLocaleString("en")}{" "}
        operations.
      </p>
      <div class="row tools">
        <button
          type="button"
          class="main"
          aria-pressed={playing.value}
          onClick={() => (playing.value = !playing.value)}
        >
          {playing.value ? "Pause" : "Play"}
        </button>
        <button type="button" aria-label="one instruction back" onClick={() => step(-1)}>
          ←
        </button>
        <button type="button" aria-label="one instruction on" onClick={() => step(1)}>
          →
        </button>
        <button type="button" onClick={rewind}>
          From the start
        </button>
      </div>
      <p class="small now" role={playing.value ? undefined : "status"}>
        {line
          ? `Pass ${passes.value + 1}: ${KINDS[line[1]]}${line[2] === undefined ? "" : `, into register ${line[2]}`}.`
          : "Play, or go through the loop one instruction at a time: each multiply-add fills its sum."}
      </p>
      <div class="kernel">
        <Registers now={now} />
        <Assembly now={now} />
      </div>
    </>
  );
}

/** How often each register has been added to, up to the line that runs. */
const filled = computed(() => {
  const { lines, loop, counts } = facts.value.kernel;
  const kind = counts.fma ? "fma" : "add";
  const each = new Map<number, number>();
  for (let i = loop[0]; i < loop[1]; i++) {
    const [, what, into] = lines[i];
    if (what !== kind || into === undefined) continue;
    each.set(into, (each.get(into) ?? 0) + passes.value + (at.value >= i ? 1 : 0));
  }
  return each;
});

function Registers({ now }: { now: Facts }) {
  const { machine, kernel } = now;
  const sums = new Set(kernel.accumulators);
  const line = at.value >= 0 ? kernel.lines[at.value] : null;
  const most = Math.max(8, ...filled.value.values());
  const prefix =
    machine.arch === "aarch64"
      ? "v"
      : machine.bits === 512
        ? "zmm"
        : machine.bits === 256
          ? "ymm"
          : "xmm";
  return (
    <ol class="registers" aria-label={`Vector registers: ${sums.size} hold sums`}>
      {Array.from({ length: machine.registers }, (_, i) => {
        const count = filled.value.get(i) ?? 0;
        const lit = line?.[2] === i;
        return (
          <li key={i} class={`${sums.has(i) ? "sum" : "operand"}${lit ? " lit" : ""}`}>
            <span class="fill" style={{ height: `${(100 * count) / most}%` }} />
            <span class="name">
              {prefix}
              {i}
            </span>
            <span class="count">{sums.has(i) ? count : lit ? "in" : ""}</span>
          </li>
        );
      })}
    </ol>
  );
}

function Assembly({ now }: { now: Facts }) {
  const { lines, loop } = now.kernel;
  const text = () => lines.map(([each]) => each).join("\n");
  useEffect(() => {
    const box = document.querySelector(".assembly");
    const place = box?.querySelector<HTMLElement>(at.value >= 0 ? ".runs" : ".in-loop");
    if (box && place) box.scrollTop = place.offsetTop - box.clientHeight / 3;
  }, [at.value, now]);
  return (
    <div class="listing">
      <div class="row">
        <span class="small quiet">
          {now.kernel.title}: {lines.length} lines; the bar marks the inner loop, + its
          multiply-adds
        </span>
        <Copy label="Copy" text={text} />
      </div>
      <pre class="assembly" tabIndex={0} role="region" aria-label="Assembly, with the inner loop">
        {lines.map(([each, kind], i) => (
          <span
            key={i}
            class={`${kind}${i >= loop[0] && i < loop[1] ? " in-loop" : ""}${i === at.value ? " runs" : ""}`}
          >
            {kind === "fma" ? "+" : " "}
            {each}
            {"\n"}
          </span>
        ))}
      </pre>
      <Behind
        title="What the loop is made of"
        head={["instruction", "count"]}
        rows={() =>
          Object.entries(now.kernel.counts)
            .filter(([, n]) => n)
            .map(([kind, n]) => [KINDS[kind], n])
        }
      />
    </div>
  );
}
