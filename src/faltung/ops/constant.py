"""Padding with a constant: the input with its border, which the convolution then reads as it is.

Where the constant is 0, that is padding with zeros, which needs no border in memory. A constant
is no part of what a gradient for the input or a transposed convolution depend on.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, Literal

import numpy as np

from faltung.geometry.axis import MODES, Mode
from faltung.geometry.check import is_sequence, show
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.geometry.padding import unknown_mode
from faltung.geometry.record import dataclass
from faltung.ops.arguments import Array
from faltung.ops.options import Geometry
from faltung.runtime.memory import require

# The padding mode that is not among those of ``Axis``.
CONSTANT = "constant"
_NAMES = (*MODES, CONSTANT)
_Name = Mode | Literal["constant"]
BorderMode = _Name | Sequence[_Name]


@dataclass(frozen=True, slots=True)
class Constant:
    """What stands beyond the ends of some axes. there: for each axis whether it does there, one
    entry for all axes where the mode was one name.
    """

    value: Any
    there: Sequence[bool]

    def along(self, spec: ConvSpec) -> tuple[bool, ...]:
        """Whether it stands in the padding of each axis."""
        there = list(self.there) * (spec.rank if len(self.there) == 1 else 1)
        return tuple(yes and any(pair) for pair, yes in zip(spec.padding, there, strict=True))

    def read(self, spec: ConvSpec) -> ConvSpec:
        """The convolution that reads an array with the border."""
        given = zip(spec.axes, self.along(spec), strict=True)
        return replace(spec, axes=tuple(a.with_padding if yes else a for a, yes in given))

    def filled(self, x: Array, spec: ConvSpec) -> tuple[Array, ConvSpec]:
        """``x`` (N, C, *space) with the border, and the convolution that reads it."""
        value, there = in_dtype(self.value, x.dtype), self.along(spec)
        pads = [pair if yes else (0, 0) for pair, yes in zip(spec.padding, there, strict=True)]
        if not any(there):
            return x, spec
        made = self.read(spec)
        require(prod(made.input_shape) * x.itemsize, f"padding={show(spec.padding)}")
        try:
            whole = np.full(made.input_shape, value, x.dtype)
        except (ValueError, OverflowError):  # more than an address can say
            raise FaltungMemoryError(
                f"padding={show(spec.padding)}: {made.input_shape} cannot be allocated"
            ) from None
        inside = [slice(lo, lo + size) for (lo, _), size in zip(pads, spec.size, strict=True)]
        whole[(slice(None), slice(None), *inside)] = x
        return whole, made


def constant(geometry: Geometry, value: Any) -> tuple[Geometry, Constant | None]:
    """The geometry with zeros where it says "constant", and the constant; None where it is 0.

    ValueError: a value although no axis is "constant". TypeError: a value that is no number.
    """
    if not isinstance(value, int | float | complex | np.number) or isinstance(value, bool):
        raise FaltungTypeError(f"padding_value={show(value)}: must be a number")
    mode: Any = geometry.padding_mode
    names = list(mode) if is_sequence(mode) else [mode]
    for name in names:
        if isinstance(name, str) and name not in _NAMES:
            raise unknown_mode(mode, name, _NAMES)
    there = [isinstance(name, str) and name == CONSTANT for name in names]
    if not any(there):
        if value == 0:
            return geometry, None
        raise FaltungError(
            f"padding_value={show(value)}: needs padding_mode='constant' for at least one axis; it "
            f"is {show(mode)}"
        )
    zeros: Any = ["zeros" if yes else name for name, yes in zip(names, there, strict=True)]
    made = geometry._replace(padding_mode=tuple(zeros) if is_sequence(mode) else zeros[0])
    return made, None if value == 0 else Constant(value, there)


def in_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    """The value in the dtype of the array. TypeError: complex among real numbers. ValueError: one
    that whole numbers do not hold.
    """
    if np.iscomplexobj(value) and dtype.kind != "c":
        raise FaltungTypeError(f"padding_value={show(value)}: must be real, as x of {dtype} is")
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max or value != int(value):
            raise FaltungError(f"padding_value={show(value)}: must be a whole number of {dtype}")
        return int(value)
    return value
