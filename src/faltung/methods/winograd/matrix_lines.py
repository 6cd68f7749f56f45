"""A constant matrix times vectors, and such matrices along every axis of a block: the transforms of
minimal filtering as code.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.methods.winograd.points import Matrix, Row


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


def straight(v: Vectors, matrices: Sequence[Matrix], values: Sequence[str]) -> list[str]:
    """What ``nested`` makes of a block, all of it in values: for blocks that are small."""
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
    """Vectors that ``nested`` wants in memory between its passes."""
    sizes = [len(matrix[0]) for matrix in matrices]
    total = 0
    for axis in reversed(range(1, len(matrices))):
        sizes[axis] = len(matrices[axis])
        total += prod(sizes)
    return total


def nested(
    v: Vectors,
    matrices: Sequence[Matrix],
    load: Callable[[Index], str],
    store: Callable[[Sequence[tuple[Index, str]]], None],
    between: str,
    behind: int = 1,
) -> None:
    """One matrix along each axis of a block of vectors, the last axis first.

    ``behind``: vectors of each position, neighbours in the block, that stay as they are.
    ``load``: the vector at a position of the block, counted in row order; ``store``: takes pairs
    of such a position of the result and its vector. ``between``: memory for ``scratch`` vectors.
    Lines go by in loops, so that the code stays short; what a line needs is in registers.
    """
    sizes = [len(matrix[0]) for matrix in matrices]
    read = load
    for axis in reversed(range(len(matrices))):
        matrix = matrices[axis]
        outer, inner, taken, made = (
            prod(sizes[:axis]),
            prod(sizes[axis + 1 :]) * behind,
            len(matrix[0]),
            len(matrix),
        )
        sizes[axis] = made
        write = store if axis == 0 else _writer(v, between)
        with ExitStack() as loops:
            o = loops.enter_context(v.function.loop(0, outer)).index if outer > 1 else 0
            i = loops.enter_context(v.function.loop(0, inner)).index if inner > 1 else 0
            values = [read(_place(v, o, i, j, taken, inner)) for j in range(taken)]
            results = product(v, matrix, values)
            write([(_place(v, o, i, j, made, inner), r) for j, r in enumerate(results)])
        if axis:
            read = _reader(v, between)
            between = v.at(between, prod(sizes) * behind * v.lanes)


def _place(v: Vectors, o: Index, i: Index, j: int, size: int, inner: int) -> Index:
    """Position (o, j, i) of a block (outer, size, inner), in row order."""
    f = v.function
    if isinstance(o, int) and isinstance(i, int):
        return (o * size + j) * inner + i
    return f.add(f.add(f.mul(o, size * inner), i), j * inner)


def _reader(v: Vectors, memory: str) -> Callable[[Index], str]:
    return lambda place: v.load(v.at(memory, _lanes(v, place)))


def _writer(v: Vectors, memory: str) -> Callable[[Sequence[tuple[Index, str]]], None]:
    def write(results: Sequence[tuple[Index, str]]) -> None:
        for place, value in results:
            v.store(value, v.at(memory, _lanes(v, place)))

    return write


def _lanes(v: Vectors, place: Index) -> Index:
    return place * v.lanes if isinstance(place, int) else v.function.mul(place, v.lanes)
