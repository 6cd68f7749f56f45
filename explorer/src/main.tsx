// The page: a line of text on top, and the sections below it.
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Panel } from "./panel";
import { Choice } from "./parts/controls";
import { Copy } from "./parts/code";
import { theme } from "./parts/theme";
import { PRESETS } from "./presets";
import { InCode } from "./sections/code";
import { Dense } from "./sections/dense";
import { Fields } from "./sections/fields";
import { Formula } from "./sections/formula";
import { Network } from "./sections/network";
import { Processor } from "./sections/processor";
import { Window } from "./sections/window";
import { address, data, direction, line, only, problem, spec, visit } from "./store";
import { summary } from "./say";
import { inputKind, kernelKind, reset } from "./values";

// A page about a network begins with it; the convolution of the line comes after.
const network = data.network?.title ?? data.fields?.[0]?.title;
if (network !== undefined) document.title = `${network}, seen - Faltung`;

function Head() {
  return (
    <header>
      <div class="head">
        <h1 class={only.value.length ? "unseen" : undefined}>
          {network === undefined ? "Convolution, seen" : "A network, seen"}
        </h1>
        {only.value.length === 0 && (
          <Choice
            legend="Colours"
            quiet
            name="theme"
            value={theme.value}
            options={[
              ["auto", "auto"],
              ["light", "light"],
              ["dark", "dark"],
            ]}
            onChange={(next) => (theme.value = next)}
          />
        )}
      </div>
      {network === undefined && <Line />}
    </header>
  );
}

function Line() {
  let box: HTMLInputElement | null = null;
  const whole = only.value.length === 0;
  return (
    <div class="line">
      <label for="line" class={whole ? undefined : "unseen"}>
        One line says it all, and is the address
      </label>
      <div class="field">
        <input
          id="line"
          type="text"
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          aria-describedby="problem"
          aria-invalid={problem.value !== ""}
          value={line.value}
          ref={(found) => void (box = found)}
          onInput={(event) => (line.value = event.currentTarget.value)}
        />
        <Copy
          label="Copy link"
          text={() => location.href.split("#")[0] + address()}
          beside={() => box}
        />
      </div>
      <p id="problem" role="status" class={problem.value ? "problem bad" : "problem"}>
        {problem.value || summary(spec.value, direction.value)}
      </p>
      {whole && (
        <div class="row presets" role="group" aria-label="Examples">
          {PRESETS.map((preset) => (
            <button
              key={preset.name}
              type="button"
              title={preset.says}
              aria-pressed={
                line.value === preset.line && direction.value === (preset.direction ?? "forward")
              }
              onClick={() => {
                reset();
                inputKind.value = preset.input ?? "integers";
                kernelKind.value = preset.kernel ?? "integers";
                visit(preset.line, preset.direction);
              }}
            >
              {preset.name}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

/** Whether what lies below the first screen is made: once that has been painted. */
const rest = signal(false);
requestAnimationFrame(() => requestAnimationFrame(() => (rest.value = true)));

/** The sections that are there, by their headings. */
function Menu() {
  const [found, set] = useState<[id: string, title: string][]>([]);
  const whole = rest.value;
  useEffect(() => {
    const sections = [...document.querySelectorAll("main section[id]")];
    set(sections.map((each) => [each.id, each.querySelector("h2")?.textContent ?? each.id]));
  }, [whole]);
  return (
    <nav class="menu" aria-label="Sections">
      <ul>
        {found.map(([id, title]) => (
          <li key={id}>
            {/* The address is the line's, so the link only goes there. */}
            <a
              href={`#${id}`}
              onClick={(event) => {
                event.preventDefault();
                const section = document.getElementById(id)!;
                section.scrollIntoView();
                const heading = section.querySelector("h2")!;
                heading.tabIndex = -1;
                heading.focus({ preventScroll: true });
              }}
            >
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

// Sections about the convolution of the line have its controls beside them. A section without
// anything to show renders nothing.
function Page() {
  const shown = (name: string) => only.value.length === 0 || only.value.includes(name);
  const below = (name: string) => rest.value && shown(name);
  const first = network === undefined ? shown : below;
  return (
    <>
      <Head />
      {only.value.length === 0 && <Menu />}
      <main>
        {data.network && shown("network") && <Network />}
        {data.fields && shown("fields") && <Fields />}
        {network !== undefined && rest.value && <Line />}
        {["window", "formula", "dense", "code"].some(first) && (
          <div class="bench">
            <Panel />
            <div>
              {first("window") && <Window />}
              {below("formula") && <Formula />}
              {below("dense") && <Dense />}
              {below("code") && <InCode />}
            </div>
          </div>
        )}
        {!data.fields && below("fields") && <Fields />}
        {below("processor") && <Processor />}
      </main>
    </>
  );
}

effect(() => void document.body.classList.toggle("part", only.value.length > 0));
render(<Page />, document.getElementById("page")!);
