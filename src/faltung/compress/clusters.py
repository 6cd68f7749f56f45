"""Numbers sorted into few: k-means on a line, and k-means that pays for the bits of each value.

S. P. Lloyd, "Least squares quantization in PCM", 1982; P. A. Chou, T. Lookabaugh and R. M. Gray,
"Entropy-constrained vector quantization", 1989. On a line a cluster is an interval, so a round
costs a search for each value in the sorted numbers, however many numbers there are. Few numbers
without a price are sorted best of all ways (X. Z. Wu, "Optimal quantization by matrix searching",
1991, by plain dynamic programming).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]

ROUNDS = 30
EXACT = 400  # numbers at most of which the best clusters are found
_BINS, _A_BIN = 1024, 16  # of the histogram from which k-means begins, and numbers of a bin


@dataclass(frozen=True)
class Line:
    """Numbers in order, and what they add up to from the first on."""

    ordered: Array
    sums: Array

    @classmethod
    def of(cls, values: Array) -> "Line":
        ordered = np.sort(values.reshape(-1).astype(np.float64))
        return cls(ordered, np.concatenate([[0.0], np.cumsum(ordered)]))


@dataclass(frozen=True)
class Clusters:
    """``values`` in order, and how many numbers each has; ``cuts``: where one interval ends and
    the next begins.
    """

    values: Array
    counts: Array
    cuts: Array

    @property
    def bits(self) -> float:
        """Of all numbers, by an ideal code."""
        shares = self.counts / self.counts.sum()
        return float(-(self.counts * np.log2(shares)).sum())

    def index(self, numbers: Array) -> Array:
        """The cluster of each number."""
        return np.searchsorted(self.cuts, numbers.astype(np.float64), side="right")


def clustered(line: Line, most: int, penalty: float = 0.0, zero: bool = True) -> Clusters:
    """At most so many clusters with a small sum of squared distances, plus ``penalty`` for each bit
    of an ideal code of all numbers. ``zero``: one of the values is 0, so that weights can vanish.
    """
    values = _start(line, most, penalty)
    prices = np.zeros(len(values))
    found = _step(line, values, prices, zero)
    for _ in range(ROUNDS):
        prices = penalty * np.log2(len(line.ordered) / found.counts)
        made = _step(line, found.values, prices, zero)
        same = len(made.values) == len(found.values) and (made.values == found.values).all()
        found = made
        if same:
            break
    return found


def _start(line: Line, most: int, penalty: float) -> Array:
    """Where the values begin: with a penalty on an even grid, which is close to the best (H. Gish
    and J. N. Pierce, 1968); without one where the cube root of the density has its quantiles (P. F.
    Panter and W. Dite, 1951).
    """
    low, high = float(line.ordered[0]), float(line.ordered[-1])
    if low == high:
        return np.array([low])
    if penalty > 0:
        return np.linspace(low, high, most)
    if len(line.ordered) <= EXACT:
        return _best(line, most)
    density, edges = np.histogram(line.ordered, max(1, min(_BINS, len(line.ordered) // _A_BIN)))
    cube = np.concatenate([[0.0], np.cumsum(np.cbrt(density))])
    return np.unique(np.interp((np.arange(most) + 0.5) / most * cube[-1], cube, edges))


def _best(line: Line, most: int) -> Array:
    """The means of the clusters with the least sum of squared distances."""
    ordered, count = line.ordered, len(line.ordered)
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    start, end = np.ogrid[:count, : count + 1]
    with np.errstate(all="ignore"):
        spread = (
            squares[end] - squares[start] - (line.sums[end] - line.sums[start]) ** 2 / (end - start)
        )
    spread[end <= start] = np.inf
    least, begins = spread[0], [np.zeros(count + 1, np.int64)]
    for _ in range(1, min(most, len(np.unique(ordered)))):
        table = least[:count, np.newaxis] + spread
        begins.append(table.argmin(0))
        least = np.minimum.reduce(table)
    means, last = [], count
    for row in reversed(begins):
        first = int(row[last])
        means.append((line.sums[last] - line.sums[first]) / (last - first))
        last = first
    return np.unique(means)


def _step(line: Line, values: Array, prices: Array, zero: bool) -> Clusters:
    """Each number to the value that is cheapest for it, then each value to the mean of its own."""
    values, cuts = _cheapest(values, prices)
    ends = np.concatenate([[0], np.searchsorted(line.ordered, cuts), [len(line.ordered)]])
    counts = np.diff(ends)
    used = counts > 0
    means = np.diff(line.sums[ends])[used] / counts[used]
    if zero and means[0] <= 0 <= means[-1]:
        means[np.abs(means).argmin()] = 0.0
    # The cut after a value that is used is that before the next one that is.
    at = np.flatnonzero(used)
    return Clusters(means, counts[used], cuts[at[:-1]] if len(at) > 1 else np.zeros(0))


def _cheapest(values: Array, prices: Array) -> tuple[Array, Array]:
    """Values that are cheapest for some number, and the cuts between them: the lower envelope of
    parabolas (x - value)^2 + price.
    """
    while True:
        gaps = np.diff(values)
        cuts = (values[:-1] + values[1:]) / 2 + np.diff(prices) / (2 * gaps)
        never = np.flatnonzero(cuts[:-1] >= cuts[1:]) + 1
        if not len(never):
            # The first and the last can lose to their neighbours only beyond all numbers.
            return values, cuts
        keep = np.ones(len(values), bool)
        keep[never[np.concatenate([[True], np.diff(never) > 1])]] = False
        values, prices = values[keep], prices[keep]
