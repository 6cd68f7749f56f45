"""Feature maps among arrays of any strides: read and written where they are, or copied.

A map has contiguous channels, and ``pitch`` elements from position to position.
"""

from math import prod

import numpy as np

from faltung.methods.base.correlation import Strides, contiguous
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.copies.stage import rearrange


def map_pitch(shape: tuple[int, ...], strides: Strides) -> int | None:
    """Elements from position to position of (N, C, *space), where that is a map: contiguous
    channels, positions and samples equally far apart.
    """
    if shape[1] > 1 and strides[1] != 1:
        return None
    pitch, inner = None, 1
    places = [(size, strides[i]) for i, size in enumerate(shape) if i != 1]
    for size, stride in reversed(places):
        if size > 1:
            pitch = stride if pitch is None else pitch
            if stride != pitch * inner:
                return None
        inner *= size
    return shape[1] if pitch is None else pitch


def read_map(
    work: Work,
    name: str,
    shape: tuple[int, ...],
    strides: Strides,
    dtype: str,
    compact: bool = False,
) -> Matrix:
    """The array as a map (a ``compact`` one, without gaps), copied unless it is one."""
    pitch = map_pitch(shape, strides)
    if pitch is not None and (not compact or pitch == shape[1]):
        return Matrix(Operand(name), pitch)
    copied = Operand(work.borrow("staged", prod(shape) * np.dtype(dtype).itemsize))
    target = contiguous(shape, True)
    step = rearrange(dtype, shape, Operand(name), strides, copied, target, f"stage {name}")
    work.steps.append(step)
    return Matrix(copied, shape[1])


def target_map(
    work: Work,
    shape: tuple[int, ...],
    strides: Strides,
    dtype: str,
    name: str = "out",
    compact: bool = False,
) -> Matrix:
    """The array to write, or a map in its place (a ``compact`` one, without gaps)."""
    pitch = map_pitch(shape, strides)
    if pitch is not None and (not compact or pitch == shape[1]):
        return Matrix(Operand(name), pitch)
    made = work.borrow("result", prod(shape) * np.dtype(dtype).itemsize)
    return Matrix(Operand(made), shape[1])


def written_map(
    work: Work,
    made: Matrix,
    shape: tuple[int, ...],
    strides: Strides,
    dtype: str,
    name: str = "out",
) -> None:
    """From the map to the array that was asked for."""
    out = Operand(name)
    if made.array != out:
        source = contiguous(shape, True)
        step = rearrange(
            dtype, shape, made.array, source, out, strides, "write result", barrier=True
        )
        work.steps.append(step)
