"""General powers, with the special cases of IEEE 754.

x**y = e**(y log x), for which the logarithm needs more digits than a number has: the product may be
700, and its absolute error is the relative error of the result. For float32 all is computed in
float64; for float64 the logarithm is the sum of two numbers.
"""

import math

from faltung.codegen.math import FORMATS, exp, log, polynomial, reduced, scaled, split
from faltung.codegen.rounding import trunc, two_product
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

# Of atanh(s) / s = 1 + s**2 / 3 + s**4 q(s**2), up to |s| = 3 - sqrt(8) (minimax).
_SERIES = (
    *(0.199999999999999887, 0.142857142857225794, 0.111111111087624857, 0.0909090943586330899),
    *(0.0769227838726214616, 0.0666816056843054071, 0.0583737145180789973, 0.0599482198076246978),
)
_THIRD = (1 / 3, 1.850371707708594e-17)
# Beyond this exponent everything but 1 is 0 or infinite.
_MOST = 2.0**66


@dataclass(frozen=True)
class _Doubled(Vectors):
    """Vectors of float64 with as many lanes as those of float32."""

    @property
    def lanes(self) -> int:
        return self.machine.lanes("float32")


def pow(v: Vectors, x: str, y: str) -> str:
    """x**y: of a negative x with a whole y only, else NaN; x**0 and 1**y are 1."""
    f, flags = v.function, v.flags

    def both(a: str, b: str) -> str:
        return f.value(f"and {flags} {a}, {b}")

    one, size = v.constant(1.0), v.abs(x)
    made = _wide_power(v, size, y) if v.dtype == "float32" else _power(v, size, y)
    # Also where the exponent is infinite.
    made = v.select(v.compare("oeq", size, one), one, made)
    half = v.mul(y, v.constant(0.5))
    whole = v.compare("oeq", trunc(v, y), y)
    odd = both(whole, v.compare("one", trunc(v, half), half))
    made = v.select(odd, v.copysign(made, x), made)
    negative = both(v.compare("olt", x, v.zero), v.compare("ogt", x, v.constant(-math.inf)))
    broken = both(negative, v.compare("one", trunc(v, y), y))
    made = v.select(broken, v.constant(math.nan), made)
    made = v.select(v.compare("uno", y, y), y, made)
    made = v.select(v.compare("oeq", x, one), one, made)
    return v.select(v.compare("oeq", y, v.zero), one, made)


def _wide_power(v: Vectors, x: str, y: str) -> str:
    """Of float32, x not negative: in float64."""
    w = _Doubled(v.function, v.machine, "float64")
    a, b = (v.function.value(f"fpext {v.type} {each} to {w.type}") for each in (x, y))
    made = exp(w, w.mul(b, log(w, a)))
    return v.function.value(f"fptrunc {w.type} {made} to {v.type}")


def _power(v: Vectors, x: str, y: str) -> str:
    """Of float64, x not negative."""
    form = FORMATS[v.dtype]
    most = v.constant(_MOST)
    bounded = v.max(v.min(y, most), v.neg(most))
    high, low = _log(v, x)
    product, lost = two_product(v, bounded, high)
    lost = v.multiply_add(bounded, low, lost)
    least, largest = map(v.constant, form.exp_range)
    inside = v.compare("olt", v.abs(product), v.constant(max(map(abs, form.exp_range))))
    capped = v.min(v.max(product, least), largest)
    made = scaled(v, *reduced(v, capped, v.select(inside, lost, v.zero)))
    # log 0 and log inf are no numbers that can be multiplied.
    grows = v.compare("ogt", y, v.zero)
    zero, infinity = v.zero, v.constant(math.inf)
    at_zero = v.select(grows, zero, infinity)
    at_infinity = v.select(grows, infinity, zero)
    made = v.select(v.compare("oeq", x, zero), at_zero, made)
    made = v.select(v.compare("oeq", x, infinity), at_infinity, made)
    return v.select(v.compare("uno", x, x), x, made)


def _log(v: Vectors, x: str) -> tuple[str, str]:
    """The logarithm of a positive number as the sum of two: about 68 digits."""
    form = FORMATS[v.dtype]
    tiny = v.compare("olt", x, v.constant(2.0 ** (1 - form.bias)))
    raised = v.constant(2.0 ** (form.digits + 2))
    e, m = split(v, v.select(tiny, v.mul(x, raised), x))
    e = v.select(tiny, v.sub(e, v.constant(form.digits + 2.0)), e)
    two = v.constant(2.0)
    f = v.sub(m, v.constant(1.0))
    # s = f / (2 + f), with what the sum and the quotient lost.
    below = v.add(f, two)
    below_low = v.sub(f, v.sub(below, two))
    s = v.div(f, below)
    high, low = two_product(v, s, below)
    rest = v.sub(v.sub(v.sub(f, high), low), v.mul(s, below_low))
    s_low = v.div(rest, below)
    z, z_low = two_product(v, s, s)
    z_low = v.multiply_add(v.add(s, s), s_low, z_low)
    # What the series adds to 1, in two parts: z / 3, and z**2 q(z).
    third, third_low = two_product(v, z, v.constant(_THIRD[0]))
    third_low = v.add(
        third_low,
        v.add(v.mul(z, v.constant(_THIRD[1])), v.mul(z_low, v.constant(_THIRD[0]))),
    )
    more = v.mul(v.mul(z, z), polynomial(v, z, _SERIES))
    c, c_low = _sum(v, third, more)
    c_low = v.add(c_low, third_low)
    u, u_low = two_product(v, s, c)
    u_low = v.add(u_low, v.add(s_low, v.multiply_add(s, c_low, v.mul(s_low, c))))
    near, near_low = _sum(v, s, u)
    near_low = v.add(near_low, u_low)
    # e ln 2: the first product is exact, and larger.
    far = v.mul(e, v.constant(form.ln2[0]))
    total, total_low = _sum(v, far, v.add(near, near))
    near_low = v.add(near_low, near_low)
    total_low = v.add(total_low, v.multiply_add(e, v.constant(form.ln2[1]), near_low))
    return _sum(v, total, total_low)


def _sum(v: Vectors, a: str, b: str) -> tuple[str, str]:
    """A sum, and what its rounding lost; b is smaller, or a is 0."""
    total = v.add(a, b)
    return total, v.sub(b, v.sub(total, a))
