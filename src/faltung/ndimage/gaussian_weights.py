"""Samples of a Gaussian and of its derivatives, as weights of a correlation."""

import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.ndimage.arguments import index


def radius_of(sigma: Any, truncate: Any, radius: Any) -> int:
    """Weights on each side: ``radius``, or as many as ``truncate`` standard deviations reach."""
    if radius is None:
        radius = int(truncate * float(sigma) + 0.5)
    if not isinstance(radius, numbers.Integral) or radius < 0:
        raise FaltungError(f"radius={show(radius)}: Radius must be a nonnegative integer.")
    return int(radius)


def gaussian_weights(sigma: Any, order: Any, radius: int) -> npt.NDArray[np.float64]:
    """Weights of a convolution with the ``order``-th derivative of a Gaussian whose samples sum to
    1. Operations and their order are SciPy's, so that the weights have its bits.

    A derivative is the Gaussian times a polynomial: the one of the next order is
    ``q'(x) - q(x) x / sigma**2``, a matrix that is applied to its coefficients.
    """
    count = index("order", order)
    if count < 0:
        raise FaltungError(f"order={count}: order must be non-negative")
    if not isinstance(sigma, numbers.Real | np.ndarray):
        raise FaltungTypeError(f"sigma={show(sigma)}: must be a number")
    if sigma == 0:
        raise FaltungError(f"sigma={show(sigma)}: must not be 0 along a single axis")
    variance: Any = sigma * sigma
    places = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 / variance * places**2)
    bell = bell / bell.sum()
    if count == 0:
        return np.asarray(bell, np.float64)
    powers = np.arange(count + 1)
    coefficients = np.zeros(count + 1)
    coefficients[0] = 1
    derive = np.diag(powers[1:], 1) + np.diag(np.ones(count) / -variance, -1)
    for _ in range(count):
        coefficients = derive.dot(coefficients)
    return np.asarray((places[:, None] ** powers).dot(coefficients) * bell, np.float64)
