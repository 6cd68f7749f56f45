"""The code that transforms tiles of the input: the first stage of minimal filtering.

The channels of each point of a tile are contiguous, and its points follow each other: a thread that
multiplies them later reads them in order.
"""

from collections.abc import Sequence
from math import prod

from faltung.codegen.ir import Index, parameters
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.winograd.tiles import fill_addresses, inputs_of, tile_tables
from faltung.methods.winograd.transforms import (
    Sizes,
    each_vector,
    matrices_of,
    nested,
    scaled,
    scratch,
    stacked,
)


@dataclass(frozen=True)
class TransformInput(Kernel):
    """Items are tiles. ``sizes``: (m, r) of each axis; ``channels`` of the input; ``tile_pitch``,
    ``point_pitch``: elements from one tile to the next, and from one point of a tile to the next.

    ``first``: the number of the first tile; ``tiles0``, ...: tiles of each axis.
    """

    name = "winograd_input"
    pointers = ("x", "to", "zeros", "table")
    numbers = ("first", "batch")

    dtype: str
    sizes: Sizes
    channels: int
    point_pitch: int
    tile_pitch: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        tiles = tuple(f"tiles{i}" for i in range(len(self.sizes)))
        return self.pointers, (*self.numbers, *tiles)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, inputs = v.function, inputs_of(self.sizes)
        addresses = f.value(f"alloca [{prod(inputs)} x ptr], align 8")
        with f.loop("%begin", "%end") as item:
            number = f.add(item.index, given["first"])
            sample, tables = tile_tables(v, given, inputs, number, "table")
            base = v.at(given["x"], f.mul(sample, given["batch"]))
            fill_addresses(v, base, given["zeros"], tables, inputs, addresses)
            tile = v.at(given["to"], f.mul(item.index, self.tile_pitch))
            f.call("tile", [("ptr", addresses), ("ptr", tile)])
        self._tile(v.functions.open("tile", parameters(["addresses", "to"])))

    def _tile(self, v: Vectors) -> None:
        """The function "tile": all channels of a tile."""
        f, matrices = v.function, matrices_of(self.sizes, "bt")
        between = stacked(v, scratch(matrices))

        def vector(first: Index, lanes: int) -> None:
            def load(place: Index) -> str:
                address = f.value(f"load ptr, ptr {f.at('%addresses', place, 'ptr')}, align 8")
                return v.load(v.at(address, first), v.first(lanes))

            def store(results: Sequence[tuple[Index, str]]) -> None:
                for place, value in results:
                    point = v.at("%to", scaled(v, place, self.point_pitch))
                    v.store(value, v.at(point, first))

            nested(v, matrices, load, store, between)

        each_vector(v, self.channels, vector)
