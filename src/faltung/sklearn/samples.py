"""Samples as ``fit`` sees them: in an order of their own, so that the caller's does not matter, and
a sample of weight 2 is two samples.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import ArraySource, Subset, kind_of_sample
from faltung.geometry.check import integers, show
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
MOST_AXES = 5  # samples, channels and three of space
# Whole weights are repetitions as long as there are at most so many times the samples then.
MOST_TIMES = 16


def shape_of(x: Array, input_shape: object) -> tuple[int, ...]:
    """The shape of a sample of X. ValueError, TypeError."""
    if input_shape is None:
        if x.ndim > MOST_AXES:
            raise FaltungError(f"X.shape={x.shape}: must be (n, features) or (n, channels, *space)")
        return x.shape[1:]
    shape = integers("input_shape", input_shape)
    if not shape or min(shape) < 1 or len(shape) >= MOST_AXES:
        raise FaltungError(f"input_shape={show(input_shape)}: must be (channels, *space)")
    if prod(shape) != prod(x.shape[1:]):
        raise FaltungError(
            f"input_shape={shape}: is {prod(shape)} numbers, a sample of X has "
            f"{prod(x.shape[1:])}; the two must be the same"
        )
    return shape


def numbers(x: Array, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """X as (n, *shape) in float32. ValueError: too large for it."""
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(x, np.float32).reshape(len(x), *shape)
    if x.dtype.itemsize > 4 and not np.isfinite(made).all():
        raise FaltungError("X: has numbers too large for float32; scale them")
    return made


def in_order(x: Array, y: Array, weights: Array | None) -> tuple[Array, Array | None]:
    """The numbers of the samples to train on, in an order that follows from what the samples are,
    and the weight of each, with a mean of 1; None: all count the same.

    Samples without weight are left out; whole weights repeat their sample.
    """
    marks = [
        blake2b(a.tobytes() + b.tobytes(), digest_size=8).digest()
        for a, b in zip(x, y, strict=True)
    ]
    place = np.frombuffer(b"".join(marks), ">u8")
    if weights is None:
        return np.argsort(place, kind="stable"), None
    order = np.lexsort((weights, place))
    order = order[weights[order] > 0]
    chosen = weights[order]
    if (np.rint(chosen) == chosen).all() and chosen.sum() <= MOST_TIMES * len(x):
        return np.repeat(order, chosen.astype(np.int64)), None
    return order, None if (chosen == chosen[0]).all() else chosen / chosen.mean()


def _mark(x: Array, y: Array) -> int:
    """A number that follows from a sample and its target."""
    return int.from_bytes(blake2b(x.tobytes() + y.tobytes(), digest_size=7).digest(), "big")


def source(
    x: npt.NDArray[np.float32], y: Array, classes: Sequence[str] | None, order: Array
) -> Subset:
    """Samples and targets to train on, in that order. Numbers of X are what they are: never a
    picture's levels.
    """
    made = ArraySource(
        x, y, kind=kind_of_sample(x.ndim - 1), classes=classes, partial=True, scale=1.0
    )
    made.units = replace(made.units, white=None)
    return Subset(made, order)
