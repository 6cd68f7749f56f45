"""Layers as a table for a terminal: a tree of names, one line for a layer and what follows it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from faltung.geometry.record import dataclass
from faltung.graph.summary_row import LayerRow

# Short names of layers on the line of the layer before them.
BRIEF = {"BatchNorm": "BN", "GroupNorm": "GN", "LayerNorm": "LN", "LocalResponseNorm": "LRN"}
MOST_LINES = 64  # of a table whose depth nobody chose
MOST_NAMES = 3  # layers of a collapsed part that are named one by one
HEAD = ("layer", "", "output", "sees", "parameters", "MACs", "memory", "method")
PAID = ("bits", "each")  # instead of the method
RIGHT = (4, 5, 6)


@dataclass(slots=True)
class Part:
    """A name of the tree: a layer (``rows``: it and what follows it), or named parts."""

    name: str
    rows: list[LayerRow] = field(default_factory=list)
    parts: dict[str, "Part"] = field(default_factory=dict)

    def every(self) -> list[LayerRow]:
        return [*(row for part in self.parts.values() for row in part.every()), *self.rows]


def table(
    rows: Sequence[LayerRow],
    depth: int | None,
    width: int,
    methods: bool,
    bits: Mapping[str, float] | None = None,
) -> Iterator[str]:
    """The lines of the table, of at most ``width``. bits: of layers in a file, shown instead of
    methods.
    """
    body = _aligned(cells(rows, depth, methods, bits), width)
    rule = "-" * min(width, max(map(len, body)))
    yield from (body[0], rule, *body[1:], rule)


def cells(
    rows: Sequence[LayerRow],
    depth: int | None,
    methods: bool,
    bits: Mapping[str, float] | None = None,
    most: int = MOST_LINES,
) -> list[tuple[str, ...]]:
    """The table as texts, its head first; blanks before a name are levels of the tree. most: lines
    of a table without a depth.
    """
    root = Part("")
    for row in rows:
        *scopes, leaf = row.name.split(".")
        part = root
        for name in scopes:
            part = part.parts.setdefault(name, Part(name))
        found = part.parts.get(leaf)
        if found is None:  # the sum of a Residual belongs to the part that it ends
            found = part.parts[leaf] = Part(leaf)
        found.rows.append(row)
    if depth is None:
        deepest = max((row.name.count(".") for row in rows), default=0) + 1
        fits = [d for d in range(1, deepest + 1) if len(list(_lines(root, d))) <= most]
        depth = max(fits, default=1)
    lines = [HEAD, *(_cells(*line, methods and bits is None) for line in _lines(root, depth))]
    if bits is not None:
        paid = [_paid(found, bits) for _, found, _ in _lines(root, depth)]
        lines = [(*line[:-1], *own) for line, own in zip(lines, [PAID, *paid], strict=True)]
    shown = len(lines[0]) if methods or bits is not None else len(HEAD) - 1
    return [tuple(line[:shown]) for line in lines]


Line = tuple[str, list[LayerRow], int]


def _lines(root: Part, depth: int, level: int = 0) -> Iterator[Line]:
    """(name, rows, level) of every line; a heading has no rows."""
    waiting: Line | None = None
    for part in root.parts.values():
        leaf = not part.parts
        if waiting and leaf and all(row.follows for row in part.rows):
            waiting[1].extend(part.rows)
            continue
        if waiting:
            yield waiting
        waiting = None
        if leaf or level + 1 >= depth:
            waiting = (part.name, part.every(), level)
            continue
        yield (part.name, [], level)
        yield from _lines(part, depth, level + 1)
        if part.rows:  # what ends the part: a concatenation, a sum
            waiting = ("", [*part.rows], level + 1)
    if waiting:
        yield waiting


def _cells(name: str, rows: Sequence[LayerRow], level: int, methods: bool) -> tuple[str, ...]:
    """One line of the table."""
    title = "  " * level + name
    if not rows:
        return (title, *[""] * (len(HEAD) - 1))
    last = rows[-1]
    chosen = list(dict.fromkeys(row.method for row in rows if methods and row.method))
    return (
        title,
        described(rows),
        "x".join(map(str, last.output)),
        "" if last.field is None else _folded(last.field),
        count(sum(row.parameters for row in rows)),
        short(sum(row.macs for row in rows)),
        short(sum(row.bytes for row in rows), "B"),
        chosen[0] or "" if len(chosen) == 1 else f"{len(chosen)} methods" if chosen else "",
    )


def _paid(rows: Sequence[LayerRow], bits: Mapping[str, float]) -> tuple[str, str]:
    """Bits of the layers of a line, and of each of their numbers."""
    total = sum(bits.get(name, 0.0) for name in dict.fromkeys(row.name for row in rows))
    many = sum(row.parameters + row.kept for row in rows)
    return (f"{total:,.0f}", f"{total / many:.2f}") if many and total else ("", "")


def described(rows: Sequence[LayerRow]) -> str:
    """The kinds of the layers of a line."""
    main = [row for row in rows if not row.follows] or list(rows)
    if len(main) == 1:
        others = (BRIEF.get(row.kind, row.kind) for row in rows if row is not main[0])
        return ", ".join([_one(main[0]), *others])
    if len(main) <= MOST_NAMES:
        return ", ".join(map(_one, main))
    kinds = Counter(row.kind for row in main)
    return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in kinds.items())


def _one(row: LayerRow) -> str:
    return " ".join([row.kind, *_options(row)])


def _options(row: LayerRow) -> Iterator[str]:
    """Kernel, stride, padding, ..., in the words of ``geometry/text.py``."""
    if row.spec is None:
        return
    words = str(row.spec).split()
    sized = "x".join(map(str, row.spec.size))
    for word in words[words.index(sized) + 1 :]:
        if word != "f64":
            yield word


def _folded(sizes: Sequence[int]) -> str:
    """One number where all axes agree."""
    return "x".join(map(str, sizes[:1] if len(set(sizes)) == 1 else sizes))


def count(number: int) -> str:
    return f"{number:,}" if number else ""


def short(number: float, unit: str = "") -> str:
    """Three significant digits and a decimal prefix: 1.58 G."""
    if not number:
        return ""
    value, prefixes = float(number), iter(("", "k", "M", "G", "T", "P"))
    prefix = next(prefixes)
    while value >= 999.5 and prefix != "P":
        value, prefix = value / 1000, next(prefixes)
    return f"{value:.3g} {prefix}{unit}".rstrip()


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns two blanks apart; if that is too wide, the second is cut, then the first."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    for column, least in ((1, 12), (0, 12)):
        cut = min(max(0, over), max(0, widths[column] - least))
        widths[column] -= cut
        over -= cut
    return ["  ".join(map(_cell, row, widths, range(len(widths)))).rstrip() for row in rows]


def _cell(text: str, width: int, column: int) -> str:
    if len(text) > width:
        text = text[: width - 1] + "…"
    return text.rjust(width) if column in RIGHT else text.ljust(width)
