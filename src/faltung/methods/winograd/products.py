"""The products of minimal filtering, and their way back to outputs, as code.

One item is a block of output channels for a run of tiles. For each point the tiles' lines of input
channels meet the point's weights in the outer product that all methods share; the sums of all
points stay on the stack, in the second-level cache at the most, until the inverse transform makes
outputs of them, adds the bias, and stores what the epilogue says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Function, Index, Module
from faltung.codegen.tile import flat, outer_product, shaped, zeros
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue, Finish
from faltung.methods.base.parameters import Words
from faltung.methods.winograd.input_transform import (
    Sizes,
    count,
    fill_addresses,
    matrices_of,
    tile_tables,
)
from faltung.methods.winograd.matrix_lines import nested, scratch

# Turns of the innermost loop between asking for weights and using them.
FETCH = 12
ADDRESSES = ("v", "u", "out", "bias", "runs", "chunks", "table")
COUNTS = ("blocks", "run_count", "first", "out_batch", "out_block", "u_block", "u_point")


@dataclass(frozen=True)
class Products:
    """``sizes``: (m, r) of each axis; ``vectors`` by ``rows`` (kinds of them) in a tile of sums.

    ``channels``: of the input; ``line``, ``pitch``: as in ``TransformInput``; ``last``: channels of
    the last block; ``most``: tiles of a run; ``wide``: all runs of a block are done before the next
    block, else all blocks of a run before the next run.
    """

    dtype: str
    sizes: Sizes
    vectors: int
    rows: tuple[int, ...]
    channels: int
    line: int
    pitch: int
    last: int
    most: int
    wide: bool
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"winograd_{self.dtype}"

    def words(self) -> tuple[str, ...]:
        """``runs``: (first chunk, behind the last one, first tile, behind the last one);
        ``chunks``: (kind, first tile); ``table``: where outputs lie.
        """
        axes = range(len(self.sizes))
        more = (
            f"aux{i}{name}"
            for i in range(len(self.aux_contiguous))
            for name in ("", "_table", "_batch", "_block", "_channel")
        )
        return (*ADDRESSES, *COUNTS, *(f"tiles{i}" for i in axes), *more)

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        Driver(self, f, Vectors(f, machine, self.dtype), self.words()).emit()
        for number, rows in enumerate(self.rows):
            sums(module, machine, self, rows, f"sums{number}")
        self.emit_inverses(module, machine)
        return str(module)

    def emit_inverses(self, module: Module, machine: Machine) -> None:
        """The functions that make outputs of the sums of a tile."""
        for name, channels in self.inverses(machine).items():
            _inverse(module, machine, self, channels, name)

    def inverses(self, machine: Machine) -> dict[str, int]:
        """The functions that make outputs, and their channels."""
        width = self.vectors * machine.lanes(self.dtype)
        return {"inverse0": width} | ({"inverse1": self.last} if self.last != width else {})

    @property
    def points(self) -> int:
        return count(matrices_of(self.sizes, "bt"))

    @property
    def outputs(self) -> int:
        return count(matrices_of(self.sizes, "at"))

    def tile(self, machine: Machine) -> int:
        """Elements of the sums of a tile; not a power of two, which would meet in the cache."""
        lanes = machine.lanes(self.dtype)
        return (self.points * self.vectors + 1) * lanes


class Driver:
    """What a function over items of ``recipe`` is made of; ``words``: the names of its words."""

    def __init__(self, recipe: Products, f: Function, v: Vectors, words: Sequence[str]) -> None:
        self.recipe, self.f, self.v = recipe, f, v
        self.word = Words(f, words)
        self.width = recipe.vectors * v.lanes
        self.tile = recipe.tile(v.machine)

    def emit(self) -> None:
        """Items -> runs of tiles."""
        f, v, recipe, word = self.f, self.v, self.recipe, self.word
        align = max(64, v.machine.vector_bytes)
        sums = f.value(f"alloca [{recipe.most * self.tile} x {v.element}], align {align}")
        ends = self.memory()
        blocks, runs = word.number("blocks"), word.number("run_count")
        with f.loop("%begin", "%end") as item:
            if recipe.wide:
                block, number = f.divmod(item.index, runs)
            else:
                number, block = f.divmod(item.index, blocks)
            run = f.at(word.pointer("runs"), f.mul(number, 4), "i64")
            first = f.word(run, 2)
            u = v.at(word.pointer("u"), f.mul(block, word.number("u_block")))
            self.products((f.word(run, 0), f.word(run, 1)), first, u, word.pointer("v"), sums)
            self.outputs((first, f.word(run, 3)), block, sums, ends)

    def memory(self) -> tuple[str, str]:
        """What ``outputs`` needs: where goes what does not exist, and where outputs lie."""
        f, v, recipe = self.f, self.v, self.recipe
        trash = f.value(f"alloca [{self.width} x {v.element}], align {v.machine.vector_bytes}")
        arrays = 1 + len(recipe.aux_contiguous)
        return trash, f.value(f"alloca [{arrays * recipe.outputs} x ptr], align 8")

    def outputs(
        self, tiles: tuple[Index, Index], block: str, sums: str, ends: tuple[str, str]
    ) -> None:
        """The sums of a range of tiles -> their outputs."""
        f, v, word = self.f, self.v, self.word
        bias = v.at(word.pointer("bias"), f.mul(block, self.width))
        with f.loop(*tiles, [("ptr", sums)]) as tile:
            self._addresses(f.add(tile.index, word.number("first")), block, *ends)
            self._inverse(block, (tile.values[0], bias, ends[1]))
            tile.carry([v.at(tile.values[0], self.tile)])

    def products(
        self,
        chunks: tuple[Index, Index],
        first: Index,
        u: str,
        lines: str,
        sums: str,
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        """All points of some chunks, whose first tile is ``first``; ``more``: for their kernel."""
        f, v, recipe, word = self.f, self.v, self.recipe, self.word
        with f.loop(0, recipe.points, runs=True) as point:
            w = v.at(u, f.mul(point.index, word.number("u_point")))
            line = v.at(lines, f.mul(point.index, recipe.line))
            to = v.at(sums, f.mul(point.index, self.width))
            with f.loop(*chunks, runs=True) as chunk:
                entry = f.at(word.pointer("chunks"), f.mul(chunk.index, 2), "i64")
                tile = f.word(entry, 1)
                given = [
                    ("ptr", v.at(line, f.mul(tile, recipe.pitch))),
                    ("ptr", w),
                    ("ptr", v.at(to, f.mul(f.sub(tile, first), self.tile))),
                    *more,
                ]

                def case(number: int, given: list[tuple[str, str]] = given) -> None:
                    f.call(f"sums{number}", given)

                f.switch(
                    f.word(entry, 0),
                    [lambda n=n: case(n) for n in range(len(recipe.rows))],  # type: ignore[misc]
                )

    def _addresses(self, number: str, block: str, trash: str, places: str) -> None:
        """Where the outputs of a tile lie, in all arrays; what does not exist is written to
        ``trash``, and read where the tile begins.
        """
        f, v, recipe, word = self.f, self.v, self.recipe, self.word
        names = ("out", *(f"aux{i}" for i in range(len(recipe.aux_contiguous))))
        sizes = [m for m, _ in recipe.sizes]
        sample, tables = tile_tables(f, word, recipe.sizes, number, "m")
        for i, name in enumerate(names):
            base = f.add(
                f.mul(sample, word.number(f"{name}_batch")),
                f.mul(block, word.number(f"{name}_block")),
            )
            if i:
                _, tables = tile_tables(f, word, recipe.sizes, number, "m", f"{name}_table")
            to = f.at(places, i * recipe.outputs, "ptr")
            start = v.at(word.pointer(name), base)
            fill_addresses(f, v.element, start, trash, tables, sizes, to)

    def _inverse(self, block: str, given: Sequence[str]) -> None:
        f, recipe, word = self.f, self.recipe, self.word
        arguments = [("ptr", value) for value in given]
        arguments += [
            ("i64", word.number(f"aux{i}_channel")) for i in range(len(recipe.aux_contiguous))
        ]
        names = list(recipe.inverses(self.v.machine))
        last = f.value(f"icmp eq i64 {f.add(block, 1)}, {word.number('blocks')}")
        which = f.value(f"zext i1 {last} to i64")
        f.switch(which, [lambda n=n: f.call(n, arguments) for n in names])  # type: ignore[misc]


def sums(
    module: Module, machine: Machine, recipe: Products, rows: int, name: str, part: bool = False
) -> None:
    """The sums of one point: ``rows`` tiles by ``vectors`` vectors of output channels.

    ``part``: of some ``channels``, an argument, added to the sums that are there.
    """
    more = [("i64", "channels")] * part
    f = module.function(name, [("ptr", "v"), ("ptr", "u"), ("ptr", "to"), *more])
    v = Vectors(f, machine, recipe.dtype)
    columns = recipe.vectors
    width = columns * v.lanes
    places = [[p * recipe.tile(machine) + q * v.lanes for q in range(columns)] for p in range(rows)]
    begin = zeros(v, rows, columns)
    if part:
        begin = [[v.load(v.at("%to", place)) for place in row] for row in places]
    carried = [("ptr", "%v"), ("ptr", "%u"), *flat(v, begin)]
    with f.loop(0, "%channels" if part else recipe.channels, carried, runs=True) as turn:
        x, w = turn.values[:2]
        acc = outer_product(
            v,
            shaped(turn.values[2:], columns),
            lambda p: v.broadcast(v.at(x, p * recipe.pitch)),
            lambda q: v.load(v.at(w, q * v.lanes)),
        )
        for q in range(0, columns, max(1, 64 // machine.vector_bytes)):
            f.prefetch(v.at(w, FETCH * width + q * v.lanes))
        turn.carry([v.at(x, 1), v.at(w, width), *(value for row in acc for value in row)])
    for row, values in zip(places, shaped(turn.results[2:], columns), strict=True):
        for place, value in zip(row, values, strict=True):
            v.store(value, v.at("%to", place))


def _inverse(module: Module, machine: Machine, recipe: Products, channels: int, name: str) -> None:
    """Sums of all points of a tile -> its outputs, for ``channels`` channels of a block."""
    extra = [("i64", f"aux{i}_channel") for i in range(len(recipe.aux_contiguous))]
    f = module.function(name, [("ptr", "sums"), ("ptr", "bias"), ("ptr", "places"), *extra])
    v = Vectors(f, machine, recipe.dtype)
    matrices = matrices_of(recipe.sizes, "at")
    between = f.value(
        f"alloca [{max(1, scratch(matrices))} x {v.type}], align {machine.vector_bytes}"
    )
    width = recipe.vectors * v.lanes

    def vector(first: Index, lanes: int) -> None:
        bias, mask = v.load(v.at("%bias", first)), v.first(lanes)

        def load(place: Index) -> str:
            at = place * width if isinstance(place, int) else f.mul(place, width)
            return v.load(v.at(v.at("%sums", at), first))

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for place, value in results:
                out, *aux = (
                    f.value(
                        f"load ptr, ptr {f.at('%places', _further(f, place, i, recipe), 'ptr')}, "
                        "align 8"
                    )
                    for i in range(1 + len(recipe.aux_contiguous))
                )
                at = tuple(
                    v.at(start, f.mul(f"%aux{i}_channel", first)) for i, start in enumerate(aux)
                )
                end = Finish(v, recipe.epilogue, recipe.aux_contiguous, at)
                total = end.value(v.add(value, bias), "channel", mask)
                v.store_first(total, v.at(out, first), lanes)

        nested(v, matrices, load, store, between)

    whole, rest = divmod(channels, v.lanes)
    if whole:
        with f.loop(0, whole, runs=True) as turn:
            vector(f.mul(turn.index, v.lanes), v.lanes)
    if rest:
        vector(whole * v.lanes, rest)


def _further(f: Function, place: Index, array: int, recipe: Products) -> Index:
    more = array * recipe.outputs
    return place + more if isinstance(place, int) else f.add(place, more)
