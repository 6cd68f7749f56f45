"""Minimal filtering F(m, r): the matrices by which m outputs of r taps cost m + r - 1 products.

``y = A^T [(G w) * (B^T x)]``, exact for every x and w. The matrices follow from interpolation:
``G`` and ``A`` evaluate polynomials at the points, ``B^T`` holds the coefficients of the products
of ``x - p`` over all points but one (A. Toom, 1963; S. Cook, 1966; S. Winograd, *Arithmetic
Complexity of Computations*, 1980; A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural
Networks*, 2016). The last point is infinity.

The points decide how much rounding grows. Symmetric pairs cost least (even and odd parts are
shared); 3/2 and 5/8 have half the error of the usual 1 and 2, because no power of a point is large
or small beside the others.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

Row = tuple[float, ...]
Matrix = tuple[Row, ...]

# The finite points by the number of products.
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0),),
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(3, 2), Fraction(-3, 2), Fraction(5, 8), Fraction(-5, 8)),
    8: tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))),
}


@dataclass(frozen=True, slots=True)
class Transform:
    """F(m, r): ``bt`` (alpha, alpha), ``g`` (alpha, r) and ``at`` (m, alpha)."""

    m: int
    r: int
    bt: Matrix
    g: Matrix
    at: Matrix

    @property
    def alpha(self) -> int:
        """Products for ``m`` outputs, and inputs that they read."""
        return self.m + self.r - 1

    def __str__(self) -> str:
        return f"F({self.m},{self.r})"


@cache
def transform(m: int, r: int) -> Transform:
    """F(m, r). ValueError: a number of products, m + r - 1, for which there are no points."""
    alpha = m + r - 1
    if alpha == 1:
        one = ((1.0,),)
        return Transform(1, 1, one, one, one)
    if alpha not in POINTS:
        raise ValueError(f"m={m}, r={r}: m + r - 1 must be one of 1, {', '.join(map(str, POINTS))}")
    points = POINTS[alpha]
    bt, g = [], []
    for point in points:
        others = [p for p in points if p != point]
        scale = Fraction(1)
        for p in others:
            scale *= point - p
        bt.append([*_product(others), Fraction(0)])
        g.append([point**k / scale for k in range(r)])
    bt.append(_product(points))
    g.append([Fraction(int(k == r - 1)) for k in range(r)])
    at = [[*(p**i for p in points), Fraction(int(i == m - 1))] for i in range(m)]
    return Transform(m, r, _floats(bt), _floats(g), _floats(at))


def _product(roots: tuple[Fraction, ...] | list[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all ``x - root``, the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [a - root * b for a, b in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found


def _floats(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(float(entry) for entry in row) for row in rows)
