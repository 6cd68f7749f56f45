"""Correlations of any shape, on arrays of any real dtype and any strides."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError
from faltung.geometry.line import Line
from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.filters.shaped import Shaped, Stencil, stencil
from faltung.ops.arguments import Array, address
from faltung.ops.lines import EPSILON, filter_lines
from faltung.ops.run import Recent
from faltung.plan.binding import Region
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

SLOTS = ("x", "out", "weights", "values", "scratch", "slices")
# Of the largest weight: what a product of lines may miss of a kernel for float32.
SEPARABLE = 1e-8
# Taps from which lines are worth finding.
MIN_SEPARABLE_TAPS = 12
# Of an axis along which nothing is read beyond the ends.
NEVER = Border("replicate")
# Layouts of calls that are remembered.
KEPT = 512

Floats = npt.NDArray[np.float64]


def correlate(
    x: Array,
    kernels: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
) -> None:
    """Correlations of one array with ``kernels`` (K, *shape), into K ``outs`` of its shape and of
    one dtype. Output o reads positions o - before ... ``x`` is not empty, and does not overlap any
    of ``outs``.

    Weights that are no larger than the spacing of 1 are left out, as by SciPy. float32 stays
    float32, and kernels that are products of lines are filtered so; sums of all other dtypes are
    float64, in the order of the taps, so that they have SciPy's bits.
    """
    machine, given = current(), (tuple(before), tuple(borders))
    direct = len(outs) == 1 and outs[0].flags.c_contiguous
    key = (
        *(x.shape, x.dtype, outs[0].dtype, direct, kernels.shape),
        *(kernels.tobytes(), *given, machine),
    )
    call = _calls.get(key, lambda: _correlations(x, kernels, *given, outs, machine))
    call(x, outs)


class _Call(Protocol):
    """What filters arrays with the layouts that it was made for."""

    def __call__(self, x: Array, outs: Sequence[Array]) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Together:
    """Several calls, each with some of the outputs."""

    parts: tuple[tuple[_Call, tuple[int, ...]], ...]

    def __call__(self, x: Array, outs: Sequence[Array]) -> None:
        for call, numbers in self.parts:
            call(x, [outs[number] for number in numbers])


@dataclass(frozen=True, slots=True, eq=False)
class _Separable:
    """A kernel that is a product of lines."""

    lines: tuple[Line, ...]

    def __call__(self, x: Array, outs: Sequence[Array]) -> None:
        filter_lines(x, self.lines, outs[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Nothing:
    """A kernel without a tap."""

    def __call__(self, x: Array, outs: Sequence[Array]) -> None:
        outs[0][...] = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Shaped:
    """One step for kernels with the same taps. constants: weights, and the border's value."""

    does: Stencil
    region: Region
    constants: tuple[Array, Array]
    addresses: tuple[int, int]

    def __call__(self, x: Array, outs: Sequence[Array]) -> None:
        x = np.ascontiguousarray(x)
        direct = len(outs) == 1 and outs[0].flags.c_contiguous
        made = outs[0] if direct else np.empty((len(outs), *x.shape), outs[0].dtype)
        threads = threads_to_use() if self.does.cycles >= MIN_PARALLEL_CYCLES else 1
        given = (address(x), address(made), *self.addresses)
        if not self.does.scratch:
            self.region.run((*given, 0, 0), threads)
        else:
            slices = np.array([threads], np.int64)
            with workspace.borrow(self.does.scratch * threads) as block:
                self.region.run((*given, block.address, address(slices)), threads)
        if not direct:
            for out, one in zip(outs, made, strict=True):
                out[...] = one


_calls: Recent[_Call] = Recent(KEPT)
_plans: Recent[tuple[Stencil, Region]] = Recent(KEPT)


def _correlations(
    x: Array,
    kernels: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
    machine: Machine,
) -> _Call:
    """The calls for all kernels: lines, or one for those with the same taps."""
    work = "float32" if x.dtype == outs[0].dtype == np.float32 else "float64"
    parts: list[tuple[_Call, tuple[int, ...]]] = []
    same: dict[bytes, list[int]] = {}
    for number, kernel in enumerate(kernels):
        lines = _lines(kernel, before, borders) if work == "float32" else None
        if lines is None:
            same.setdefault((np.abs(kernel) > EPSILON).tobytes(), []).append(number)
        else:
            parts.append((_Separable(lines), (number,)))
    for numbers in same.values():
        there = np.abs(kernels[numbers[0]]) > EPSILON
        if there.any():
            targets = [outs[number] for number in numbers]
            made = _made(x, there, kernels[numbers], before, borders, targets, work, machine)
            parts.append((made, tuple(numbers)))
        else:
            parts += [(_Nothing(), (number,)) for number in numbers]
    if len(parts) == 1 and len(kernels) == 1:
        return parts[0][0]
    return _Together(tuple(parts))


def _lines(
    kernel: Floats, before: Sequence[int], borders: Sequence[Border]
) -> tuple[Line, ...] | None:
    """Lines of which the kernel is the product; None where it is none, or not worth it."""
    wide = [axis for axis, size in enumerate(kernel.shape) if size > 1]
    if any(border.mode == "constant" and border.value for border in borders):
        return None
    if len(wide) < 2 or kernel.size < MIN_SEPARABLE_TAPS or (np.abs(kernel) <= EPSILON).any():
        return None
    if not np.isfinite(kernel).all():
        return None
    top = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    parts = []
    for axis in range(kernel.ndim):
        index: list[Any] = list(top)
        index[axis] = slice(None)
        parts.append(kernel[tuple(index)] / (kernel[top] if axis != wide[0] else 1.0))
    made = parts[0]
    for part in parts[1:]:
        made = np.multiply.outer(made, part)
    if np.abs(made - kernel).max() > SEPARABLE * abs(kernel[top]):
        return None
    return tuple(
        Line(
            axis, "sum", len(parts[axis]), before[axis], borders[axis], tuple(parts[axis].tolist())
        )
        for axis in wide
    )


def _made(
    x: Array,
    there: npt.NDArray[np.bool_],
    weights: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
    work: str,
    machine: Machine,
) -> _Shaped:
    """The call for kernels with the same taps."""
    reach = [size > 1 or first for size, first in zip(there.shape, before, strict=True)]
    borders = [b if far else NEVER for b, far in zip(borders, reach, strict=True)]
    values = {border.value for border in borders if border.mode == "constant"}
    if len(values) > 1:
        raise FaltungError(f"borders={tuple(borders)}: the constants of all axes must be one")
    modes = tuple(border.mode for border in borders)
    taps = tuple(np.flatnonzero(there).tolist())
    kernel = Shaped(there.shape, taps, tuple(before), modes)
    shape = x.shape
    if x.ndim == 1:  # one row
        kernel = Shaped((1, *there.shape), taps, (0, *before), (NEVER.mode, *modes))
        shape = (1, *x.shape)
    kinds = x.dtype.name, outs[0].dtype.name, work
    key = shape, kinds, kernel, len(outs), machine
    does, region = _plans.get(key, lambda: _planned(shape, *kinds, kernel, len(outs), machine))
    given = np.ascontiguousarray(weights.reshape(len(weights), -1), np.dtype(work))
    if len(does.weights) < given.shape[1]:
        given = np.ascontiguousarray(given[:, does.weights])
    constant = np.array([values.pop() if values else 0.0], np.dtype(work))
    return _Shaped(does, region, (given, constant), (address(given), address(constant)))


def _planned(
    shape: tuple[int, ...],
    source: str,
    target: str,
    work: str,
    kernel: Shaped,
    kernels: int,
    machine: Machine,
) -> tuple[Stencil, Region]:
    made = stencil(shape, source, target, work, kernel, kernels, machine)
    places = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
    return made, Region([made.step], places, machine, len(SLOTS))
