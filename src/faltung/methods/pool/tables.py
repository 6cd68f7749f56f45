"""What each pooled position reads, as tables: of a pooling, and of its gradient.

Along one axis, a target reads an arithmetic progression of sources: output `o` reads at the taps
that lie inside, and input `i` gets a gradient from the windows that cover it. Targets whose
progressions are alike, and whose beginnings advance in step, are one run, so that an axis is a few
runs whatever its size. All axes but the last are multiplied out into rows; the last one is cut
into pieces, the items of work. Everything counts positions: pitches are for the kernel.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from faltung.geometry.adjoint import input_grad
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.methods.base.addresses import offsets
from faltung.methods.base.step import Table, table

# Pieces that the last axis is cut into at the most.
PIECES = 4096


@dataclass(frozen=True, slots=True)
class Run:
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


@dataclass(frozen=True, slots=True)
class Line:
    """One axis: its sizes, and its runs. From tap to tap sources are ``source_step`` apart and the
    numbers of taps, of which there are ``kernel``, ``tap_step``, in every run.
    """

    sources: int
    targets: int
    kernel: int
    runs: tuple[Run, ...]
    source_step: int = 1
    tap_step: int = 1


# One axis -----------------------------------------------------------------------------------------


def forward(spec: PoolSpec, dim: int) -> Line:
    """Targets are the outputs, sources the inputs."""
    axis = _plain(spec.axes[dim])
    runs = _runs(axis, range(axis.kernel), 0, 1, lambda o: spec.counted(dim, o))
    return Line(axis.size, axis.output, axis.kernel, tuple(runs), axis.dilation)


def backward(spec: PoolSpec, dim: int) -> Line:
    """Targets are the inputs, sources the outputs."""
    axis = _plain(spec.axes[dim])
    # Windows apart are a run each, if these are fewer than the phases of the stride.
    few = axis.output == 1 or axis.extent <= axis.stride > axis.output
    if few and axis.dilation == 1:
        return Line(axis.output, axis.size, axis.kernel, tuple(_covers(axis)))
    runs: list[Run] = []
    source_step, tap_step = 1, 1
    for phase in input_grad(ConvSpec((axis,), 1, 1)):
        (part,) = phase.axes
        if part.axis is None:
            runs.append(Run(part.start, part.step, part.count))
            continue
        runs += _runs(part.axis, part.taps, part.start, part.step, lambda _: 1)
        if len(part.taps) > 1:
            source_step, tap_step = part.axis.dilation, part.taps[1] - part.taps[0]
    return Line(axis.output, axis.size, axis.kernel, tuple(runs), source_step, tap_step)


def counting(spec: PoolSpec, dim: int) -> Line:
    """Targets and sources are the outputs, one to one, divided by what each window counts."""
    line = forward(spec, dim)
    alone = (
        replace(run, source=run.target, advance=run.step, tap=0, tap_advance=0, taps=1)
        for run in line.runs
    )
    return Line(line.targets, line.targets, 1, tuple(alone))


def numbered(line: Line, targets: bool = False) -> Line:
    """The same line, its taps numbered by where they are in the plane and not in the window: by
    the sources, or all alike by the target (so that a target finds itself among the indices).
    """
    if targets:
        runs = (replace(run, tap=run.target, tap_advance=run.step) for run in line.runs)
        return replace(line, kernel=line.targets, runs=tuple(runs), tap_step=0)
    runs = (replace(run, tap=run.source, tap_advance=run.advance) for run in line.runs)
    return replace(line, kernel=line.sources, runs=tuple(runs), tap_step=line.source_step)


def _plain(axis: Axis) -> Axis:
    """The same axis where numbers that say nothing are small: they would not fit a word."""
    if axis.kernel == 1:
        axis = replace(axis, dilation=1)
    return replace(axis, stride=1, hi=axis.hi - axis.unread) if axis.output == 1 else axis


def _runs(
    axis: Axis, taps: Sequence[int], start: int, step: int, counted: Callable[[int], int]
) -> Iterator[Run]:
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
            yield Run(start + o * step, step, count, divisor=divisor)
        else:
            source = o * axis.stride - axis.lo + first * axis.dilation
            taken = stop - first
            yield Run(
                *(start + o * step, step, count),
                *(source, axis.stride, taps[first], 0, taken, divisor),
            )
        o = end


def _covers(axis: Axis) -> Iterator[Run]:
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
            yield Run(done, 1, first - done)
        yield Run(first, 1, stop - first, o, 0, first - start, 1, 1)
        done = stop
    if done < axis.size:
        yield Run(done, 1, axis.size - done)


# All axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tables:
    """What a kernel walks over.

    rows:      source, target, tap, first entry, last entry + 1, divisor
    entries:   source and tap, from the row's on: one for each combination of taps of these axes
    pieces:    first segment, last segment + 1
    segments:  the fields of a ``Run``, in their order: the runs of the last axis, cut
    """

    rows: Table
    entries: Table
    pieces: Table
    segments: Table
    sources: int
    targets: int
    source_step: int
    tap_step: int


def tables(lines: Sequence[Line], most: int, divisor: int = 1) -> Tables:
    """The tables over ``lines`` (the first one slowest), in pieces of at most ``most`` targets.

    ``divisor`` counts beside those of the runs.
    """
    *outer, last = lines
    rows, entries = _rows(outer, last, divisor)
    pieces, segments = _pieces(last, most)
    return Tables(
        rows,
        entries,
        pieces,
        segments,
        prod(line.sources for line in lines),
        prod(line.targets for line in lines),
        last.source_step,
        last.tap_step,
    )


def _rows(outer: Sequence[Line], last: Line, divisor: int) -> tuple[Table, Table]:
    """All combinations of targets of the outer axes; those with as many taps share entries."""
    one = np.zeros(1, dtype=np.int64)
    source, target, tap, code, divisors = one, one, one, one, one + divisor
    for line in outer:
        at = _expanded(line)
        source = (source[:, None] * line.sources + at["source"]).ravel()
        target = (target[:, None] * line.targets + at["target"]).ravel()
        tap = (tap[:, None] * line.kernel + at["tap"]).ravel()
        code = (code[:, None] * (line.sources + 1) + at["taps"]).ravel()
        divisors = (divisors[:, None] * at["divisor"]).ravel()
    codes, which = np.unique(code, return_inverse=True)
    steps: list[int] = []
    tap_steps: list[int] = []
    places, kernels = last.sources, last.kernel
    for line in reversed(outer):
        steps.insert(0, line.source_step * places)
        tap_steps.insert(0, line.tap_step * kernels)
        places, kernels = places * line.sources, kernels * line.kernel
    entries, starts = [], [0]
    for number in codes:
        shape = _decoded(int(number), outer)
        entries.append(np.stack([offsets(shape, steps), offsets(shape, tap_steps)], axis=1))
        starts.append(starts[-1] + len(entries[-1]))
    first, stop = np.array(starts[:-1])[which], np.array(starts[1:])[which]
    scaled = source * last.sources, target * last.targets, tap * last.kernel
    rows = np.stack([*scaled, first, stop, divisors], axis=1)
    return table(rows, 6), table(np.concatenate(entries), 2)


def _decoded(code: int, outer: Sequence[Line]) -> list[int]:
    """The number of taps of each axis: distinct sources, so never more than there are."""
    shape: list[int] = []
    for line in reversed(outer):
        code, taps = divmod(code, line.sources + 1)
        shape.insert(0, taps)
    return shape


def _expanded(line: Line) -> dict[str, Table]:
    """The runs target by target, in their order."""
    runs = _fields(line.runs)
    which = np.repeat(np.arange(len(line.runs)), runs["count"])
    start = np.cumsum(runs["count"]) - runs["count"]
    each = {name: column[which] for name, column in runs.items()}
    t = np.arange(len(which), dtype=np.int64) - start[which]
    each["target"] += t * each["step"]
    each["source"] += t * each["advance"]
    each["tap"] += t * each["tap_advance"]
    order = np.argsort(each["target"])
    return {name: column[order] for name, column in each.items()}


def _pieces(line: Line, most: int) -> tuple[Table, Table]:
    """The runs cut at the bounds of even pieces, piece after piece."""
    runs = _fields(line.runs)
    count = min(PIECES, -(-line.targets // most))
    bounds = line.targets * np.arange(count + 1, dtype=np.int64) // count
    # How many targets of each run lie before each bound.
    before = -((runs["target"] - bounds[:, None]) // runs["step"])
    before = np.clip(before, 0, runs["count"])
    piece, which = np.nonzero(before[1:] > before[:-1])
    skipped = before[piece, which]
    cut = {name: column[which] for name, column in runs.items()}
    cut["count"] = before[piece + 1, which] - skipped
    cut["target"] += skipped * cut["step"]
    cut["source"] += skipped * cut["advance"]
    cut["tap"] += skipped * cut["tap_advance"]
    ends = np.searchsorted(piece, np.arange(count + 1))
    segments = np.stack(list(cut.values()), axis=1)
    return table(np.stack([ends[:-1], ends[1:]], axis=1), 2), table(segments, len(cut))


def _fields(runs: Sequence[Run]) -> dict[str, Table]:
    """Each field of the runs as a column."""
    return {
        name: np.array([getattr(run, name) for run in runs], dtype=np.int64)
        for name in Run.__dataclass_fields__
    }
