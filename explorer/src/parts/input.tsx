// The input of a network as a picture: what is known of it, and over it what a unit sees. Pictures
// and slices are drawn in entries of the input, a series as curves over the width.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { FieldNet, Levels, Sample } from "../sections/fields_data";
import { bytes, heat as heated, picture } from "./levels";
import { clipped, space, type Span } from "./sight";

/** Heat over part of the input: where its levels begin, and how many entries each covers. */
export interface Warm {
  levels: Levels;
  from: number[];
  step: number;
}

interface Props {
  net: FieldNet;
  sample?: Sample;
  /** What is seen along each axis, also beyond the borders. */
  spans?: Span[];
  /** A smaller box inside, drawn dashed. */
  most?: Span[];
  warm?: Warm;
  /** Of a volume, the slice. */
  slice?: number;
  label: string;
  children?: ComponentChildren;
}

const SERIES_HEIGHT = 100;

export function Input({ net, sample, spans, most, warm, slice = 0, label, children }: Props) {
  const sizes = space(net);
  if (sizes.length === 0) return null;
  if (sample?.kind === "tokens" && sample.words) {
    return <Words words={sample.words} spans={spans} label={label} />;
  }
  const flat = sizes.length === 1;
  const [height, width] = flat ? [SERIES_HEIGHT, sizes[0]!] : (sizes.slice(-2) as [number, number]);
  const last = (some: Span[] | undefined): Span[] | undefined =>
    some && (flat ? [[0, height], some[0]!] : some.slice(-2));
  const box = last(spans);
  const inner = last(most);
  // Room for what lies beyond the border.
  const edge = flat ? 0.04 * width : 0.06 * Math.max(width, height);
  const [top, side] = flat ? [0, edge] : [edge, edge];
  const depth = sizes.length > 2 && spans ? spans[spans.length - 3]! : null;
  const hidden = depth !== null && (slice < depth[0] || slice >= depth[1]);
  // A picture is darkened around what is seen; of an empty grid that is coloured.
  const drawn = !warm && !!sample?.levels && sample.kind !== "series";
  const ratio = flat ? undefined : `${width + 2 * side} / ${height + 2 * top}`;
  return (
    <svg
      class={`input ${flat ? "flat" : ""}`}
      viewBox={`${-side} ${-top} ${width + 2 * side} ${height + 2 * top}`}
      preserveAspectRatio={flat ? "none" : "xMidYMid meet"}
      style={{ aspectRatio: ratio }}
      role="img"
      aria-label={label}
    >
      <Ground net={net} sample={sample} width={width} height={height} slice={slice} warm={!!warm} />
      {warm && !hidden && <Heat warm={warm} height={height} slice={slice} />}
      {children}
      {box && drawn && !hidden && <Shade box={box} width={width} height={height} />}
      {box && !hidden && <Box box={box} kind="beyond" />}
      {box && !hidden && (
        <Box
          box={[flat ? box[0]! : clipped(box[0]!, height), clipped(box[1]!, width)]}
          kind={warm || drawn ? "seen bare" : "seen"}
        />
      )}
      {inner && !hidden && <Box box={inner} kind="most" />}
    </svg>
  );
}

function Shade({ box: [rows, columns], width, height }: ShadeProps) {
  if (!rows || !columns) return null;
  const [a, b] = clipped(rows, height);
  const [c, d] = clipped(columns, width);
  const hole = b > a && d > c ? `M${c} ${a}V${b}H${d}V${a}z` : "";
  return <path class="shade" d={`M0 0H${width}V${height}H0z${hole}`} />;
}

interface ShadeProps {
  box: Span[];
  width: number;
  height: number;
}

function Box({ box: [rows, columns], kind }: { box: Span[]; kind: string }) {
  if (!rows || !columns) return null;
  return (
    <rect
      class={kind}
      x={columns[0]}
      y={rows[0]}
      width={Math.max(0, columns[1] - columns[0])}
      height={Math.max(0, rows[1] - rows[0])}
    />
  );
}

interface GroundProps {
  net: FieldNet;
  sample?: Sample;
  width: number;
  height: number;
  slice: number;
  warm: boolean;
}

function Ground({ net, sample, width, height, slice, warm }: GroundProps) {
  const levels = sample?.levels;
  const kind = sample?.kind;
  const uri = useMemo(() => {
    if (!levels || kind === "series" || warm) return "";
    const [h, w] = levels.shape.slice(-3) as [number, number];
    if (kind !== "volume") return picture(levels, h, w);
    const count = levels.shape[0]!;
    const at = Math.min(count - 1, Math.floor((slice * count) / net.input[net.input.length - 3]!));
    return picture(levels, h, w, at * h * w * levels.shape[3]!);
  }, [levels, kind, warm, slice, net]);
  if (uri) {
    // Of a few entries each is to be seen; a photograph is a photograph.
    const photo = Math.max(width, height) > 64 ? "photo" : "";
    return (
      <image class={photo} href={uri} width={width} height={height} preserveAspectRatio="none" />
    );
  }
  const curves = kind === "series" && levels ? <Curves levels={levels} width={width} /> : null;
  const lines = !curves && !warm && Math.max(width, net.input.length > 2 ? height : 0) <= 64;
  return (
    <>
      <rect class={warm ? "cold" : "blank"} width={width} height={height} />
      {lines && (
        <path
          class="lines"
          d={[
            ...Array.from({ length: width - 1 }, (_, i) => `M${i + 1} 0V${height}`),
            ...(height === SERIES_HEIGHT && space(net).length === 1
              ? []
              : Array.from({ length: height - 1 }, (_, i) => `M0 ${i + 1}H${width}`)),
          ].join("")}
        />
      )}
      {curves}
    </>
  );
}

/** A series (channels, length): its curves over the width of the input. */
function Curves({ levels, width }: { levels: Levels; width: number }) {
  const all = bytes(levels);
  const [channels, length] = levels.shape as [number, number];
  return (
    <>
      {Array.from({ length: channels }, (_, c) => (
        <polyline
          class={`curve c${c % 6}`}
          points={Array.from({ length }, (_, i) => {
            const x = ((i + 0.5) / length) * width;
            return `${x.toFixed(2)},${(96 - (92 * all[c * length + i]!) / 255).toFixed(1)}`;
          }).join(" ")}
        />
      ))}
    </>
  );
}

function Heat({ warm, height, slice }: { warm: Warm; height: number; slice: number }) {
  const { levels, from, step } = warm;
  const shape = levels.shape;
  const flat = shape.length === 1;
  const [h, w] = flat ? [1, shape[0]!] : (shape.slice(-2) as [number, number]);
  let offset = 0;
  if (shape.length > 2) {
    const depth = shape.length - 3;
    const at = Math.floor((slice - from[depth]!) / step);
    offset = Math.min(Math.max(at, 0), shape[depth]! - 1) * h * w;
  }
  const uri = useMemo(() => heated(levels, h, w, offset), [levels, h, w, offset]);
  const axes = from.length;
  return (
    <image
      href={uri}
      x={from[axes - 1]}
      y={flat ? 0 : from[axes - 2]}
      width={w * step}
      height={flat ? height : h * step}
      preserveAspectRatio="none"
    />
  );
}

function Words({ words, spans, label }: { words: string[]; spans?: Span[]; label: string }) {
  const [first, stop] = spans?.[0] ?? [0, 0];
  return (
    <p class="words" role="group" aria-label={label} tabIndex={0}>
      {words.map((word, i) => (
        <span class={first <= i && i < stop ? "seen" : ""}>{word} </span>
      ))}
    </p>
  );
}
