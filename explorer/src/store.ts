// What the page knows: the one line of text that says which convolution is shown, the problem that
// it means, and what Python put into the page. Every section reads these signals and no other state
// of another section; a section that changes the problem calls `show`.
import { computed, signal } from "@preact/signals";
import type { Data } from "./data";
import type { Spec } from "./geometry/spec";
import { parse, written } from "./geometry/text";

/** What Python wrote into the page: {} in the page of the repository. */
export const data: Data = JSON.parse(document.getElementById("data")?.textContent || "{}");

/** The line as it is typed; it may be unfinished. */
export const line = signal(data.spec ?? "n1 c1>1 6x6 k3");

const read = computed<Spec | string>(() => {
  try {
    return parse(line.value);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
});
let last: Spec = parse("n1 c1>1 6x6 k3");

/** Why the line means no convolution, or "". */
export const problem = computed(() => (typeof read.value === "string" ? read.value : ""));

/** The convolution of the line; while that means none, the last that it meant. */
export const spec = computed<Spec>(() => {
  if (typeof read.value !== "string") last = read.value;
  return last;
});

/** Show another convolution. */
export function show(next: Spec): void {
  line.value = written(next);
}
