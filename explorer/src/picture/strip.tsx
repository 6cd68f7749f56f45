// One axis as a strip: its entries with their padding, and below them the window of each output.
import type { Axis } from "../geometry/axis";
import { Scroll } from "../parts/scroll";
import { lit, type Term } from "./state";

const [MOST_CELLS, MOST_ROWS] = [64, 14];

/** Which part of the strip a term counts, as a half-open range of positions. */
function counted(axis: Axis, term: Term): [number, number][] {
  const { lo, size, hi, unread, extent, dilation, stride } = axis;
  switch (term) {
    case "size": return [[0, size]];
    case "padding": return [[-lo, 0], [size, size + hi]];
    case "extent": return [[-lo, extent - lo]];
    case "dilation": return axis.kernel > 1 ? [[-lo, dilation - lo]] : [];
    case "stride": return [[-lo, stride - lo]];
    case "unread": return [[size + hi - unread, size + hi]];
    default: return [];
  }
}
const HUES: Record<Term, string> = {
  size: "input", padding: "padding", extent: "kernel", dilation: "dilation", stride: "stride",
  output: "output", unread: "quiet",
};

export function Strip({ axis, which, name }: { axis: Axis; which: number; name: string }) {
  const cells = Math.min(axis.padded, MOST_CELLS);
  const rows = Math.min(axis.output, MOST_ROWS);
  const cell = Math.max(9, Math.min(26, Math.floor(760 / cells)));
  const line = Math.max(8, Math.min(14, cell * 0.6));
  const top = cell + 12;
  const x = (position: number) => (position + axis.lo) * cell;
  const term = lit.value?.axis === which ? lit.value.term : null;
  return (
    <Scroll label={`${name}: the windows`}>
      <svg class="strip" width={cells * cell + 2} height={top + rows * line + 2} role="img"
        viewBox={`-1 -1 ${cells * cell + 2} ${top + rows * line + 2}`}
        aria-label={`${name}: ${axis.lo} + ${axis.size} + ${axis.hi} entries; ${axis.output} windows that span ${axis.extent}, one every ${axis.stride}; ${axis.unread} at the end are not read`}>
        <defs>
          <pattern id={`hatch${which}`} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <line x1="0" y1="0" x2="0" y2="5" stroke="var(--quiet)" stroke-width="1.6" />
          </pattern>
        </defs>
        {Array.from({ length: cells }, (_, i) => {
          const p = i - axis.lo;
          const inside = p >= 0 && p < axis.size;
          return (
            <rect key={i} x={x(p) + 0.5} y="0.5" width={cell - 1} height={cell - 1} rx="2"
              fill={`var(--${inside ? "input" : "padding"})`} fill-opacity={inside ? 0.28 : 0.12}
              stroke={`var(--${inside ? "input" : "padding"})`} stroke-dasharray={inside ? undefined : "2 2"} />
          );
        })}
        {axis.unread > 0 && axis.padded <= MOST_CELLS && (
          <rect x={x(axis.size + axis.hi - axis.unread)} y="0" width={axis.unread * cell} height={cell} fill={`url(#hatch${which})`} />
        )}
        {Array.from({ length: rows }, (_, o) => {
          const [y, first] = [top + (o + 0.5) * line, axis.position(o, 0)];
          return (
            <g key={o} opacity={term === "output" || !term ? 1 : 0.45}>
              <line x1={x(first) + cell / 2} x2={x(first + axis.extent - 1) + cell / 2} y1={y} y2={y}
                stroke="var(--output)" stroke-width="2" />
              {axis.kernel <= 32 && Array.from({ length: axis.kernel }, (_, k) => (
                <circle key={k} cx={x(axis.position(o, k)) + cell / 2} cy={y} r={Math.min(4.5, line / 2.6)} fill="var(--kernel)" />
              ))}
            </g>
          );
        })}
        {term && counted(axis, term).filter(([a, b]) => b > a).map(([a, b]) => (
          <rect key={a} x={x(a) + 1} y="0" width={(b - a) * cell - 2} height={cell + 5} rx="3" fill={`var(--${HUES[term]})`}
            fill-opacity="0.25" stroke={`var(--${HUES[term]})`} stroke-width="3" />
        ))}
      </svg>
      {(axis.output > rows || axis.padded > cells) && (
        <p class="small quiet">The first {rows} of {axis.output} windows.</p>
      )}
    </Scroll>
  );
}
