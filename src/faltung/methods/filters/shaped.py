"""Correlations of any shape planned: one step with its tables.

The axes before the last two become one axis of planes, with a table that says where the plane of
each tap is.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.record import dataclass
from faltung.machine.costs import BAND_STACK_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step
from faltung.methods.filters.stencil import StencilKernel

# Taps that are all in the code: of a kernel without gaps, and of others. With more of them LLVM
# loads weights long before they are needed, and keeps them in memory.
CODE_TAPS, MAX_CODE_TAPS = 9, 32
# Rows of a tile and vectors of one, by the registers of the machine; columns of an item, and the
# most rows.
TILES = {16: (4, 2), 32: (4, 3)}
BLOCK, BAND = 384, 32


@dataclass(frozen=True, slots=True)
class Shaped:
    """A kernel of ``shape`` without its numbers: which taps it has, by their numbers in C order."""

    shape: tuple[int, ...]
    taps: tuple[int, ...]
    before: tuple[int, ...]
    modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stencil:
    """A step over ``kernels`` kernels. weights: which taps those of a kernel are. scratch: bytes
    that each thread needs.
    """

    step: Step
    weights: tuple[int, ...]
    scratch: int
    cycles: float


def stencil(
    shape: Sequence[int],
    source: str,
    target: str,
    work: str,
    kernel: Shaped,
    kernels: int,
    machine: Machine,
) -> Stencil:
    """Filter a contiguous array of ``shape``, of two axes or more, with ``kernels`` kernels."""
    *outer, height, width = shape
    *leading, tall, wide = kernel.shape
    lanes, planes = machine.lanes(work), prod(leading)
    positions = prod(kernel.shape)
    code: tuple[int, ...] | str = kernel.taps
    rows, vectors = TILES[32 if machine.registers >= 32 else 16]
    if height == 1:
        rows, vectors = 1, 2 * vectors
    if len(kernel.taps) == positions > CODE_TAPS:
        code, rows = "dense", min(rows, tall)
    elif len(kernel.taps) > MAX_CODE_TAPS:
        code = "listed"
    made = StencilKernel(
        dtype=work,
        source=source,
        target=target,
        shape=(planes, tall, wide),
        taps=code,
        constant=("constant" in kernel.modes[:-1], kernel.modes[-1] == "constant"),
        rows=rows,
        vectors=vectors,
        band=_band(height, rows, planes),
        block=BLOCK,
    )
    scratch = made.bytes(machine)
    if scratch > BAND_STACK_BYTES:
        made = made.in_heap
    else:
        scratch = 0
    bands, blocks = -(-height // made.band), -(-width // made.block)
    items = prod(outer) * bands * blocks
    taps = tuple(range(positions)) if code == "dense" or code == kernel.taps else kernel.taps
    step = made.step(
        items,
        f"correlate {len(kernel.taps)} taps",
        x=Operand("x"),
        out=Operand("out"),
        rows=_rows(kernel, height, width, rows),
        columns=_columns(kernel, width, vectors * lanes),
        values=Operand("values"),
        scratch=Operand("scratch"),
        slices=Operand("slices"),
        planes=_planes(kernel, outer, height * width),
        weights=Operand("weights"),
        offsets=np.array([made.offset(number, lanes) for number in taps], np.int64),
        items=items,
        height=height,
        width=width,
        bands=bands,
        blocks=blocks,
        out_row=width,
        before=kernel.before[-1],
        kernels=kernels,
        taps=len(taps),
        out_kernel=prod(shape),
        out_plane=height * width,
    )
    cycles = prod(shape) * (kernels * len(kernel.taps) + 4) / lanes
    return Stencil(step, taps, scratch, cycles)


def _band(height: int, rows: int, planes: int) -> int:
    """Rows of an item: fewer where each is copied for several planes."""
    most = max(rows, BAND // (1 if planes == 1 else 2) // rows * rows)
    return min(most, -(-height // rows) * rows)


def _planes(kernel: Shaped, outer: Sequence[int], size: int) -> npt.NDArray[np.int64]:
    """Where the plane of each tap begins, for every plane; -1 for the constant."""
    leading = kernel.shape[:-2]
    steps = [prod(outer[axis + 1 :]) * size for axis in range(len(outer))]
    tables = []
    for axis, length in enumerate(outer):
        span = range(-kernel.before[axis], length + leading[axis] - 1 - kernel.before[axis])
        tables.append(Border(kernel.modes[axis]).sources(span, length))
    found = np.zeros((*outer, *leading), np.int64)
    missing = np.zeros((*outer, *leading), bool)
    for axis, table in enumerate(tables):
        windows = np.lib.stride_tricks.sliding_window_view(np.array(table), leading[axis])
        form = [1] * (2 * len(outer))
        form[axis], form[len(outer) + axis] = windows.shape
        found += windows.reshape(form) * steps[axis]
        missing |= windows.reshape(form) < 0
    return np.ascontiguousarray(np.where(missing, -1, found).reshape(-1))


def _rows(kernel: Shaped, height: int, width: int, more: int) -> npt.NDArray[np.int64]:
    span = range(-kernel.before[-2], height + kernel.shape[-2] - 1 - kernel.before[-2])
    found = np.array(Border(kernel.modes[-2]).sources(span, height) + [0] * more, np.int64)
    return np.where(found < 0, -1, found * width)


def _columns(kernel: Shaped, width: int, more: int) -> npt.NDArray[Any]:
    span = range(-kernel.before[-1], width + kernel.shape[-1] - 1 - kernel.before[-1])
    return np.array(Border(kernel.modes[-1]).sources(span, width) + [-1] * more, np.int32)
