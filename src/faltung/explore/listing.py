"""The assembly of a kernel, read as a person reads it: its inner loop, and what each line does.

Only what compilers write for vectors is told apart: multiply-adds and the accumulator that each
adds to, loads, broadcasts and stores. Intel's processors are read in AT&T's syntax, ARM's in its
own.
"""

import re
from collections.abc import Sequence

from faltung.geometry.record import dataclass

# Lines that are shown of a kernel, with the whole inner loop among them.
MOST_LINES = 320
LABEL = re.compile(r"^([.\w$]+):")
JUMP = re.compile(r"^\s+(?:j[a-z]+|b(?:\.[a-z]+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.?L\w+)")
VECTOR = re.compile(r"%[xyz]mm(\d+)|\bv(\d+)\.")
# In this order; the first that fits says what a line does. An unfused multiply and add are two
# instructions, of which the add names the accumulator.
KINDS = (
    ("fma", re.compile(r"^\s+(v?fn?m(?:add|sub)\w*|f?ml[as]|v?pdpb\w+|v?pmaddw\w+|[su]dot)\b")),
    ("add", re.compile(r"^\s+(v?addp[sd]|v?padd[dq]|f?add(?=\s+v))\b")),
    ("multiply", re.compile(r"^\s+(v?mulp[sd]|v?pmull[dq]|v?pmuludq|f?mul(?=\s+v))\b")),
    ("broadcast", re.compile(r"^\s+(v?broadcast\w*|ld1r|dup|vpbroadcast\w*)\b")),
    ("prefetch", re.compile(r"^\s+(prefetch\w*|prfm)\b")),
    (
        "store",
        re.compile(r"^\s+(v?mov[au]p[sd]\s+%[xyz]mm\d+(?:, \(|,[^%]*\()|v?movnt\w*|st[pr1]\b)"),
    ),
    ("load", re.compile(r"^\s+(v?mov[au]?p?[sd]\w*\s+[^%]*\(|ld[pr1]\b|ldur\b)")),
)


@dataclass(frozen=True)
class Line:
    """One line. kind: of ``KINDS``, "jump", "label" or "other"; into: the number of the vector
    register that it writes, which a multiply-add also adds to, else -1; memory: whether an operand
    is read from there.
    """

    text: str
    kind: str
    into: int = -1
    memory: bool = False


@dataclass(frozen=True)
class Listing:
    """Lines of a kernel, and the half-open range of its inner loop among them; (0, 0): none."""

    lines: tuple[Line, ...]
    loop: tuple[int, int]

    def count(self, kind: str) -> int:
        """Lines of a kind in the loop."""
        return sum(line.kind == kind for line in self.lines[slice(*self.loop)])

    @property
    def accumulators(self) -> tuple[int, ...]:
        """Registers that the multiply-adds of the loop add to, in the order of their use."""
        inside = self.lines[slice(*self.loop)]
        adds = "fma" if self.count("fma") else "add"
        return tuple(dict.fromkeys(one.into for one in inside if one.kind == adds))


def listing(text: str, arch: str) -> Listing:
    """Read the assembly of one kernel. arch: of ``Machine.arch``."""
    lines = tuple(
        _line(each.expandtabs(8), arch)
        for each in text.splitlines()
        if each.strip() and not _directive(each)
    )
    start, stop = _inner(lines)
    if len(lines) > MOST_LINES:
        spare = max(MOST_LINES - (stop - start), 0)
        first = max(0, min(start - spare // 2, len(lines) - MOST_LINES))
        last = min(len(lines), max(stop, first + MOST_LINES))
        lines, start, stop = lines[first:last], start - first, stop - first
    return Listing(lines, (start, stop))


def _directive(text: str) -> bool:
    word = text.strip()
    return word.startswith((".", "#", "//")) and not LABEL.match(word)


def _line(text: str, arch: str) -> Line:
    text = text.rstrip()
    if LABEL.match(text):
        return Line(text, "label")
    shown = "        " + re.sub(r"\s+", " ", text.strip()).replace(" ", "\t", 1).expandtabs(8)
    if JUMP.match(text):
        return Line(shown, "jump")
    kind = next((name for name, pattern in KINDS if pattern.match(text)), "other")
    vectors = [int(a or b) for a, b in VECTOR.findall(text)]
    if kind in ("store", "prefetch") or not vectors:
        return Line(shown, kind)
    # AT&T's syntax names what is written last, ARM's first.
    into = vectors[0] if arch == "aarch64" else vectors[-1]
    return Line(shown, kind, into, "(" in text)


def _inner(lines: Sequence[Line]) -> tuple[int, int]:
    """The loop without another loop in it that has the most multiply-adds."""
    labels = {
        found[1]: number
        for number, line in enumerate(lines)
        if line.kind == "label" and (found := LABEL.match(line.text))
    }
    loops = []
    for number, line in enumerate(lines):
        found = JUMP.match(line.text)
        if found and (start := labels.get(found[1], number)) < number:
            loops.append((start, number + 1))
    inner = [
        (a, b)
        for a, b in loops
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)
    ]

    def work(loop: tuple[int, int]) -> int:
        kinds = [line.kind for line in lines[slice(*loop)]]
        return 1000 * kinds.count("fma") + min(kinds.count("multiply"), kinds.count("add"))

    best = max(inner, key=work, default=(0, 0))
    return best if work(best) else (0, 0)
