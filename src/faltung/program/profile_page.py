"""Profiles as Markdown: how much of the time each kind of work takes, and the largest steps beside
what the processor could do.
"""

from collections.abc import Iterable, Sequence

from faltung.geometry.record import dataclass
from faltung.graph.kinds import (
    CHAIN,
    COPIES,
    DEPTHWISE,
    GROUPED,
    HOST,
    MAPS,
    OPTIMIZER,
    OTHER,
    PACKING,
    POINTWISE,
    PRODUCTS,
    RECURRENT,
)
from faltung.plan.bandwidth import Bandwidth, copy_bandwidth
from faltung.plan.peak import fma_peak
from faltung.program.profile import Profile, Timed

LARGEST = 12  # steps that are shown one by one
FEWER = 1.1  # times the peak that only a step with fewer products than its definition reaches

# Kinds that share a column, and those whose share of the peak says something.
COLUMNS = (
    (POINTWISE,),
    (DEPTHWISE, GROUPED),
    (OTHER,),
    (CHAIN,),
    (PRODUCTS, RECURRENT),
    (MAPS,),
    (COPIES, PACKING, OPTIMIZER, HOST),
)
HEADS = (
    "1x1 and linear layers, with what is fused into their stores",
    "depthwise, grouped",
    "other convolutions",
    "chains in bands",
    "products of two values, attention, recurrent",
    "pools, gates, norms",
    "copies and the rest",
)
ARITHMETIC = (POINTWISE, GROUPED, OTHER, CHAIN, PRODUCTS, RECURRENT)


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What the processor can do, measured: GFLOP/s of multiply-adds, and copies."""

    threads: int
    peak: float
    copies: Bandwidth

    @property
    def text(self) -> str:
        """In a sentence."""
        mib = 1 << 20
        rates = [
            f"{self.copies.rate(size):.0f} GB/s of {words}"
            for size, words in (
                (mib // 2, "0.5 MiB"),
                (8 * mib, "8 MiB"),
                (256 * mib, "256 MiB"),
            )
        ]
        many = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"On {many} multiply-adds in registers reach {self.peak:.0f} GFLOP/s, and a copy reads "
            f"and writes {', '.join(rates)}."
        )

    def bound(self, seconds: float, flops: int, moved: int) -> tuple[str, float]:
        """What takes longest of the multiply-adds at the peak, a copy of as many bytes, and the
        start of all threads; and which part of ``seconds`` that is.
        """
        least = {
            "start": self.copies.start,
            "arithmetic": flops / self.peak / 1e9,
            "memory": self.copies.copy(moved),
        }
        name = max(least, key=lambda key: (least[key], key == "start"))
        return name, least[name] / seconds if seconds else 0.0

    def bounded(self, seconds: float, flops: int, moved: int) -> str:
        """The same in words."""
        name, share = self.bound(seconds, flops, moved)
        if share > FEWER and name == "arithmetic":
            return "a transform has fewer products"
        return f"{name} {100 * share:.0f}%"


def yardsticks(threads: int, dtype: str = "float32") -> Yardsticks:
    """Measure them, in about half a second."""
    return Yardsticks(threads, fma_peak(threads, dtype), copy_bandwidth(threads))


@dataclass(frozen=True, slots=True)
class Alike:
    """Steps of one problem by one method: the first, how many, and the time of all of them."""

    row: Timed
    count: int
    seconds: float


def alike(rows: Iterable[Timed]) -> list[Alike]:
    """Steps that compute the same as one, those that take longest first."""
    found: dict[object, list[Timed]] = {}
    for row in rows:
        key = (row.operation, row.method, row.output, row.problem, row.bytes, row.kind)
        found.setdefault(key, []).append(row)
    made = [Alike(some[0], len(some), sum(row.seconds for row in some)) for some in found.values()]
    return sorted(made, key=lambda one: -one.seconds)


@dataclass(frozen=True, slots=True)
class Measured:
    """A profile with a name, and the yardsticks of the same minute."""

    name: str
    profile: Profile
    measured: Yardsticks


def summary(profiles: Sequence[Measured]) -> str:
    """A table with a row for each network: the time of each kind of work, in milliseconds."""
    used = {row.kind for one in profiles for row in one.profile.rows}
    columns = [n for n, kinds in enumerate(COLUMNS) if used & set(kinds)]
    head = ["network", "whole", *(HEADS[n] for n in columns), "sum", "steps", "whole - sum"]
    lines = []
    for one in profiles:
        found = one.profile
        cells = [_cell(found.rows, COLUMNS[n], one.measured) for n in columns]
        total = sum(row.seconds for row in found.rows)
        ends = [f"{1e3 * total:.2f}", str(len(found.rows)), f"{1e3 * (found.seconds - total):+.2f}"]
        lines.append([one.name, f"{1e3 * found.seconds:.2f}", *cells, *ends])
    return _table(head, lines, 1)


def _cell(rows: Sequence[Timed], kinds: Sequence[str], measured: Yardsticks) -> str:
    """Milliseconds, and what part of the peak or how many bytes a second that is."""
    some = [row for row in rows if row.kind in kinds]
    seconds = sum(row.seconds for row in some)
    if not some:
        return ""
    text = f"{1e3 * seconds:.2f}"
    flops = sum(row.flops for row in some)
    if not flops or not seconds:
        return text
    if set(kinds) & set(ARITHMETIC) and not any(row.kind == DEPTHWISE for row in some):
        return f"{text} ({flops / seconds / measured.peak / 1e7:.0f}%)"
    return f"{text} ({sum(row.bytes for row in some) / seconds / 1e9:.0f} GB/s)"


def largest(found: Profile, measured: Yardsticks, most: int = LARGEST) -> str:
    """A table of the steps that take longest, with what bounds each."""
    total = sum(row.seconds for row in found.rows) or 1.0
    head = ["step", "kind", "how", "times", "ms each", "of all", "GFLOP/s", "of peak", "GB/s",
            "of a copy", "what bounds it, its part of the time"]  # fmt: skip
    lines = []
    for one in alike(found.rows)[:most]:
        row, each = one.row, one.seconds / one.count
        rate = row.flops / each / 1e9 if each else 0.0
        moves = bool(each and row.bytes)
        copied = measured.copies.copy(row.bytes) / each if moves else 0.0
        lines.append(
            [
                f"`{row.problem or _size(row)}`",
                f"{row.kind}{_direction(row)}",
                row.method,
                str(one.count),
                f"{1e3 * each:.3f}",
                f"{100 * one.seconds / total:.1f}%",
                f"{rate:.0f}" if row.flops else "",
                f"{100 * rate / measured.peak:.0f}%" if row.flops else "",
                f"{row.bytes / each / 1e9:.1f}" if moves else "",
                f"{100 * copied:.0f}%" if moves else "",
                measured.bounded(each, row.flops, row.bytes) if moves else "",
            ]
        )
    return _table(head, lines, 3)


def _size(row: Timed) -> str:
    return f"{row.operation} {'x'.join(map(str, row.output))}".strip()


def _direction(row: Timed) -> str:
    """Of a convolution that is not forward: which gradient."""
    return {"ConvolveInput": ", for the input", "ConvolveWeight": ", for the weight"}.get(
        row.operation, ""
    )


def markdown(name: str, found: Profile, measured: Yardsticks, most: int = LARGEST) -> str:
    """One profile: the kinds, then the largest steps."""
    table = summary([Measured(name, found, measured)])
    return "\n\n".join([measured.text, table, largest(found, measured, most)])


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], words: int) -> str:
    """A Markdown table; the first ``words`` columns are left-aligned, the others right-aligned."""
    marks = [":--"] * words + ["--:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, marks, *lines))
