"""Folding, the gradient of padding: borders are added to what they were copied from.

The gradient for the input of a convolution with reflected, replicated, ... borders is taken on the
padded array; then every border entry is added to the entry that it mirrors, one axis after the
other, in place.
"""

import numpy as np

from faltung.codegen.vectors import Vectors
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import borders
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Operand, Step, table

# Elements of the inner axes that one item of work adds up.
ITEM_ELEMENTS = 1024


@dataclass(frozen=True)
class FoldKernel(Kernel):
    """Items are entries of the outer axes, each by ``ITEM_ELEMENTS`` of the inner ones."""

    name = "fold"
    pointers = ("array", "pairs")
    numbers = ("pair_count", "inner", "outer_stride", "inner_items")

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            outer, number = f.divmod(item.index, given["inner_items"])
            base = v.at(given["array"], f.mul(outer, given["outer_stride"]))
            first = f.mul(number, ITEM_ELEMENTS)
            last = f.minimum(f.add(first, ITEM_ELEMENTS), given["inner"])
            with f.loop(0, given["pair_count"]) as pair:
                src, dst = v.pair(given["pairs"], pair.index, base, base)
                with f.loop(first, last, step=v.lanes) as i:
                    mask = v.below(f.sub(last, i.index))
                    here = v.at(dst, i.index)
                    v.store(v.add(v.load(here, mask), v.load(v.at(src, i.index), mask)), here, mask)


def fold(dtype: str, array: Operand, axis: Axis, outer: int, inner: int) -> Step:
    """Fold one axis of a contiguous array seen as (outer, axis.padded, inner)."""
    positions, read = borders(axis)
    pairs = (np.stack([positions, read], axis=1)[read >= 0] + axis.lo) * inner
    inner_items = -(-inner // ITEM_ELEMENTS)
    return FoldKernel(dtype).step(
        outer * inner_items if len(pairs) else 0,
        "fold borders",
        barrier=True,
        array=array,
        pairs=table(pairs, 2),
        pair_count=len(pairs),
        inner=inner,
        outer_stride=axis.padded * inner,
        inner_items=inner_items,
    )
