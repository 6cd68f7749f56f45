"""Folding: the gradient of padding. What a border was copied from receives what the border
received.

The gradient for the input of a convolution with reflected, replicated, ... borders is taken on the
padded array; then every border entry is added to the entry that it mirrors, one axis after the
other, in place.
"""

from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step, table

# Elements of the inner axes that one item of work adds up.
CHUNK = 1024
WORDS = ("array", "pairs", "pair_count", "inner", "outer_stride", "chunks")


@dataclass(frozen=True)
class Fold:
    dtype: str

    @property
    def symbol(self) -> str:
        return f"fold_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        array, pairs = f.pointer("%words", 0), f.pointer("%words", 1)
        count, inner, stride, chunks = (f.word("%words", i) for i in range(2, 6))
        with f.loop("%begin", "%end") as item:
            outer, chunk = f.divmod(item.index, chunks)
            base = v.at(array, f.mul(outer, stride))
            first = f.mul(chunk, CHUNK)
            last = f.minimum(f.add(first, CHUNK), inner)
            with f.loop(0, count) as pair:
                entry = f.at(pairs, f.mul(pair.index, 2), "i64")
                src, dst = v.at(base, f.word(entry, 0)), v.at(base, f.word(entry, 1))
                with f.loop(first, last, step=v.lanes) as i:
                    mask = v.below(f.sub(last, i.index))
                    here = v.at(dst, i.index)
                    v.store(v.add(v.load(here, mask), v.load(v.at(src, i.index), mask)), here, mask)
        return str(module)


def fold(dtype: str, array: Operand, axis: Axis, outer: int, inner: int) -> Step:
    """Fold one axis of a contiguous array seen as (outer, axis.padded, inner)."""
    pairs = []
    for i in (*range(-axis.lo, 0), *range(axis.size, axis.size + axis.hi)):
        source = axis.source(i)
        if source is not None:
            pairs.append(((i + axis.lo) * inner, (source + axis.lo) * inner))
    chunks = -(-inner // CHUNK)
    words = (array, table(pairs, 2), len(pairs), inner, axis.padded * inner, chunks)
    return Step(Fold(dtype), outer * chunks if pairs else 0, words, "fold borders", barrier=True)
