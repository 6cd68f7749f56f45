// What Python writes in its messages: repr, and the shortened form of check.py.

/** A mistake in the line; its message is, word for word, that of Python's FaltungError. */
export class Mistake extends Error {}

export type Value = number | string | readonly Value[];

/** Python's repr of a number, a text or a tuple. */
export function repr(value: Value): string {
  if (typeof value === "number") return String(value);
  if (typeof value !== "string") {
    const items = value.map(repr);
    return items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`;
  }
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  let text = "";
  for (const letter of value) {
    const code = letter.codePointAt(0)!;
    if (letter === quote || letter === "\\") text += `\\${letter}`;
    else if (letter === "\t") text += "\\t";
    else if (letter === "\n") text += "\\n";
    else if (letter === "\r") text += "\\r";
    else if (letter === " " || !/[\p{C}\p{Z}]/u.test(letter)) text += letter;
    else if (code < 0x100) text += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code < 0x10000) text += `\\u${code.toString(16).padStart(4, "0")}`;
    else text += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return quote + text + quote;
}

/** On one short line. */
export function shown(value: Value): string {
  const letters = [...repr(value)];
  return letters.length <= 80 ? letters.join("") : `${letters.slice(0, 77).join("")}...`;
}
