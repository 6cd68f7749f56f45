"""The code of the products, and of their way back to outputs.

One item is a block of output channels, in every part of them, for a range of register tiles, in
every part of the positions. For each product the tiles of the range meet its weights in the outer
product that all methods share; the products stay on the stack until they are added to outputs, get
the bias, and are stored as the epilogue says.

Weights come from afar and each of them meets a few tiles only. So while the tiles of a product run,
the weights of the next one are prefetched, a part of them during each tile, and the inputs of the
next tile as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from faltung.codegen.ir import Index, parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES
from faltung.methods.base.epilogue import Epilogue, Finish
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments
from faltung.methods.base.step import MISSING
from faltung.methods.strassen.algebra import products, results
from faltung.methods.strassen.input_sums import TILE

# Input channels of an iteration of the innermost loop.
UNROLLED_CHANNELS = 4


@dataclass(frozen=True)
class Products(EpilogueKernel):
    """``levels`` of halving; ``vectors`` by ``rows`` (all numbers of them that occur) in a register
    tile; ``most``: rows of a range; ``spread``: tiles of a range, at least, during which the
    weights of the next product are prefetched. Items are (block, sample, range).

    ``ranges``: (first tile, behind the last one); ``tiles``: (number in ``rows``, first row, rows);
    ``out_places``, ...: for each row the offsets of its position in all parts, or MISSING.
    ``a_batch``, ``pitch``: elements from one sample, and from one row, to the next; ``b_product``:
    from the weights of a product to those of the next; ``part``, ``part_out``: channels of a part.
    """

    name = "strassen"
    pointers: ClassVar[tuple[str, ...]] = ("a", "b", "bias", "ranges", "tiles")
    numbers: ClassVar[tuple[str, ...]] = (
        *("first", "blocks", "range_count", "all_ranges", "a_batch", "pitch"),
        *("b_product", "part", "part_out", "channels_out"),
    )
    output_numbers = ("batch", "channel", "places")

    dtype: str
    levels: int
    vectors: int
    rows: tuple[int, ...]
    most: int
    spread: int
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        tables = tuple(f"{name}_places" for name in self.outputs)
        return (*pointers, *tables), tuple(name for name in numbers if name not in tables)

    @property
    def parts(self) -> int:
        return 1 << self.levels

    @property
    def points(self) -> int:
        """Products of a block and a tile."""
        return products(self.levels)

    def width(self, v: Vectors) -> int:
        """Output channels of a block."""
        return self.vectors * v.lanes

    def row_length(self, v: Vectors) -> int:
        """Elements of all products of a row; not a power of two, which would cause conflicts."""
        return (self.points * self.vectors + 1) * v.lanes

    def functions(self, code: Functions) -> None:
        for i, rows in enumerate(self.rows):
            self._tile(code, f"tile{i}", rows)
        self._combine(code.open("combine", parameters(["sums"])))
        self._position(code.open("position", self._position_parameters))

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        size, align = self.most * self.row_length(v), max(LINE_BYTES, v.machine.vector_bytes)
        memory = f.value(f"alloca [{size} x {v.element}], align {align}")
        with f.loop("%begin", "%end") as item:
            block, number = f.divmod(item.index, given["all_ranges"])
            sample, number = f.divmod(number, given["range_count"])
            entry = f.at(given["ranges"], f.mul(number, 2), "i64")
            taken = f.word(entry, 0), f.word(entry, 1)
            a = v.at(given["a"], f.mul(sample, given["a_batch"]))
            b = v.at(given["b"], f.mul(f.mul(block, self.points), given["b_product"]))
            self._products(v, given, taken, (a, b, memory))
            where = self._corner(v, given, f.add(sample, given["first"]), block)
            self._rows(v, given, taken, memory, where)

    # Products

    def _products(
        self, v: Vectors, given: Arguments, taken: tuple[str, str], arrays: tuple[str, str, str]
    ) -> None:
        """All products of a range of tiles; ``arrays``: left and right sides, and the products."""
        f, (a, b, memory) = v.function, arrays
        entry = f.at(given["tiles"], f.mul(taken[0], TILE), "i64")
        first, height = f.word(entry, 1), f.word(entry, 2)
        weights = given["b_product"]
        share = f.divmod(weights, self.spread)[0]

        def left(row: str, rows: str, point: str) -> str:
            """Where a tile has the left side of a product."""
            before = f.add(f.mul(row, self.points), f.mul(rows, point))
            return v.at(a, f.mul(before, given["pitch"]))

        moving: list[tuple[str, Index]] = [(b, weights), (memory, self.width(v))]
        with v.walk(0, self.points, moving, runs=True) as point:
            w, to = point.values
            again = left(first, height, f.add(point.index, 1))
            with f.loop(*taken, [("ptr", v.at(w, weights))], runs=True) as tile:
                ahead = tile.values[0]
                entry = f.at(given["tiles"], f.mul(tile.index, TILE), "i64")
                row, rows = f.word(entry, 1), f.word(entry, 2)
                # The next tile, which has as many rows with few exceptions, or the first one of the
                # next product.
                onward = left(f.add(row, rows), rows, point.index)
                more = f.value(f"icmp slt i64 {f.add(tile.index, 1)}, {taken[1]}")
                arguments = [
                    ("ptr", left(row, rows, point.index)),
                    ("ptr", w),
                    ("ptr", v.at(to, f.mul(f.sub(row, first), self.row_length(v)))),
                    ("ptr", f.value(f"select i1 {more}, ptr {onward}, ptr {again}")),
                    ("ptr", ahead),
                    *(("i64", given[name]) for name in ("pitch", "part")),
                ]
                f.call_one(f.word(entry, 0), [f"tile{i}" for i in range(len(self.rows))], arguments)
                tile.carry([v.at(ahead, share)])

    def _tile(self, code: Functions, name: str, rows: int) -> None:
        """One product of a register tile. ``next``: the left sides of the tile that follows;
        ``ahead``: weights of which a part is prefetched.
        """
        v = code.open(name, parameters(["a", "b", "to", "next", "ahead"], ["pitch", "part"]))
        f, width, line = v.function, self.width(v), LINE_BYTES // v.bytes
        offsets: list[Index] = [f.mul("%pitch", p) if p else 0 for p in range(rows)]

        def prefetch(start: str, count: int) -> None:
            for i in range(-(-count // line)):
                f.prefetch(v.at(start, i * line))

        def some(count: int) -> Callable[..., Accumulators]:
            def add(acc: Accumulators, index: str, a: str, b: str) -> Accumulators:
                if count > 1:
                    prefetch(v.at("%next", f.mul(index, rows)), count * rows)
                    share = width // self.spread
                    prefetch(v.at("%ahead", f.mul(index, share)), count * share)
                for _ in range(count):
                    acc = broadcast_product(v, acc, a, offsets, b)
                    a, b = v.at(a, 1), v.at(b, width)
                return acc

            return add

        acc, at, start = zeros(v, rows, self.vectors), ["%a", "%b"], "0"
        for count in (UNROLLED_CHANNELS, 1):
            moving = [(at[0], count), (at[1], count * width)]
            stop = f.multiple("%part", count)
            at, acc = accumulate(v, acc, (start, stop), moving, some(count), step=count)
            start = stop
        for p, row in enumerate(acc):
            for q, value in enumerate(row):
                v.store(value, v.at("%to", p * self.row_length(v) + q * v.lanes))

    def _combine(self, v: Vectors) -> None:
        """The function "combine": products of a row -> parts of the result, in their place."""
        width = self.width(v)
        with v.walk(0, self.vectors, [("%sums", v.lanes)], runs=True) as vector:
            at = vector.values[0]
            square = results(v, [v.load(v.at(at, p * width)) for p in range(self.points)])
            for number, value in enumerate(value for line in square for value in line):
                v.store(value, v.at(at, number * width))

    # Outputs

    @property
    def _position_parameters(self) -> list[tuple[str, str]]:
        """Of the function "position"."""
        steps = (f"{name}_channel" for name in self.outputs[1:])
        return parameters(["sums", "bias", *self.outputs], ["left", "part_out", *steps])

    def _corner(self, v: Vectors, given: Arguments, sample: str, block: str) -> dict[str, str]:
        """Where a block of a sample begins, in bias and outputs; ``left``: channels from there."""
        f, channel = v.function, v.function.mul(block, self.width(v))
        here = {"bias": v.at(given["bias"], channel), "left": f.sub(given["channels_out"], channel)}
        for name in self.outputs:
            offset = f.mul(sample, given[f"{name}_batch"])
            along = channel if name == "out" else f.mul(channel, given[f"{name}_channel"])
            here[name] = v.at(given[name], f.add(offset, along))
        return here

    def _rows(
        self,
        v: Vectors,
        given: Arguments,
        taken: tuple[str, str],
        memory: str,
        corner: Mapping[str, str],
    ) -> None:
        """Combine and store the products of all rows of a range of tiles."""
        f, parts = v.function, self.parts
        begin = f.at(given["tiles"], f.mul(taken[0], TILE), "i64")
        end = f.at(given["tiles"], f.mul(f.sub(taken[1], 1), TILE), "i64")
        first, stop = f.word(begin, 1), f.add(f.word(end, 1), f.word(end, 2))
        with v.walk(first, stop, [(memory, self.row_length(v))], runs=True) as row:
            f.call("combine", [("ptr", row.values[0])])
            place = f.mul(row.index, parts)
            with v.walk(0, parts, [(row.values[0], parts * self.width(v))], runs=True) as part:
                entry = f.add(place, part.index)
                offsets = {name: f.word(given[f"{name}_places"], entry) for name in self.outputs}
                with f.when(f.value(f"icmp ne i64 {offsets['out']}, {MISSING}")):
                    here = {name: v.at(corner[name], offsets[name]) for name in self.outputs}
                    here = {**given, **corner, **here, "sums": part.values[0]}
                    f.call_with("position", self._position_parameters, here)

    def _position(self, v: Vectors) -> None:
        """The function "position": what one position has of a block, in all parts of the output
        channels; ``left``: output channels from the first of them on.
        """
        f, width = v.function, self.width(v)
        steps: list[Index] = [1, *(f"%{name}_channel" for name in self.outputs[1:])]
        moving: list[tuple[str, Index]] = [("%sums", width), ("%bias", "%part_out")]
        moving += [
            (f"%{name}", f.mul("%part_out", step))
            for name, step in zip(self.outputs, steps, strict=True)
        ]
        with v.walk(0, self.parts, moving, runs=True) as part:
            left = f.sub("%left", f.mul(part.index, "%part_out"))
            for whole in f.branches(f.value(f"icmp sge i64 {left}, {width}")):
                for q in range(self.vectors):
                    if whole:
                        self._vector(v, part.values, q, None)
                        continue
                    rest = f.sub(left, q * v.lanes)
                    with f.when(f.value(f"icmp sge i64 {rest}, {v.lanes}")):
                        self._vector(v, part.values, q, None)
                    some = f.value(f"icmp sgt i64 {rest}, 0")
                    less = f.value(f"icmp slt i64 {rest}, {v.lanes}")
                    with f.when(f.value(f"and i1 {some}, {less}")):
                        self._vector(v, part.values, q, rest)

    def _vector(self, v: Vectors, here: Sequence[str], q: int, rest: str | None) -> None:
        """Store a vector; ``rest``: how many of its lanes exist, None for all of them."""
        (sums, bias, out, *aux), at = here, q * v.lanes
        total = v.add(v.load(v.at(sums, at)), v.load(v.at(bias, at)))
        end = Finish(v, self.epilogue, self.aux_steps, tuple(aux)).moved("channel", at)
        mask = None if rest is None else v.below(rest)
        value = end.value(total, "channel", mask)
        if rest is None:
            v.store(value, v.at(out, at))
        else:
            v.store_below(value, v.at(out, at), rest)
