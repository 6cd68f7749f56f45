// The charts of the results pages: for each problem, how many times as long as Faltung every other
// library takes. 1 is Faltung itself; what lies left of it is a loss, and is drawn as one.
//
// docs/_ext/charts.py writes the data into the page, in an element of the class "faltung-chart".
import { render } from "preact";
import { useId, useState } from "preact/hooks";

export interface ChartData {
  /** The libraries, in the order of the page. */
  peers: string[];
  rows: Row[];
}

interface Row {
  name: string;
  /** What was done, where the page has several: forward, input_grad, ... */
  direction: string;
  /** Milliseconds: of Faltung, the better of its own ways, and of each peer that did it. */
  ours: number;
  theirs: Record<string, number>;
}

type Order = "page" | "worst" | "best";

// A mark is told by its shape as well as by its colour.
const SHAPES = [
  "M0-4.5A4.5 4.5 0 1 1 0 4.5A4.5 4.5 0 1 1 0-4.5Z",
  "M-4-4H4V4H-4Z",
  "M0-5L5 4H-5Z",
  "M0-5.5L5.5 0 0 5.5-5.5 0Z",
  "M0 5L5-4H-5Z",
  "M-5-1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5Z",
];
const HEIGHT = 22;
const MARGIN = 26;

const least = (row: Row, peers: readonly string[]) =>
  Math.min(
    ...peers.filter((peer) => peer in row.theirs).map((peer) => row.theirs[peer] / row.ours),
  );

const digits = (value: number) =>
  value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 0.1
        ? value.toFixed(2)
        : value.toPrecision(2);

function Chart({ data }: { data: ChartData }) {
  const directions = [...new Set(data.rows.map((row) => row.direction))];
  const [hidden, hide] = useState<readonly string[]>([]);
  const [order, sort] = useState<Order>("page");
  const [direction, choose] = useState(directions[0]);
  const [losses, only] = useState(false);
  const [at, point] = useState(-1);
  const id = useId();

  const shown = data.peers.filter((peer) => !hidden.includes(peer));
  const all = data.rows.filter(
    (row) => row.direction === direction && shown.some((peer) => peer in row.theirs),
  );
  const lost = all.filter((row) => least(row, shown) < 1);
  const rows = losses ? lost : [...all];
  if (order !== "page") {
    rows.sort((a, b) => (least(a, shown) - least(b, shown)) * (order === "worst" ? 1 : -1));
  }
  const ratios = rows.flatMap((row) =>
    shown.filter((peer) => peer in row.theirs).map((peer) => row.theirs[peer] / row.ours),
  );
  const low = Math.min(0.8, ...ratios) / 1.1;
  const high = Math.max(2, ...ratios) * 1.1;
  const x = (ratio: number) => (100 * Math.log(ratio / low)) / Math.log(high / low);
  const every = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
  // Where there is little room, the powers of ten alone.
  const ticks = every.filter(
    (t) => t > low && t < high && (innerWidth > 700 || Number.isInteger(Math.log10(t))),
  );
  const now = rows[Math.min(at, rows.length - 1)];

  const say = (row: Row) =>
    `${row.name}: Faltung ${digits(row.ours)} ms; ` +
    shown
      .filter((peer) => peer in row.theirs)
      .map(
        (peer) =>
          `${peer} ${digits(row.theirs[peer])} ms, ${digits(row.theirs[peer] / row.ours)} times`,
      )
      .join("; ");

  return (
    <>
      <p class="chart-says">
        Time of each library divided by Faltung's. Faltung is ahead of all shown on{" "}
        <b>
          {all.length - lost.length} of {all.length}
        </b>{" "}
        rows, and behind one of them on <b>{lost.length}</b>.
      </p>
      <div class="chart-tools">
        {directions.length > 1 && (
          <label>
            what{" "}
            <select
              value={direction}
              onChange={(event) => (choose(event.currentTarget.value), point(-1))}
            >
              {directions.map((each) => (
                <option key={each} value={each}>
                  {each.replaceAll("_", " ")}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          order{" "}
          <select value={order} onChange={(event) => sort(event.currentTarget.value as Order)}>
            <option value="page">as on the page</option>
            <option value="worst">worst first</option>
            <option value="best">best first</option>
          </select>
        </label>
        <label>
          <input
            type="checkbox"
            checked={losses}
            onChange={(event) => only(event.currentTarget.checked)}
          />{" "}
          losses alone
        </label>
      </div>
      <fieldset class="chart-peers">
        <legend>Libraries</legend>
        {data.peers.map((peer, i) => (
          <label key={peer}>
            <input
              type="checkbox"
              checked={!hidden.includes(peer)}
              onChange={() =>
                hide(hidden.includes(peer) ? hidden.filter((h) => h !== peer) : [...hidden, peer])
              }
            />
            <svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">
              <path d={SHAPES[i % SHAPES.length]} class={`peer-${i % 6}${i >= 6 ? " open" : ""}`} />
            </svg>
            {peer}
          </label>
        ))}
      </fieldset>
      <div
        class="chart-body"
        role="group"
        tabIndex={0}
        aria-label="Rows of the chart; the arrow keys go from one to the next"
        aria-describedby={`${id}-now`}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
          const to =
            event.key === "Home"
              ? 0
              : event.key === "End"
                ? rows.length - 1
                : step
                  ? at + step
                  : null;
          if (to === null) return;
          event.preventDefault();
          point(Math.max(0, Math.min(rows.length - 1, to)));
        }}
      >
        <div class="chart-names" aria-hidden="true">
          {rows.map((row, i) => (
            <div
              key={i}
              class={i === at ? "on" : undefined}
              onPointerEnter={() => point(i)}
              title={row.name}
            >
              {row.name}
            </div>
          ))}
        </div>
        <svg
          class="chart-marks"
          height={rows.length * HEIGHT + MARGIN}
          aria-hidden="true"
          onPointerMove={(event) => {
            const top = event.currentTarget.getBoundingClientRect().top;
            const row = Math.floor((event.clientY - top - MARGIN) / HEIGHT);
            if (row >= 0 && row < rows.length) point(row);
          }}
        >
          {at >= 0 && at < rows.length && (
            <rect class="on" x="0" width="100%" y={MARGIN + at * HEIGHT} height={HEIGHT} />
          )}
          {ticks.map((tick) => (
            <g key={tick}>
              <line
                class={tick === 1 ? "ours" : "tick"}
                x1={`${x(tick)}%`}
                x2={`${x(tick)}%`}
                y1={MARGIN - 6}
                y2="100%"
              />
              <text x={`${x(tick)}%`} y={MARGIN - 10} text-anchor="middle">
                {tick === 1 ? "Faltung 1" : tick}
              </text>
            </g>
          ))}
          {rows.map((row, i) => (
            <g key={i}>
              {data.peers.map((peer, k) => {
                if (!shown.includes(peer) || !(peer in row.theirs)) return null;
                const ratio = row.theirs[peer] / row.ours;
                return (
                  <svg
                    key={peer}
                    x={`${x(ratio)}%`}
                    y={MARGIN + (i + 0.5) * HEIGHT}
                    overflow="visible"
                  >
                    {ratio < 1 && <circle r="8" class="lost" />}
                    <path
                      d={SHAPES[k % SHAPES.length]}
                      class={`peer-${k % 6}${k >= 6 ? " open" : ""}`}
                    />
                  </svg>
                );
              })}
            </g>
          ))}
        </svg>
      </div>
      <p id={`${id}-now`} class="chart-now" aria-live="polite">
        {now
          ? say(now)
          : "Point at a row for its times. A ring marks a library that was faster than Faltung."}
      </p>
      <details>
        <summary>The same as a table: milliseconds</summary>
        <div class="chart-table">
          <table>
            <thead>
              <tr>
                <th scope="col">row</th>
                <th scope="col">Faltung</th>
                {shown.map((peer) => (
                  <th key={peer} scope="col">
                    {peer}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, i) => (
                <tr key={i}>
                  <th scope="row">{row.name}</th>
                  <td>{digits(row.ours)}</td>
                  {shown.map((peer) => (
                    <td key={peer}>
                      {peer in row.theirs
                        ? digits(row.theirs[peer]) +
                          (row.theirs[peer] < row.ours ? " (faster)" : "")
                        : ""}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}

for (const place of document.querySelectorAll<HTMLElement>(".faltung-chart")) {
  const data = place.querySelector("script")?.textContent;
  if (data) render(<Chart data={JSON.parse(data)} />, place);
}
