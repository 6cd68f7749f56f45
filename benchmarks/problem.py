"""The arrays of one problem, the same in every process."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from benchmarks.protocol import FORWARD
from faltung.geometry.conv import ConvSpec
from faltung.geometry.text import parse

Array = np.ndarray[Any, np.dtype[Any]]

# Relative RMS error against float64. Winograd has a few 1e-6, and a naive float32 sum of 10^6 terms
# 4e-5; silent bfloat16 or TF32 would have 1e-3, and a single output among 10^7 that is wrong by its
# own size 3e-4. So the limit separates honest float32 from both.
LIMITS = {"float32": 1e-4, "float64": 1e-11}


@dataclass(frozen=True)
class Problem:
    """One convolution and a direction; arrays are channels first and drawn with a fixed seed.

    x: (N, C_in, *space); weight: (C_out, C_in // groups, *kernel); bias: (C_out,) or None for a
    signal (1>1); grad: (N, C_out, *out).
    """

    text: str
    direction: str = FORWARD

    @cached_property
    def spec(self) -> ConvSpec:
        return parse(self.text)

    @property
    def limit(self) -> float:
        return LIMITS[self.spec.dtype]

    def error(self, got: Array, want: Array) -> float:
        """The error of a result against the correct one. ValueError: another shape."""
        return relative_error(got, want)

    def _draw(self, seed: int, shape: tuple[int, ...], scale: float = 1.0) -> Array:
        dtype = np.float32 if self.spec.dtype == "float32" else np.float64
        values = np.random.default_rng(seed).standard_normal(shape, dtype=dtype)
        return np.asarray(values * dtype(scale), dtype=dtype)

    @cached_property
    def x(self) -> Array:
        return self._draw(1, self.spec.input_shape)

    @cached_property
    def weight(self) -> Array:
        shape = self.spec.weight_shape
        return self._draw(2, shape, prod(shape[1:]) ** -0.5)

    @cached_property
    def bias(self) -> Array | None:
        spec = self.spec
        if spec.channels_in == spec.channels_out == 1:
            return None
        return self._draw(3, (spec.channels_out,))

    @cached_property
    def grad(self) -> Array:
        return self._draw(4, self.spec.output_shape)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        return tuple((axis.lo, axis.hi) for axis in self.spec.axes)

    @property
    def symmetric(self) -> bool:
        return all(lo == hi for lo, hi in self.pads)


def relative_error(got: Array, want: Array) -> float:
    """RMS of the difference, divided by the RMS of ``want``. ValueError: another shape."""
    if got.shape != want.shape:
        raise ValueError(f"shape={got.shape}: the right answer has shape {want.shape}")
    difference = np.subtract(got, want, dtype=np.float64)
    return float(np.sqrt(np.mean(difference**2) / np.mean(want**2)))
