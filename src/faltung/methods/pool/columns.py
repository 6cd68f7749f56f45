"""The kernel of overlapping windows, vectors along the channels: columns, and windows out of them.

What it is.  A window's maximum (or sum) is that of its columns: one column for each tap of the last
  axis, over all taps of the others. Along a row of targets a column is computed once and waits in a
  buffer, in the nearest cache, while the windows that share it go by. Each input of a row is loaded
  once, whatever the width of the window, and memory is walked in its order: position by position,
  all channels of each.
When it applies.  Maxima without their taps, and means; up to ``MAX_TAPS`` taps without gaps along
  the last axis; channels that fill a vector.
What it costs.  A load and an operation for each row of a window, and as much for each column that a
  window shares with the one before it: memory is the limit.
"""

from collections.abc import Callable, Iterator, Sequence
from math import inf

from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.pool.reductions import larger
from faltung.methods.pool.tables import AxisReads, PoolTables, Targets, WalkKernel

# Taps along the last axis, and rows of a window, that are written out.
MAX_TAPS = 5
MAX_ROWS = 4
# Vectors of channels in an iteration of the innermost loop.
VECTORS = 2
# Bytes of a buffer: less than a page, so that no system asks for more than a stack pointer moved.
BUFFER_BYTES = 3840


@dataclass(frozen=True)
class ColumnsKernel(WalkKernel):
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

    def writer(self, v: Vectors, given: Arguments) -> Callable[[Targets], None]:
        return _ColumnWriter(v, given, self).targets

    @property
    def kept(self) -> int:
        """Columns that wait for the next window; none of a single row, that can be read again."""
        return max(0, self.taps - self.stride) if self.rows != 1 else 0

    @property
    def room(self) -> int | None:
        """Channels whose columns can wait; None for any number."""
        return BUFFER_BYTES // ELEMENTS[self.dtype][1] // self.kept if self.kept else None


def columns_kernel(
    kind: str, dtype: str, last: AxisReads, tables: PoolTables, channels: int, lanes: int
) -> ColumnsKernel | None:
    """The kernel for these tables, ``last`` being their last axis; None where it does not apply."""
    reads = [p for p in last.progressions if p.taps]
    if kind not in ("max", "mean") or channels < lanes or not reads:
        return None
    taps = max(p.taps for p in reads)
    strides = {p.advance for p in reads if p.count > 1}
    if taps > MAX_TAPS or len(strides) > 1 or min(strides, default=1) < 1:
        return None
    if taps > 1 and last.source_step != 1:
        return None
    rows = int((tables.rows[:, 4] - tables.rows[:, 3]).max(initial=0))
    # A power of two has a reciprocal, and a product with it is a quotient.
    divisors = {int(n) * p.divisor for n in set(tables.rows[:, 5]) for p in last.progressions}
    divide = kind == "mean" and any(n & (n - 1) for n in divisors)
    stride = min(strides, default=1)
    return ColumnsKernel(dtype, kind, taps, stride, rows if rows <= MAX_ROWS else 0, divide)


@dataclass(frozen=True, slots=True)
class _Channels:
    """Some vectors of channels: their first one in the arrays, and in the columns that wait."""

    channel: str
    waiting: str
    count: int


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column begins, and each of its rows, if they are written out."""

    begin: str
    rows: Sequence[str]


class _ColumnWriter:
    """Writes a progression of targets, for the channels of a block."""

    def __init__(self, v: Vectors, given: Arguments, kernel: ColumnsKernel) -> None:
        self.v, self.f, self.given, self.kernel = v, v.function, given, kernel
        self.mean = kernel.kind == "mean"
        self.first = v.constant(0.0 if self.mean else -inf)
        kind = f"[{kernel.room} x {v.element}]"
        self.buffers = [self.f.value(f"alloca {kind}, align 64") for _ in range(kernel.kept)]

    def targets(self, targets: Targets) -> None:
        """Windows with all rows, those that lack one, and any others; with all taps or not."""
        f, taps, rows = self.f, self.kernel.taps, self.kernel.rows
        whole = f.value(f"zext i1 {f.value(f'icmp eq i64 {targets.taps}, {taps}')} to i64")
        scale = self.scale(targets.divisor) if self.mean else ""

        def case(rows: int) -> None:
            cases = [
                lambda: self.some(targets, scale, rows),
                lambda: self.all(targets, scale, rows),
            ]
            f.switch(whole, cases)

        if not rows:
            case(0)
            return
        lacking = f.sub(rows, f.sub(targets.entries[1], targets.entries[0]))
        known = [lambda n=n: case(n) for n in (rows, rows - 1) if n]
        f.switch(lacking, [*known, lambda: self.some(targets, scale, 0)])

    def scale(self, divisor: str) -> str:
        """What a sum is divided by, or multiplied with, in every lane."""
        f, element = self.f, self.v.element
        number = f.value(f"sitofp i64 {divisor} to {element}")
        if not self.kernel.divide:
            number = f.value(f"fdiv {element} 1.0, {number}")
        return self.v.spread(number)

    # Whole windows -------------------------------------------------------------------------------

    def all(self, targets: Targets, scale: str, rows: int) -> None:
        """Targets one by one: new columns come, windows are made of them and of those that wait."""
        f, v, kernel, pitch = self.f, self.v, self.kernel, self.given["source_pitch"]
        offsets = self.offsets(targets, rows)
        source, target = self.begin(targets)
        for j, buffer in enumerate(self.buffers):
            column = self.rows(v.at(source, f.mul(pitch, j)), offsets)
            for channels in self.channels(targets):
                for q, value in enumerate(self.down(column, channels, targets)):
                    v.store(value, self.vector(buffer, channels.waiting, q))
        begin = [v.at(source, f.mul(pitch, kernel.kept)), target, *self.buffers]
        with f.loop(0, targets.count, [("ptr", pointer) for pointer in begin]) as loop:
            at, to, *waiting = loop.values
            fresh = [v.at(at, f.mul(pitch, j)) for j in range(kernel.taps - kernel.kept)]
            columns = [self.rows(start, offsets) for start in fresh]
            for channels in self.channels(targets):
                self.windows(targets, scale, columns, waiting, channels, to)
            moved = [v.at(at, f.mul(pitch, kernel.stride)), v.at(to, self.step(targets))]
            first = min(len(fresh), kernel.kept)
            loop.carry([*moved, *waiting[first:], *waiting[:first]])

    def windows(
        self,
        targets: Targets,
        scale: str,
        columns: Sequence[_Column],
        waiting: Sequence[str],
        channels: _Channels,
        to: str,
    ) -> None:
        """The window of some channels; the newest columns wait where the oldest have waited."""
        new = [self.down(column, channels, targets) for column in columns]
        for q in range(channels.count):
            old = [self.v.load(self.vector(buffer, channels.waiting, q)) for buffer in waiting]
            self.store([*old, *(column[q] for column in new)], scale, to, channels, q)
            kept = min(len(waiting), len(new))
            for buffer, column in zip(waiting, new[len(new) - kept :], strict=False):
                self.v.store(column[q], self.vector(buffer, channels.waiting, q))

    # Windows at the ends of an axis --------------------------------------------------------------

    def some(self, targets: Targets, scale: str, rows: int) -> None:
        """Targets whatever their taps: each column for itself, in the same order."""
        f, v, pitch = self.f, self.v, self.given["source_pitch"]
        offsets = self.offsets(targets, rows)
        step = f.mul(targets.source[1], pitch)
        begin = [("ptr", pointer) for pointer in self.begin(targets)]
        with f.loop(0, targets.count, begin) as loop:
            at, to = loop.values
            for channels in self.channels(targets):
                state = [("ptr", at), *[(v.type, self.first)] * channels.count]
                with f.loop(0, targets.taps, state) as tap:
                    column, *made = tap.values
                    new = self.down(self.rows(column, offsets), channels, targets)
                    made = [self.both(a, b) for a, b in zip(made, new, strict=True)]
                    tap.carry([v.at(column, pitch), *made])
                for q, value in enumerate(tap.results[1:]):
                    self.store([value], scale, to, channels, q)
            loop.carry([v.at(at, step), v.at(to, self.step(targets))])

    # Where things are ----------------------------------------------------------------------------

    def begin(self, targets: Targets) -> tuple[str, str]:
        """Where the first target reads, and where it is."""
        f, v, given = self.f, self.v, self.given
        source = f.add(f.mul(targets.source[0], given["source_pitch"]), targets.channel)
        target = f.add(f.mul(targets.target[0], given["target_pitch"]), targets.channel)
        return v.at(given["source"], source), v.at(given["target"], target)

    def step(self, targets: Targets) -> str:
        """From target to target."""
        return self.f.mul(targets.target[1], self.given["target_pitch"])

    def offsets(self, targets: Targets, rows: int) -> list[str]:
        """How far each of so many rows of a window is from its position."""
        return [self.row(self.f.add(targets.entries[0], r)) for r in range(rows)]

    def row(self, entry: str) -> str:
        f = self.f
        offset = f.word(f.at(self.given["entries"], f.mul(entry, 2), "i64"), 0)
        return f.mul(offset, self.given["source_pitch"])

    def rows(self, start: str, offsets: Sequence[str]) -> _Column:
        return _Column(start, [self.v.at(start, offset) for offset in offsets])

    def channels(self, targets: Targets) -> Iterator[_Channels]:
        """All channels of the block, in loops. The last vector is moved back to end with it: what
        it shares with the one before is written twice, with the same numbers.
        """
        f, lanes = self.f, self.v.lanes
        with f.loop("0", f.sub(targets.width, VECTORS * lanes - 1), step=VECTORS * lanes) as group:
            yield _Channels(group.index, group.index, VECTORS)
        with f.loop(group.index, targets.width, step=lanes) as one:
            yield _Channels(f.minimum(one.index, f.sub(targets.width, lanes)), one.index, 1)

    def vector(self, base: str, first: str, q: int) -> str:
        return self.v.at(self.v.at(base, first), q * self.v.lanes)

    # What is done there --------------------------------------------------------------------------

    def down(self, column: _Column, channels: _Channels, targets: Targets) -> list[str]:
        """A column of some channels: vector by vector, or row by row in a loop."""
        f, v, numbers = self.f, self.v, range(channels.count)
        if column.rows:
            each = [[self.vector(row, channels.channel, q) for row in column.rows] for q in numbers]
            return [self.over(addresses) for addresses in each]
        begin = [(v.type, self.first)] * channels.count
        with f.loop(*targets.entries, begin) as loop:
            row = v.at(column.begin, self.row(loop.index))
            reads = [v.load(self.vector(row, channels.channel, q)) for q in numbers]
            loop.carry([self.both(a, b) for a, b in zip(loop.values, reads, strict=True)])
        return loop.results

    def over(self, addresses: Sequence[str]) -> str:
        made, *others = map(self.v.load, addresses)
        for read in others:
            made = self.both(made, read)
        return made

    def both(self, a: str, b: str) -> str:
        return self.v.add(a, b) if self.mean else larger(self.v, a, b)

    def store(
        self, columns: Sequence[str], scale: str, to: str, channels: _Channels, q: int
    ) -> None:
        """A target out of its columns, one after the other."""
        v = self.v
        value, *others = columns
        if self.mean:  # so that no sum is a zero with a sign
            value = v.add(self.first, value)
        for column in others:
            value = self.both(value, column)
        if self.mean:
            value = v.div(value, scale) if self.kernel.divide else v.mul(value, scale)
        v.store(value, self.vector(to, channels.channel, q))
