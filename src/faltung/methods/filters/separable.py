"""Separable filters planned: passes through memory, each a step with its tables.

A pass filters along one axis, or along one and then the last. Short filters are fused so; of long
ones each has a pass of its own, with bands or blocks long enough that few entries are read twice.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from faltung.geometry.border import Border
from faltung.geometry.record import dataclass
from faltung.machine.costs import BAND_STACK_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step
from faltung.methods.filters.lines import LinesKernel
from faltung.methods.filters.sums import Taps
from faltung.methods.filters.window import Window

# Entries up to which two filters are fused.
FUSED = 160
# Rows and columns of an item of short filters.
BAND, BLOCK = 64, 448
# And of very short ones, which wait for memory: few rows of many columns.
SHORT, SHORT_BAND, SHORT_BLOCK = 5, 16, 960
# Of a long filter along the last axis: rows, and the least and most columns.
LONG_BAND, MIN_LONG_BLOCK, MAX_LONG_BLOCK = 8, 1024, 1 << 14
# The largest numbers of whole dtypes of at most 32 bits.
NARROW = {
    **{"bool": 255, "uint8": 255, "int8": 128, "uint16": 65535, "int16": 32768},
    **{"uint32": 2**32 - 1, "int32": 2**31},
}
# Pairs of taps in float64 from which a transposed strip pays.
TURNED = 33
# Rows and vectors of a tile, and vectors of one along the last axis.
TILES = {"float32": (4, 2), "float64": (2, 2)}
ACROSS = 4


@dataclass(frozen=True, slots=True)
class Along:
    """A ``Line`` without its numbers. how: "even", "odd" or "" for weights; else "mean"."""

    axis: int
    size: int
    before: int
    mode: str
    how: str


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: of the lines from ``start`` to ``stop``; ``order``: which of them are first and
    second. scratch: bytes that each thread needs; 0 where its stack will do.
    """

    step: Step
    start: int
    stop: int
    order: tuple[bool, bool]
    scratch: int
    cycles: float


def passes(
    shape: Sequence[int],
    source: str,
    target: str,
    work: str,
    lines: Sequence[Along],
    machine: Machine,
) -> list[Pass]:
    """The passes that apply the lines to a contiguous array, each of which stores ``target``."""
    made, at, last = [], 0, len(shape) - 1
    while at < len(lines):
        pair = lines[at : at + 2]
        both = (
            len(pair) == 2
            and pair[0].axis != last
            and pair[1].axis == last
            and max(line.size for line in pair) <= FUSED
        )
        stop = at + 1 + both
        made.append(_pass(shape, source, target, work, lines[at:stop], at, machine))
        source, at = target, stop
    return made


@dataclass(frozen=True, slots=True)
class _Sizes:
    """An array as planes of rows: planes are numbered by the axes before and behind the first."""

    outer: int
    middle: int
    height: int
    width: int

    @property
    def row(self) -> int:
        return self.middle * self.width


def _sizes(shape: Sequence[int], first: Along | None, second: Along | None) -> _Sizes:
    if first is None:
        return _Sizes(1, 1, prod(shape[:-1]), shape[-1])
    before, size, behind = shape[: first.axis], shape[first.axis], shape[first.axis + 1 :]
    if second is None:  # the axes behind are one
        return _Sizes(prod(before), 1, size, prod(behind))
    return _Sizes(prod(before), prod(behind[:-1]), size, behind[-1])


def _pass(
    shape: Sequence[int],
    source: str,
    target: str,
    work: str,
    lines: Sequence[Along],
    start: int,
    machine: Machine,
) -> Pass:
    last = len(shape) - 1
    second = lines[-1] if lines[-1].axis == last else None
    first = lines[0] if lines[0].axis != last else None
    sizes, lanes = _sizes(shape, first, second), machine.lanes(work)
    rows, vectors = TILES[work]
    band, block = _blocks(first, second, rows, vectors * lanes, sizes)
    kernel = LinesKernel(
        dtype=work,
        source=source,
        target=target,
        first=_made(first),
        second=_made(second),
        constant=tuple(line is not None and line.mode == "constant" for line in (first, second)),  # type: ignore[arg-type]
        rows=rows,
        vectors=vectors,
        across=ACROSS,
        band=band,
        block=block,
        turned=second is not None
        and second.how in ("even", "odd")
        and work == "float64"
        and second.size >= TURNED
        and sizes.height >= lanes,
        quick=work == "float64" and source in NARROW and target in NARROW,
    )
    scratch = kernel.bytes(machine)
    if scratch > BAND_STACK_BYTES:
        kernel = kernel.in_heap
    else:
        scratch = 0
    bands, blocks = -(-sizes.height // band), -(-sizes.width // block)
    planes = sizes.outer * sizes.middle
    items = planes * bands * blocks
    step = kernel.step(
        items,
        "filter along " + " and ".join(f"axis {line.axis}" for line in lines),
        x=Operand("x"),
        out=Operand("out"),
        rows=_rows(first, sizes, rows),
        columns=_columns(second, sizes, max(vectors, ACROSS) * lanes),
        first_weights=Operand("first"),
        second_weights=Operand("second"),
        values=Operand("values"),
        scratch=Operand("scratch"),
        slices=Operand("slices"),
        items=items,
        middle=sizes.middle,
        height=sizes.height,
        width=sizes.width,
        bands=bands,
        blocks=blocks,
        x_outer=sizes.height * sizes.row,
        x_middle=sizes.width,
        out_outer=sizes.height * sizes.row,
        out_middle=sizes.width,
        out_row=sizes.row,
        before=second.before if second else 0,
    )
    taps = sum(line.size if line.how in ("even", "odd", "") else 8 for line in lines)
    cycles = prod(shape) * (taps + 4) / lanes
    order = (first is not None, second is not None)
    return Pass(step, start, start + len(lines), order, scratch, cycles)


def _made(line: Along | None) -> Taps | Window | None:
    if line is None:
        return None
    if line.how in ("even", "odd", ""):
        return Taps(line.size, line.how)
    assert line.how == "mean"  # extremes are not made here
    return Window(line.size)


def _blocks(
    first: Along | None, second: Along | None, rows: int, wide: int, sizes: _Sizes
) -> tuple[int, int]:
    """The most rows and columns of an item."""
    longest = max(line.size for line in (first, second) if line)
    if longest <= SHORT:
        return SHORT_BAND, SHORT_BLOCK
    if longest <= FUSED:
        return BAND, BLOCK
    if first is not None:
        height = -(-min(sizes.height, first.size) // rows) * rows
        return max(BAND, height), 4 * wide
    assert second is not None
    return LONG_BAND, min(max(MIN_LONG_BLOCK, 4 * second.size), MAX_LONG_BLOCK)


def _rows(first: Along | None, sizes: _Sizes, more: int) -> np.ndarray:
    """Where the rows that the band reads begin in their plane, -1 for the constant."""
    numbers = list(range(sizes.height))
    if first is not None:
        span = range(-first.before, sizes.height + first.size - 1 - first.before)
        numbers = Border(first.mode).sources(span, sizes.height)
    found = np.array(numbers + numbers[-1:] * more, np.int64)
    return np.where(found < 0, -1, found * sizes.row)


def _columns(second: Along | None, sizes: _Sizes, more: int) -> np.ndarray:
    """The column that each position reads, -1 for none or for the constant."""
    numbers = list(range(sizes.width))
    if second is not None:
        span = range(-second.before, sizes.width + second.size - 1 - second.before)
        numbers = Border(second.mode).sources(span, sizes.width)
    found = np.array(numbers + [-1] * (more + len(numbers) % 2), np.int32)
    return found if len(found) % 2 == 0 else np.append(found, np.int32(-1))
