// The maps of a layer: tiles on one scale, one of them large. Pictures are painted entry by entry,
// series are curves, numbers without positions are bars.
import { useEffect, useRef } from "preact/hooks";
import type { Maps } from "../sections/network_data";
import { bytes, paint } from "./levels";

/** Axes of space of what is drawn. */
export const rank = (maps: Maps) => maps.levels.shape.length - 1;

export const largest = (maps: Maps) => Math.max(...maps.ends, 0);

/** The value of an entry, counted through all maps. */
export function valueAt(maps: Maps, map: number, entry: number, count: number): number {
  const level = bytes(maps.levels)[map * count + entry]!;
  const end = maps.ends[rank(maps) === 0 ? 0 : map]!;
  return (maps.signed ? (level - 128) / 127 : level / 255) * end;
}

interface Props {
  maps: Maps;
  map: number;
  /** What is as light as it gets. */
  end: number;
  /** Of a volume, from 0 to 1: the slice that is shown. */
  depth: number;
}

/** One map as a picture or a curve. */
export function Tile({ maps, map, end, depth }: Props) {
  return rank(maps) === 1 ? (
    <Curve maps={maps} map={map} end={end} />
  ) : (
    <Plane maps={maps} map={map} end={end} depth={depth} />
  );
}

function Plane({ maps, map, end, depth }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [h, w] = maps.levels.shape.slice(-2) as [number, number];
  // After the paint of the page: what is not painted yet is a moment late, not the page.
  useEffect(() => {
    const shape = maps.levels.shape;
    const slices = shape.length > 3 ? shape[1]! : 1;
    const at = Math.min(slices - 1, Math.floor(depth * slices));
    const value = (i: number) => valueAt(maps, map, at * h * w + i, slices * h * w) / (end || 1);
    paint(canvas.current!, w, h, value, maps.signed);
  }, [maps, map, end, depth, h, w]);
  return <canvas ref={canvas} style={{ aspectRatio: `${w} / ${h}` }} aria-hidden="true" />;
}

function Curve({ maps, map, end }: Omit<Props, "depth">) {
  const n = maps.levels.shape[1]!;
  const points = Array.from({ length: n }, (_, i) => {
    const v = valueAt(maps, map, i, n) / (end || 1);
    return `${i + 0.5},${(maps.signed ? 50 - 47 * v : 97 - 94 * v).toFixed(1)}`;
  });
  return (
    <svg class="curve" viewBox={`0 0 ${n} 100`} preserveAspectRatio="none" aria-hidden="true">
      {maps.signed && <path class="lines" d={`M0 50H${n}`} />}
      <polyline points={points.join(" ")} />
    </svg>
  );
}

/** Numbers without positions. */
export function Bars({ maps, end }: { maps: Maps; end: number }) {
  const n = maps.levels.shape[0]!;
  const zero = maps.signed ? 50 : 98;
  const scale = maps.signed ? 48 : 96;
  const rects = Array.from({ length: n }, (_, i) => {
    const v = (valueAt(maps, 0, i, 0) / (end || 1)) * scale;
    return `M${i + 0.1} ${zero}v${(-v).toFixed(1)}h0.8v${v.toFixed(1)}z`;
  });
  return (
    <svg class="bars" viewBox={`0 0 ${n} 100`} preserveAspectRatio="none" aria-hidden="true">
      <path d={rects.join("")} />
      <path class="lines" d={`M0 ${zero}H${n}`} />
    </svg>
  );
}
