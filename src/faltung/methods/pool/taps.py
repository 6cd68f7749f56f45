"""The kernel of every pooling: positions from tables, taps in two loops, vectors along channels."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

from faltung.codegen.copies import each_group
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.pool.reductions import REDUCTIONS
from faltung.methods.pool.tables import Targets, WalkKernel

# Vectors at once where windows are written out: few, for each is many instructions.
WRITTEN_OUT_VECTORS = (2, 1)

State = list[tuple[str, str]]  # (type, value) pairs, as loops carry them


@dataclass(frozen=True)
class TapsKernel(WalkKernel):
    """``kind``: a row of ``REDUCTIONS``. ``narrow``: fewer channels than lanes, so that lanes are
    masked. Windows of ``rows`` times ``taps``, and those that lack one of either, are written out,
    others are loops. ``fixed``: all taps of a target have one number.
    """

    dtype: str
    kind: str
    narrow: bool
    rows: int = 1
    taps: int = 1
    fixed: bool = False

    @property
    def symbol(self) -> str:
        return f"pool_{self.kind}_{self.dtype}"

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (*self.pointers, *["index"] * bool(REDUCTIONS[self.kind].index)), self.numbers

    def writer(self, v: Vectors, given: Arguments) -> Callable[[Targets], None]:
        return _TapWriter(v, given, self).targets

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The windows that are written out."""
        each = product((self.rows, self.rows - 1), (self.taps, self.taps - 1))
        return [shape for shape in each if min(shape) > 0]


@dataclass(frozen=True, slots=True)
class _Target:
    """One target: addresses of its first channels in the arrays read and written.

    ``tap``: the first one, ``number``: that in every lane. ``counted``: what a mean is divided by,
    in every lane. ``windows``: where each tap reads, and its number in every lane, where they are
    written out.
    """

    targets: Targets
    reads: Sequence[str]
    writes: Sequence[str]
    tap: str
    number: str
    counted: str
    windows: Sequence[tuple[Sequence[str], str]]


class _TapWriter:
    """Writes what is done along a progression, for the channels of a block."""

    def __init__(self, v: Vectors, given: Arguments, kernel: TapsKernel) -> None:
        self.reduction = reduction = REDUCTIONS[kernel.kind]
        self.v, self.f, self.given, self.kernel = v, v.function, given, kernel
        self.mask = v.below(given["channels"]) if kernel.narrow else None
        self.tap_step = v.every(given["tap_step"]) if reduction.index else ""
        # The arrays that are read at every tap, with their pitches.
        self.read = [("source", "source_pitch")]
        self.read += [("index", "channels")] * (reduction.index == "source")
        self.written = [("target", "target_pitch")]
        self.written += [("index", "channels")] * (reduction.index == "target")

    def targets(self, targets: Targets) -> None:
        """All targets, by the shape of their windows."""
        f, shapes = self.f, self.kernel.shapes
        count, case = f.sub(targets.entries[1], targets.entries[0]), str(len(shapes))
        for number, (rows, taps) in enumerate(shapes):
            high = f.value(f"icmp eq i64 {count}, {rows}")
            wide = f.value(f"icmp eq i64 {targets.taps}, {taps}")
            both = f.value(f"and i1 {high}, {wide}")
            case = f.value(f"select i1 {both}, i64 {number}, i64 {case}")
        f.switch(case, [partial(self.positions, targets, *shape) for shape in (*shapes, (0, 0))])

    def positions(self, targets: Targets, rows: int, taps: int) -> None:
        """Targets one by one; windows of ``rows`` times ``taps`` are written out, of 0 loops."""
        f = self.f
        reads = [self.begin(*names, targets.channel, targets.source) for names in self.read]
        writes = [self.begin(*names, targets.channel, targets.target) for names in self.written]
        pointers = [("ptr", pointer) for pointer, _ in (*reads, *writes)]
        steps = [step for _, step in (*reads, *writes)]
        counted = ""
        if self.reduction.mean:
            counted = self.v.spread(f.value(f"sitofp i64 {targets.divisor} to {self.v.element}"))
        with f.loop(0, targets.count, [*pointers, ("i64", targets.tap[0])]) as loop:
            *at, tap = loop.values
            number = self.v.every(tap) if self.reduction.index else ""
            sources = at[: len(reads)]
            windows = self.windows(targets, sources, tap, number, rows, taps)
            here = _Target(targets, sources, at[len(reads) :], tap, number, counted, windows)
            self.position(here)
            moved = [self.v.at(pointer, step) for pointer, step in zip(at, steps, strict=True)]
            loop.carry([*moved, f.add(tap, targets.tap[1])])

    def windows(
        self, targets: Targets, reads: Sequence[str], tap: str, number: str, rows: int, taps: int
    ) -> list[tuple[Sequence[str], str]]:
        """Where the taps of a window read, and their numbers."""
        f, v, given = self.f, self.v, self.given
        found: list[tuple[Sequence[str], str]] = []
        steps = [f.mul(given["source_step"], given[pitch]) for _, pitch in self.read]
        for r in range(rows):
            row, first = self.entry(reads, f.add(targets.entries[0], r))
            first = f.add(tap, first)
            for t in range(taps):
                if t:
                    row = [v.at(place, step) for place, step in zip(row, steps, strict=True)]
                    first = f.add(first, given["tap_step"])
                if self.reduction.index and not self.kernel.fixed:
                    number = v.every(first)
                found.append((row, number))
        return found

    def begin(self, name: str, pitch: str, channel: str, where: tuple[str, str]) -> tuple[str, str]:
        """Where the first target lies in an array, and how far from it the next one."""
        f = self.f
        at = f.add(f.mul(where[0], self.given[pitch]), channel)
        return self.v.at(self.given[name], at), f.mul(where[1], self.given[pitch])

    def position(self, here: _Target) -> None:
        """Groups of vectors; the last vector is moved back to end with the block, so that what it
        shares with the one before is written twice, with the same numbers.
        """
        f, lanes, width = self.f, self.v.lanes, here.targets.width
        if self.mask:
            self.vectors(here, "0", 1)
            return
        counts = self.reduction.vectors if len(here.windows) < 2 else WRITTEN_OUT_VECTORS
        done = each_group(self.v, width, counts, partial(self.vectors, here))
        with f.when(f.value(f"icmp slt i64 {done}, {width}")):
            self.vectors(here, f.sub(width, lanes), 1)

    def vectors(self, here: _Target, channel: str, count: int) -> None:
        """``count`` vectors at once, from ``channel`` on."""
        v, f, reduction = self.v, self.f, self.reduction
        reads = [v.at(pointer, channel) for pointer in here.reads]
        begin = [(v.type, v.constant(reduction.first))] * count
        begin += [(v.integers, here.number)] * count * (reduction.index == "target")
        entry, stop = here.targets.entries
        if here.windows:
            state = begin
            for places, number in here.windows:
                at = [v.at(place, channel) for place in places]
                state = _typed(begin, self.tap(state, at, number))
            self.store(here, channel, [value for _, value in state])
            return
        with f.loop(entry, stop, begin) as row:
            read, tap = self.entry(reads, row.index)
            state = begin if reduction.mean else _typed(begin, row.values)
            made = self.taps(here.targets.taps, state, read, f.add(here.tap, tap))
            if reduction.mean:
                made = [v.add(a, b) for a, b in zip(row.values, made, strict=True)]
            row.carry(made)
        self.store(here, channel, row.results)

    def entry(self, reads: Sequence[str], number: str) -> tuple[list[str], str]:
        """Where an entry of the table begins in the arrays that are read, and its tap."""
        f = self.f
        at = f.at(self.given["entries"], f.mul(number, 2), "i64")
        offset = f.word(at, 0)
        moved = [
            self.v.at(read, f.mul(offset, self.given[pitch]))
            for read, (_, pitch) in zip(reads, self.read, strict=True)
        ]
        return moved, f.word(at, 1)

    def taps(self, count: str, begin: State, reads: Sequence[str], tap: str) -> list[str]:
        """``count`` taps along the last axis."""
        v, f = self.v, self.f
        carried = [*begin, *(("ptr", read) for read in reads)]
        if self.reduction.index:
            carried.append((v.integers, v.every(tap)))
        with f.loop(0, count, carried) as loop:
            places = loop.values[len(begin) : len(begin) + len(reads)]
            number = loop.values[-1]
            made = self.tap(_typed(begin, loop.values), places, number)
            for place, (_, pitch) in zip(places, self.read, strict=True):
                made.append(v.at(place, f.mul(self.given["source_step"], self.given[pitch])))
            if self.reduction.index:
                made.append(f.value(f"add {v.integers} {number}, {self.tap_step}"))
            loop.carry(made)
        return loop.results[: len(begin)]

    def tap(self, state: State, reads: Sequence[str], number: str) -> list[str]:
        """One tap of all vectors."""
        v, count = self.v, len(state) // (1 + (self.reduction.index == "target"))
        rows = [
            [v.load(v.at(read, q * v.lanes), self.mask) for q in range(count)] for read in reads
        ]
        return self.reduction.step(v, [value for _, value in state], rows, number)

    def store(self, here: _Target, channel: str, results: Sequence[str]) -> None:
        v, f, reduction = self.v, self.f, self.reduction
        count = len(results) // len(here.writes)
        values, taps = list(results[:count]), results[count:]
        if reduction.mean:
            values = [v.div(value, here.counted) for value in values]
        values += [f.value(f"bitcast {v.integers} {tap} to {v.type}") for tap in taps]
        for i, vector in enumerate(values):
            to = v.at(v.at(here.writes[i // count], channel), i % count * v.lanes)
            if self.mask and not v.machine.masks:
                v.store_below(vector, to, self.given["channels"])
            else:
                v.store(vector, to, self.mask)


def _typed(begin: State, values: Sequence[str]) -> State:
    """The first of ``values`` with the types of ``begin``."""
    return [(kind, value) for (kind, _), value in zip(begin, values, strict=False)]
