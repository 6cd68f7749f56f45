"""The code that adds parts of the weights: the right sides of all products, once for a `Conv`.

In the order (block of output channels, product, input channel, output channel of the block), as the
products read them. Squares of the weights, as many input channels as lanes by one vector of output
channels, are laid on the stack for all parts, transposed in registers where input channels are
contiguous in memory; then the sums are added.
"""

from faltung.codegen.copies import RowMask, transpose_square
from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.strassen.algebra import PRODUCTS, RIGHT, operands

# Input channels of an item: enough to hide its bookkeeping, few enough to balance the threads.
ITEM_CHANNELS = 32
_PARAMETERS = parameters(["w", "to"], ["left", "channels", "w_lane", "w_channel"])


@dataclass(frozen=True)
class SumWeights(Kernel):
    """Items are (block of output channels, ``ITEM_CHANNELS`` input channels of a part).

    ``vectors`` of output channels in a block; ``contiguous`` are "inputs", "outputs" or neither of
    them (""). ``part``, ``part_out``: channels of a part; ``product``: elements from one product to
    the next.
    """

    name = "strassen_weight"
    pointers = ("w", "to")
    numbers = ("w_lane", "w_channel", "channels", "channels_out", "part", "part_out", "product")

    dtype: str
    levels: int
    vectors: int
    contiguous: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f, width, part = v.function, self.vectors * v.lanes, given["part"]
        items = f.value(f"udiv i64 {f.add(part, ITEM_CHANNELS - 1)}, {ITEM_CHANNELS}")
        size = 4**self.levels * v.lanes * v.lanes
        memory = f.value(f"alloca [{size} x {v.element}], align {v.machine.vector_bytes}")
        product = given["product"]
        with f.loop("%begin", "%end") as item:
            block, number = f.divmod(item.index, items)
            first = f.mul(number, ITEM_CHANNELS)
            stop = f.minimum(f.add(first, ITEM_CHANNELS), part)
            begin = f.mul(f.mul(block, PRODUCTS**self.levels), product)
            with (
                f.loop(first, stop, step=v.lanes, runs=True) as at,
                f.loop(0, self.vectors, runs=True) as vector,
            ):
                lane = f.mul(vector.index, v.lanes)
                self._squares(v, given, at.index, f.add(f.mul(block, width), lane), memory)
                place = f.add(begin, f.add(f.mul(at.index, width), lane))
                to, rows = v.at(given["to"], place), f.sub(stop, at.index)
                self._sums(v, memory, to, f.minimum(rows, v.lanes), product)
        self._square(v.functions.open("square", _PARAMETERS))

    def _squares(self, v: Vectors, given: Arguments, row: str, lane: str, memory: str) -> None:
        """Lay the squares of all parts, which begin at input channel ``row`` and output channel
        ``lane`` of each of them.
        """
        f, parts = v.function, 2**self.levels
        with f.loop(0, parts, runs=True) as i, f.loop(0, parts, runs=True) as j:
            first = f.add(f.mul(i.index, given["part"]), row)
            out = f.add(f.mul(j.index, given["part_out"]), lane)
            ends = f.sub(given["part"], row), f.sub(given["channels"], first)
            source = f.add(f.mul(first, given["w_channel"]), f.mul(out, given["w_lane"]))
            number = f.add(f.mul(i.index, parts), j.index)
            here = {
                "w": v.at(given["w"], source),
                "to": v.at(memory, f.mul(number, v.lanes * v.lanes)),
                "left": f.sub(given["channels_out"], out),
                "channels": f.minimum(*ends),
            }
            f.call_with("square", _PARAMETERS, {**given, **here})

    def _square(self, v: Vectors) -> None:
        """The function "square": a vector of output channels for each input channel, zeros where
        there is none; ``left`` and ``channels`` exist.
        """
        f, rows = v.function, range(v.lanes)
        if self.contiguous == "inputs":
            least = f.minimum("%left", "%channels")
            with f.when(f.value(f"icmp slt i64 {least}, {v.lanes}")):
                for i in rows:
                    v.store(v.zero, v.at("%to", i * v.lanes))

            def read(mask: RowMask) -> list[str]:
                found, at = [], "%w"
                for i in rows:
                    found.append(v.load(at, mask(i)))
                    at = v.at(at, "%w_lane")
                return found

            def store(i: int, row: str, mask: str | None) -> None:
                v.store(row, v.at("%to", i * v.lanes))

            transpose_square(v, least, "%channels", read, store, rows="%left")
            return
        mask, at = v.below("%left"), "%w"
        for i in rows:
            here = v.kept(f.value(f"icmp sgt i64 %channels, {i}"), mask)
            outputs = self.contiguous == "outputs"
            row = v.load(at, here) if outputs else v.gather(at, "%w_lane", here)
            v.store(row, v.at("%to", i * v.lanes))
            at = v.at(at, "%w_channel")

    def _sums(self, v: Vectors, memory: str, to: str, rows: str, product: str) -> None:
        """The right sides of all products for some input channels."""
        parts, square = 2**self.levels, v.lanes * v.lanes
        with v.walk(0, rows, [(memory, v.lanes), (to, self.vectors * v.lanes)], runs=True) as row:
            source, target = row.values
            values = [
                [v.load(v.at(source, (i * parts + j) * square)) for j in range(parts)]
                for i in range(parts)
            ]
            for value in operands(v, RIGHT, values):
                v.store(value, target)
                target = v.at(target, product)
