"""Maxima and minima planned: the shifts and runs of a footprint, and the tables of borders.

The axes before the last two become one axis of planes, with a table that says where the plane of
each tap is. Short axes behind those of the footprint belong to the columns, as channels do.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step
from faltung.methods.filters.elements import KINDS
from faltung.methods.filters.extremes_kernel import ExtremesKernel

# Vectors of a tile, and bytes of a row of a block.
VECTORS, BLOCK_BYTES = 4, 1024
# Rows of the footprint up to which a patch has room in the first cache.
LOW = 9
# The fewest rows of an item.
BAND = 8

Table = npt.NDArray[np.int64]
# A shift, and the runs after it: where two windows begin in the patch.
Level = tuple[int, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Places of a box of ``shape``, by their numbers in C order, ``before`` entries before the
    output, with what stands beyond the ends.
    """

    shape: tuple[int, ...]
    places: tuple[int, ...]
    before: tuple[int, ...]
    modes: tuple[str, ...]

    def filled(self) -> npt.NDArray[np.bool_]:
        made = np.zeros(prod(self.shape), bool)
        made[list(self.places)] = True
        return made.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Extremes:
    """The step, bytes of scratch memory that each thread needs, and about how many cycles."""

    step: Step
    scratch: int
    cycles: float


def extremes(
    shape: Sequence[int], dtype: str, footprint: Footprint, reduction: str, machine: Machine
) -> Extremes:
    """Extremes of a contiguous array. ``shape``: that of the footprint's axes, two or more, and an
    axis of entries that lie side by side.
    """
    *outer, height, entries, inner = shape
    item, (tall, wide) = KINDS[dtype][1], footprint.shape[-2:]
    lanes, width, beyond = machine.vector_bytes // item, entries * inner, (wide - 1) * inner
    vectors = next(n for n in (1, 2, VECTORS) if n * lanes >= width or n == VECTORS)
    tile = vectors * lanes
    block = min(width, max(BLOCK_BYTES // item, (4 if tall == 1 else 2) * beyond))
    across = -(-block // tile) * tile
    block = min(width, across)
    pitch = -(-(block + beyond) // lanes) * lanes + lanes
    band = _band(height, tall, pitch * item, machine)
    planes = [(tuple(map(int, np.unravel_index(number, footprint.shape[:-2] or (1,)))), plane)
              for number, plane in enumerate(footprint.filled().reshape(-1, tall, wide))
              if plane.any()]  # fmt: skip
    programs = [program(plane, inner, pitch) for _, plane in planes]
    direct = len(programs) == 1 and [run for _, runs in programs[0] for run in runs] == [(0, 0)]
    starts = np.cumsum([0, *map(len, programs)], dtype=np.int64)
    levels, runs = _tables([level for one in programs for level in one])
    patch = (band + tall) * pitch + 2 * tile
    room = -(-(patch + (band + 1) * across) * item // 64) * 64 // item
    bands, blocks = -(-height // band), -(-width // block)
    items = prod(outer) * bands * blocks
    kernel = ExtremesKernel(dtype=dtype, reduction=reduction, vectors=vectors, direct=direct)
    step = kernel.step(
        items,
        f"{reduction} over {len(footprint.places)} places",
        x=Operand("x"),
        out=Operand("out"),
        value=Operand("value"),
        rows=_positions(footprint, -2, height, width),
        columns=_columns(footprint, entries, inner),
        planes=_planes(footprint, outer, height * width, [where for where, _ in planes]),
        starts=starts,
        levels=levels,
        runs=runs,
        scratch=Operand("scratch"),
        slices=Operand("slices"),
        items=items,
        height=height,
        width=width,
        bands=bands,
        blocks=blocks,
        band=band,
        block=block,
        pitch=pitch,
        across=across,
        patch=patch,
        room=room,
        tall=tall,
        beyond=beyond,
        before=footprint.before[-1] * inner,
        taps=len(planes),
        size=height * width,
    )
    passes = sum(3 + len(one) + sum(len(some) for _, some in one) for one in programs)
    return Extremes(step, room * item, prod(shape) * passes / lanes)


def _band(height: int, tall: int, row: int, machine: Machine) -> int:
    """Rows of an item: so many that the patch has room in a cache."""
    room = machine.l1 * 3 // 4 if tall <= LOW else machine.l2 // 2
    return min(height, max(BAND, tall - 1, room // row - tall + 1))


def program(plane: npt.NDArray[np.bool_], inner: int, pitch: int) -> list[Level]:
    """The shifts, each with the runs that are windows then, of a plane of a footprint."""
    if plane.all():
        steps = [*_doubled(plane.shape[1], inner), *_doubled(plane.shape[0], pitch)]
        return [*((shift, ()) for shift in steps), (0, ((0, 0),))]
    across, down = _runs(plane), _runs(plane.T)
    if len(across) <= len(down):
        return _by_power([(y * pitch + x * inner, n) for y, x, n in across], inner)
    return _by_power([(y * pitch + x * inner, n) for x, y, n in down], pitch)


def _doubled(size: int, stride: int) -> list[int]:
    """The shifts that make windows of ``size`` entries."""
    power, made = 1, []
    while power < size:
        step = min(power, size - power)
        made.append(step * stride)
        power += step
    return made


def _runs(plane: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Row, first column and length of the runs of each row."""
    edges = np.diff(np.pad(plane, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, begins = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    return list(zip(rows.tolist(), begins.tolist(), (ends - begins).tolist(), strict=True))


def _by_power(runs: Sequence[tuple[int, int]], stride: int) -> list[Level]:
    """Runs, each where it begins and how many entries it has, ``stride`` apart."""
    longest = max(n for _, n in runs)
    made: list[Level] = []
    for bit in range(longest.bit_length()):
        power = 1 << bit
        windows = ((at, at + (n - power) * stride) for at, n in runs if n >> bit == 1)
        made.append(((power >> 1) * stride, tuple(windows)))
    return made


def _tables(levels: Sequence[Level]) -> tuple[Table, Table]:
    entries: list[tuple[int, int, int]] = []
    runs: list[tuple[int, int]] = []
    for shift, some in levels:
        entries.append((shift, len(runs), len(runs) + len(some)))
        runs += some
    return np.array(entries, np.int64), np.array(runs, np.int64).reshape(-1, 2)


def _positions(footprint: Footprint, axis: int, length: int, stride: int) -> Table:
    """Where what is read at each position of an axis begins; -1 for the constant."""
    first, size = footprint.before[axis], footprint.shape[axis]
    span = range(-first, length + size - 1 - first)
    found = np.array(Border(footprint.modes[axis]).sources(span, length), np.int64)
    return np.where(found < 0, -1, found * stride)


def _columns(footprint: Footprint, entries: int, inner: int) -> Table:
    found = _positions(footprint, -1, entries, inner)[:, None]
    return np.ascontiguousarray(np.where(found < 0, -1, found + np.arange(inner)).reshape(-1))


def _planes(
    footprint: Footprint, outer: Sequence[int], size: int, taps: Sequence[Sequence[int]]
) -> Table:
    """Where the plane of each tap begins, for every plane; -1 for the constant."""
    found = np.zeros((*outer, len(taps)), np.int64)
    missing = np.zeros(found.shape, bool)
    for axis, length in enumerate(outer):
        table = _positions(footprint, axis, length, prod(outer[axis + 1 :]) * size)
        numbers = np.arange(length)[:, None] + np.array([tap[axis] for tap in taps])
        form = [1] * (len(outer) + 1)
        form[axis], form[-1] = numbers.shape
        part = table[numbers].reshape(form)
        found += part
        missing |= part < 0
    return np.ascontiguousarray(np.where(missing, -1, found).reshape(-1))
