"""The axes of a reduction in as few as possible: those that can be walked as one are merged.

A map of a program is (batch, samples, *space, channels), rows ``pitch`` apart; an operand that is
spread along an axis has stride 0 there. Neighbours that are both kept or both reduced are one axis
where every array agrees.
"""

from collections.abc import Sequence
from math import prod

from faltung.geometry.record import dataclass
from faltung.methods.base.step import Operand


@dataclass(frozen=True, slots=True)
class Strided:
    """An array and for each axis the elements from one entry to the next, 0 where it has but one.

    Of results the reduced axes count for nothing.
    """

    operand: Operand
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis, or several that are walked as one; ``strides``: of every array."""

    size: int
    reduced: bool
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axes:
    """kept, reduced: from the outermost on, without the ``inner`` one, along which all arrays are
    contiguous or stay the same: vectors lie along it.
    """

    kept: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    inner: Axis

    @property
    def outer(self) -> int:
        """How many times the inner axis is kept, or reduced to one number."""
        return prod(axis.size for axis in self.kept)

    @property
    def rows(self) -> int:
        """How many inner axes make one result."""
        return prod(axis.size for axis in self.reduced)


def axes_of(
    sizes: Sequence[int], reduced: Sequence[bool], inputs: Sequence[Strided], out: Strided
) -> Axes:
    """The axes of a reduction; the strides of ``out`` come last in each."""
    found: list[Axis] = []
    for number, (size, flag) in enumerate(zip(sizes, reduced, strict=True)):
        last = 0 if flag else out.strides[number]
        strides = (*(array.strides[number] for array in inputs), last)
        if size == 1:
            continue
        if found and _joins(found[-1], size, flag, strides):
            found[-1] = Axis(found[-1].size * size, flag, strides)
        else:
            found.append(Axis(size, flag, strides))
    inner = found.pop() if found and _contiguous(found[-1]) else None
    inner = inner or Axis(1, False, (*(0,) * len(inputs), 1))
    return Axes(
        tuple(axis for axis in found if not axis.reduced),
        tuple(axis for axis in found if axis.reduced),
        inner,
    )


def _joins(axis: Axis, size: int, reduced: bool, strides: tuple[int, ...]) -> bool:
    pairs = zip(axis.strides, strides, strict=True)
    return axis.reduced == reduced and all(a == b * size for a, b in pairs)


def _contiguous(axis: Axis) -> bool:
    inputs, out = axis.strides[:-1], axis.strides[-1]
    return set(inputs) <= {0, 1} and (axis.reduced or out == 1)


def kept_strides(axes: Sequence[Axis], names: Sequence[str]) -> dict[str, int]:
    """Sizes and strides of kept axes as arguments of a kernel; names: of the arrays."""
    found = {f"kept{j}": axis.size for j, axis in enumerate(axes)}
    for j, axis in enumerate(axes):
        pairs = zip(names, axis.strides, strict=True)
        found |= {f"{name}_kept{j}": stride for name, stride in pairs}
    return found


def merged(lines: Sequence[tuple[int, ...]]) -> tuple[Axis, ...]:
    """Kept axes, each with its size and the strides of all arrays, in as few as possible."""
    found: list[Axis] = []
    for size, *strides in lines:
        if size == 1:
            continue
        if found and _joins(found[-1], size, False, tuple(strides)):
            found[-1] = Axis(found[-1].size * size, False, tuple(strides))
        else:
            found.append(Axis(size, False, tuple(strides)))
    return tuple(found)
