"""The arrays of one filter, the same in every process."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from benchmarks.problem import Array

# The largest difference of any entry that is compared, as a share of the largest. Sums of float32
# in another order, or by a transform, have some 1e-6; pictures of 8 bits are truncated after each
# axis by SciPy and rounded by others.
LIMITS = {"float32": 1e-4, "float64": 1e-10, "uint8": 0.025}
# Entries along an axis that are compared: prime, so that all places in a vector or tile occur.
COMPARED = 211


@dataclass(frozen=True)
class FilterProblem:
    """One line of ``filters.FILTERS``."""

    text: str

    @property
    def dask(self) -> bool:
        """Whether the array is one of Dask."""
        return self.text.startswith("dask ")

    @cached_property
    def _words(self) -> list[str]:
        return self.text.removeprefix("dask ").split()

    @property
    def function(self) -> str:
        return self._words[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return _sizes(self._words[1])

    @property
    def dtype(self) -> str:
        return self._words[2]

    @cached_property
    def options(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self._words[3:])

    def whole(self, name: str) -> int:
        """An option that is a number."""
        return int(self.options[name])

    @property
    def limit(self) -> float:
        return LIMITS[self.dtype]

    @property
    def bytes(self) -> int:
        """What is read and written at least."""
        return 2 * prod(self.shape) * np.dtype(self.dtype).itemsize

    @cached_property
    def x(self) -> Array:
        """The whole array; of Dask's, one chunk, which all others repeat."""
        shape = (self.whole("chunks"),) * len(self.shape) if self.dask else self.shape
        rng = np.random.default_rng(0)
        if self.dtype == "uint8":
            return rng.integers(0, 256, shape, np.uint8)
        return rng.standard_normal(shape, np.float32).astype(self.dtype)

    @cached_property
    def kernel(self) -> Array:
        """Random weights whose sum of squares is 1, in the dtype of the array."""
        shape = _sizes(self.options["kernel"])
        weights = np.random.default_rng(1).standard_normal(shape)
        return np.asarray(weights / np.linalg.norm(weights), self.dtype)

    def compared(self, result: Any) -> Array:
        """The entries of a result by which it is compared, as float64."""
        steps = tuple(slice(None, None, max(1, n // COMPARED)) for n in result.shape)
        return np.asarray(result[steps], np.float64)

    def error(self, got: Array, want: Array) -> float:
        """The error of a result against the correct one. ValueError: another shape."""
        if got.shape != want.shape:
            raise ValueError(f"shape={got.shape}: must be {want.shape}")
        return float(np.abs(got - want).max() / np.abs(want).max())


def _sizes(word: str) -> tuple[int, ...]:
    return tuple(map(int, word.split("x")))
