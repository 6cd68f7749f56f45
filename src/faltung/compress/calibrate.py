"""Grids for activations from what a network computes on samples: histograms, and which grid fits.

A histogram grows with what it sees: its range is a power of two, and doubles by adding pairs of
bins. So it is the same for any order of the samples, any batches and any number of threads, and
takes the same memory for one sample as for a million.

A grid with many levels per standard deviation clips what is large, one with few rounds what is
small: "mse" takes the scale with the least squared error over the histogram (as R. Banner, Y.
Nahshan and D. Soudry, *Post training 4-bit quantization of convolutional networks for rapid
deployment*, NeurIPS 2019, do with a formula in its place), "percentile" the finest that clips no
more than a given part of the numbers, "max" none of them (H. Wu, P. Judd, X. Zhang, M. Isaev and P.
Micikevicius, *Integer quantization for deep learning inference: principles and empirical
evaluation*, 2020, compare them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.scales import ACTIVATION_BITS, rounded_up
from faltung.nn.quantise import LARGEST, SMALLEST, Quantise

Array = npt.NDArray[np.float64]
Method = Literal["mse", "percentile", "max"]
METHODS: tuple[Method, ...] = get_args(Method)
# Bins on each side of zero.
BINS = 2048
# The smallest range: what is below it counts as zero.
LEAST_EXPONENT = -40
# Scales that are tried reach over the largest number, and down to one part in so many of it.
FINEST = 32
# Places of the zero point that are tried where the range is larger than the levels reach.
PLACES = 9


class Histogram:
    """How many numbers of which size a value has had. ``positive``, ``negative``: counts of bins of
    equal width from zero to ``2 ** exponent``; numbers that are exactly zero are in ``zeros``.
    """

    def __init__(self) -> None:
        self.exponent = LEAST_EXPONENT
        self.positive = np.zeros(BINS, np.int64)
        self.negative = np.zeros(BINS, np.int64)
        self.zeros = 0
        self.least = self.most = 0.0

    @property
    def count(self) -> int:
        return int(self.positive.sum() + self.negative.sum() + self.zeros)

    def add(
        self, numbers: npt.NDArray[np.floating], ends: tuple[float, float] | None = None
    ) -> None:
        """Count some more, all finite. ends: the least and the most of those that they stand for,
        if that is not themselves.
        """
        x = np.ravel(numbers)
        if not x.size:
            return
        least, most = (float(x.min()), float(x.max())) if ends is None else ends
        self.least, self.most = min(self.least, least), max(self.most, most)
        size = max(most, -least)
        # Below 2 ** exponent, so that the last bin is never left.
        self._grow(int(np.frexp(size)[1]) if size > 0 else LEAST_EXPONENT)
        self._count(x[x > 0], self.positive)
        if least < 0:
            self._count(-x[x < 0], self.negative)
        self.zeros += int(x.size - np.count_nonzero(x))

    def _count(self, sizes: npt.NDArray[np.floating], into: npt.NDArray[np.int64]) -> None:
        # Powers of two: the same bins in every precision.
        places = (sizes * np.asarray(BINS * 2.0**-self.exponent, sizes.dtype)).astype(np.int64)
        into += np.bincount(places, minlength=BINS)

    def _grow(self, exponent: int) -> None:
        while self.exponent < exponent:
            for counts in (self.positive, self.negative):
                counts[: BINS // 2] = counts[::2] + counts[1::2]
                counts[BINS // 2 :] = 0
            self.exponent += 1

    def joined(self, other: Histogram) -> Histogram:
        """Of the numbers of both."""
        made = Histogram()
        made._grow(max(self.exponent, other.exponent))
        for each in (self, other):
            part = Histogram()
            part.exponent = each.exponent
            part.positive, part.negative = each.positive.copy(), each.negative.copy()
            part._grow(made.exponent)
            made.positive += part.positive
            made.negative += part.negative
            made.zeros += each.zeros
        made.least, made.most = min(self.least, other.least), max(self.most, other.most)
        return made

    def numbers(self) -> tuple[Array, Array]:
        """The middles of all bins that have something, and how much."""
        width = 2.0**self.exponent / BINS
        middles = (np.arange(BINS) + 0.5) * width
        x = np.concatenate([-middles[::-1], [0.0], middles])
        n = np.concatenate([self.negative[::-1], [self.zeros], self.positive])
        return x[n > 0], n[n > 0].astype(np.float64)

    @property
    def energy(self) -> float:
        """The sum of all squares."""
        x, n = self.numbers()
        return float(n @ (x * x))


@dataclass(frozen=True, slots=True)
class Choice:
    """How a grid is chosen. part: of the numbers that "percentile" may clip. levels: how many the
    grid has.
    """

    method: Method = "mse"
    part: float = 1e-4
    levels: int = 256


def error(h: Histogram, grid: Quantise) -> float:
    """The sum of the squared errors of a grid."""
    x, n = h.numbers()
    levels = np.clip(np.rint(x / grid.scale), grid.low - grid.zero, grid.high - grid.zero)
    # Within a bin numbers are spread evenly: of those that are rounded the error is that of a level
    # and of those in its middle much less than it, which the width of the bins does not show.
    return float(n @ np.square(x - levels * grid.scale))


def grid_for(h: Histogram, how: Choice) -> Quantise:
    """The grid for what a histogram has counted."""
    x, n = h.numbers()
    reach = max(h.most, -h.least)
    if reach <= 0 or not n.size:
        return Quantise(1.0, zero=0, low=0, high=how.levels - 1)
    candidates = list(_candidates(h, how.levels))
    if how.method == "max":
        return candidates[0]
    if how.method == "percentile":
        most = how.part * n.sum()
        fitting = [grid for grid in candidates if _clipped(x, n, grid) <= most]
        return fitting[-1] if fitting else candidates[0]
    errors = [error(h, grid) for grid in candidates]
    return candidates[int(np.argmin(errors))]


def _clipped(x: Array, n: Array, grid: Quantise) -> float:
    low, high = ((end - grid.zero) * grid.scale for end in (grid.low - 0.5, grid.high + 0.5))
    return float(n[(x < low) | (x > high)].sum())


def _candidates(h: Histogram, levels: int) -> Iterable[Quantise]:
    """Grids from one that reaches over all numbers to ever finer ones."""
    top, span = levels - 1, h.most - h.least
    scale = float(rounded_up(span / top, ACTIVATION_BITS))
    scale = min(max(scale, SMALLEST), LARGEST)
    while -h.least / scale > top or round(-h.least / scale) + round(h.most / scale) > top:
        scale = float(rounded_up(scale * 1.01, ACTIVATION_BITS))  # both ends round away
    first = scale
    while scale >= max(SMALLEST, first / FINEST):
        for zero in _zeros(h, scale, top):
            yield Quantise(scale, zero=zero, low=0, high=top)
        scale = _finer(scale)


def _finer(scale: float) -> float:
    """The next smaller number with as many bits: 3, 2, 1.5, 1, ..."""
    mantissa, exponent = np.frexp(scale)
    step = 2.0 ** (int(exponent) - ACTIVATION_BITS - (mantissa == 0.5))
    return float(scale - step)


def _zeros(h: Histogram, scale: float, top: int) -> Sequence[int]:
    """Levels that may stand for 0: those with which the grid reaches to one of the ends, and some
    between.
    """
    if h.least >= 0:
        return (0,)
    below, above = round(-h.least / scale), round(h.most / scale)
    first, last = sorted((min(below, top), max(0, top - above)))
    if below + above <= top:  # all numbers are within: in the middle
        return ((first + last + 1) // 2 if below + above < top else below,)
    return tuple(dict.fromkeys(np.rint(np.linspace(first, last, PLACES)).astype(int).tolist()))


def checked(method: str, percentile: float) -> Choice:
    """The choice that a caller asks for. ValueError."""
    if method not in METHODS:
        raise FaltungError(f"method={method!r}: must be one of {', '.join(METHODS)}")
    if not 50 < percentile <= 100:
        raise FaltungError(f"percentile={percentile!r}: must be above 50 and at most 100")
    return Choice(method, 1 - percentile / 100)
