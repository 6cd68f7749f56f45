"""Hyperbolic functions and their inverses, from the parts of exp and log.

NaN gives NaN; infinities and zeros of both signs are exact.
"""

import math

from faltung.codegen.math import FORMATS, log1p, polynomial, reduced, scaled
from faltung.codegen.vectors import Vectors

# Coefficients of sinh(x) = x + x**3 q(x**2) below 1 (minimax).
_SINH = {
    "float32": (0.1666666649, 0.00833335065, 0.0001983605579, 2.817501856e-6),
    "float64": (
        *(0.166666666666666674, 0.00833333333333313764, 0.000198412698414385233),
        *(2.7557319155061326e-6, 2.50521234437619684e-8, 1.60572367181534319e-10),
        7.75942506740102296e-13,
    ),
}


def _half_exp(v: Vectors, x: str) -> str:
    """e**|x| / 2, which overflows only where sinh and cosh do."""
    high = FORMATS[v.dtype].exp_range[1] + 2
    return scaled(v, *reduced(v, v.min(v.abs(x), v.constant(high))), more=-1)


def _of_opposite(v: Vectors, half: str) -> str:
    """e**-|x| / 2."""
    return v.div(v.constant(0.25), half)


def sinh(v: Vectors, x: str) -> str:
    """(e**x - e**-x) / 2; below 1 a series, because there the two nearly cancel."""
    half = _half_exp(v, x)
    far = v.copysign(v.sub(half, _of_opposite(v, half)), x)
    z = v.mul(x, x)
    near = v.multiply_add(v.mul(x, z), polynomial(v, z, _SINH[v.dtype]), x)
    return v.select(v.compare("olt", v.abs(x), v.constant(1.0)), near, far)


def cosh(v: Vectors, x: str) -> str:
    """(e**x + e**-x) / 2."""
    half = _half_exp(v, x)
    return v.add(half, _of_opposite(v, half))


def _large(v: Vectors) -> float:
    """From here on the 1 in sqrt(x**2 + 1) is lost."""
    return float(2.0 ** (FORMATS[v.dtype].digits // 2 + 3))


def _log_of_twice(v: Vectors, x: str, large: str, argument: str) -> str:
    """log(1 + argument), and log(2 x) where x is ``large``."""
    value = log1p(v, v.select(large, v.sub(x, v.constant(1.0)), argument))
    return v.add(value, v.select(large, v.constant(math.log(2)), v.zero))


def asinh(v: Vectors, x: str) -> str:
    """log(1 + t) with t = |x| + x**2 / (1 + sqrt(1 + x**2)), and the sign of x."""
    size, one = v.abs(x), v.constant(1.0)
    large = v.compare("ogt", size, v.constant(_large(v)))
    square = v.mul(x, x)
    root = v.sqrt(v.add(square, one))
    t = v.add(size, v.div(square, v.add(root, one)))
    return v.copysign(_log_of_twice(v, size, large, t), x)


def acosh(v: Vectors, x: str) -> str:
    """log(1 + t + sqrt(2 t + t**2)) with t = x - 1; NaN below 1."""
    one = v.constant(1.0)
    large = v.compare("ogt", x, v.constant(_large(v)))
    t = v.sub(x, one)
    root = v.sqrt(v.mul(t, v.add(t, v.constant(2.0))))
    made = _log_of_twice(v, x, large, v.add(t, root))
    return v.select(v.compare("olt", x, one), v.constant(math.nan), made)


def atanh(v: Vectors, x: str) -> str:
    """log(1 + 2 x / (1 - x)) / 2 of |x|, and the sign of x; NaN beyond 1."""
    size = v.abs(x)
    twice = v.add(size, size)
    rest = v.sub(v.constant(1.0), size)
    # Where 1 - x is rounded, it is near 1, and what matters is added to 2 x.
    small = v.multiply_add(twice, v.div(size, rest), twice)
    below = v.compare("olt", size, v.constant(0.5))
    value = log1p(v, v.select(below, small, v.div(twice, rest)))
    value = v.mul(value, v.constant(0.5))
    beyond = v.compare("ogt", size, v.constant(1.0))
    return v.copysign(v.select(beyond, v.constant(math.nan), value), x)
