// Which channels are shown, and which read which: groups.
import { type Spec } from "../geometry/spec";
import { Select } from "../parts/controls";
import { spec } from "../store";
import { channelIn, channelOut, groupOf, readBy } from "./state";

const MOST_DOTS = 16;

function pick(now: Spec, co: number, ci: number): void {
  channelOut.value = co;
  const read = readBy(now, co);
  channelIn.value = read.includes(ci) ? ci : read[0];
}

export function Channels() {
  const now = spec.value;
  const { channelsIn, channelsOut, groups } = now;
  if (channelsIn === 1 && channelsOut === 1) return null;
  const [ci, co] = [channelIn.value, channelOut.value];
  const list = (n: number) => Array.from({ length: Math.min(n, 4096) }, (_, i) => [`${i}`, `${i}`] as const);
  const depthwise = groups === channelsIn && groups > 1;
  const out = channelsOut / groups;
  return (
    <div class="channels row">
      <div class="picks">
        <Select label={<span class="of-input">channel in </span>} value={`${ci}`} options={list(channelsIn)}
          onChange={(c) => {
            // A channel of another group is shown with an output that reads it.
            const group = Math.floor(Number(c) / (channelsIn / groups));
            pick(now, groupOf(now, co) === group ? co : group * out, Number(c));
          }} />{" "}
        <Select label={<span class="of-output">channel out </span>} value={`${co}`} options={list(channelsOut)}
          onChange={(c) => pick(now, Number(c), ci)} />
      </div>
      <Wires now={now} ci={ci} co={co} />
      <p class="small quiet">
        {depthwise ? "Depthwise: each channel has kernels of its own."
          : groups > 1 ? `${groups} groups: an output reads ${channelsIn / groups} of ${channelsIn} channels.`
          : `Every output reads all ${channelsIn} channels, each with a kernel of its own.`}
      </p>
    </div>
  );
}

function Wires({ now, ci, co }: { now: Spec; ci: number; co: number }) {
  const [a, b] = [now.channelsIn, now.channelsOut];
  if (Math.max(a, b) > MOST_DOTS) return null;
  const step = 22;
  const wide = Math.max(a, b) * step;
  const x = (i: number, n: number) => (wide - n * step) / 2 + (i + 0.5) * step;
  const reads = Array.from({ length: b }, (_, o) => readBy(now, o).map((i) => [i, o] as const)).flat();
  return (
    <svg class="wires" width={wide} height="66" viewBox={`0 0 ${wide} 66`} role="img"
      aria-label={`${a} channels in, ${b} out, ${now.groups > 1 ? `in ${now.groups} groups` : "one group"}; channel ${co} out reads ${readBy(now, co).join(", ")}`}>
      {reads.map(([i, o]) => (
        <line key={`${i}-${o}`} x1={x(i, a)} y1="12" x2={x(o, b)} y2="54"
          stroke={o === co ? "var(--kernel)" : "var(--line)"} stroke-width={o === co ? (i === ci ? 3 : 1.6) : 1} />
      ))}
      {Array.from({ length: a }, (_, i) => (
        <circle key={`i${i}`} cx={x(i, a)} cy="12" r={i === ci ? 7.5 : 5} fill="var(--input)"
          opacity={readBy(now, co).includes(i) ? 1 : 0.35} />
      ))}
      {Array.from({ length: b }, (_, o) => (
        <circle key={`o${o}`} cx={x(o, b)} cy="54" r={o === co ? 7.5 : 5} fill="var(--output)"
          opacity={o === co ? 1 : 0.35} />
      ))}
    </svg>
  );
}
