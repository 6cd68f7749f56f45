"""The code that adds parts of the input: the left sides of all products, for each register tile.

The rows of a tile follow each other, and after them those of the next product: what an item of the
products reads is contiguous.
"""

from collections.abc import Mapping

from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING
from faltung.methods.strassen.algebra import LEFT, PRODUCTS, operands

# Entries of a row of the table of tiles.
TILE = 3


@dataclass(frozen=True)
class SumInputs(Kernel):
    """Items are (sample, register tile). ``levels`` of halving.

    ``tiles``: (number in ``rows`` of the products, first row, rows); ``places``: for each row the
    input offsets of its position in all parts, or MISSING; ``part``: channels of a part;
    ``pitch``: elements from one row of the result to the next.
    """

    name = "strassen_input"
    pointers = ("x", "to", "zeros", "places", "tiles")
    numbers = ("first", "tile_count", "x_batch", "to_batch", "channels", "part", "pitch")

    dtype: str
    levels: int

    def functions(self, code: Functions) -> None:
        self._row(code.open("row", self._parameters))

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            sample, tile = f.divmod(item.index, given["tile_count"])
            to = v.at(given["to"], f.mul(sample, given["to_batch"]))
            self.write_tile(v, given, f.add(sample, given["first"]), tile, to)

    def write_tile(
        self, v: Vectors, given: Mapping[str, str], sample: str, tile: str, to: str
    ) -> None:
        """The sums of a register tile; ``to``: where those of the first tile are."""
        f, parts = v.function, 2**self.levels
        x = v.at(given["x"], f.mul(sample, given["x_batch"]))
        entry = f.at(given["tiles"], f.mul(tile, TILE), "i64")
        first, rows = f.word(entry, 1), f.word(entry, 2)
        product = f.mul(rows, given["pitch"])
        begin = v.at(to, f.mul(f.mul(first, PRODUCTS**self.levels), given["pitch"]))
        with v.walk(0, rows, [(begin, given["pitch"])], runs=True) as row:
            place = f.mul(f.add(first, row.index), parts)
            here = {"to": row.values[0], "product": product}
            for i, name in enumerate(self._rows):
                offset = f.word(given["places"], f.add(place, i))
                none = f.value(f"icmp eq i64 {offset}, {MISSING}")
                there = v.at(x, offset)
                here[name] = f.value(f"select i1 {none}, ptr {given['zeros']}, ptr {there}")
            f.call_with("row", self._parameters, {**given, **here})

    @property
    def _rows(self) -> list[str]:
        return [f"row{i}" for i in range(2**self.levels)]

    @property
    def _parameters(self) -> list[tuple[str, str]]:
        """Of the function "row"."""
        return parameters([*self._rows, "to"], ["channels", "part", "product"])

    def _row(self, v: Vectors) -> None:
        """The function "row": one row of all products."""
        f, parts = v.function, 2**self.levels
        firsts = [f.mul("%part", j) for j in range(parts)]
        # Of the channels of a part, those that all parts have, and that are whole vectors.
        all_have = f.maximum(f.sub("%channels", firsts[-1]), 0)
        whole = v.whole(all_have)
        counts = [f.minimum("%part", f.sub("%channels", first)) for first in firsts]

        def vector(channel: str, masked: bool) -> None:
            masks = [v.below(f.sub(count, channel)) if masked else None for count in counts]
            places = [f.add(first, channel) for first in firsts]
            square = [
                [
                    v.load(v.at(f"%row{i}", place), mask)
                    for place, mask in zip(places, masks, strict=True)
                ]
                for i in range(parts)
            ]
            to = v.at("%to", channel)
            for value in operands(v, LEFT, square):
                v.store(value, to)
                to = v.at(to, "%product")

        with f.loop(0, whole, step=v.lanes) as channel:
            vector(channel.index, False)
        with f.loop(whole, "%part", step=v.lanes) as channel:
            vector(channel.index, True)
