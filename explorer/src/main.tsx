// The page: a line of text on top, and the sections below it.
import { render } from "preact";
import { Dense } from "./sections/dense";
import { Fields } from "./sections/fields";
import { Formula } from "./sections/formula";
import { Network } from "./sections/network";
import { Processor } from "./sections/processor";
import { Window } from "./sections/window";
import { line, problem } from "./store";

// In this order; a section without anything to show renders nothing.
const SECTIONS = [Window, Formula, Dense, Fields, Network, Processor];

function Page() {
  return (
    <>
      <header>
        <h1>A convolution, seen</h1>
        <label>
          One line says it all
          <input value={line} onInput={(event) => (line.value = event.currentTarget.value)} />
        </label>
        <p role="status">{problem}</p>
      </header>
      <main>
        {SECTIONS.map((Section) => (
          <Section />
        ))}
      </main>
    </>
  );
}

render(<Page />, document.getElementById("page")!);
