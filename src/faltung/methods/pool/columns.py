"""Pooling of windows side by side, vectors along the channels: columns, and windows out of them.

What it is.  A window's maximum (or sum) is that of its columns: one column for each tap of the last
  axis, over all taps of the others. Along a row of targets a column is computed once and waits in a
  buffer, in the nearest cache, while the windows that share it go by. Each input of a row is loaded
  once, whatever the width of the window, and memory is walked in its order: position by position,
  all channels of each.
When it applies.  Maxima without their taps, and means; up to ``MOST`` taps without gaps along the
  last axis; channels that fill a vector.
What it costs.  A load and an operation for each row of a window, and as much for each column that a
  window shares with the one before it: memory is the limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.pool.kinds import larger
from faltung.methods.pool.tables import Line, Tables
from faltung.methods.pool.walk import Segment, walk, words_of

# Taps along the last axis, and rows of a window, that are written out.
MOST = 5
ROWS = 4
# Vectors of channels in a turn of the innermost loop.
WIDE = 2
# Bytes of columns that wait: less than a page, so that no system asks for more than a stack pointer
# moved.
BUFFER = 3840


@dataclass(frozen=True)
class Columns:
    """``kind``: "max" or "mean". ``taps``: of a whole window along the last axis, the next one
    ``stride`` further on; ``rows``: combinations of its other taps, 0 for any number. ``divide``:
    where it is False a mean is multiplied by the reciprocal, because that is exact.
    """

    dtype: str
    kind: str
    taps: int
    stride: int
    rows: int
    divide: bool = True

    @property
    def symbol(self) -> str:
        return f"pool_columns_{self.kind}_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        word = words_of(f)
        walk(f, word, _Body(Vectors(f, machine, self.dtype), word, self))
        return str(module)

    @property
    def kept(self) -> int:
        """Columns that wait for the next window; none of a single row, that can be read again."""
        return max(0, self.taps - self.stride) if self.rows != 1 else 0

    @property
    def room(self) -> int | None:
        """Channels whose columns can wait; None for any number."""
        return BUFFER // ELEMENTS[self.dtype][1] // self.kept if self.kept else None


def columns(
    kind: str, dtype: str, last: Line, tables: Tables, channels: int, lanes: int
) -> Columns | None:
    """The recipe for these tables, ``last`` being their last axis; None where it does not apply."""
    runs = [run for run in last.runs if run.taps]
    if kind not in ("max", "mean") or channels < lanes or not runs:
        return None
    taps = max(run.taps for run in runs)
    strides = {run.advance for run in runs if run.count > 1}
    if taps > MOST or len(strides) > 1 or min(strides, default=1) < 1:
        return None
    if taps > 1 and last.source_step != 1:
        return None
    rows = int((tables.rows[:, 4] - tables.rows[:, 3]).max(initial=0))
    # A power of two has a reciprocal, and a product with it is a quotient.
    divisors = {int(n) * run.divisor for n in set(tables.rows[:, 5]) for run in last.runs}
    divide = kind == "mean" and any(n & (n - 1) for n in divisors)
    stride = min(strides, default=1)
    return Columns(dtype, kind, taps, stride, rows if rows <= ROWS else 0, divide)


@dataclass(frozen=True, slots=True)
class _Place:
    """Some vectors of channels: their first one in the arrays, and in the columns that wait."""

    channel: str
    waiting: str
    count: int


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column begins, and each of its rows, if they are written out."""

    begin: str
    rows: Sequence[str]


class _Body:
    """A run of targets, for the channels of a block."""

    def __init__(self, v: Vectors, word: dict[str, str], recipe: Columns) -> None:
        self.v, self.f, self.word, self.recipe = v, v.function, word, recipe
        self.mean = recipe.kind == "mean"
        self.first = v.constant(0.0 if self.mean else -inf)
        kind = f"[{recipe.room} x {v.element}]"
        self.buffers = [self.f.value(f"alloca {kind}, align 64") for _ in range(recipe.kept)]

    def segment(self, run: Segment) -> None:
        """Windows with all rows, those that lack one, and any others; with all taps or not."""
        f, taps, rows = self.f, self.recipe.taps, self.recipe.rows
        whole = f.value(f"zext i1 {f.value(f'icmp eq i64 {run.taps}, {taps}')} to i64")
        scale = self.scale(run.divisor) if self.mean else ""

        def case(rows: int) -> None:
            parts = [lambda: self.some(run, scale, rows), lambda: self.all(run, scale, rows)]
            f.switch(whole, parts)

        if not rows:
            case(0)
            return
        lacking = f.sub(rows, f.sub(run.entries[1], run.entries[0]))
        known = [lambda n=n: case(n) for n in (rows, rows - 1) if n]
        f.switch(lacking, [*known, lambda: self.some(run, scale, 0)])

    def scale(self, divisor: str) -> str:
        """What a sum is divided by, or multiplied with, in every lane."""
        f, element = self.f, self.v.element
        number = f.value(f"sitofp i64 {divisor} to {element}")
        if not self.recipe.divide:
            number = f.value(f"fdiv {element} 1.0, {number}")
        return self.v.spread(number)

    # Whole windows -------------------------------------------------------------------------------

    def all(self, run: Segment, scale: str, rows: int) -> None:
        """Targets one by one: new columns come, windows are made of them and of those that wait."""
        f, v, recipe, pitch = self.f, self.v, self.recipe, self.word["source_pitch"]
        offsets = self.offsets(run, rows)
        source, target = self.begin(run)
        for j, buffer in enumerate(self.buffers):
            column = self.rows(v.at(source, f.mul(pitch, j)), offsets)
            for place in self.places(run):
                for q, value in enumerate(self.down(column, place, run)):
                    v.store(value, self.vector(buffer, place.waiting, q))
        begin = [v.at(source, f.mul(pitch, recipe.kept)), target, *self.buffers]
        with f.loop(0, run.count, [("ptr", pointer) for pointer in begin]) as turn:
            at, to, *waiting = turn.values
            fresh = [v.at(at, f.mul(pitch, j)) for j in range(recipe.taps - recipe.kept)]
            columns = [self.rows(place, offsets) for place in fresh]
            for place in self.places(run):
                self.windows(run, scale, columns, waiting, place, to)
            moved = [v.at(at, f.mul(pitch, recipe.stride)), v.at(to, self.step(run))]
            first = min(len(fresh), recipe.kept)
            turn.carry([*moved, *waiting[first:], *waiting[:first]])

    def windows(
        self,
        run: Segment,
        scale: str,
        columns: Sequence[_Column],
        waiting: Sequence[str],
        place: _Place,
        to: str,
    ) -> None:
        """The window of some channels; the newest columns wait where the oldest have waited."""
        new = [self.down(column, place, run) for column in columns]
        for q in range(place.count):
            old = [self.v.load(self.vector(buffer, place.waiting, q)) for buffer in waiting]
            self.store([*old, *(column[q] for column in new)], scale, to, place, q)
            kept = min(len(waiting), len(new))
            for buffer, column in zip(waiting, new[len(new) - kept :], strict=False):
                self.v.store(column[q], self.vector(buffer, place.waiting, q))

    # Windows at the ends of an axis --------------------------------------------------------------

    def some(self, run: Segment, scale: str, rows: int) -> None:
        """Targets whatever their taps: each column for itself, in the same order."""
        f, v, pitch = self.f, self.v, self.word["source_pitch"]
        offsets = self.offsets(run, rows)
        step = f.mul(run.source[1], pitch)
        begin = [("ptr", pointer) for pointer in self.begin(run)]
        with f.loop(0, run.count, begin) as turn:
            at, to = turn.values
            for place in self.places(run):
                state = [("ptr", at), *[(v.type, self.first)] * place.count]
                with f.loop(0, run.taps, state) as tap:
                    column, *made = tap.values
                    new = self.down(self.rows(column, offsets), place, run)
                    made = [self.both(a, b) for a, b in zip(made, new, strict=True)]
                    tap.carry([v.at(column, pitch), *made])
                for q, value in enumerate(tap.results[1:]):
                    self.store([value], scale, to, place, q)
            turn.carry([v.at(at, step), v.at(to, self.step(run))])

    # Where things are ----------------------------------------------------------------------------

    def begin(self, run: Segment) -> tuple[str, str]:
        """Where the first target reads, and where it is."""
        f, v, word = self.f, self.v, self.word
        source = f.add(f.mul(run.source[0], word["source_pitch"]), run.channel)
        target = f.add(f.mul(run.target[0], word["target_pitch"]), run.channel)
        return v.at(word["source"], source), v.at(word["target"], target)

    def step(self, run: Segment) -> str:
        """From target to target."""
        return self.f.mul(run.target[1], self.word["target_pitch"])

    def offsets(self, run: Segment, rows: int) -> list[str]:
        """How far each of so many rows of a window is from its position."""
        return [self.row(self.f.add(run.entries[0], r)) for r in range(rows)]

    def row(self, entry: str) -> str:
        f = self.f
        offset = f.word(f.at(self.word["entries"], f.mul(entry, 2), "i64"), 0)
        return f.mul(offset, self.word["source_pitch"])

    def rows(self, place: str, offsets: Sequence[str]) -> _Column:
        return _Column(place, [self.v.at(place, offset) for offset in offsets])

    def places(self, run: Segment) -> Iterator[_Place]:
        """All channels of the block, in loops. The last vector is moved back to end with it: what
        it shares with the one before is written twice, with the same numbers.
        """
        f, lanes = self.f, self.v.lanes
        with f.loop("0", f.sub(run.width, WIDE * lanes - 1), step=WIDE * lanes) as group:
            yield _Place(group.index, group.index, WIDE)
        with f.loop(group.index, run.width, step=lanes) as one:
            yield _Place(f.minimum(one.index, f.sub(run.width, lanes)), one.index, 1)

    def vector(self, base: str, first: str, q: int) -> str:
        return self.v.at(self.v.at(base, first), q * self.v.lanes)

    # What is done there --------------------------------------------------------------------------

    def down(self, column: _Column, place: _Place, run: Segment) -> list[str]:
        """A column of some channels: vector by vector, or row by row in a loop."""
        f, v, numbers = self.f, self.v, range(place.count)
        if column.rows:
            each = [[self.vector(row, place.channel, q) for row in column.rows] for q in numbers]
            return [self.over(addresses) for addresses in each]
        begin = [(v.type, self.first)] * place.count
        with f.loop(*run.entries, begin) as turn:
            row = v.at(column.begin, self.row(turn.index))
            reads = [v.load(self.vector(row, place.channel, q)) for q in numbers]
            turn.carry([self.both(a, b) for a, b in zip(turn.values, reads, strict=True)])
        return turn.results

    def over(self, addresses: Sequence[str]) -> str:
        made, *others = map(self.v.load, addresses)
        for read in others:
            made = self.both(made, read)
        return made

    def both(self, a: str, b: str) -> str:
        return self.v.add(a, b) if self.mean else larger(self.v, a, b)

    def store(self, columns: Sequence[str], scale: str, to: str, place: _Place, q: int) -> None:
        """A target out of its columns, one after the other."""
        v = self.v
        value, *others = columns
        if self.mean:  # so that no sum is a zero with a sign
            value = v.add(self.first, value)
        for column in others:
            value = self.both(value, column)
        if self.mean:
            value = v.div(value, scale) if self.recipe.divide else v.mul(value, scale)
        v.store(value, self.vector(to, place.channel, q))
