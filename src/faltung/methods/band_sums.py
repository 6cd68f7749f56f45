"""Sums of bands added up, and stored as a weight's gradient.

Bands are cut by spec and machine and added in their order by one item, so that the bits do not
depend on the number of threads.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.step import Operand, Step, table

WORDS = ("sums", "w", "taps", "blocks", "bands", "band", "width", "w_block", "w_channel")


@dataclass(frozen=True)
class BandSums:
    """``channels``: lanes that exist in a vector; ``beside``: they are neighbours in the weight."""

    dtype: str
    channels: int
    beside: bool

    @property
    def symbol(self) -> str:
        return f"band_sums_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        word = {
            name: f.pointer("%words", i) if i < 3 else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        mask = v.first(self.channels)
        with f.loop("%begin", "%end") as item:
            tap, block = f.divmod(item.index, word["blocks"])
            line = f.add(f.mul(tap, word["width"]), f.mul(block, v.lanes))
            start = [("ptr", v.at(word["sums"], line)), (v.type, v.zero)]
            with f.loop(0, word["bands"], start) as band:
                at, total = band.values
                band.carry([v.at(at, word["band"]), v.add(total, v.load(at))])
            offset = f.add(f.word(word["taps"], tap), f.mul(block, word["w_block"]))
            if self.beside:
                v.store(band.results[1], v.at(word["w"], offset), mask)
            else:
                v.scatter(band.results[1], v.at(word["w"], offset), word["w_channel"], mask)
        return str(module)


def band_sums(
    dtype: str,
    sums: Operand,
    w: Operand,
    bands: int,
    taps: Sequence[Sequence[int]],
    channels: tuple[int, int, int],
    stride: int,
) -> Step:
    """Add ``bands`` bands of (tap, channel) and store them with the channels ``stride`` apart.

    taps: for each axis the offsets of its taps in ``w``. channels: blocks, channels of a block, and
    elements of one tap in ``sums``, in which a block fills its vector.
    """
    blocks, count, width = channels
    offsets = [sum(tap) for tap in itertools.product(*taps)]
    where = table([[offset] for offset in offsets], 1)
    words = (sums, w, where, blocks, bands, len(offsets) * width, width, count * stride, stride)
    recipe = BandSums(dtype, count, stride == 1)
    return Step(recipe, len(offsets) * blocks, words, "add bands", after=True)
