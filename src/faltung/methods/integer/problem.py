"""An integer convolution as a problem, and how its positions are cut into chunks.

The batch is one more axis, in front, with a kernel of one tap: samples of few positions fill the
tiles of sums together. For a chunk of the outputs the levels that it reads are copied into a
*patch*, with all padding, in the form that the inner product takes; so nothing that comes after
knows of padding, of its modes, or of where the input lies. Of an axis with a stride the patch has
only what is read.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import gcd, prod

import numpy as np

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.levels import Grid
from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import (
    crossed,
    offset_columns,
    pitches,
    scaled,
    sources_at,
    sums,
)
from faltung.methods.base.correlation import Correlation, Strides, Window, forward, step_kind
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import MISSING, Table


@dataclass(frozen=True, slots=True)
class Ways:
    """How an axis is read from its patch, which has every ``every``-th entry: from one output to
    the next, and from one tap to the next.
    """

    axis: Axis

    @property
    def every(self) -> int:
        a = self.axis
        return a.stride if a.kernel == 1 else gcd(a.stride, a.dilation)

    @property
    def stride(self) -> int:
        return self.axis.stride // self.every

    @property
    def dilation(self) -> int:
        return 1 if self.axis.kernel == 1 else self.axis.dilation // self.every

    def entries(self, outputs: int) -> int:
        """Of the patch for so many outputs."""
        return (outputs - 1) * self.stride + (self.axis.kernel - 1) * self.dilation + 1

    def sources(self, first: int, outputs: int) -> Table:
        """Which input each entry is, for the outputs from ``first`` on; -1 for padding."""
        at = np.arange(self.entries(outputs), dtype=np.int64) * self.every
        return sources_at(self.axis, first * self.axis.stride - self.axis.lo + at)


@dataclass(frozen=True)
class Problem:
    """``c``: the strides, each in elements of its array. x: the grid of the levels that are read.
    result: that of those that are stored, None for numbers. grids: of what the epilogue reads
    beside the sum, None for numbers. slice: how many channels a patch has, 0 for those of all
    groups. narrow: weights are expected from -64 to 64, which decides how fast they are multiplied,
    and not whether it is right.
    """

    c: Correlation
    x: Grid
    result: Grid | None = None
    epilogue: Epilogue | None = None
    grids: tuple[Grid | None, ...] = ()
    slice: int = 0
    narrow: bool = False

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The axes, the batch first."""
        c = self.c
        along = tuple(aux[0] for aux in c.aux)
        return (Window(Axis(max(1, c.batch), 1), c.x[0], c.out[0], (0,), along), *c.windows)

    @cached_property
    def ways(self) -> tuple[Ways, ...]:
        return tuple(Ways(w.axis) for w in self.windows)

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(w.axis.output for w in self.windows)

    @property
    def joins(self) -> bool:
        """Whether the taps of the last axis follow each other in a patch: their levels, of all
        channels, are then one run.
        """
        return self.c.groups == 1 and self.ways[-1].dilation == 1

    @property
    def run(self) -> int:
        """Levels that follow each other in a patch, and in the sum."""
        return self.c.channels_in * (self.windows[-1].axis.kernel if self.joins else 1)

    @property
    def channels(self) -> int:
        """Of a patch."""
        return self.slice or self.c.groups * self.c.channels_in

    @property
    def contiguous(self) -> bool:
        """Whether the channels of the input are."""
        return self.channel_step == 1 or self.c.groups * self.c.channels_in == 1

    @property
    def channel_step(self) -> int:
        """Elements of the input from one channel to the next."""
        return self.c.x[1] if self.c.channels_in == 1 else self.c.x[2]

    @property
    def depthwise(self) -> bool:
        """Whether each channel is a group of its own."""
        c = self.c
        return c.groups > 1 and c.channels_in == c.channels_out == 1

    @property
    def sum_length(self) -> int:
        return self.c.channels_in * self.c.taps

    def patch_pitches(self, chunk: Sequence[int]) -> list[int]:
        """Elements from one entry of each axis of the patch to the next."""
        return pitches([w.entries(n) for w, n in zip(self.ways, chunk, strict=True)], self.channels)

    def patch_size(self, chunk: Sequence[int]) -> int:
        """Elements of a patch for a chunk of so many outputs of each axis."""
        return self.channels * prod(w.entries(n) for w, n in zip(self.ways, chunk, strict=True))

    def tap_entries(self, chunk: Sequence[int]) -> Table:
        """Where each run of the sum begins in a patch, counted from an output."""
        ways = self.ways[:-1] if self.joins else self.ways
        steps = zip(self.patch_pitches(chunk), ways, strict=False)
        along = [step * way.dilation for step, way in steps]
        return offset_columns([way.axis.kernel for way in ways], along)[:, 0]

    def reduction(self, run: int) -> Table:
        """The offset in the weight of each term of the sum, runs filled up to ``run`` with
        MISSING.
        """
        taps = [np.array(w.taps, np.int64)[:, None] for w in self.windows]
        outer = sums(taps[:-1] if self.joins else taps, 1)
        inner = np.arange(self.c.channels_in, dtype=np.int64)[:, None] * self.c.w[2]
        inside = sums([taps[-1], inner], 1) if self.joins else inner
        terms = (outer + inside[:, 0]).reshape(len(outer), -1)
        made = np.full((len(outer), run), MISSING, np.int64)
        made[:, : terms.shape[1]] = terms
        return made.ravel()


def problem_of(
    spec: ConvSpec,
    x: Strides,
    w: Strides,
    out: Strides,
    *,
    grid: Grid,
    result: Grid | None = None,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
    grids: Sequence[Grid | None] = (),
    narrow: bool = False,
) -> Problem:
    """The problem of arrays with these strides, in elements, in the order N, C, *space.

    ValueError: output channels, or those of an array of the epilogue, that are not contiguous; a
    grid that 8 bits do not hold, or whose scale is not a number.
    """
    grids = tuple(grids) or (None,) * len(aux)
    if len(aux) != len(grids) or len(aux) != (0 if epilogue is None else epilogue.aux):
        raise FaltungError(
            f"aux={aux}: must be as many as grids={grids}, and as the epilogue reads"
        )
    for each in (grid, result, *grids):
        if each is not None and (not each.stored or not isinstance(each.scale, int | float)):
            raise FaltungError(f"grid={each}: must have levels of 8 bits and a number as its scale")
    c = forward(replace(spec, dtype="float32"), x, w, out, None, aux)
    wide = c.channels_out > 1
    steps = [
        step_kind(channel) for channel in (*(a[2] for a in c.aux), *([c.out[2]] if wide else []))
    ]
    if -1 in steps or (wide and c.out[2] != 1):
        raise FaltungError(f"out={out}: channels must be contiguous")
    return Problem(c, grid, result, epilogue, grids, narrow=narrow)


# Chunks -------------------------------------------------------------------------------------------


def patch_rows(
    problem: Problem, chunk: Sequence[int], room: Sequence[int], first: Sequence[int]
) -> Table:
    """The rows of the patch of a chunk from output ``first`` on, all axes but the last: (source, or
    MISSING for padding, place in the patch, which has memory for ``room`` outputs).
    """
    pitch, reads, places = problem.patch_pitches(room), [], []
    outer = zip(problem.windows[:-1], problem.ways, chunk, first, pitch, strict=False)
    for window, way, most, begin, step in outer:
        count = min(most, window.axis.output - begin)
        reads.append(scaled(way.sources(begin, count), window.x)[:, None])
        places.append(np.arange(len(reads[-1]), dtype=np.int64)[:, None] * step)
    return np.concatenate([crossed(reads), sums(places, 1)], axis=1)


def patch_runs(problem: Problem, first: int, count: int, channels: int) -> Table:
    """What a row of the patch is copied from, for ``count`` outputs and so many channels: (source,
    or MISSING, place in the row, elements).

    Neighbours that are contiguous on both sides are one run.
    """
    window, way, c = problem.windows[-1], problem.ways[-1], problem.c
    read = scaled(way.sources(first, count), window.x)
    places = np.arange(len(read), dtype=np.int64) * problem.channels
    parts = [(0, 0, channels)]
    if c.channels_in > 1 and c.groups > 1 and c.x[1] != c.channels_in * c.x[2]:
        each = range(c.groups)
        parts = [(g * c.x[1], g * c.channels_in, c.channels_in) for g in each]
    one = problem.contiguous
    made: list[list[int]] = []
    for source, place in zip(read.tolist(), places.tolist(), strict=True):
        for offset, along, size in parts:
            begin = MISSING if source == MISSING else source + offset
            last = made[-1] if made else None
            if last is not None and last[1] + last[2] == place + along:
                padding = begin == MISSING == last[0]
                if padding or (
                    one and MISSING not in (begin, last[0]) and last[0] + last[2] == begin
                ):
                    last[2] += size
                    continue
            made.append([begin, place + along, size])
    return np.array(made, np.int64)


def positions_of(problem: Problem, chunk: Sequence[int], counts: Sequence[int]) -> Table:
    """The outputs of a chunk of ``counts``: where each begins in the patch, in the output, and in
    the arrays of the epilogue, counted from the first.
    """
    pitch = problem.patch_pitches(chunk)
    patch = [step * way.stride for step, way in zip(pitch, problem.ways, strict=True)]
    arrays = zip(*((w.out, *w.aux) for w in problem.windows), strict=True)
    return offset_columns(counts, patch, *arrays)
