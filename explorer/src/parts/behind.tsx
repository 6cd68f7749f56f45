// The table behind a picture, for those who do not see it, and for whoever wants the numbers.
import { useState } from "preact/hooks";
import { Scroll } from "./scroll";

type Cell = string | number;
const MOST = 200; // rows, so that a large map does not become a hundred thousand elements

/** Rows are asked for when the table is opened. */
export function Behind(props: {
  title: string;
  head: readonly Cell[];
  rows: () => readonly (readonly Cell[])[];
}) {
  const [open, setOpen] = useState(false);
  const rows = open ? props.rows() : [];
  return (
    <details class="behind" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{props.title}</summary>
      {open && (
        <Scroll label={props.title}>
          <table>
            {rows.length > MOST && <caption>The first {MOST} of {rows.length} rows</caption>}
            <thead>
              <tr>
                {props.head.map((cell, i) => (
                  <th key={i} scope="col">
                    {cell}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, MOST).map((row, i) => (
                <tr key={i}>
                  {row.map((cell, j) =>
                    j ? <td key={j}>{cell}</td> : <th key={j} scope="row">{cell}</th>,
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </details>
  );
}
