"""The code of the products of minimal filtering, and of their way back to outputs.

One item is a block of output channels for a range of tiles. For each point the input channels of
the tiles meet the point's weights in the outer product that all methods share; the sums of all
points stay on the stack, in the second-level cache at the most, until the inverse transform turns
them into outputs, adds the bias, and stores what the epilogue says.

``FusedProducts`` transforms the weights on their way into the products, where both happen at every
call. Transformed weights are two or four times as large as the weights, and with hundreds of
channels larger than the caches: to write them and to read them again takes longer than to multiply
by them. Where tiles are so few that the sums of all of them for a block of output channels fit the
cache, a thread takes some blocks, transforms the weights of a few input channels for one of them,
adds their products to the sums at once, and forgets them. So weights are read once, as they are,
and only sums are written. Every sum adds the same products in the same order, some channels at a
time: the bits are the same.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import ClassVar

from faltung.codegen.ir import Index, parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES, PREFETCH_DISTANCE_ITERATIONS
from faltung.methods.base.epilogue import Epilogue, Finish, finished
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments
from faltung.methods.winograd.filter_transform import TransformFilters
from faltung.methods.winograd.tiles import fill_addresses, inputs_of, outputs_of, tile_tables
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
class Products(EpilogueKernel):
    """``sizes``: (m, r) of each axis; ``vectors`` by ``rows`` (all numbers of them that occur) in a
    register tile.

    ``channels``: of the input; ``point_pitch``, ``tile_pitch``: as in ``TransformInput``; ``last``:
    channels of the last block; ``most``: tiles of a range; ``block_major``: all ranges of a block
    are done before the next block, else all blocks of a range before the next range.

    ``ranges``: (first register tile, behind the last one, first tile, behind the last one);
    ``register_tiles``: (number in ``rows``, first tile); ``out_table``: where outputs lie.
    """

    name = "winograd"
    pointers: ClassVar[tuple[str, ...]] = ("v", "u", "bias", "ranges", "register_tiles")
    numbers: ClassVar[tuple[str, ...]] = ("blocks", "range_count", "first", "u_block", "u_point")
    output_numbers = ("batch", "block", "channel")

    dtype: str
    sizes: Sizes
    vectors: int
    rows: tuple[int, ...]
    channels: int
    point_pitch: int
    tile_pitch: int
    last: int
    most: int
    block_major: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        tables = (f"{name}_table" for name in self.outputs)
        tiles = (f"tiles{i}" for i in range(len(self.sizes)))
        return (*pointers, *tables), (*numbers, *tiles)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        sums = self.sums_memory(v)
        places = self.output_memory(v)
        with f.loop("%begin", "%end") as item:
            if self.block_major:
                block, number = f.divmod(item.index, given["range_count"])
            else:
                number, block = f.divmod(item.index, given["blocks"])
            entry = f.at(given["ranges"], f.mul(number, 4), "i64")
            first = f.word(entry, 2)
            u = v.at(given["u"], f.mul(block, given["u_block"]))
            taken = f.word(entry, 0), f.word(entry, 1)
            self.write_products(v, given, taken, first, u, given["v"], sums)
            self.write_outputs(v, given, (first, f.word(entry, 3)), block, sums, places)
        for i, rows in enumerate(self.rows):
            self.write_sums(v.functions, f"sums{i}", rows)
        self.write_inverses(v.functions)

    # Sizes

    def width(self, v: Vectors) -> int:
        """Output channels of a block."""
        return self.vectors * v.lanes

    def sums_length(self, v: Vectors) -> int:
        """Elements of the sums of a tile; not a power of two, which would cause set conflicts."""
        return (prod(inputs_of(self.sizes)) * self.vectors + 1) * v.lanes

    def sums_memory(self, v: Vectors) -> str:
        """Memory on the stack for the sums of a range of tiles."""
        size, align = self.most * self.sums_length(v), max(LINE_BYTES, v.machine.vector_bytes)
        return v.function.value(f"alloca [{size} x {v.element}], align {align}")

    def output_memory(self, v: Vectors) -> list[tuple[str, str]]:
        """What ``write_outputs`` needs, for each array: where outputs that do not exist go, or come
        from, and the addresses.
        """
        f, outputs = v.function, prod(outputs_of(self.sizes))
        trash = f"alloca [{self.width(v)} x {v.element}], align {v.machine.vector_bytes}"
        places = f"alloca [{outputs} x ptr], align 8"
        return [(f.value(trash), f.value(places)) for _ in self.outputs]

    # Products

    def write_products(
        self,
        v: Vectors,
        given: Arguments,
        taken: tuple[Index, Index],
        first: Index,
        u: str,
        inputs: str,
        sums: str,
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        """All points of a range of register tiles, whose first tile is ``first``. ``more``: what
        the functions of their sums are given.
        """
        f = v.function
        with f.loop(0, prod(inputs_of(self.sizes)), runs=True) as point:
            w = v.at(u, f.mul(point.index, given["u_point"]))
            x = v.at(inputs, f.mul(point.index, self.point_pitch))
            to = v.at(sums, f.mul(point.index, self.width(v)))
            with f.loop(*taken, runs=True) as register_tile:
                entry = f.at(given["register_tiles"], f.mul(register_tile.index, 2), "i64")
                tile = f.word(entry, 1)
                arguments = [
                    ("ptr", v.at(x, f.mul(tile, self.tile_pitch))),
                    ("ptr", w),
                    ("ptr", v.at(to, f.mul(f.sub(tile, first), self.sums_length(v)))),
                    *more,
                ]
                names = [f"sums{n}" for n in range(len(self.rows))]
                f.call_one(f.word(entry, 0), names, arguments)

    def write_sums(self, code: Functions, name: str, rows: int, *, some: bool = False) -> None:
        """The sums of one point: ``rows`` tiles by ``vectors`` vectors of output channels.

        ``some``: of some ``channels``, an argument, added to the sums that are there.
        """
        v = code.open(name, parameters(["v", "u", "to"], ["channels"] * some))
        f, columns = v.function, self.vectors
        pitch = self.sums_length(v)
        places = [[p * pitch + q * v.lanes for q in range(columns)] for p in range(rows)]
        begin = zeros(v, rows, columns)
        if some:
            begin = [[v.load(v.at("%to", place)) for place in row] for row in places]
        offsets = [p * self.tile_pitch for p in range(rows)]

        def add(acc: Accumulators, _: str, x: str, w: str) -> Accumulators:
            acc = broadcast_product(v, acc, x, offsets, w)
            ahead = PREFETCH_DISTANCE_ITERATIONS * self.width(v)
            for q in range(0, columns, max(1, LINE_BYTES // v.machine.vector_bytes)):
                f.prefetch(v.at(w, ahead + q * v.lanes))
            return acc

        bounds = 0, "%channels" if some else self.channels
        _, acc = accumulate(v, begin, bounds, [("%v", 1), ("%u", self.width(v))], add, runs=True)
        for row, values in zip(places, acc, strict=True):
            for place, value in zip(row, values, strict=True):
                v.store(value, v.at("%to", place))

    # Outputs

    def write_outputs(
        self,
        v: Vectors,
        given: Arguments,
        tiles: tuple[Index, Index],
        block: str,
        sums: str,
        memory: Sequence[tuple[str, str]],
    ) -> None:
        """The sums of a range of tiles -> their outputs."""
        f, places = v.function, [to for _, to in memory]
        bias = v.at(given["bias"], f.mul(block, self.width(v)))
        with v.walk(*tiles, [(sums, self.sums_length(v))]) as tile:
            number = f.add(tile.index, given["first"])
            self._addresses(v, given, number, block, memory)
            arguments = [("ptr", value) for value in (tile.values[0], bias, *places)]
            arguments += [("i64", given[f"{name}_channel"]) for name in self.outputs[1:]]
            last = f.value(f"icmp eq i64 {f.add(block, 1)}, {given['blocks']}")
            which = f.value(f"zext i1 {last} to i64")
            f.call_one(which, list(self._inverses(v.lanes)), arguments)

    def _addresses(
        self,
        v: Vectors,
        given: Arguments,
        number: str,
        block: str,
        memory: Sequence[tuple[str, str]],
    ) -> None:
        """Where the outputs of a tile lie, in all arrays; what does not exist is written to memory
        of its own, and read from there.
        """
        f, lengths = v.function, outputs_of(self.sizes)
        sample, tables = tile_tables(v, given, lengths, number, "out_table")
        for i, (name, (trash, to)) in enumerate(zip(self.outputs, memory, strict=True)):
            batch, channels = given[f"{name}_batch"], given[f"{name}_block"]
            base = f.add(f.mul(sample, batch), f.mul(block, channels))
            if i:
                _, tables = tile_tables(v, given, lengths, number, f"{name}_table")
            fill_addresses(v, v.at(given[name], base), trash, tables, lengths, to)

    def _inverses(self, lanes: int) -> dict[str, int]:
        """The functions that make outputs, and their channels."""
        width = self.vectors * lanes
        return {"inverse": width} | ({"inverse_last": self.last} if self.last != width else {})

    def write_inverses(self, code: Functions) -> None:
        """The functions that make outputs of the sums of all points of a tile."""
        steps = (f"{name}_channel" for name in self.outputs[1:])
        places = (f"{name}_places" for name in self.outputs)
        arguments = parameters(["sums", "bias", *places], steps)
        for name, channels in self._inverses(code.machine.lanes(self.dtype)).items():
            self._inverse(code.open(name, arguments), channels)

    def _inverse(self, v: Vectors, channels: int) -> None:
        """One of them, for ``channels`` channels of a block."""
        f, matrices = v.function, matrices_of(self.sizes, "at")
        between = stacked(v, scratch(matrices))

        def address(place: Index, array: int) -> str:
            places = f"%{self.outputs[array]}_places"
            return f.value(f"load ptr, ptr {f.at(places, place, 'ptr')}, align 8")

        def vector(first: Index, lanes: int) -> None:
            bias, mask = v.load(v.at("%bias", first)), v.first(lanes)

            def load(place: Index) -> str:
                return v.load(v.at(v.at("%sums", scaled(v, place, self.width(v))), first))

            def store(results: Sequence[tuple[Index, str]]) -> None:
                def sums() -> Iterator[tuple[Finish, str, str | None]]:
                    for place, value in results:
                        at = tuple(
                            v.at(address(place, 1 + i), f.mul(f"%aux{i}_channel", first))
                            for i in range(len(self.outputs) - 1)
                        )
                        end = Finish(v, self.epilogue, self.aux_steps, at)
                        yield end, v.add(value, bias), mask

                for (place, _), total in zip(results, finished(sums(), "channel"), strict=True):
                    v.store_first(total, v.at(address(place, 0), first), lanes)

            nested(v, matrices, load, store, between)

        each_vector(v, channels, vector)


# With weights that are transformed on the way -----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FusedProducts(Products):
    """Items are some blocks of output channels, with all tiles. ``filters``: how weights are
    transformed; ``input_block``: input channels at a time.

    ``u_item``: elements of what an item makes of its weights.
    """

    name = "winograd_fused"
    pointers = (*Products.pointers, "w", "taps")
    numbers = (
        *Products.numbers,
        *("w_block", "w_channel", "w_lane", "channels_out", "u_item", "blocks_per_item", "tiles"),
    )

    filters: TransformFilters
    input_block: int

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        memory = self.sums_memory(v)
        places = self.output_memory(v)
        # No two threads begin with the same item: that one's memory is the thread's.
        u = v.at(given["u"], f.mul("%begin", given["u_item"]))
        count, tiles = given["blocks_per_item"], given["tiles"]
        pitch = f.mul(tiles, self.sums_length(v))
        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, count)
            stop = f.minimum(f.add(first, count), given["blocks"])
            with f.loop(0, f.mul(pitch, count), step=v.lanes) as place:
                v.store(v.zero, v.at(memory, place.index))
            with f.loop(0, self.channels, step=self.input_block, runs=True) as start:
                channels = f.minimum(self.input_block, f.sub(self.channels, start.index))
                with v.walk(first, stop, [(memory, pitch)]) as block:
                    where = block.index, start.index, channels
                    self._add_products(v, given, where, u, block.values[0])
            with v.walk(first, stop, [(memory, pitch)]) as block:
                sums = block.values[0]
                self.write_outputs(v, given, (0, tiles), block.index, sums, places)
        self.filters.write(v.functions)
        for i, rows in enumerate(self.rows):
            self.write_sums(v.functions, f"sums{i}", rows, some=True)
        self.write_inverses(v.functions)

    def _add_products(
        self, v: Vectors, given: Arguments, where: tuple[str, str, str], u: str, to: str
    ) -> None:
        """Add the products of some input channels to the sums of a block. ``where``: the block, the
        first of the channels, and how many they are.
        """
        f, (block, first, channels) = v.function, where
        source = f.add(f.mul(block, given["w_block"]), f.mul(first, given["w_channel"]))
        here: dict[str, Index] = {
            "w": v.at(given["w"], source),
            "to": u,
            "left": f.sub(given["channels_out"], f.mul(block, self.width(v))),
            "channels": channels,
            "point": given["u_point"],
        }
        self.filters.call(v, given | here)
        inputs, entry = v.at(given["v"], first), given["ranges"]
        taken = f.word(entry, 0), f.word(entry, 1)
        more = [("i64", channels)]
        self.write_products(v, given, taken, 0, u, inputs, to, more)
