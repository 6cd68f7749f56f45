"""The labels of a product as axes of a matrix product: entries, rows, columns, and what is summed.

``a="slhd", b="smhd", out="shlm"``: entries s and h (in all three), rows l (in a and out), columns m
(in b and out), and d is summed. Every label has a stride in each array, 0 where the array lacks it,
so that a label which only one operand has may be summed too, and a diagonal is a sum of strides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import Strides


@dataclass(frozen=True, slots=True)
class Dim:
    """An axis of a product with its strides in the arrays: a, b, out, and those of an epilogue."""

    size: int
    steps: Strides

    def within(self, outer: "Dim") -> bool:
        """Whether the two are one axis: every array has the other at the end of this one."""
        pairs = zip(outer.steps, self.steps, strict=True)
        return all(big == small * self.size for big, small in pairs)


@dataclass(frozen=True, slots=True)
class Product:
    """out[e, m, n] = sum over k of a[e, m, k] * b[e, k, n].

    entries: independent products. rows, columns: one axis each. sums: in the order in which they
    are added, the last one fastest.
    """

    entries: tuple[Dim, ...]
    rows: Dim
    columns: Dim
    sums: tuple[Dim, ...]

    @property
    def count(self) -> int:
        """Independent products."""
        return prod(dim.size for dim in self.entries)

    @property
    def length(self) -> int:
        """Terms of a sum."""
        return prod(dim.size for dim in self.sums)

    @property
    def macs(self) -> int:
        return self.count * self.rows.size * self.columns.size * self.length

    def swapped(self) -> "Product":
        """The same with the roles of a and b exchanged: the same sums, in the same order."""

        def turned(dim: Dim) -> Dim:
            a, b, *others = dim.steps
            return Dim(dim.size, (b, a, *others))

        return replace(
            self,
            entries=tuple(map(turned, self.entries)),
            rows=turned(self.columns),
            columns=turned(self.rows),
            sums=tuple(map(turned, self.sums)),
        )


def product(
    labels: Sequence[str],
    strides: Sequence[Sequence[int]],
    sizes: Mapping[str, int],
) -> Product:
    """The product of labelled arrays: a, b, out, and any that an epilogue reads.

    labels: those of the axes of each array. strides: of the same axes, in elements. The arrays of
    an epilogue may lack labels of out, or have strides of 0.
    """
    a, b, out = map(set, labels[:3])

    def dim(label: str) -> Dim:
        steps = tuple(
            sum(step for name, step in zip(names, own, strict=True) if name == label)
            for names, own in zip(labels, strides, strict=True)
        )
        return Dim(sizes[label], steps)

    def dims(names: Iterable[str]) -> list[Dim]:
        return merged(dim(name) for name in dict.fromkeys(names))

    entries = dims(n for n in labels[2] if n in a and n in b)
    rows = dims(n for n in labels[2] if n not in b)
    columns = dims(n for n in labels[2] if n not in a)
    sums = dims(n for n in (*labels[0], *labels[1]) if n not in out)
    unit = Dim(1, (0,) * len(labels))
    row, column = _main(rows, unit), _main(columns, unit)
    outer = [d for d in columns if d is not column] + [d for d in rows if d is not row]
    return Product((*entries, *outer), row, column, tuple(sums) or (unit,))


def merged(dims: Iterable[Dim]) -> list[Dim]:
    """Without axes of one entry, and with neighbours that are one axis as one."""
    made: list[Dim] = []
    for dim in dims:
        if dim.size == 1:
            continue
        if made and dim.within(made[-1]):
            dim = Dim(made.pop().size * dim.size, dim.steps)
        made.append(dim)
    return made


def _main(dims: Sequence[Dim], unit: Dim) -> Dim:
    """The axis that tiles go along: contiguous in the result, or else the longest."""
    return max(dims, key=lambda dim: (dim.steps[2] == 1, dim.size), default=unit)


def split(sizes: Sequence[int], steps: Sequence[int], dims: Sequence[int]) -> Strides | None:
    """The strides of an array of ``sizes`` and ``steps`` seen with other axes ``dims``, the same
    numbers in the same order; None where no strides say that.
    """
    axes = merged(Dim(size, (step,)) for size, step in zip(sizes, steps, strict=True))
    found: list[int] = []
    size, step = 1, 1  # what is left of the axis at hand, and its step
    for dim in reversed(dims):
        if dim == 1:
            found.append(0)
            continue
        if size == 1:
            if not axes:
                return None
            last = axes.pop()
            size, (step,) = last.size, last.steps
        if size % dim:
            return None
        found.append(step)
        size, step = size // dim, step * dim
    return tuple(reversed(found)) if size == 1 and not axes else None
