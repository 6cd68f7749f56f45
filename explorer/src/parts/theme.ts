// Colours for canvases, which cannot read CSS variables by themselves, and the switch of the theme.
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const KEY = "faltung-theme";

function kept(): Theme {
  try {
    const found = localStorage.getItem(KEY); // a page in a frame has no storage
    return found === "light" || found === "dark" ? found : "auto";
  } catch {
    return "auto";
  }
}

export const theme = signal<Theme>(kept());

/** Counts the changes of colour: a picture that reads it is drawn again. */
export const painted = signal(0);

const NAMES = [
  "paper", "ink", "quiet", "line", "edge", "panel", "raised", "accent", "on-accent", "bad",
  "input", "kernel", "output", "padding", "stride", "dilation",
] as const;
export type Colour = (typeof NAMES)[number];
let found: Record<Colour, string> | null = null;

/** The colours of style.css as they are now. */
export function colours(): Record<Colour, string> {
  if (found) return found;
  const probe = document.body.appendChild(document.createElement("i"));
  const read = (name: Colour) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  found = Object.fromEntries(NAMES.map((name) => [name, read(name)])) as Record<Colour, string>;
  probe.remove();
  return found;
}

function changed(): void {
  found = null;
  painted.value = painted.peek() + 1;
}

effect(() => {
  const root = document.documentElement;
  if (theme.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // It holds until the page is closed.
  }
  changed();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
// In a frame, the page around it says which colours it has.
addEventListener("message", ({ source, data }) => {
  const said = source === parent && source !== window ? data?.faltungTheme : null;
  if (said === "auto" || said === "light" || said === "dark") theme.value = said;
});

/** Whether movement is unwelcome. */
export const still = signal(matchMedia("(prefers-reduced-motion: reduce)").matches);
matchMedia("(prefers-reduced-motion: reduce)").addEventListener(
  "change",
  (event) => (still.value = event.matches),
);
