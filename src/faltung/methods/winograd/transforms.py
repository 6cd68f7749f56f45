"""The matrices of minimal filtering F(m, r), and the code that applies them.

With them m outputs of r taps cost m + r - 1 products:
``y = A^T [(G w) * (B^T x)]``, exact for every x and w. The matrices follow from interpolation:
``G`` and ``A`` evaluate polynomials at the points, ``B^T`` holds the coefficients of the products
of ``x - p`` over all points but one (A. Toom, 1963; S. Cook, 1966; S. Winograd, *Arithmetic
Complexity of Computations*, 1980; A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural
Networks*, 2016). The last point is infinity.

The points decide how much rounding grows. Symmetric pairs cost least (even and odd parts are
shared); 3/2 and 5/8 have half the error of the usual 1 and 2, because no power of a point is large
or small beside the others.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from math import prod

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Row = tuple[float, ...]
Matrix = tuple[Row, ...]
# Outputs and taps (m, r) of a tile along each axis.
Sizes = tuple[tuple[int, int], ...]

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
        raise FaltungError(
            f"m={m}, r={r}: m + r - 1 must be one of 1, {', '.join(map(str, POINTS))}"
        )
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


def matrices_of(sizes: Sizes, name: str) -> list[Matrix]:
    """The matrices of the axes that have any: "bt", "g" or "at"."""
    return [getattr(transform(m, r), name) for m, r in sizes if m + r > 2]


def _product(roots: tuple[Fraction, ...] | list[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all ``x - root``, the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [a - root * b for a, b in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found


def _floats(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(float(entry) for entry in row) for row in rows)


# Code ---------------------------------------------------------------------------------------------


def product(v: Vectors, matrix: Matrix, values: Sequence[str]) -> list[str]:
    """``matrix`` (rows, n) times ``n`` vectors, lane by lane.

    Points come in pairs +p and -p. Where two columns are alike up to the sign of every second row,
    sum and difference of their values stand for them; where two rows are alike up to the sign of
    every second column, their even and odd parts are computed once.
    """
    matrix, values = _paired_columns(v, matrix, values)
    made: dict[int, str] = {}
    for i, row in enumerate(matrix):
        if i in made:
            continue
        twin = next((j for j in range(i + 1, len(matrix)) if _twins(row, matrix[j])), None)
        if twin is None:
            made[i] = _dot(v, row, values)
            continue
        even = _dot(v, tuple(c if k % 2 == 0 else 0.0 for k, c in enumerate(row)), values)
        odd_row = [c if k % 2 else 0.0 for k, c in enumerate(row)]
        # By its last coefficient: that of a monic polynomial is one, and costs nothing.
        factor = next(c for c in reversed(odd_row) if c)
        odd = _dot(v, tuple(c / factor for c in odd_row), values)
        made[i] = _plus(v, even, factor, odd)
        made[twin] = _plus(v, even, -factor, odd)
    return [made[i] for i in range(len(matrix))]


def _paired_columns(
    v: Vectors, matrix: Matrix, values: Sequence[str]
) -> tuple[Matrix, Sequence[str]]:
    rows, values = [list(row) for row in matrix], list(values)
    columns = [tuple(row[k] for row in matrix) for k in range(len(values))]
    # Also where only one row has entries, a pair would be found, and nothing be saved.
    free = [k for k, column in enumerate(columns) if sum(map(bool, column)) > 2]
    while free:
        k = free.pop(0)
        twin = next((j for j in free if _twins(columns[k], columns[j])), None)
        if twin is None:
            continue
        free.remove(twin)
        values[k], values[twin] = v.add(values[k], values[twin]), v.sub(values[k], values[twin])
        for i, row in enumerate(rows):
            row[k], row[twin] = (row[k], 0.0) if i % 2 == 0 else (0.0, row[k])
    return tuple(map(tuple, rows)), values


def _twins(a: Row, b: Row) -> bool:
    """Alike in the even entries, opposite in the odd ones, and both of them there."""
    alike = all(p == (q if k % 2 == 0 else -q) for k, (p, q) in enumerate(zip(a, b, strict=True)))
    return alike and any(a[::2]) and any(a[1::2])


def _dot(v: Vectors, row: Row, values: Sequence[str]) -> str:
    """The terms in order, but begun with one whose coefficient is one."""
    terms = [(c, value) for c, value in zip(row, values, strict=True) if c]
    start = next((i for i, (c, _) in enumerate(terms) if c == 1), 0)
    coefficient, value = terms.pop(start)
    total = value if coefficient == 1 else v.mul(value, v.constant(coefficient))
    for coefficient, value in terms:
        total = _plus(v, total, coefficient, value)
    return total


def _plus(v: Vectors, total: str, coefficient: float, value: str) -> str:
    if coefficient == 1:
        return v.add(total, value)
    if coefficient == -1:
        return v.sub(total, value)
    return v.multiply_add(value, v.constant(coefficient), total)


def unrolled(v: Vectors, matrices: Sequence[Matrix], values: Sequence[str]) -> list[str]:
    """What ``nested`` makes of an array, without loops and memory: for small ones."""
    sizes, found = [len(matrix[0]) for matrix in matrices], list(values)
    for axis in reversed(range(len(matrices))):
        matrix, inner = matrices[axis], prod(sizes[axis + 1 :])
        taken, made = len(matrix[0]), len(matrix)
        sizes[axis] = made
        results = [""] * (len(found) // taken * made)
        for o in range(prod(sizes[:axis])):
            for i in range(inner):
                line = [found[(o * taken + j) * inner + i] for j in range(taken)]
                for j, result in enumerate(product(v, matrix, line)):
                    results[(o * made + j) * inner + i] = result
        found = results
    return found


def scratch(matrices: Sequence[Matrix]) -> int:
    """Vectors that ``nested`` needs in memory between two axes."""
    sizes = [len(matrix[0]) for matrix in matrices]
    total = 0
    for axis in reversed(range(1, len(matrices))):
        sizes[axis] = len(matrices[axis])
        total += prod(sizes)
    return total


def moved_vectors(matrices: Sequence[Matrix]) -> int:
    """Vectors that ``nested`` loads and stores."""
    sizes, total = [len(matrix[0]) for matrix in matrices], 0
    for axis in reversed(range(len(sizes))):
        read = prod(sizes)
        sizes[axis] = len(matrices[axis])
        total += read + prod(sizes)
    return total


def stacked(v: Vectors, count: int) -> str:
    """Memory on the stack for ``count`` vectors, but at least one."""
    return v.function.value(f"alloca [{max(1, count)} x {v.type}], align {v.lanes * v.bytes}")


def nested(
    v: Vectors,
    matrices: Sequence[Matrix],
    load: Callable[[Index], str],
    store: Callable[[Sequence[tuple[Index, str]]], None],
    between: str,
    trailing: int = 1,
) -> None:
    """One matrix along each axis of an array of vectors, the last axis first.

    trailing: vectors at each position, contiguous in the array, that stay as they are. load: the
    vector at a position of the array, counted in row order. store: takes pairs of such a position
    of the result and its vector. between: memory for ``scratch`` vectors.
    Loops run over all but one axis, so that the code stays short; the vectors along that axis are
    in registers.
    """
    sizes = [len(matrix[0]) for matrix in matrices]
    read = load
    for axis in reversed(range(len(matrices))):
        matrix = matrices[axis]
        outer, inner = prod(sizes[:axis]), prod(sizes[axis + 1 :]) * trailing
        taken, made = len(matrix[0]), len(matrix)
        sizes[axis] = made
        write = store if axis == 0 else _writer(v, between)
        with ExitStack() as loops:
            o = loops.enter_context(v.function.loop(0, outer)).index if outer > 1 else 0
            i = loops.enter_context(v.function.loop(0, inner)).index if inner > 1 else 0
            values = [read(_place(v, o, i, j, taken, inner)) for j in range(taken)]
            results = product(v, matrix, values)
            write([(_place(v, o, i, j, made, inner), r) for j, r in enumerate(results)])
        if axis:
            read = reader(v, between)
            between = v.at(between, prod(sizes) * trailing * v.lanes)


def _place(v: Vectors, o: Index, i: Index, j: int, size: int, inner: int) -> Index:
    """Position (o, j, i) of an array (outer, size, inner), in row order."""
    f = v.function
    if isinstance(o, int) and isinstance(i, int):
        return (o * size + j) * inner + i
    return f.add(f.add(f.mul(o, size * inner), i), j * inner)


def reader(v: Vectors, memory: str) -> Callable[[Index], str]:
    """Loads the vector at a position of an array in memory."""
    return lambda place: v.load(v.at(memory, scaled(v, place, v.lanes)))


def _writer(v: Vectors, memory: str) -> Callable[[Sequence[tuple[Index, str]]], None]:
    def write(results: Sequence[tuple[Index, str]]) -> None:
        for place, value in results:
            v.store(value, v.at(memory, scaled(v, place, v.lanes)))

    return write


def scaled(v: Vectors, place: Index, by: int) -> Index:
    """``place * by``, a number where ``place`` is one."""
    return place * by if isinstance(place, int) else v.function.mul(place, by)


def each_vector(v: Vectors, channels: int, write: Callable[[Index, int], None]) -> None:
    """``write`` (first channel, lanes that exist) for all vectors of ``channels`` channels."""
    whole, rest = divmod(channels, v.lanes)
    if whole:
        with v.function.loop(0, whole, runs=True) as vector:
            write(v.function.mul(vector.index, v.lanes), v.lanes)
    if rest:
        write(whole * v.lanes, rest)
