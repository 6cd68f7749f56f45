"""Complex arrays taken apart, and put together again.

A complex product can be had by three real ones (C. F. Gauss; D. E. Knuth, *The Art of Computer
Programming*, vol. 2, 4.6.4), and so a convolution by three real convolutions. Each of them reads
arrays of its own, *planes*: a sum or difference of the real and the imaginary parts.

``(a + ib)(c + id)``: k1 = (a + b) c, k2 = a (d - c), k3 = b (c + d); real k1 - k3, imaginary
k1 + k2. Where only plain sums of products are wanted there are four: ac, bd, ad, bc.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Operand, Step, table
from faltung.methods.copies.stage import merged

# For each plane the factors, -1, 0 or 1, of the real and of the imaginary part.
Planes = tuple[tuple[int, int], ...]
# Elements of one item of work.
PIECE = 4096
WORDS = ("complex", "planes", "rows", "plane")


@dataclass(frozen=True, slots=True)
class Scheme:
    """Planes of both factors and of a bias, and what the products of the planes make: factors of
    each for the real and for the imaginary part.
    """

    first: Planes
    second: Planes
    bias: Planes
    real: tuple[int, ...]
    imaginary: tuple[int, ...]


THREE = Scheme(
    first=((1, 1), (1, 0), (0, 1)),
    second=((1, 0), (-1, 1), (1, 1)),
    bias=((0, 0), (0, 1), (-1, 0)),
    real=(1, 0, -1),
    imaginary=(1, 1, 0),
)
FOUR = Scheme(
    first=((1, 0), (0, 1), (1, 0), (0, 1)),
    second=((1, 0), (0, 1), (0, 1), (1, 0)),
    bias=((1, 0), (0, 0), (0, 1), (0, 0)),
    real=(1, -1, 0, 0),
    imaginary=(0, 0, 1, 1),
)


def conjugate(planes: Planes) -> Planes:
    """The planes of the conjugate."""
    return tuple((real, -imaginary) for real, imaginary in planes)


@dataclass(frozen=True)
class Parts:
    """``take``: the planes to make of complex numbers, or none; ``join``: the factors of planes
    that make complex numbers.
    """

    dtype: str
    take: Planes
    join: tuple[tuple[int, ...], ...] = ()

    @property
    def symbol(self) -> str:
        return f"{'take' if self.take else 'join'}_parts_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        bases = f.pointer("%words", 0), f.pointer("%words", 1)
        rows, plane = f.pointer("%words", 2), f.word("%words", 3)
        body = self._take if self.take else self._join
        with f.loop("%begin", "%end") as item:
            row = f.at(rows, f.mul(item.index, 3), "i64")
            pairs = v.at(bases[0], f.mul(f.word(row, 0), 2))
            planes, count = v.at(bases[1], f.word(row, 1)), f.word(row, 2)
            whole = f.mul(f.value(f"sdiv i64 {count}, {v.lanes}"), v.lanes)
            with f.loop(0, whole, step=v.lanes) as i:
                body(v, v.at(pairs, f.mul(i.index, 2)), v.at(planes, i.index), plane, None)
            left = f.sub(count, whole)
            with f.when(f.value(f"icmp sgt i64 {left}, 0")):
                body(v, v.at(pairs, f.mul(whole, 2)), v.at(planes, whole), plane, left)
        return str(module)

    def _take(self, v: Vectors, pairs: str, planes: str, plane: str, left: str | None) -> None:
        """A vector of complex numbers; ``left``: how many of them there are, None for all."""
        masks = _masks(v, left)
        low, high = (v.load(v.at(pairs, i * v.lanes), masks[i]) for i in range(2))
        parts = [v.shuffle(low, high, range(i, 2 * v.lanes, 2)) for i in range(2)]
        for i, factors in enumerate(self.take):
            v.store(_sum(v, parts, factors), v.at(planes, v.function.mul(plane, i)), masks[2])

    def _join(self, v: Vectors, pairs: str, planes: str, plane: str, left: str | None) -> None:
        masks = _masks(v, left)
        every = range(len(self.join[0]))
        read = [v.load(v.at(planes, v.function.mul(plane, i)), masks[2]) for i in every]
        parts = [_sum(v, read, factors) for factors in self.join]
        for i in range(2):
            half = range(i * v.lanes // 2, (i + 1) * v.lanes // 2)
            order = [lane for k in half for lane in (k, k + v.lanes)]
            pair = v.shuffle(parts[0], parts[1], order)
            v.store(pair, v.at(pairs, i * v.lanes), masks[i])


def _masks(v: Vectors, left: str | None) -> tuple[str | None, ...]:
    """Of the two vectors of pairs, and of a vector of a plane."""
    if left is None:
        return None, None, None
    twice = v.function.mul(left, 2)
    return v.below(twice), v.below(v.function.sub(twice, v.lanes)), v.below(left)


def _sum(v: Vectors, parts: Sequence[str], factors: Sequence[int]) -> str:
    """Terms in their order, each added or subtracted."""
    total = ""
    for part, factor in zip(parts, factors, strict=True):
        if factor and not total:
            total = part if factor > 0 else v.neg(part)
        elif factor:
            total = v.add(total, part) if factor > 0 else v.sub(total, part)
    return total or v.zero


def parts(
    recipe: Parts,
    shape: Sequence[int],
    numbers: tuple[Operand, Strides],
    planes: tuple[Operand, Strides],
    plane: int,
    title: str,
    *,
    barrier: bool = False,
) -> Step:
    """Between complex ``numbers`` and their ``planes``, ``plane`` elements apart: arrays with their
    strides, in elements.
    """
    sizes, sources, targets = merged(shape, numbers[1], planes[1])
    long = next((i for i in range(len(sizes)) if sources[i] == targets[i] == 1), None)
    rest = [i for i in range(len(sizes)) if i != long]
    count = 1 if long is None else sizes[long]
    starts = np.arange(0, count, PIECE, dtype=np.int64)
    columns = [
        (offsets([sizes[i] for i in rest], [strides[i] for i in rest])[:, None] + starts).ravel()
        for strides in (sources, targets)
    ]
    length = np.minimum(PIECE, count - starts)
    columns.append(np.tile(length, len(columns[0]) // len(length)))
    rows = table(np.stack(columns, axis=1), 3)
    return Step(recipe, len(rows), (numbers[0], planes[0], rows, plane), title, barrier)
