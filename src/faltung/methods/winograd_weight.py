"""The weights, transformed: once for a `Conv`, once a step in training.

In the order (block of output channels, point, input channel, output channel of the block), as the
products read them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Index, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.winograd_input import Sizes, matrices_of
from faltung.methods.winograd_lines import nested, scratch
from faltung.methods.words import Words

WORDS = ("w", "to", "taps", "w_block", "w_channel", "channels_in", "channels_out", "point", "block")


@dataclass(frozen=True)
class TransformWeight:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels in a block.

    Output channels are neighbours in the weight that it reads.
    """

    dtype: str
    sizes: Sizes
    vectors: int

    @property
    def symbol(self) -> str:
        return f"winograd_weight_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        """Items: (block, input channel)."""
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        word = Words(f, WORDS)
        matrices = matrices_of(self.sizes, "g")
        between = f.value(
            f"alloca [{max(1, scratch(matrices))} x {v.type}], align {machine.vector_bytes}"
        )
        width = self.vectors * v.lanes
        with f.loop("%begin", "%end") as item:
            block, channel = f.divmod(item.index, word.number("channels_in"))
            source = f.add(
                f.mul(block, word.number("w_block")), f.mul(channel, word.number("w_channel"))
            )
            target = f.add(f.mul(block, word.number("block")), f.mul(channel, width))
            left = f.sub(word.number("channels_out"), f.mul(block, width))
            w, to = v.at(word.pointer("w"), source), v.at(word.pointer("to"), target)
            taps, point = word.pointer("taps"), word.number("point")
            with f.loop(0, self.vectors, runs=True) as turn:
                first = f.mul(turn.index, v.lanes)
                mask = v.below(f.sub(left, first))

                def load(place: Index) -> str:
                    return v.load(v.at(v.at(w, f.word(taps, place)), first), mask)

                def store(results: Sequence[tuple[Index, str]]) -> None:
                    for place, value in results:
                        v.store(value, v.at(v.at(to, f.mul(point, place)), first))

                nested(v, matrices, load, store, between)
        return str(module)
