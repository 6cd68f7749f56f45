"""The tile: an outer product held in registers, the inner loop of nearly every method.

``acc[p][q] += a[p] * b[q]`` for rows ``p`` and vectors ``q``. Methods differ in where ``a`` and
``b`` come from; this file knows only how many accumulators a machine can hold, in which order to
write the products, and how a loop carries them.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from functools import cache

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine

Accumulators = list[list[str]]


def budget(machine: Machine) -> int:
    """Accumulators that fit in the registers together with operands, without LLVM spilling any.

    28 of 32, as measured on AVX-512; 12 of 16, and 10 without FMA, where the product needs a
    register.
    """
    if machine.registers >= 32:
        return 28
    return 12 if machine.fma else 10


def unrolled(machine: Machine) -> int:
    """The most products unrolled in one kernel; beyond that, its taps go through a table.

    The limit keeps compilation below 0.1 s. It is lower with few registers or without FMA, where
    LLVM writes two or three instructions per product.
    """
    return 1600 if machine.registers >= 32 and machine.fma else 500


@cache
def rows_for(machine: Machine, vectors: int) -> int:
    """The most rows for tiles of ``vectors`` vectors within the register budget; at least 1."""
    return max(1, budget(machine) // vectors)


def split(length: int, most: int) -> list[tuple[int, int]]:
    """Split ``length`` into the fewest parts of at most ``most``, as (size, count) pairs.

    Sizes differ by at most 1, because a short last tile would be inefficient: with ``most`` 14, 32
    is 11 + 11 + 10.
    """
    parts = -(-length // most)
    if not parts:
        return []
    small, larger = divmod(length, parts)
    return [pair for pair in ((small + 1, larger), (small, parts - larger)) if all(pair)]


def parts(length: int, most: int) -> list[tuple[int, int]]:
    """The parts of ``split`` one by one, as (first, size) pairs."""
    sizes = [size for size, count in split(length, most) for _ in range(count)]
    return list(zip(itertools.accumulate(sizes, initial=0), sizes, strict=False))


def zeros(vectors: Vectors, rows: int, columns: int) -> Accumulators:
    return [[vectors.zero] * columns for _ in range(rows)]


def outer_product(
    vectors: Vectors,
    acc: Accumulators,
    load_a: Callable[[int], str],
    load_b: Callable[[int], str],
    rows: Collection[int] | None = None,
) -> Accumulators:
    """One rank-one update of ``acc``; ``rows`` selects the rows to update (all by default).

    The shorter side is loaded first and kept in registers; each value of the other side is used as
    soon as it is loaded, so one register serves all of them.
    """
    columns = len(acc[0])
    made = [list(row) for row in acc]
    taken = range(len(acc)) if rows is None else sorted(rows)
    if len(taken) < columns:
        a = [load_a(p) for p in taken]
        for q in range(columns):
            b = load_b(q)
            for p, value in zip(taken, a, strict=True):
                made[p][q] = vectors.multiply_add(value, b, made[p][q])
        return made
    held = [load_b(q) for q in range(columns)]
    for p in taken:
        value = load_a(p)
        for q in range(columns):
            made[p][q] = vectors.multiply_add(value, held[q], made[p][q])
    return made


def broadcast_product(
    vectors: Vectors,
    acc: Accumulators,
    a: str,
    offsets: Sequence[Index],
    b: str,
    masks: Sequence[str | None] | None = None,
) -> Accumulators:
    """The update by the elements at ``offsets`` from ``a``, each in every lane, and the contiguous
    vectors from ``b`` on.
    """
    masks = masks or [None] * len(acc[0])
    return outer_product(
        vectors,
        acc,
        lambda p: vectors.broadcast(vectors.at(a, offsets[p])),
        lambda q: vectors.load(vectors.at(b, q * vectors.lanes), masks[q]),
    )


def accumulate(
    vectors: Vectors,
    acc: Accumulators,
    bounds: tuple[Index, Index] | None,
    moving: Sequence[tuple[str, Index]],
    update: Callable[..., Accumulators],
    *,
    step: Index = 1,
    runs: bool = False,
) -> tuple[list[str], Accumulators]:
    """The addresses and the tile after a loop over ``bounds``, or one iteration where that is None.

    ``moving``: pairs of an address and its elements to the next iteration. ``update`` (tile, index,
    addresses): the tile after an iteration.
    """
    f, columns, count = vectors.function, len(acc[0]), len(moving)
    carried = [*(("ptr", address) for address, _ in moving), *flat(vectors, acc)]
    once = f.once(carried)
    with once if bounds is None else f.loop(*bounds, carried, step=step, runs=runs) as loop:
        addresses, values = loop.values[:count], loop.values[count:]
        acc = update(shaped(values, columns), loop.index, *addresses)
        onward = [vectors.at(at, by) for at, (_, by) in zip(addresses, moving, strict=True)]
        loop.carry([*onward, *(value for row in acc for value in row)])
    return loop.results[:count], shaped(loop.results[count:], columns)


def flat(vectors: Vectors, acc: Accumulators) -> list[tuple[str, str]]:
    """The accumulators as (type, value) pairs for ``Function.loop``."""
    return [(vectors.type, value) for row in acc for value in row]


def shaped(values: list[str], columns: int) -> Accumulators:
    """The inverse of ``flat``, from the list of values alone."""
    return [values[i : i + columns] for i in range(0, len(values), columns)]
