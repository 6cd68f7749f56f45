"""Axes of a map as few as they can be, and what operands are along them.

A map has axes (samples, positions, channels), of which the first two may be split further. An
operand that is broadcast has stride 0 along some of them. Axes along which every array goes on as
if they were one are made one, as in NumPy's iterators; what is left is rows of a contiguous axis.
"""

from collections.abc import Sequence
from math import prod

from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """``size`` entries, and for each array the elements from one to the next."""

    size: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normal:
    """samples, rows: the axes of both, the last one of ``rows`` the run; ``channels`` is
    contiguous: its strides are 1 or 0.
    """

    samples: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    channels: Axis


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """Fewer axes, over the same elements in the same order."""
    made: list[Axis] = []
    for axis in axes:
        if axis.size == 1:
            continue
        steps = tuple(stride * axis.size for stride in axis.strides)
        if made and made[-1].strides == steps:
            made[-1] = Axis(made[-1].size * axis.size, axis.strides)
        else:
            made.append(axis)
    return made


def normal(
    samples: Sequence[Axis], rows: Sequence[Axis], channels: Axis, kinds: Sequence[str]
) -> Normal:
    """The normal form. ``kinds``: of sums: "sample" keeps samples apart, and only without it and
    "channel" the channels may be merged with positions.
    """
    still = (0,) * len(channels.strides)
    if {"sample", "channel"} & set(kinds):
        if "sample" in kinds:
            before, after = merged(samples), merged(rows)
        else:
            before, after = [], merged([*samples, *rows])
        return Normal(tuple(before), tuple(after or [Axis(1, still)]), channels)
    every = merged([*samples, *rows, channels])
    last = every.pop() if every and set(every[-1].strides) <= {0, 1} else Axis(1, still)
    return Normal((), tuple(every or [Axis(1, still)]), last)


def pitch_of(axes: Sequence[Axis], array: int, channels: int) -> int | None:
    """From row to row of all axes as if they were one; None where they are not for this array."""
    found: int | None = None
    size = 1
    for axis in reversed(axes):
        if axis.size == 1:
            continue
        if found is None:
            found = axis.strides[array]
        elif axis.strides[array] != found * size:
            return None
        size *= axis.size
    return channels if found is None else found


def kind_of(form: Normal, array: int) -> tuple[str, int]:
    """What an operand is in the normal form, and its pitch where it has one."""
    axes = (*form.samples, *form.rows)
    wide = form.channels.strides[array] or form.channels.size == 1
    pitch = pitch_of(axes, array, form.channels.size)
    if prod(axis.size for axis in axes) == 1:
        return ("full" if form.channels.strides[array] else "scalar"), form.channels.size
    if pitch == 0:
        return ("channel" if form.channels.strides[array] else "scalar"), 0
    if wide and pitch is not None:
        return "full", pitch
    if wide and form.samples and not any(axis.strides[array] for axis in form.rows):
        apart = pitch_of(form.samples, array, form.channels.size)
        if apart is not None:
            return "sample", apart
    runs = form.rows[-1].strides[array] != 0
    if wide:
        return ("map" if runs else "row"), 0
    return ("column" if runs else "one"), 0
