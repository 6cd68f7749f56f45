// The same convolution in other words: what one copies into a program.
import type { Axis } from "./geometry/axis";
import { inputShape, type Spec } from "./geometry/spec";
import type { Direction } from "./store";

const tuple = (items: readonly (number | string)[]) =>
  items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`;
const one = (items: readonly (number | string)[]) =>
  new Set(items).size === 1 ? String(items[0]) : tuple(items);
const pair = ({ lo, hi }: Axis) => `(${lo}, ${hi})`;
const modes = (spec: Spec) => one(spec.axes.map((axis) => `"${axis.mode}"`));
const padded = (spec: Spec) => spec.axes.some((axis) => axis.lo || axis.hi);
const plain = (spec: Spec) =>
  spec.axes.every(({ lo, hi, mode }) => lo === hi && (mode === "zeros" || (!lo && !hi)));

function shared(spec: Spec): string[] {
  const { axes, groups } = spec;
  const words: string[] = [];
  const add = (name: string, value: string, usual: string) =>
    value !== usual && words.push(`${name}=${value}`);
  add("stride", one(axes.map((axis) => axis.stride)), "1");
  add("dilation", one(axes.map((axis) => axis.dilation)), "1");
  add("groups", String(groups), "1");
  return words;
}

export function python(spec: Spec, direction: Direction): string {
  const { axes } = spec;
  const words = shared(spec);
  const even = axes.every(({ lo, hi }) => lo === hi);
  if (padded(spec)) {
    words.splice(
      words[0]?.startsWith("stride") ? 1 : 0,
      0,
      `padding=${even ? one(axes.map((axis) => axis.lo)) : tuple(axes.map(pair))}`,
    );
    if (modes(spec) !== '"zeros"') words.push(`padding_mode=${modes(spec)}`);
  }
  if (spec.flip) words.push("flip=True");
  const given = direction === "forward" ? ["x", "w"] : ["y", "w", tuple(inputShape(spec))];
  const name = direction === "forward" ? "conv" : "conv_input_grad";
  const call = `faltung.${name}(${[...given, ...words].join(", ")})`;
  return `${direction === "forward" ? "y" : "x"} = ${call}`;
}

const TORCH_MODES = {
  zeros: "constant",
  reflect: "reflect",
  replicate: "replicate",
  circular: "circular",
};

/** PyTorch has no symmetric padding, and one mode for all axes: other paddings come first. */
export function torch(spec: Spec, direction: Direction): string {
  const { axes, flip } = spec;
  const rank = axes.length;
  if (rank > 3) return "# PyTorch's convolutions have one to three axes";
  const kernel = flip ? `w.flip(${tuple(axes.map((_, i) => i + 2))})` : "w";
  const words = shared(spec);
  if (direction === "transposed") {
    if (!plain(spec))
      return [
        '# The gradient of what stands under "forward", by autograd:',
        `x = torch.zeros${tuple(inputShape(spec))}.requires_grad_()`,
        ...forward(spec, kernel, words, "z"),
        "(x,) = torch.autograd.grad(z, x, y)",
      ].join("\n");
    const more = one(axes.map((axis) => axis.unread));
    if (padded(spec)) words.push(`padding=${one(axes.map((axis) => axis.lo))}`);
    if (more !== "0") words.push(`output_padding=${more}`);
    return `x = F.conv_transpose${rank}d(${["y", kernel, ...words].join(", ")})`;
  }
  return forward(spec, kernel, words, "y").join("\n");
}

function forward(spec: Spec, kernel: string, words: string[], name: string): string[] {
  const { axes } = spec;
  const rank = axes.length;
  if (plain(spec)) {
    const padding = padded(spec) ? [`padding=${one(axes.map((axis) => axis.lo))}`] : [];
    return [`${name} = F.conv${rank}d(${["x", kernel, ...padding, ...words].join(", ")})`];
  }
  const lines: string[] = [];
  let from = "x";
  // Last axis first, as F.pad counts them.
  for (const mode of ["zeros", "reflect", "replicate", "circular", "symmetric"] as const) {
    const mine = axes.map((axis) =>
      axis.mode === mode && (axis.lo || axis.hi) ? [axis.lo, axis.hi] : [0, 0],
    );
    if (mine.every(([lo, hi]) => !lo && !hi)) continue;
    if (mode === "symmetric") {
      mine.forEach(([lo, hi], i) => {
        if (!lo && !hi) return;
        const d = i + 2;
        const n = axes[i].size;
        lines.push(
          `i = [${[...Array(n + lo + hi).keys()].map((p) => axes[i].source(p - lo)).join(", ")}]`,
        );
        lines.push(
          `p = ${from}.index_select(${d}, torch.tensor(i))  # PyTorch has no symmetric padding`,
        );
        from = "p";
      });
      continue;
    }
    const numbers = [...mine].reverse().flat();
    while (mode === "zeros" && numbers.length > 2 && !numbers.at(-1) && !numbers.at(-2))
      numbers.splice(-2);
    lines.push(
      `p = F.pad(${from}, (${numbers.join(", ")})` +
        (mode === "zeros" ? ")" : `, mode="${TORCH_MODES[mode]}")`),
    );
    from = "p";
  }
  return [...lines, `${name} = F.conv${rank}d(${[from, kernel, ...words].join(", ")})`];
}

export function onnx(spec: Spec, direction: Direction): string {
  const { axes, groups } = spec;
  const list = (numbers: readonly number[]) => `[${numbers.join(", ")}]`;
  const repeats = axes.some(({ lo, hi, mode }) => mode !== "zeros" && (lo || hi));
  if (direction === "transposed" && repeats)
    return "# ConvTranspose pads with zeros alone: no node of ONNX is the transpose of this";
  const ends = [...axes.map((axis) => axis.lo), ...axes.map((axis) => axis.hi)];
  const words = [
    `kernel_shape=${list(axes.map((axis) => axis.kernel))}`,
    `strides=${list(axes.map((axis) => axis.stride))}`,
    `dilations=${list(axes.map((axis) => axis.dilation))}`,
    `pads=${list(repeats ? ends.map(() => 0) : ends)}`,
    `group=${groups}`,
  ];
  const notes: string[] = [];
  if (repeats)
    notes.push(
      "# A Pad node comes before it: modes reflect, edge and wrap; symmetric needs a Gather",
    );
  if (spec.flip) notes.push("# Conv is a cross-correlation: store the kernel turned over");
  const [op, names] =
    direction === "forward"
      ? ["Conv", '["x", "w"], ["y"]']
      : ["ConvTranspose", '["y", "w"], ["x"]'];
  if (direction === "transposed" && axes.some((axis) => axis.unread))
    words.push(`output_padding=${list(axes.map((axis) => axis.unread))}`);
  return [...notes, `onnx.helper.make_node("${op}", ${names}, ${words.join(", ")})`].join("\n");
}
