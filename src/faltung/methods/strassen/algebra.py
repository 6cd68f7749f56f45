"""Strassen's seven products, and the sums before and after them, of any number of levels.

A matrix of a level is cut into quarters. With ``A B = C``:

    P0 = (A11 + A22) (B11 + B22)    C11 = P0 + P3 - P4 + P6
    P1 = (A21 + A22) B11            C12 = P2 + P4
    P2 = A11 (B12 - B22)            C21 = P1 + P3
    P3 = A22 (B21 - B11)            C22 = P0 - P1 + P2 + P5
    P4 = (A11 + A12) B22
    P5 = (A21 - A11) (B11 + B12)
    P6 = (A12 - A22) (B21 + B22)

Each product is made in the same way, one level further down. (V. Strassen, *Gaussian Elimination is
not Optimal*, 1969. Winograd's form of 1971 has 15 sums instead of 18, but longer ones, which round
more; here nearly all of them hide behind loads and stores.)
"""

from collections.abc import Sequence

from faltung.codegen.vectors import Vectors

# The matrices that are added to the first one, and those that are subtracted, as numbers.
Sum = tuple[tuple[int, ...], tuple[int, ...]]
# A square of vectors, one for each part of a matrix.
Square = Sequence[Sequence[str]]

PRODUCTS = 7
# By product, of the quarters 11, 12, 21, 22.
LEFT: tuple[Sum, ...] = (
    ((0, 3), ()),
    ((2, 3), ()),
    ((0,), ()),
    ((3,), ()),
    ((0, 1), ()),
    ((2,), (0,)),
    ((1,), (3,)),
)
RIGHT: tuple[Sum, ...] = (
    ((0, 3), ()),
    ((0,), ()),
    ((1,), (3,)),
    ((2,), (0,)),
    ((3,), ()),
    ((0, 1), ()),
    ((2, 3), ()),
)
# By quarter, of the products.
RESULT: tuple[Sum, ...] = (((0, 3, 6), (4,)), ((2, 4), ()), ((1, 3), ()), ((0, 2, 5), (1,)))


def products(levels: int) -> int:
    """How many there are."""
    return PRODUCTS * products(levels - 1) if levels else 1


def operands(v: Vectors, sums: Sequence[Sum], parts: Square) -> list[str]:
    """The ``LEFT`` or ``RIGHT`` sides of all products, those of one product of the first level
    after the other.
    """
    if len(parts) == 1:
        return [parts[0][0]]
    half = len(parts) // 2
    quarters = [
        [value for row in parts[i : i + half] for value in row[j : j + half]]
        for i in (0, half)
        for j in (0, half)
    ]
    made: list[str] = []
    for each in sums:
        flat = _added(v, each, quarters)
        made += operands(v, sums, [flat[i : i + half] for i in range(0, len(flat), half)])
    return made


def results(v: Vectors, made: Sequence[str]) -> list[list[str]]:
    """All parts of the result, from the products that were ``made``."""
    if len(made) == 1:
        return [list(made)]
    count = len(made) // PRODUCTS
    inner = [results(v, made[i : i + count]) for i in range(0, len(made), count)]
    flat = [[value for row in square for value in row] for square in inner]
    half = len(inner[0])
    quarters = [_added(v, each, flat) for each in RESULT]
    return [
        [*left[i : i + half], *right[i : i + half]]
        for left, right in (quarters[:2], quarters[2:])
        for i in range(0, half * half, half)
    ]


def _added(v: Vectors, each: Sum, matrices: Sequence[Sequence[str]]) -> list[str]:
    """One sum of some matrices, element by element, in order."""
    plus, minus = each
    made = list(matrices[plus[0]])
    for number in plus[1:]:
        made = [v.add(a, b) for a, b in zip(made, matrices[number], strict=True)]
    for number in minus:
        made = [v.sub(a, b) for a, b in zip(made, matrices[number], strict=True)]
    return made
