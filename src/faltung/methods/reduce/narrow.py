"""Reductions of short rows, several rows at once, one in each lane.

What it is.  Rows of a few channels are loaded, transposed in registers, and reduced channel by
  channel: what belongs to a row is then computed for all lanes at the cost of one.
When it applies.  The channels alone are reduced, and there are at most ``NARROW_CHANNELS``; results
  lie one after the other.
What it costs.  Some shuffles for each vector, instead of combining the lanes of every row.

Terms are combined in the order in which a row by itself does it (``kernel``), so that the bits do
not depend on which of the two it is: a batch may decide that.
"""

from collections.abc import Sequence

from faltung.codegen.copies import load_columns
from faltung.codegen.expr import Formulas, instructions
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.reduce.axes import Axes
from faltung.methods.reduce.kernel import COMBINE, chains

NARROW_CHANNELS = 24
# Instructions of one group of rows: for short compilation.
MAX_NARROW_INSTRUCTIONS = 600


def is_narrow(axes: Axes, exprs: Sequence[Expr]) -> bool:
    """Whether a reduction is one of short rows, of which the results are contiguous."""
    if not axes.inner.reduced or axes.reduced or len(axes.kept) != 1:
        return False
    channels = axes.inner.size
    short = channels <= NARROW_CHANNELS
    work = channels * (instructions(*exprs) + 2 * len(exprs))
    return short and work <= MAX_NARROW_INSTRUCTIONS and axes.kept[0].strides[-1] == 1


@dataclass(frozen=True)
class NarrowKernel(Kernel):
    """Items are groups of rows. inner: for each operand whether it changes along the channels.
    divided: by ``count``.
    """

    name = "reduce_narrow"

    dtype: str
    kind: str
    channels: int
    inner: tuple[bool, ...]
    exprs: tuple[Expr, ...]
    finish: Expr
    divided: bool

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        inputs = [f"in{i}" for i in range(len(self.inner))]
        outputs = [f"out{i}" for i in range(len(self.exprs))]
        pitches = [f"{name}_pitch" for name in inputs]
        return (*inputs, *outputs), ("rows", "item_rows", "count", *pitches)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        count = v.broadcast(given.address("count")) if self.divided else ""
        end = f.sub(given["rows"], 1)
        first = f.mul("%begin", given["item_rows"])
        last = f.minimum(f.mul("%end", given["item_rows"]), given["rows"])
        with f.loop(first, last, step=v.lanes) as group:
            # Rows that the last group lacks are the last row once more.
            rows = [f.minimum(f.add(group.index, i), end) for i in range(v.lanes)]
            made = self._reduced(v, given, rows, count)
            left = f.sub(last, group.index)
            short = f.value(f"icmp slt i64 {left}, {v.lanes}")
            places = [v.at(given[f"out{e}"], group.index) for e in range(len(made))]
            for some in f.branches(short):
                mask = v.below(left) if some else None
                for value, at in zip(made, places, strict=True):
                    v.store(value, at, mask)

    def _reduced(self, v: Vectors, given: Arguments, rows: Sequence[str], count: str) -> list[str]:
        """The results of as many rows as there are lanes."""
        columns = []
        for i, inner in enumerate(self.inner):
            pitch = given[f"in{i}_pitch"]
            places = [v.at(given[f"in{i}"], v.function.mul(row, pitch)) for row in rows]
            found = load_columns(v, places, self.channels if inner else 1)
            columns.append(found if inner else found * self.channels)
        terms: list[list[str]] = []
        for c in range(self.channels):
            formulas = Formulas(v, [column[c] for column in columns])
            terms.append([formulas.value(expr) for expr in self.exprs])
        totals = [self._total(v, found) for found in zip(*terms, strict=True)]
        if self.divided:
            totals = [v.div(total, count) for total in totals]
        return [Formulas(v, [total]).value(self.finish) for total in totals]

    def _total(self, v: Vectors, terms: Sequence[str]) -> str:
        """As if the terms lay in vectors: accumulators that take turns, then the lanes of these."""
        combine, _ = COMBINE[self.kind]
        lanes, turns = v.lanes, chains(self.exprs, 1)
        found: list[list[str | None]] = [[None] * lanes for _ in range(turns)]
        middle = len(terms) // (turns * lanes) * turns * lanes
        for c, term in enumerate(terms):
            turn = c // lanes % turns if c < middle else 0
            before = found[turn][c % lanes]
            if before is None:  # a sum begins with 0, which makes 0 of -0
                before = v.zero if self.kind == "sum" else None
            found[turn][c % lanes] = term if before is None else combine(v, before, term)

        def both(a: str | None, b: str | None) -> str | None:
            return combine(v, a, b) if a is not None and b is not None else a or b

        while len(found) > 1:
            pairs = zip(found[::2], found[1::2], strict=True)
            found = [[both(a, b) for a, b in zip(one, two, strict=True)] for one, two in pairs]
        (row,) = found
        while len(row) > 1:
            half = len(row) // 2
            row = [both(a, b) for a, b in zip(row[:half], row[half:], strict=True)]
        (total,) = row
        assert total is not None
        return total
