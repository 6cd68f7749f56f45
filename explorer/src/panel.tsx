// The controls of the convolution, beside what they change.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { changeAxes, changeChannels, changeRank, draft, type Part } from "./draft";
import { MODES, type Mode } from "./geometry/axis";
import { NAMES } from "./geometry/padding";
import { Check, Choice, NumberField, Select, Slider } from "./parts/controls";
import { direction, only, show } from "./store";

/** Whether each axis has controls of its own. */
const apart = signal(false);

export const axisNames = (rank: number): readonly string[] =>
  ({ 1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"] })[rank] ??
  Array.from({ length: rank }, (_, i) => `axis ${i}`);

const PADDINGS: [string, string][] = ["numbers", ...Object.keys(NAMES)].map((name) => [name, name]);
const MODE_NOTES: Record<Mode, string> = {
  zeros: "zeros: 0 0",
  reflect: "reflect: c b | a b c",
  symmetric: "symmetric: b a | a b c",
  replicate: "replicate: a a | a b c",
  circular: "circular: y z | a b c",
};

function AxisControls({ axis, which, name }: { axis: Part; which: number | null; name: string }) {
  const set = (change: Partial<Part>) => changeAxes(which, change);
  const of = name ? `${name}: ` : "";
  const rank = draft().axes.length;
  return (
    <fieldset class={name ? "group axis" : "group"}>
      <legend class={name ? undefined : "unseen"}>{name || "Every axis"}</legend>
      <Slider label="size" name={`${of}size`} value={axis.size} min={1} max={rank === 3 ? 12 : 32}
        most={4096} onChange={(size) => set({ size })} />
      <Slider label={<span class="of-kernel">kernel</span>} name={`${of}kernel`} value={axis.kernel}
        min={1} max={rank === 3 ? 5 : 9} most={255} onChange={(kernel) => set({ kernel })} />
      <Slider label={<span class="of-stride">stride</span>} name={`${of}stride`} value={axis.stride}
        min={1} max={5} most={255} onChange={(stride) => set({ stride })} />
      <Slider label={<span class="of-dilation">dilation</span>} name={`${of}dilation`}
        value={axis.dilation} min={1} max={5} most={255} onChange={(dilation) => set({ dilation })} />
      <div class="fields">
        <Select label={<span class="of-padding">padding</span>} name={`${of}padding`}
          value={axis.name ?? "numbers"} options={PADDINGS}
          onChange={(word) => set({ name: word === "numbers" ? undefined : word })} />
        <label>
          before
          <NumberField label="" name={`${of}padding before`} value={axis.lo} min={0} max={99}
            onChange={(lo) => set({ lo, name: undefined })} />
        </label>
        <label>
          after
          <NumberField label="" name={`${of}padding after`} value={axis.hi} min={0} max={99}
            onChange={(hi) => set({ hi, name: undefined })} />
        </label>
      </div>
      <div class="group">
        <Select label={<span class="small quiet">what stands there</span>} name={`${of}padding mode`} value={axis.mode}
          options={MODES.map((mode) => [mode, MODE_NOTES[mode]] as const)}
          onChange={(mode) => set({ mode })} />
      </div>
    </fieldset>
  );
}

const divisors = (a: number, b: number) =>
  Array.from({ length: Math.min(a, b, 1024) }, (_, i) => i + 1).filter((g) => a % g === 0 && b % g === 0);

export function Panel() {
  const now = draft();
  const { axes } = now;
  const names = axisNames(axes.length);
  const same = axes.every((axis) => (Object.keys(axis) as (keyof Part)[])
    .every((key) => key === "size" || axis[key] === axes[0][key]));
  const each = axes.length > 1 && (apart.value || !same || axes.some((a) => a.size !== axes[0].size));
  const wide = useWide();
  return (
    <details class="controls" open={wide}>
      <summary>Controls</summary>
      <div class="group">
        <Choice legend="Axes" name="rank" value={String(axes.length)}
          options={[["1", "1-D"], ["2", "2-D"], ["3", "3-D"]]}
          onChange={(rank) => changeRank(Number(rank))} />
      </div>
      <div class="group">
        <Choice legend="Direction" quiet name="direction" value={direction.value}
          options={[["forward", "forward"], ["transposed", "transposed"]]}
          onChange={(way) => (direction.value = way)} />
      </div>
      {axes.length > 1 && (
        <Check label="each axis on its own" value={each} onChange={(value) => {
          apart.value = value;
          if (!value) changeAxes(null, axes[0]);
        }} />
      )}
      {each
        ? axes.map((axis, i) => <AxisControls key={i} axis={axis} which={i} name={names[i]} />)
        : <AxisControls axis={axes[0]} which={null} name="" />}
      <fieldset class="group axis">
        <legend>channels</legend>
        <Slider label={<span class="of-input">in</span>} name="channels in" value={now.channelsIn} min={1}
          max={8} most={4096} onChange={(channelsIn) => changeChannels({ channelsIn })} />
        <Slider label={<span class="of-output">out</span>} name="channels out" value={now.channelsOut}
          min={1} max={8} most={4096} onChange={(channelsOut) => changeChannels({ channelsOut })} />
        <div class="fields two">
          <Select label="groups" value={String(now.groups)}
            options={divisors(now.channelsIn, now.channelsOut).map((g) => [`${g}`, `${g}`] as const)}
            onChange={(g) => changeChannels({ groups: Number(g) })} />
          <label>
            batch
            <NumberField label="" name="batch" value={now.batch} min={1} max={4096}
              onChange={(batch) => show({ ...now, batch })} />
          </label>
        </div>
        <div class="row">
          <button type="button"
            aria-pressed={now.groups === now.channelsIn && now.channelsIn > 1}
            onClick={() => {
              const channels = Math.max(now.channelsIn, 2);
              const groups = now.groups === channels ? 1 : channels;
              show({ ...now, channelsIn: channels, channelsOut: Math.ceil(now.channelsOut / channels) * channels, groups });
            }}>
            depthwise
          </button>
          <Check label="turn the kernel over" value={now.flip} onChange={(flip) => show({ ...now, flip })} />
        </div>
      </fieldset>
    </details>
  );
}

/** Beside the pictures the controls are open; above them, on a phone or in a frame, they fold. */
function useWide(): boolean {
  const [wide, set] = useState(() => matchMedia("(min-width: 66rem)").matches);
  useEffect(() => {
    const query = matchMedia("(min-width: 66rem)");
    const changed = () => set(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return wide && only.value.length === 0;
}
