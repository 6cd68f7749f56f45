// Text that is meant to be copied.
import { useState } from "preact/hooks";

/** The clipboard is closed to a page in a frame: there the text is selected instead. */
export async function copy(text: string, beside?: HTMLElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (beside) getSelection()?.selectAllChildren(beside);
    return false;
  }
}

export function Copy(props: {
  label: string;
  text: () => string;
  beside?: () => HTMLElement | null;
}) {
  const [said, say] = useState("");
  return (
    <button
      type="button"
      onClick={async () => {
        say((await copy(props.text(), props.beside?.())) ? "Copied" : "Selected");
        setTimeout(() => say(""), 1600);
      }}
    >
      <span aria-live="polite">{said || props.label}</span>
    </button>
  );
}

export function Code({ text }: { text: string }) {
  let box: HTMLElement | null = null;
  return (
    <div class="code">
      <pre ref={(found) => void (box = found)}>
        <code>{text}</code>
      </pre>
      <Copy label="Copy" text={() => text} beside={() => box} />
    </div>
  );
}
