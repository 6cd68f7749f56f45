"""The gradient of maxima of planes: each output gradient goes to the place of its maximum.

What it is.  A plane of zeros, then the gradients one by one, in their order, each added where its
  index points. A plane belongs to one item of work, so no two items write the same element.
When it applies.  Planes contiguous and equally far apart; indices that are places in the plane.
What it costs.  A write for each input, an addition for each output, both in a near cache.
"""

from dataclasses import dataclass
from math import prod

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step

POINTERS = ("grad", "index", "target")
WORDS = (*POINTERS, "grad_plane", "index_plane", "target_plane", "outputs", "size")


@dataclass(frozen=True)
class Scatter:
    """One recipe for each dtype; indices are whole numbers as wide as it."""

    dtype: str

    @property
    def symbol(self) -> str:
        return f"pool_scatter_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        word = {
            name: f.pointer("%words", i) if name in POINTERS else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        with f.loop("%begin", "%end") as item:
            at = {
                name: v.at(word[name], f.mul(item.index, word[f"{name}_plane"]))
                for name in POINTERS
            }
            with f.loop(0, f.sub(word["size"], v.lanes - 1), step=v.lanes) as zero:
                v.store(v.zero, v.at(at["target"], zero.index))
            with f.loop(zero.index, word["size"]) as zero:
                to = v.at(at["target"], zero.index)
                f.emit(f"store {v.element} 0.0, ptr {to}, align {v.bytes}")
            with f.loop(0, word["outputs"]) as o:
                place = f.at(at["index"], o.index, v.element)
                number = f.value(f"load i{8 * v.bytes}, ptr {place}, align {v.bytes}")
                if v.bytes < 8:
                    number = f.value(f"sext i32 {number} to i64")
                # Indices come from people: what points outside the plane goes nowhere.
                with f.when(f.value(f"icmp ult i64 {number}, {word['size']}")):
                    to = v.at(at["target"], number)
                    old = f.value(f"load {v.element}, ptr {to}, align {v.bytes}")
                    grad = v.at(at["grad"], o.index)
                    more = f.value(f"load {v.element}, ptr {grad}, align {v.bytes}")
                    total = f.value(f"fadd {v.element} {old}, {more}")
                    f.emit(f"store {v.element} {total}, ptr {to}, align {v.bytes}")
        return str(module)


def planes_max_grad(
    spec: PoolSpec,
    grad: Operand,
    grad_plane: int,
    index: Operand,
    index_plane: int,
    out: Operand,
    out_plane: int,
) -> Step:
    """The step for the gradient of the maxima of planes so many elements apart."""
    words: list[Argument] = [grad, index, out, grad_plane, index_plane, out_plane]
    words += [prod(spec.output), prod(spec.size)]
    items = spec.batch * spec.channels
    return Step(Scatter(spec.dtype), items, words, "max pool gradient of planes")
