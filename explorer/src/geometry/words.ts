// Words of other libraries for a padding mode, and spelling nearly right: geometry/words.py.

export const MODE_WORDS: Record<string, string> = {
  zeros: "zero constant grid-constant border_constant fill",
  reflect: "mirror border_default border_reflect101 border_reflect_101 reflect101 reflect_101",
  symmetric: "symm grid-mirror border_reflect",
  replicate: "nearest edge clamp border_replicate",
  circular: "wrap periodic grid-wrap border_wrap",
};
export const MODES_ELSEWHERE = new Map(
  Object.entries(MODE_WORDS).flatMap(([ours, words]) =>
    words.split(" ").map((word) => [word, ours] as const),
  ),
);
const LONGEST_WORD = 60;
const ALIKE = 0.7;

const plain = (word: string) => word.replace(/[-_ .]/g, "").toLowerCase();

/** What to say after a refused word; empty where nothing is like it. */
export function meant(
  word: string,
  names: readonly string[],
  table: Record<string, string>,
): string {
  if (!word || word.length > LONGEST_WORD) return "";
  const found = ofTable(word, names, table);
  if (!found.length) found.push(...spelled(word, names));
  return found.length ? `; did you mean ${found.join(" or ")}?` : "";
}

function ofTable(word: string, names: readonly string[], table: Record<string, string>): string[] {
  const said = plain(word);
  const same = names.filter((name) => plain(name) === said);
  if (same.length) return same.slice(0, 1);
  return Object.keys(table)
    .filter((ours) => table[ours].split(" ").map(plain).includes(said) && names.includes(ours))
    .slice(0, 2);
}

/** The name that is spelled most like it, as difflib.get_close_matches finds it. */
function spelled(word: string, names: readonly string[]): string[] {
  const scored = names
    .map((name) => [ratio(name, word.toLowerCase()), name] as const)
    .filter(([score]) => score >= ALIKE)
    .sort((a, b) => b[0] - a[0] || (a[1] < b[1] ? 1 : -1));
  return scored.slice(0, 1).map(([, name]) => name);
}

/** Twice the letters in common blocks, over all letters: difflib.SequenceMatcher.ratio. */
function ratio(a: string, b: string): number {
  const common = (a0: number, a1: number, b0: number, b1: number): number => {
    let [at, bt, size] = [a0, b0, 0];
    for (let i = a0; i < a1; i++)
      for (let j = b0; j < b1; j++) {
        let n = 0;
        while (i + n < a1 && j + n < b1 && a[i + n] === b[j + n]) n++;
        if (n > size) [at, bt, size] = [i, j, n];
      }
    if (!size) return 0;
    return size + common(a0, at, b0, bt) + common(at + size, a1, bt + size, b1);
  };
  const letters = a.length + b.length;
  return letters ? (2 * common(0, a.length, 0, b.length)) / letters : 1;
}
