"""Scales of weights on grids: how many bits the scales have, and how they follow from the weights.

A grid of b bits has the levels -(2^(b-1) - 1) to 2^(b-1) - 1, so that a weight and its opposite are
both on it. Scales have few significant bits themselves: then the products of levels and scales, and
their sums up to 2^24 units, are exact in float32, and every reader of a network computes the same
numbers.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from faltung.graph.value import Follows, Parameter

Array = npt.NDArray[np.floating]

# Significant bits of the scales of weights; activations have ``ACTIVATION_BITS``.
WEIGHT_BITS, ACTIVATION_BITS = 4, 2
# A bias has at most so many units of its grid: with 6 bits of scales they are exact in float32.
MOST_BIAS = 1 << 17
# Parts of the largest weight that a grid of few bits may reach up to: the one with the least
# squared error is taken. From 7 bits on the largest weight is on the grid.
PARTS = tuple(k / 32 for k in range(32, 7, -1))
EXACT_BITS = 7
# The largest whole number in float32 below 2^31: the bounds of a bias.
MOST_INT32 = 2.0**31 - 128


def levels(bits: int) -> int:
    """The largest level of a weight with so many bits."""
    return int((1 << (bits - 1)) - 1)


def rounded_up(x: npt.ArrayLike, bits: int) -> npt.NDArray[np.float64]:
    """The next number with so many significant bits, at least ``x`` in size; zero stays zero."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    whole = np.ceil(np.abs(mantissa) * 2.0**bits) * 2.0**-bits
    return np.asarray(np.copysign(np.ldexp(whole, exponent), x), np.float64)


def followed(
    parameters: Iterable[Parameter], value: Callable[[str], npt.ArrayLike]
) -> dict[str, npt.NDArray[np.float64]]:
    """The scales that follow from the weights as they are now. value: a parameter by its name."""
    made = {}
    for p in parameters:
        if p.follows is not None:
            bias = value(p.follows.bias) if p.follows.bias else None
            made[p.name] = weight_scales(p.follows, value(p.follows.weight), bias)
    return made


def weight_scales(
    how: Follows, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """A scale for each output channel: the levels reach the largest weight, or with few bits as far
    as makes the squared error least, and a bias has not too many of their units.
    """
    w = np.moveaxis(np.asarray(weight, np.float64), how.axis, 0)
    rows = w.reshape(w.shape[0], -1)
    top = levels(how.bits)
    scale = rounded_up(np.abs(rows).max(axis=1, initial=0) / top, WEIGHT_BITS)
    if how.bits < EXACT_BITS:
        scale = _least_error(rows, scale, top)
    if bias is not None:
        least = np.abs(np.asarray(bias, np.float64)) / (how.input_scale * MOST_BIAS)
        scale = np.maximum(scale, rounded_up(least, WEIGHT_BITS))
    return np.where(scale > 2.0**-100, scale, 1.0 / 128)  # of zeros any scale will do


def _least_error(
    rows: npt.NDArray[np.float64], whole: npt.NDArray[np.float64], top: int
) -> npt.NDArray[np.float64]:
    best, least = whole, np.full(len(rows), np.inf)
    for part in PARTS:
        scale = np.where(whole > 0, rounded_up(whole * part, WEIGHT_BITS), 1.0)
        snapped = np.clip(np.rint(rows / scale[:, None]), -top, top) * scale[:, None]
        error = np.square(rows - snapped).sum(axis=1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best
