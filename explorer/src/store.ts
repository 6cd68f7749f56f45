// What the page knows: the one line of text that says which convolution is shown, the problem that
// it means, and what Python put into the page. Every section reads these signals and no other state
// of another section; a section that changes the problem calls `show`.
//
// The line is the address too, behind the #, with + for a blank; "&transposed" after it says that
// the picture shows the convolution's transpose, the gradient for its input, which the text form
// has no word for: it is the same problem, read the other way. "&only=window,formula" leaves these
// sections alone, for a frame in somebody else's page.
import { computed, effect, signal } from "@preact/signals";
import type { Data } from "./data";
import type { Spec } from "./geometry/spec";
import { type Draft, parse, written } from "./geometry/text";

/** What Python wrote into the page: {} in the page of the repository. */
export const data: Data = JSON.parse(document.getElementById("data")?.textContent || "{}");

export type Direction = "forward" | "transposed";
/** Names of the sections that are shown; none: all of them. */
export const only = signal<readonly string[]>([]);
export const FIRST = "n1 c1>1 7x7 k3 p1";

/** The line as it is typed; it may be unfinished. */
export const line = signal(data.spec ?? FIRST);
export const direction = signal<Direction>("forward");

const read = computed<Spec | string>(() => {
  try {
    return parse(line.value);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
});
let last: Spec = parse(FIRST);

/** Why the line means no convolution, or "". */
export const problem = computed(() => (typeof read.value === "string" ? read.value : ""));

/** The convolution of the line; while that means none, the last that it meant. */
export const spec = computed<Spec>(() => {
  if (typeof read.value !== "string") last = read.value;
  return last;
});

/** Show another convolution. */
export function show(next: Draft): void {
  line.value = written(next);
}

/** Show what a line says, as a step that the browser's "back" takes back. */
export function visit(text: string, way: Direction = "forward"): void {
  keep();
  line.value = text;
  direction.value = way;
  write("push");
}

export function address(): string {
  const words = encodeURIComponent(line.value.trim()).replaceAll("%20", "+");
  return `#${words.replaceAll("%3A", ":").replaceAll("%2C", ",")}${
    direction.value === "transposed" ? "&transposed" : ""
  }`;
}

/** The address of this page as it is, which may show a part. */
function whole(): string {
  return address() + (only.value.length ? `&only=${only.value.join(",")}` : "");
}

/** Read the address; one that names a section of the page says nothing about the line. */
function obey(): void {
  const [words, ...options] = location.hash.slice(1).split("&");
  if (!words || document.getElementById(words)) return;
  try {
    line.value = decodeURIComponent(words.replaceAll("+", " "));
  } catch {
    return; // no text at all
  }
  direction.value = options.includes("transposed") ? "transposed" : "forward";
  const part = options.find((option) => option.startsWith("only="));
  only.value = part ? part.slice("only=".length).split(",").filter(Boolean) : [];
}

let waiting = 0;

function write(how: "push" | "replace"): void {
  clearTimeout(waiting);
  waiting = 0;
  if (location.hash === whole()) return;
  try {
    history[how === "push" ? "pushState" : "replaceState"](null, "", whole());
  } catch {
    // A page in a frame without an origin has no address of its own.
  }
}

/** Write at once what waits to be written. */
function keep(): void {
  if (waiting) write("replace");
}

obey();
addEventListener("popstate", obey);
let begun = false;
effect(() => {
  address();
  // The address follows half a second behind: browsers refuse a page that writes it too often.
  clearTimeout(waiting);
  if (begun) waiting = window.setTimeout(() => write("replace"), 500);
  begun = true;
});
