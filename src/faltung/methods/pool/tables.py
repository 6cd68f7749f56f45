"""What each pooled position reads, as tables, and how kernels walk over them.

Along one axis, a target reads an arithmetic progression of sources: output ``o`` reads at the taps
that lie inside, and input ``i`` gets a gradient from the windows that cover it. Targets whose
progressions are alike, and whose beginnings advance in step, are kept as one, so that an axis has
few of them whatever its size. All axes but the last are multiplied out into rows; the last one is
cut into segments, the items of work. Everything counts positions: pitches are for the kernel.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import partial

import numpy as np

from faltung.codegen.vectors import Vectors
from faltung.geometry.adjoint import input_grad
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import AxisRows, combined, pitches, ring
from faltung.methods.base.kernel import Arguments, Kernel, RowItems
from faltung.methods.base.step import Step, Table, table

# Segments that the last axis is cut into at the most.
MAX_SEGMENTS = 4096


@dataclass(frozen=True, slots=True)
class Progression:
    """``count`` targets, ``step`` apart from ``target`` on, that read ``taps`` sources each.

    The first one begins with ``source`` and the tap ``tap``, each other ``advance`` and
    ``tap_advance`` further on. A mean divides by ``divisor`` for this axis.
    """

    target: int
    step: int
    count: int
    source: int = 0
    advance: int = 0
    tap: int = 0
    tap_advance: int = 0
    taps: int = 0
    divisor: int = 1


# The columns of a table of progressions: their fields.
TARGET, STEP, COUNT, SOURCE, ADVANCE, TAP, TAP_ADVANCE, TAPS, DIVISOR = range(9)


@dataclass(frozen=True, slots=True)
class AxisReads:
    """One axis: its sizes, and its progressions. From tap to tap sources are ``source_step`` apart
    and the numbers of taps, of which there are ``kernel``, ``tap_step``, in every progression.
    ``source_ring``, ``target_ring``: for how many there is memory, 0 for all (of the first axis).
    """

    sources: int
    targets: int
    kernel: int
    progressions: tuple[Progression, ...]
    source_step: int = 1
    tap_step: int = 1
    source_ring: int = 0
    target_ring: int = 0

    def changed(self, change: Callable[[Progression], Progression]) -> "AxisReads":
        """The same axis with other progressions."""
        return replace(self, progressions=tuple(map(change, self.progressions)))


# One axis -----------------------------------------------------------------------------------------


def forward(spec: PoolSpec, *, positions: bool = False) -> list[AxisReads]:
    """For each axis: targets are the outputs, sources the inputs.

    ``positions``: taps are numbered by where they are in the plane and not in the window.
    """
    made = []
    for dim, axis in enumerate(map(_plain, spec.axes)):
        found = _progressions(axis, range(axis.kernel), 0, 1, partial(spec.counted, dim))
        reads = AxisReads(axis.size, axis.output, axis.kernel, tuple(found), axis.dilation)
        if positions:
            reads = reads.changed(lambda p: replace(p, tap=p.source, tap_advance=p.advance))
            reads = replace(reads, kernel=axis.size, tap_step=axis.dilation)
        made.append(reads)
    return made


def backward(spec: PoolSpec, *, positions: bool = False) -> list[AxisReads]:
    """For each axis: targets are the inputs, sources the outputs.

    ``positions``: all taps of a target have its own number, so that it finds itself among the
    indices.
    """
    axes = [_backward(_plain(axis)) for axis in spec.axes]
    if not positions:
        return axes
    own = [axis.changed(lambda p: replace(p, tap=p.target, tap_advance=p.step)) for axis in axes]
    return [replace(axis, kernel=axis.targets, tap_step=0) for axis in own]


def _backward(axis: Axis) -> AxisReads:
    # Windows apart are a progression each, if these are fewer than the phases of the stride.
    few = axis.output == 1 or axis.extent <= axis.stride > axis.output
    if few and axis.dilation == 1:
        return AxisReads(axis.output, axis.size, axis.kernel, tuple(_covers(axis)))
    made: list[Progression] = []
    source_step, tap_step = 1, 1
    for phase in input_grad(ConvSpec((axis,), 1, 1)):
        (part,) = phase.axes
        if part.axis is None:
            made.append(Progression(part.start, part.step, part.count))
            continue
        made += _progressions(part.axis, part.taps, part.start, part.step, lambda _: 1)
        if len(part.taps) > 1:
            source_step, tap_step = part.axis.dilation, part.taps[1] - part.taps[0]
    return AxisReads(axis.output, axis.size, axis.kernel, tuple(made), source_step, tap_step)


def counting(spec: PoolSpec) -> list[AxisReads]:
    """For each axis: targets and sources are the outputs, one to one, divided by what each window
    counts.
    """

    def own(p: Progression) -> Progression:
        return replace(p, source=p.target, advance=p.step, tap=0, tap_advance=0, taps=1)

    axes = [axis.changed(own) for axis in forward(spec)]
    return [replace(axis, sources=axis.targets, kernel=1, source_step=1) for axis in axes]


def _plain(axis: Axis) -> Axis:
    """The same axis where numbers that say nothing are small: they would not fit 64 bits."""
    if axis.kernel == 1:
        axis = replace(axis, dilation=1)
    return replace(axis, stride=1, hi=axis.hi - axis.unread) if axis.output == 1 else axis


def _progressions(
    axis: Axis, taps: Sequence[int], start: int, step: int, counted: Callable[[int], int]
) -> Iterator[Progression]:
    """What ``axis`` reads: its output t is the target start + t * step, its tap j ``taps[j]``."""

    def alike(o: int) -> tuple[int, int, int]:
        # From output to output none of the three grows: so the change can be searched for.
        first, stop = axis.valid_taps(o)
        return -first, -stop, -counted(o)

    o = 0
    while o < axis.output:
        end = bisect_right(range(axis.output), alike(o), lo=o, key=alike)
        (first, stop), count, divisor = axis.valid_taps(o), end - o, counted(o)
        if first == stop:
            yield Progression(start + o * step, step, count, divisor=divisor)
        else:
            source = o * axis.stride - axis.lo + first * axis.dilation
            taken = stop - first
            yield Progression(
                *(start + o * step, step, count),
                *(source, axis.stride, taps[first], 0, taken, divisor),
            )
        o = end


def _covers(axis: Axis) -> Iterator[Progression]:
    """Windows that do not overlap, each with the inputs that it covers: few, where they are large.

    Its inputs are taps one after the other.
    """
    done = 0
    for o in range(axis.output):
        start = o * axis.stride - axis.lo
        first, stop = max(start, 0), min(start + axis.kernel, axis.size)
        if first >= stop:  # all of it lies in the padding
            continue
        if first > done:
            yield Progression(done, 1, first - done)
        yield Progression(first, 1, stop - first, o, 0, first - start, 1, 1)
        done = stop
    if done < axis.size:
        yield Progression(done, 1, axis.size - done)


# All axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolTables:
    """What a kernel walks over.

    rows: source, target, tap, first entry, last entry + 1, divisor
    entries: source and tap, from the row's on: one for each combination of taps of these axes
    segments: of the last axis: first progression, last progression + 1
    progressions: the fields of a ``Progression``, in their order: those of the last axis, cut
    """

    rows: Table
    entries: Table
    segments: Table
    progressions: Table


def tables(axes: Sequence[AxisReads], most: int, divisor: int = 1) -> PoolTables:
    """The tables over ``axes`` (the first one slowest), in segments of at most ``most`` targets.

    ``divisor`` counts beside those of the progressions.
    """
    *outer, last = axes
    return PoolTables(*_rows(outer, last, divisor), *_segments(last, most))


def _rows(outer: Sequence[AxisReads], last: AxisReads, divisor: int) -> tuple[Table, Table]:
    """All combinations of targets of the outer axes; those with as many taps share entries."""
    sizes = [(axis.sources, axis.targets, axis.kernel) for axis in (*outer, last)]
    steps = np.stack([pitches(along) for along in zip(*sizes, strict=True)], axis=1)
    axes, divisors = [], np.full(1, divisor, np.int64)
    for axis, step in zip(outer, steps[:-1], strict=True):
        targets = _expanded(axis)
        # Where a ring ends among the sources of a target is part of its pattern.
        begins = targets[:, SOURCE] % (axis.source_ring or 1)
        kinds, numbers = np.unique(
            np.stack([targets[:, TAPS], begins]), axis=1, return_inverse=True
        )
        patterns = []
        for count, begin in kinds.T:
            taps = np.arange(count)
            sources = ring(begin + taps * axis.source_step, axis.source_ring) - begin
            patterns.append(np.stack([sources, taps * axis.tap_step], axis=1) * step[[0, 2]])
        places = targets[:, [SOURCE, TARGET, TAP]]
        places[:, 0] = ring(places[:, 0], axis.source_ring)
        places[:, 1] = ring(places[:, 1], axis.target_ring)
        axes.append(AxisRows(places * step, numbers.reshape(-1), patterns))
        divisors = np.multiply.outer(divisors, targets[:, DIVISOR]).ravel()
    columns, spans, entries = combined(axes, 3)
    rows = np.column_stack([columns, spans[:, 0], spans.sum(axis=1), divisors])
    return table(rows, 6), table(entries, 2)


def _expanded(axis: AxisReads) -> Table:
    """The progressions target by target, in their order."""
    counts = _fields(axis)[:, COUNT]
    which = np.repeat(np.arange(len(counts)), counts)
    skipped = np.arange(len(which)) - (np.cumsum(counts) - counts)[which]
    each = _picked(axis, which, skipped)
    return each[np.argsort(each[:, TARGET])]


def _segments(axis: AxisReads, most: int) -> tuple[Table, Table]:
    """The progressions cut at the bounds of even segments, segment after segment."""
    count = min(MAX_SEGMENTS, -(-axis.targets // most))
    bounds = axis.targets * np.arange(count + 1, dtype=np.int64) // count
    # How many targets of each progression lie before each bound.
    target, step, counts = _fields(axis)[:, [TARGET, STEP, COUNT]].T
    before = np.clip(-((target - bounds[:, None]) // step), 0, counts)
    segment, which = np.nonzero(before[1:] > before[:-1])
    skipped = before[segment, which]
    cut = _picked(axis, which, skipped)
    cut[:, COUNT] = before[segment + 1, which] - skipped
    ends = np.searchsorted(segment, np.arange(count + 1))
    return table(np.stack([ends[:-1], ends[1:]], axis=1), 2), cut


def _fields(axis: AxisReads) -> Table:
    return table([astuple(p) for p in axis.progressions], 9)


def _picked(axis: AxisReads, which: Table, skipped: Table) -> Table:
    """The progressions numbered ``which``, without the first ``skipped`` targets of each."""
    found = _fields(axis)[which]
    found[:, [TARGET, SOURCE, TAP]] += skipped[:, None] * found[:, [STEP, ADVANCE, TAP_ADVANCE]]
    return found


# The walk -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Targets:
    """A progression in the code of a kernel, for the channels of a block: pairs of where its first
    target is, and what the next one adds.
    """

    count: str
    target: tuple[str, str]
    source: tuple[str, str]
    tap: tuple[str, str]
    taps: str
    entries: tuple[str, str]
    divisor: str
    channel: str
    width: str


class WalkKernel(Kernel):
    """A kernel over the tables, with vectors along the channels."""

    pointers = ("source", "target", "rows", "entries", "segments", "progressions")
    numbers = (
        *("row_count", "segment_count", "block_count", "block", "channels"),
        *("source_sample", "target_sample", "source_pitch", "target_pitch"),
        *("source_step", "tap_step"),
    )

    def row_items(self, step: Step, axes: Sequence[Axis]) -> RowItems | None:
        items = self.counts(step, ("row_count", "segment_count", "block_count"))
        rows = axes[0].output
        if len(axes) < 2 or items[0] % rows:
            return None
        each = items[0] // rows * items[1] * items[2]
        cuts = range(rows + 1)
        return RowItems(tuple(cuts), tuple(i * each for i in cuts), rows * each)

    def writer(self, v: Vectors, given: Arguments) -> Callable[[Targets], None]:
        """What writes the code of a progression."""
        raise NotImplementedError

    def body(self, v: Vectors, given: Arguments) -> None:
        """Items -> (sample, row, segment of the last axis, block of channels) -> progressions."""
        f, write = v.function, self.writer(v, given)
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["block_count"])
            rest, segment = f.divmod(rest, given["segment_count"])
            sample, row = f.divmod(rest, given["row_count"])
            row_at = f.at(given["rows"], f.mul(row, 6), "i64")
            source, target, tap, first, stop, divisor = (f.word(row_at, i) for i in range(6))
            source = f.add(f.mul(sample, given["source_sample"]), source)
            target = f.add(f.mul(sample, given["target_sample"]), target)
            channel = f.mul(block, given["block"])
            last = f.value(f"icmp eq i64 {f.add(block, 1)}, {given['block_count']}")
            left = f.sub(given["channels"], channel)
            width = f.value(f"select i1 {last}, i64 {left}, i64 {given['block']}")
            segment_at = f.at(given["segments"], f.mul(segment, 2), "i64")
            with f.loop(f.word(segment_at, 0), f.word(segment_at, 1)) as number:
                at = f.at(given["progressions"], f.mul(number.index, 9), "i64")
                fields = [f.word(at, i) for i in range(9)]
                write(
                    Targets(
                        count=fields[COUNT],
                        target=(f.add(target, fields[TARGET]), fields[STEP]),
                        source=(f.add(source, fields[SOURCE]), fields[ADVANCE]),
                        tap=(f.add(tap, fields[TAP]), fields[TAP_ADVANCE]),
                        taps=fields[TAPS],
                        entries=(first, stop),
                        divisor=f.mul(divisor, fields[DIVISOR]),
                        channel=channel,
                        width=width,
                    )
                )
