"""The code of integer convolutions: items copy a patch, then go over blocks of output channels.

A tile of some outputs by a few vectors of channels stays in registers while the runs of the sum go
by: each step loads the vectors of weights, and broadcasts the group of levels of each output.
Outputs are where a table says, so tiles are full whatever the shape of a map. What is stored is
made of the sums at once (``store.py``).
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from faltung.codegen.ir import Function, parameters
from faltung.codegen.tile import Accumulators, accumulate, flat, shaped, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.methods.base.kernel import Arguments, Kernel, part
from faltung.methods.base.step import MISSING
from faltung.methods.integer.inner import BYTES, EVERY, PAIRS, Inner, dot, split_levels
from faltung.methods.integer.patch import ROW, ROW_COLUMNS, RUN_COLUMNS, Form
from faltung.methods.integer.store import PATCH, Store

# Columns of the table of chunks: the first row of its patch, and how many; the first run of a row,
# and how many; its shape; where its channels begin in the input; its first block, and how many.
# Behind them where it begins in each array of the output's shape.
CHUNK_COLUMNS = 8
# Of blocks: their kind; where one begins in the weights, in bytes, in the bias, in the patch, in
# bytes, and among the channels of the output; lanes of its vectors.
BLOCK_COLUMNS = 6
# Of tiles: which function, the first position, how many; of spans of these: first, how many.
TILE_COLUMNS, SPAN_COLUMNS = 3, 2


@dataclass(frozen=True, slots=True)
class Tile:
    """``height`` outputs by ``vectors`` vectors, in which so many ``channels`` exist."""

    height: int
    vectors: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class IntegerKernel(Kernel):
    """The frame of items. ``kinds``: how many kinds of blocks there are. unroll: groups of terms in
    an iteration. bits: of a packed weight. ahead: bytes by which weights are fetched before they
    are used; 0: they are not.
    """

    name = "integer"
    pointers: ClassVar[tuple[str, ...]] = (
        *("x", "w", "bias", "patches", "chunks", "rows", "runs", "spans", "tile_table"),
        *("positions", "entries", "blocks"),
    )
    numbers: ClassVar[tuple[str, ...]] = (
        *("inner", "calls", "parts", "patch_bytes"),
        *("entry_count", "run_bytes", "x_channel"),
    )

    dtype: str = "int32"
    product: str
    form: Form
    store: Store
    tiles: tuple[Tile, ...]
    kinds: int
    unroll: int
    bits: int
    ahead: int = 0

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (*self.pointers, *self.store.names), self.numbers

    @property
    def symbol(self) -> str:
        return f"{self.name}_{self.product}"

    @property
    def inner(self) -> Inner:
        return EVERY[self.product]

    @property
    def tile_function(self) -> list[tuple[str, str]]:
        names = ("x", "w", "bias", "entries", "positions", *self.store.names)
        return parameters(names, ["entry_count", "run_bytes"])

    def functions(self, code: Functions) -> None:
        self.form.functions(code)
        for number, tile in enumerate(self.tiles):
            self.tile(code.open(f"tile{number}", self.tile_function), tile)

    def tile(self, v: Vectors, tile: Tile) -> None:
        """Write the function of a tile."""
        raise NotImplementedError

    # Items ---------------------------------------------------------------------------------------

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        first, stop = part(f, given["inner"], given["calls"], "%begin", "%end")
        patch = f.at(given["patches"], f.mul("%begin", given["patch_bytes"]), "i8")
        with f.loop(first, stop, [("i64", "-1")]) as item:
            number, share = f.divmod(item.index, given["parts"])
            columns = CHUNK_COLUMNS + len(self.store.names)
            chunk = f.at(given["chunks"], f.mul(number, columns), "i64")
            with f.when(f.value(f"icmp ne i64 {number}, {item.values[0]}")):
                self._patch(f, given, chunk, patch)
            item.carry([number])
            self._blocks(f, given, chunk, patch, share)

    def _patch(self, f: Function, given: Arguments, chunk: str, patch: str) -> None:
        """Copy the rows of a chunk."""
        begin, x = f.word(chunk, 0), f.at(given["x"], f.word(chunk, 5), "i8")
        runs = f.at(given["runs"], f.mul(f.word(chunk, 2), RUN_COLUMNS), "i64")
        with f.loop(begin, f.add(begin, f.word(chunk, 1))) as row:
            entry = f.at(given["rows"], f.mul(row.index, ROW_COLUMNS), "i64")
            source = f.word(entry, 0)
            here = {"row": f.at(patch, f.word(entry, 1), "i8"), "runs": runs, "x": x}
            here |= {"count": f.word(chunk, 3), "step": given["x_channel"]}
            for blank in f.branches(f.value(f"icmp eq i64 {source}, {MISSING}")):
                if blank:
                    f.call_with("patch_blank", ROW, here)
                else:
                    there = {**here, "x": f.at(x, source, "i8")}
                    f.call_with("patch_row", ROW, there)

    def _blocks(self, f: Function, given: Arguments, chunk: str, patch: str, share: str) -> None:
        """The blocks of output channels of an item."""
        first, stop = part(f, f.word(chunk, 7), given["parts"], share)
        first, stop = (f.add(f.word(chunk, 6), at) for at in (first, stop))
        outputs = {
            name: f.at(given[name], f.word(chunk, CHUNK_COLUMNS + i), self.store.kind(i))
            for i, name in enumerate(self.store.names)
        }
        with f.loop(first, stop) as block:
            entry = f.at(given["blocks"], f.mul(block.index, BLOCK_COLUMNS), "i64")
            here = self.terms(f, given, block.index)
            here["w"] = f.at(given["w"], f.word(entry, 1), "i8")
            here["bias"] = f.at(given["bias"], f.word(entry, 2), "i32")
            here["x"] = f.at(patch, f.word(entry, 3), "i8")
            for i, name in enumerate(self.store.names):
                channel = f.word(entry, 4)
                if i and not self.store.steps[i - 1]:
                    channel = "0"
                here[name] = f.at(outputs[name], channel, self.store.kind(i))
            span = f.add(f.mul(f.word(chunk, 4), self.kinds), f.word(entry, 0))
            self._tiles(f, given, f.at(given["spans"], f.mul(span, SPAN_COLUMNS), "i64"), here)

    def terms(self, f: Function, given: Arguments, block: str) -> dict[str, str]:
        """Where the terms of the sum are, as tiles take it."""
        return {name: given[name] for name in ("entries", "entry_count", "run_bytes")}

    def _tiles(self, f: Function, given: Arguments, span: str, here: dict[str, str]) -> None:
        """The tiles of a block, in runs of one kind."""
        begin = f.word(span, 0)
        with f.loop(begin, f.add(begin, f.word(span, 1))) as run:
            entry = f.at(given["tile_table"], f.mul(run.index, TILE_COLUMNS), "i64")
            count = f.word(entry, 2)
            first = f.mul(f.word(entry, 1), self.store.columns)
            positions = f.at(given["positions"], first, "i64")
            cases = [
                partial(self._run, f, number, positions, count, here)
                for number in range(len(self.tiles))
            ]
            f.switch(f.word(entry, 0), cases)

    def _run(
        self, f: Function, number: int, positions: str, count: str, here: dict[str, str]
    ) -> None:
        step = self.tiles[number].height * self.store.columns
        with f.loop(0, count, [("ptr", positions)], runs=True) as tile:
            now = {**here, "positions": tile.values[0]}
            f.call_with(f"tile{number}", self.tile_function, now)
            tile.carry([f.at(tile.values[0], step, "i64")])

    # Tiles ---------------------------------------------------------------------------------------

    def starts(self, v: Vectors, tile: Tile) -> tuple[list[str], list[str], Accumulators]:
        """For each output its entry and where it begins in the patch; and sums of the bias."""
        f = v.function
        entries = [self.store.entry(f, "%positions", p) for p in range(tile.height)]
        at = [f.at("%x", f.word(entry, PATCH), "i8") for entry in entries]
        bias = [v.load(v.at("%bias", q * v.lanes)) for q in range(tile.vectors)]
        return entries, at, [list(bias) for _ in at]

    @property
    def group_bytes(self) -> int:
        """Of the weights of one lane."""
        return self.inner.group * self.bits // 8

    def weights(self, v: Vectors, at: str) -> str:
        """A vector of weights, as wide as the levels."""
        f, wide = v.function, 8 * self.inner.bytes
        if self.bits == wide:
            return v.load(at, align=1)
        count = v.lanes * self.inner.group
        narrow = f.value(f"load <{count} x i{self.bits}>, ptr {at}, align 1")
        made = f.value(f"sext <{count} x i{self.bits}> {narrow} to <{count} x i{wide}>")
        return f.value(f"bitcast <{count} x i{wide}> {made} to {v.type}")


@dataclass(frozen=True, kw_only=True)
class DenseKernel(IntegerKernel):
    """Sums over channels: levels are broadcast."""

    name = "integer_dense"

    def tile(self, v: Vectors, tile: Tile) -> None:
        f, size = v.function, v.lanes * self.group_bytes
        entries, at, acc = self.starts(v, tile)
        moving = self.unroll * tile.vectors * size // 4
        with f.loop(0, "%entry_count", [("ptr", "%w"), *flat(v, acc)], runs=True) as entry:
            begin = f.word("%entries", entry.index)
            bounds = begin, f.add(begin, "%run_bytes")
            (w,), acc = accumulate(
                v,
                shaped(entry.values[1:], tile.vectors),
                bounds,
                [(entry.values[0], moving)],
                partial(self._step, v, at),
                step=4 * self.unroll,
                runs=True,
            )
            entry.carry([w, *(value for row in acc for value in row)])
        self.store.tile(v, shaped(entry.results[1:], tile.vectors), entries, tile.channels)

    def _step(
        self, v: Vectors, at: Sequence[str], acc: Accumulators, index: str, w: str
    ) -> Accumulators:
        f, vectors, size = v.function, len(acc[0]), v.lanes * self.group_bytes
        for line in range(0, self.unroll * vectors * size if self.ahead else 0, costs.LINE_BYTES):
            f.prefetch(f.at(w, self.ahead + line, "i8"))
        for u in range(self.unroll):
            places = (f.at(w, (u * vectors + q) * size, "i8") for q in range(vectors))
            weights = [self.weights(v, place) for place in places]
            made = []
            for x, row in zip(at, acc, strict=True):
                levels = v.broadcast(f.at(f.at(x, index, "i8"), 4 * u, "i8"))
                terms = zip(row, weights, strict=True)
                made.append([dot(v, self.inner, total, levels, weight) for total, weight in terms])
            acc = made
        return acc


@dataclass(frozen=True, kw_only=True)
class BytesKernel(IntegerKernel):
    """Sums over channels by products of bytes: of ``quads`` groups of four terms of a block first
    those with small weights, then the others. ``steps`` has where each is in the patch.
    """

    name = "integer_bytes"
    pointers = (*IntegerKernel.pointers, "steps", "counts")
    numbers = (*IntegerKernel.numbers, "quads")

    def terms(self, f: Function, given: Arguments, block: str) -> dict[str, str]:
        return {
            "entries": f.at(given["steps"], f.mul(block, given["quads"]), "i32"),
            "entry_count": f.word(given["counts"], block),
            "run_bytes": given["quads"],
        }

    def tile(self, v: Vectors, tile: Tile) -> None:
        f, width = v.function, tile.vectors * v.lanes
        entries, at, acc = self.starts(v, tile)

        def small(acc: Accumulators, step: str, w: str) -> Accumulators:
            place = self._step(v, step)
            weights = [v.load(v.at(w, q * v.lanes), align=1) for q in range(tile.vectors)]
            made = []
            for x, row in zip(at, acc, strict=True):
                levels = v.broadcast(f.at(x, place, "i8"))
                terms = zip(row, weights, strict=True)
                made.append([dot(v, BYTES, total, levels, weight) for total, weight in terms])
            return made

        def large(acc: Accumulators, step: str, w: str) -> Accumulators:
            place, made = self._step(v, step), []
            for x, row in zip(at, acc, strict=True):
                levels = split_levels(v, v.broadcast(f.at(x, place, "i8")))
                for half, some in enumerate(levels):
                    begin = v.at(w, half * width)
                    weights = [
                        v.load(v.at(begin, q * v.lanes), align=1) for q in range(tile.vectors)
                    ]
                    terms = zip(row, weights, strict=True)
                    row = [dot(v, PAIRS, total, some, weight) for total, weight in terms]
                made.append(row)
            return made

        _, acc = accumulate(v, acc, (0, "%entry_count"), [("%w", width)], small)
        # The others are at the end of the block, which has room for as many of these as there are.
        begin = v.at("%w", f.mul("%entry_count", 2 * width))
        bounds = "%entry_count", "%run_bytes"
        _, acc = accumulate(v, acc, bounds, [(begin, 2 * width)], large)
        self.store.tile(v, acc, entries, tile.channels)

    def _step(self, v: Vectors, number: str) -> str:
        f = v.function
        place = f.value(f"load i32, ptr {f.at('%entries', number, 'i32')}, align 4")
        return f.value(f"zext i32 {place} to i64")


@dataclass(frozen=True, kw_only=True)
class DepthwiseKernel(IntegerKernel):
    """Sums over taps alone, each lane a channel of its own: widened, and multiplied in float32,
    which is exact for so few terms.
    """

    name = "integer_depthwise"

    def tile(self, v: Vectors, tile: Tile) -> None:
        f, single = v.function, Vectors(v.function, v.machine, "float32")
        entries, at, _ = self.starts(v, tile)
        vectors = range(tile.vectors)

        def add(acc: Accumulators, tap: str, w: str) -> Accumulators:
            place, made = f.word("%entries", tap), []
            weights = [single.load(single.at(w, q * v.lanes)) for q in vectors]
            for x, row in zip(at, acc, strict=True):
                here = f.at(x, place, "i8")
                levels = [single.load(single.at(here, q * v.lanes)) for q in vectors]
                made.append(list(map(single.multiply_add, levels, weights, row)))
            return made

        start = zeros(single, tile.height, tile.vectors)
        moving = [("%w", tile.vectors * v.lanes)]
        _, acc = accumulate(single, start, (0, "%entry_count"), moving, add, runs=True)
        bias = [single.load(single.at("%bias", q * v.lanes)) for q in vectors]
        sums = [list(map(single.add, row, bias)) for row in acc]
        self.store.numbers(v, sums, entries, tile.channels)
