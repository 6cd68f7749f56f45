"""Complex arrays taken apart into real ones, and put together again.

A complex product can be had by three real ones (C. F. Gauss; D. E. Knuth, *The Art of Computer
Programming*, vol. 2, 4.6.4), and so a convolution by three real convolutions. Each of them reads
arrays of its own, *parts*: a sum or difference of the real and the imaginary numbers.

``(a + ib)(c + id)``: k1 = (a + b) c, k2 = a (d - c), k3 = b (c + d); real k1 - k3, imaginary
k1 + k2. Where only plain sums of products are wanted there are four: ac, bd, ad, bc.
"""

from collections.abc import Sequence

import numpy as np

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import offset_columns, sums
from faltung.methods.base.correlation import Strides
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Operand, Step, table
from faltung.methods.copies.stage import merged

# For each part the factors, -1, 0 or 1, of the real and of the imaginary number.
Parts = tuple[tuple[int, int], ...]
# Elements of one item of work.
ITEM_ELEMENTS = 4096


@dataclass(frozen=True, slots=True)
class Scheme:
    """Parts of both factors and of a bias, and what the products of the parts make: factors of each
    for the real and for the imaginary number.
    """

    first: Parts
    second: Parts
    bias: Parts
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


def conjugate(parts: Parts) -> Parts:
    """The parts of the conjugate."""
    return tuple((real, -imaginary) for real, imaginary in parts)


@dataclass(frozen=True)
class ComplexPartsKernel(Kernel):
    """``take``: the parts to make of complex numbers, or none; ``join``: the factors of parts that
    make complex numbers.
    """

    pointers = ("complex", "parts", "rows")
    numbers = ("part",)

    dtype: str
    take: Parts
    join: tuple[tuple[int, ...], ...] = ()

    @property
    def symbol(self) -> str:
        return f"{'take' if self.take else 'join'}_parts_{self.dtype}"

    def body(self, v: Vectors, given: Arguments) -> None:
        f, part = v.function, given["part"]
        vector = self._take if self.take else self._join
        with f.loop("%begin", "%end") as item:
            row = f.at(given["rows"], f.mul(item.index, 3), "i64")
            pairs = v.at(given["complex"], f.mul(f.word(row, 0), 2))
            parts, count = v.at(given["parts"], f.word(row, 1)), f.word(row, 2)
            whole = v.whole(count)
            with f.loop(0, whole, step=v.lanes) as i:
                vector(v, v.at(pairs, f.mul(i.index, 2)), v.at(parts, i.index), part, None)
            left = f.sub(count, whole)
            with f.when(f.value(f"icmp sgt i64 {left}, 0")):
                vector(v, v.at(pairs, f.mul(whole, 2)), v.at(parts, whole), part, left)

    def _take(self, v: Vectors, pairs: str, parts: str, part: str, left: str | None) -> None:
        """A vector of complex numbers; ``left``: how many of them there are, None for all."""
        masks = _masks(v, left)
        low, high = (v.load(v.at(pairs, i * v.lanes), masks[i]) for i in range(2))
        read = [v.shuffle(low, high, range(i, 2 * v.lanes, 2)) for i in range(2)]
        for i, factors in enumerate(self.take):
            v.store(_sum(v, read, factors), v.at(parts, v.function.mul(part, i)), masks[2])

    def _join(self, v: Vectors, pairs: str, parts: str, part: str, left: str | None) -> None:
        masks = _masks(v, left)
        every = range(len(self.join[0]))
        read = [v.load(v.at(parts, v.function.mul(part, i)), masks[2]) for i in every]
        made = [_sum(v, read, factors) for factors in self.join]
        for i in range(2):
            half = range(i * v.lanes // 2, (i + 1) * v.lanes // 2)
            order = [lane for k in half for lane in (k, k + v.lanes)]
            v.store(v.shuffle(made[0], made[1], order), v.at(pairs, i * v.lanes), masks[i])


def _masks(v: Vectors, left: str | None) -> tuple[str | None, ...]:
    """Of the two vectors of pairs, and of a vector of a part."""
    if left is None:
        return None, None, None
    twice = v.function.mul(left, 2)
    return v.below(twice), v.below(v.function.sub(twice, v.lanes)), v.below(left)


def _sum(v: Vectors, terms: Sequence[str], factors: Sequence[int]) -> str:
    """Terms in their order, each added or subtracted."""
    total = ""
    for term, factor in zip(terms, factors, strict=True):
        if factor and not total:
            total = term if factor > 0 else v.neg(term)
        elif factor:
            total = v.add(total, term) if factor > 0 else v.sub(total, term)
    return total or v.zero


def complex_parts(
    kernel: ComplexPartsKernel,
    shape: Sequence[int],
    numbers: tuple[Operand, Strides],
    parts: tuple[Operand, Strides],
    part: int,
    title: str,
    *,
    barrier: bool = False,
) -> Step:
    """Between complex ``numbers`` and their ``parts``, ``part`` elements from one to the next:
    arrays with their strides, in elements.
    """
    sizes, sources, targets = merged(shape, numbers[1], parts[1])
    long = next((i for i in range(len(sizes)) if sources[i] == targets[i] == 1), None)
    rest = [i for i in range(len(sizes)) if i != long]
    count = 1 if long is None else sizes[long]
    starts = np.arange(0, count, ITEM_ELEMENTS, dtype=np.int64)
    outer = offset_columns(*([along[i] for i in rest] for along in (sizes, sources, targets)))
    segments = np.stack([starts, starts, np.minimum(ITEM_ELEMENTS, count - starts)], axis=1)
    rows = table(sums([np.insert(outer, 2, 0, axis=1), segments], 3), 3)
    given = {"complex": numbers[0], "parts": parts[0]}
    return kernel.step(len(rows), title, barrier=barrier, rows=rows, part=part, **given)
