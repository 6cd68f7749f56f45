"""Minimal filtering in whole numbers: 3x3 layers with 16 products where the sum has 36.

What it is.  Two by two outputs from four by four levels (S. Winograd, "Arithmetic Complexity of
  Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
  2016). Levels become sums of four of them, which 16 bits hold; weights, times four so that they
  stay whole, sums of nine. The products are added in 32 bits, and the outputs are four times the
  sums of a plain convolution: exact, so nobody can tell which of the two it was.
When it applies.  The last two axes have three taps, stride and dilation 1; other axes are as they
  are. Sums that keep within 30 bits. Where the inner product takes 16 bits.
What it costs.  4/9 of the multiplications; a transform of the patch, and one of the sums.
"""

from collections.abc import Sequence
from functools import partial

from faltung.codegen.ir import Function, parameters
from faltung.codegen.tile import Accumulators, accumulate, flat, shaped, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, part
from faltung.methods.integer.kernel import (
    BLOCK_COLUMNS,
    CHUNK_COLUMNS,
    SPAN_COLUMNS,
    DenseKernel,
    Tile,
)

# Entries of a transformed tile, outputs along each axis, and what the sums are too large by.
POINTS, OUTPUTS, SHIFT = 4, 2, 2
COMPONENTS = POINTS * POINTS
# The tables of a shape: tiles to transform, to sum, to finish.
TRANSFORM = parameters(["patch", "to", "places"], ["count", "row", "column", "component", "runs"])
SUM = parameters(["x", "w", "entries", "positions", "sums"], ["entry_count", "run_bytes"])
# Columns of the table of tiles to transform: where one begins in the patch, and where it goes. Of
# runs of tiles: which function, the first position, how many; of the sums, how many tiles it takes
# at once; of what is stored, the first tile.
PLACE_COLUMNS, RUN_COLUMNS = 2, 4


def rows_in(d: Sequence[str], add: str, sub: str, f: Function, kind: str) -> list[str]:
    """Four levels, or sums of them, along one axis."""
    pairs = [(sub, 0, 2), (add, 1, 2), (sub, 2, 1), (sub, 1, 3)]
    return [f.value(f"{op} {kind} {d[a]}, {d[b]}") for op, a, b in pairs]


@dataclass(frozen=True, slots=True)
class Finish:
    """The outputs of a tile that exist: two rows of two, or fewer at the ends of an axis."""

    rows: int
    columns: int
    vectors: int
    channels: int

    @property
    def outputs(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class MinimalKernel(DenseKernel):
    """``tiles``: of the sums, of ``height`` transformed tiles; ``finishes``: of what is stored."""

    name = "integer_minimal"
    pointers = (
        *DenseKernel.pointers,
        "places",
        "shapes",
        "finish_spans",
        "finish_table",
        "outputs",
    )
    numbers = (
        *DenseKernel.numbers,
        *("row", "column", "transform_runs", "component", "transformed", "sums", "sum_component"),
    )

    finishes: tuple[Finish, ...]

    @property
    def finish_function(self) -> list[tuple[str, str]]:
        return parameters(("sums", "bias", "positions", *self.store.names), ["component"])

    def functions(self, code: Functions) -> None:
        self.form.functions(code)
        self._transform(code.open("transform", TRANSFORM))
        for number, tile in enumerate(self.tiles):
            self._sum(code.open(f"sum{number}", SUM), tile)
        for number, finish in enumerate(self.finishes):
            self._finish(code.open(f"finish{number}", self.finish_function), finish)

    # Functions -----------------------------------------------------------------------------------

    def _transform(self, v: Vectors) -> None:
        """Tiles of the patch, ``runs`` vectors of channels of each."""
        f, size = v.function, v.machine.vector_bytes
        kind = f"<{size // 2} x i16>"
        with f.loop(0, "%count") as tile:
            entry = f.at("%places", f.mul(tile.index, PLACE_COLUMNS), "i64")
            begin, to = (
                f.at(f"%{name}", f.word(entry, i), "i8") for i, name in enumerate(("patch", "to"))
            )
            with f.loop(0, f.mul("%runs", size), step=size) as run:
                rows = []
                for i in range(POINTS):
                    row = f.at(f.at(begin, f.mul("%row", i), "i8"), run.index, "i8")
                    read = (f.at(row, f.mul("%column", j), "i8") for j in range(POINTS))
                    levels = [f.value(f"load {kind}, ptr {at}, align 1") for at in read]
                    rows.append(rows_in(levels, "add", "sub", f, kind))
                at = f.at(to, run.index, "i8")
                turned = [
                    rows_in(column, "add", "sub", f, kind) for column in zip(*rows, strict=True)
                ]
                for i in range(POINTS):
                    for j in range(POINTS):
                        f.emit(f"store {kind} {turned[j][i]}, ptr {at}, align 1")
                        at = f.at(at, "%component", "i8")

    def _sum(self, v: Vectors, tile: Tile) -> None:
        """One component of some tiles."""
        f = v.function
        at = [f.at("%x", f.word("%positions", p), "i8") for p in range(tile.height)]
        moving = self.unroll * tile.vectors * v.lanes * self.group_bytes // 4
        acc = zeros(v, tile.height, tile.vectors)
        with f.loop(0, "%entry_count", [("ptr", "%w"), *flat(v, acc)], runs=True) as entry:
            begin = f.word("%entries", entry.index)
            (w,), acc = accumulate(
                v,
                shaped(entry.values[1:], tile.vectors),
                (begin, f.add(begin, "%run_bytes")),
                [(entry.values[0], moving)],
                partial(self._step, v, at),
                step=4 * self.unroll,
                runs=True,
            )
            entry.carry([w, *(value for row in acc for value in row)])
        for i, value in enumerate(entry.results[1:]):
            v.store(value, v.at("%sums", i * v.lanes))

    def _finish(self, v: Vectors, finish: Finish) -> None:
        """The outputs of a tile from its components."""
        f = v.function
        made: Accumulators = [[] for _ in range(finish.outputs)]
        for q in range(finish.vectors):
            at, rows = v.at("%sums", q * v.lanes), []
            for _ in range(POINTS):
                row = []
                for _ in range(POINTS):
                    row.append(v.load(at))
                    at = f.at(at, "%component", "i8")
                rows.append(self._outputs(v, row, finish.columns))
            columns = [self._outputs(v, list(c), finish.rows) for c in zip(*rows, strict=True)]
            bias = v.load(v.at("%bias", q * v.lanes))
            for i in range(finish.rows):
                for j in range(finish.columns):
                    total = f.value(f"ashr {v.type} {columns[j][i]}, {v.splat(SHIFT)}")
                    made[i * finish.columns + j].append(v.add(total, bias))
        entries = [self.store.entry(f, "%positions", p) for p in range(finish.outputs)]
        self.store.tile(v, made, entries, finish.channels)

    def _outputs(self, v: Vectors, m: Sequence[str], count: int) -> list[str]:
        """The first outputs along one axis."""
        made = [v.add(v.add(m[0], m[1]), m[2])]
        if count > 1:
            made.append(v.sub(v.sub(m[1], m[2]), m[3]))
        return made

    # Items ---------------------------------------------------------------------------------------

    def _patch(self, f: Function, given: Arguments, chunk: str, patch: str) -> None:
        """Copy the rows of a chunk, and transform them."""
        super()._patch(f, given, chunk, patch)
        span = f.at(given["shapes"], f.mul(f.word(chunk, 4), SPAN_COLUMNS), "i64")
        here = {
            "patch": patch,
            "to": f.at(patch, given["transformed"], "i8"),
            "places": f.at(given["places"], f.mul(f.word(span, 0), PLACE_COLUMNS), "i64"),
            "count": f.word(span, 1),
            "runs": given["transform_runs"],
            **{name: given[name] for name in ("row", "column", "component")},
        }
        f.call_with("transform", TRANSFORM, here)

    def _blocks(self, f: Function, given: Arguments, chunk: str, patch: str, share: str) -> None:
        first, stop = part(f, f.word(chunk, 7), given["parts"], share)
        outputs = {
            name: f.at(given[name], f.word(chunk, CHUNK_COLUMNS + i), self.store.kind(i))
            for i, name in enumerate(self.store.names)
        }
        with f.loop(first, stop) as block:
            entry = f.at(given["blocks"], f.mul(block.index, BLOCK_COLUMNS), "i64")
            span = f.add(f.mul(f.word(chunk, 4), self.kinds), f.word(entry, 0))
            span = f.mul(span, SPAN_COLUMNS)
            self._components(f, given, patch, f.at(given["spans"], span, "i64"), entry)
            here = {
                "sums": f.at(patch, given["sums"], "i8"),
                "bias": f.at(given["bias"], f.word(entry, 2), "i32"),
                "component": given["sum_component"],
            }
            for i, name in enumerate(self.store.names):
                channel = "0" if i and not self.store.steps[i - 1] else f.word(entry, 4)
                here[name] = f.at(outputs[name], channel, self.store.kind(i))
            self._finishes(f, given, f.at(given["finish_spans"], span, "i64"), entry, here)

    def _components(self, f: Function, given: Arguments, patch: str, span: str, block: str) -> None:
        """The sums of all components of a block; its weights follow each other."""
        size = f.mul(f.mul(given["entry_count"], given["run_bytes"]), f.word(block, 5))
        x, w = f.at(patch, given["transformed"], "i8"), f.at(given["w"], f.word(block, 1), "i8")
        sums = f.at(patch, given["sums"], "i8")
        carried = [("ptr", x), ("ptr", w), ("ptr", sums)]
        with f.loop(0, COMPONENTS, carried, runs=True) as component:
            here = {name: given[name] for name in ("entries", "entry_count", "run_bytes")}
            here |= dict(zip(("x", "w"), component.values, strict=False))
            self._sums(f, given, span, {**here, "sums": component.values[2]}, block)
            steps = given["component"], size, given["sum_component"]
            ends = zip(component.values, steps, strict=True)
            component.carry([f.at(at, step, "i8") for at, step in ends])

    def _sums(
        self, f: Function, given: Arguments, span: str, here: dict[str, str], block: str
    ) -> None:
        begin = f.word(span, 0)
        with f.loop(begin, f.add(begin, f.word(span, 1)), [("ptr", here["sums"])]) as run:
            entry = f.at(given["tile_table"], f.mul(run.index, RUN_COLUMNS), "i64")
            count, first = f.word(entry, 2), f.word(entry, 1)
            positions = f.at(given["positions"], first, "i64")

            def tiles(number: int, sums: str = run.values[0]) -> None:
                height = self.tiles[number].height
                moving = [("ptr", positions), ("ptr", sums)]
                with f.loop(0, count, moving, runs=True) as tile:
                    now = {**here, "positions": tile.values[0], "sums": tile.values[1]}
                    f.call_with(f"sum{number}", SUM, now)
                    step = f.mul(f.word(block, 5), 4 * height)
                    onward = f.at(tile.values[0], height, "i64"), f.at(tile.values[1], step, "i8")
                    tile.carry(onward)

            f.switch(f.word(entry, 0), [partial(tiles, i) for i in range(len(self.tiles))])
            moved = f.mul(f.mul(count, f.word(entry, 3)), f.mul(f.word(block, 5), 4))
            run.carry([f.at(run.values[0], moved, "i8")])

    def _finishes(
        self, f: Function, given: Arguments, span: str, block: str, here: dict[str, str]
    ) -> None:
        """What is stored of a block, in runs of tiles with the same outputs."""
        begin = f.word(span, 0)
        size = f.mul(f.word(block, 5), 4)
        with f.loop(begin, f.add(begin, f.word(span, 1))) as run:
            entry = f.at(given["finish_table"], f.mul(run.index, RUN_COLUMNS), "i64")
            first = f.mul(f.word(entry, 1), self.store.columns)
            positions = f.at(given["outputs"], first, "i64")
            sums = f.at(here["sums"], f.mul(f.word(entry, 3), size), "i8")
            count = f.word(entry, 2)

            def tiles(number: int) -> None:
                step = self.finishes[number].outputs * self.store.columns
                with f.loop(0, count, [("ptr", positions), ("ptr", sums)], runs=True) as tile:
                    now = {**here, "positions": tile.values[0], "sums": tile.values[1]}
                    f.call_with(f"finish{number}", self.finish_function, now)
                    onward = f.at(tile.values[0], step, "i64"), f.at(tile.values[1], size, "i8")
                    tile.carry(onward)

            f.switch(f.word(entry, 0), [partial(tiles, i) for i in range(len(self.finishes))])
