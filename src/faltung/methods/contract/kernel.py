"""The code of ``contract``: panels of columns, and tiles of sums over them.

An item goes over units, each a range of rows of one block of columns of one product. The columns
are laid into a panel, as wide as their vectors, term after term, unless they are read where they
are; the panel of the unit before is used again where it is the same.
"""

from collections.abc import Sequence
from functools import partial

from faltung.codegen.copies import RowMask, transpose_square
from faltung.codegen.ir import Index, parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.epilogue import Epilogue, finish, finished, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments, part

# Columns of the tables: of products, each of which stands for ``inner`` of them (offsets in a and
# b; then those in the result and the arrays of an epilogue), of pairs (offsets of an outer term in
# a and b), of ranges (first row, tiles of each height).
ENTRY, PAIR, RANGE = 2, 2, 3
TILE = parameters(["a", "b", "pairs", "out"], ["terms", "length", "a_step", "b_step"])
PACK = parameters(["b", "panel", "pairs"], ["terms", "length", "b_step", "b_column"])


@dataclass(frozen=True)
class ContractKernel(EpilogueKernel):
    """heights: rows of the tiles, one or two kinds. widths: columns of a block, and of a last one
    that is smaller, where there is one. vectors: of a whole block.

    row: elements from row to row of a. panel: how columns become a panel: "rows" (they are
    contiguous), "transpose" (terms are), "gather", or "" where they are contiguous and read where
    they are. contiguous: columns of the result are.
    """

    name = "contract"
    one_call = True
    pointers = ("a", "b", "panels", "entries", "pairs", "ranges")
    numbers = (
        *("units", "items", "blocks", "range_count", "panel_size"),
        *("terms", "length", "a_step", "b_step", "b_column", "inner", "a_inner", "b_inner"),
    )
    output_numbers = ("position", "channel", "inner")

    dtype: str
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    vectors: int
    row: int
    panel: str
    contiguous: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()

    @property
    def tile_function(self) -> list[tuple[str, str]]:
        out = parameters([], ["out_position", "out_channel"])
        return [*TILE, *out, *tile_arguments(len(self.aux_steps))]

    def functions(self, code: Functions) -> None:
        for number, columns in enumerate(self.widths):
            if self.panel:
                pack(code.open(f"pack{number}", PACK), self.panel, columns)
            for kind, rows in enumerate(self.heights):
                self._tile(code.open(f"tile{kind}{number}", self.tile_function), rows, columns)

    def _tile(self, v: Vectors, rows: int, columns: int) -> None:
        acc = sums(v, rows, columns, self.row, packed=bool(self.panel))
        end, out = finish(v, self.epilogue, self.aux_steps), "%out"
        f = v.function
        for row in acc:
            widths = [min(v.lanes, columns - q * v.lanes) for q in range(len(row))]
            ends = [end.moved("channel", q * v.lanes) for q in range(len(row))]
            made = finished(zip(ends, row, map(v.first, widths), strict=True), "channel")
            for q, done in enumerate(made):
                lanes = widths[q]
                if self.contiguous:
                    v.store_first(done, v.at(out, q * v.lanes), lanes)
                else:
                    at = v.at(out, f.mul("%out_channel", q * v.lanes))
                    v.scatter(done, at, "%out_channel", v.first(lanes))
            out, end = v.at(out, "%out_position"), end.moved("position", 1)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        first, stop = part(f, given["units"], given["items"], "%begin", "%end")
        panel = v.at(given["panels"], f.mul("%begin", given["panel_size"]))
        # What the panel holds: the offset of its product in b, and the number of its block.
        with f.loop(first, stop, [("i64", "-1"), ("i64", "-1")]) as unit:
            rest, number = f.divmod(unit.index, given["range_count"])
            product, block = f.divmod(rest, given["blocks"])
            width = ENTRY + len(self.outputs)
            outer, inner = f.divmod(product, given["inner"])
            entry = f.at(given["entries"], f.mul(outer, width), "i64")
            origin = f.add(f.word(entry, 1), f.mul(inner, given["b_inner"]))
            whole = self.vectors * v.lanes
            first_column = f.mul(block, whole)
            columns = v.at(given["b"], f.add(origin, f.mul(first_column, given["b_column"])))
            last = f.value(f"icmp eq i64 {block}, {f.sub(given['blocks'], 1)}")
            kind = f.value(f"zext i1 {last} to i64")
            if self.panel:
                same = [
                    f.value(f"icmp eq i64 {a}, {b}")
                    for a, b in zip((origin, block), unit.values, strict=True)
                ]
                with f.when(f.value(f"xor i1 {f.value(f'and i1 {same[0]}, {same[1]}')}, true")):
                    call = {**given, "b": columns, "panel": panel}
                    names = [f"pack{i}" for i in range(len(self.widths))]
                    f.call_one(kind, names, [(t, call[name]) for t, name in PACK])
            unit.carry([origin, block])
            rows = f.at(given["ranges"], f.mul(number, RANGE), "i64")
            here = self._addresses(v, given, entry, inner, rows, first_column)
            here["b"] = panel if self.panel else columns
            kinds = [partial(self._tiles, v, here, i, rows) for i in range(len(self.widths))]
            f.switch(kind, kinds)

    def _addresses(
        self, v: Vectors, given: Arguments, entry: str, inner: str, rows: str, column: str
    ) -> dict[str, str]:
        """The arguments of the first tile of a unit."""
        f, row = v.function, f"{self.row}"
        here = dict(given)
        first = f.word(rows, 0)
        own = f.add(f.word(entry, 0), f.mul(inner, given["a_inner"]))
        here["a"] = v.at(given["a"], f.add(own, f.mul(first, row)))
        for i, name in enumerate(self.outputs):
            along = f.mul(first, given[f"{name}_position"])
            across = f.mul(column, given[f"{name}_channel"])
            place = f.add(f.word(entry, ENTRY + i), f.add(along, across))
            place = f.add(place, f.mul(inner, given[f"{name}_inner"]))
            here[name] = v.at(given[name], place)
        return here

    def _tiles(self, v: Vectors, here: dict[str, str], number: int, rows: str) -> None:
        f = v.function
        names = ("a", *self.outputs)
        places = [here[name] for name in names]
        for kind, height in enumerate(self.heights):
            steps: list[Index] = [height * self.row]
            steps += [f.mul(here[f"{name}_position"], height) for name in self.outputs]
            moving = list(zip(places, steps, strict=True))
            with v.walk(0, f.word(rows, 1 + kind), moving) as tile:
                now = {**here, **dict(zip(names, tile.values, strict=True))}
                f.call_with(f"tile{kind}{number}", self.tile_function, now)
            places = tile.results


# Sums ---------------------------------------------------------------------------------------------


def sums(v: Vectors, rows: int, columns: int, row: int, *, packed: bool) -> Accumulators:
    """A tile of sums: the body of a function with the arguments ``TILE``.

    row: elements from row to row of a. packed: b is a panel; otherwise its columns are contiguous,
    and the terms ``b_step`` apart.
    """
    f, vectors = v.function, -(-columns // v.lanes)
    width = vectors * v.lanes
    masks = [v.first(columns - q * v.lanes) for q in range(vectors)]
    offsets = [p * row for p in range(rows)]

    def add(acc: Accumulators, _: str, a: str, b: str) -> Accumulators:
        return broadcast_product(v, acc, a, offsets, b, None if packed else masks)

    def outer(acc: Accumulators, term: str, panel: str) -> Accumulators:
        entry = f.at("%pairs", f.mul(term, PAIR), "i64")
        b = panel if packed else v.at(panel, f.word(entry, 1))
        moving = [(v.at("%a", f.word(entry, 0)), "%a_step"), (b, width if packed else "%b_step")]
        return accumulate(v, acc, (0, "%length"), moving, add, runs=True)[1]

    start = zeros(v, rows, vectors)
    onward = f.mul("%length", width) if packed else "0"
    return accumulate(v, start, (0, "%terms"), [("%b", onward)], outer, runs=True)[1]


# Panels -------------------------------------------------------------------------------------------


def pack(v: Vectors, how: str, columns: int) -> None:
    """Lay a block of columns into a panel: the body of a function with the arguments ``PACK``."""
    f, width = v.function, -(-columns // v.lanes) * v.lanes
    with v.walk(0, "%terms", [("%panel", f.mul("%length", width))]) as term:
        source = v.at("%b", f.word("%pairs", f.add(f.mul(term.index, PAIR), 1)))
        if how == "transpose":
            transposed(v, source, term.values[0], columns)
        else:
            _copied(v, source, term.values[0], columns, gathers=how == "gather")


def _copied(v: Vectors, source: str, panel: str, columns: int, *, gathers: bool) -> None:
    """Term by term."""
    f, width = v.function, -(-columns // v.lanes) * v.lanes
    with v.walk(0, "%length", [(source, "%b_step"), (panel, width)]) as at:
        here, panel = at.values
        for start in range(0, columns, v.lanes):
            mask = v.first(columns - start)
            if gathers:
                value = v.gather(v.at(here, f.mul("%b_column", start)), "%b_column", mask)
            else:
                value = v.load(v.at(here, start), mask)
            v.store(value, v.at(panel, start))


def transposed(
    v: Vectors, source: str, panel: str, columns: int, *, scale: str | None = None
) -> None:
    """Contiguous terms of ``columns``, ``b_column`` apart -> a panel; ``scale``: a factor."""
    f, width = v.function, -(-columns // v.lanes) * v.lanes
    for start in range(0, columns, v.lanes):
        here = min(v.lanes, columns - start)
        with f.loop(0, "%length", step=v.lanes) as at:
            corner = v.at(v.at(source, f.mul("%b_column", start)), at.index)
            target = v.at(v.at(panel, start), f.mul(at.index, width))

            def read(mask: RowMask, corner: str = corner, here: int = here) -> Sequence[str]:
                row, found = corner, []
                for i in range(here):
                    found.append(v.load(row, mask(i)))
                    row = v.at(row, "%b_column")
                return found

            def store(i: int, column: str, mask: str | None, target: str = target) -> None:
                done = column if scale is None else v.mul(column, scale)
                v.store(done, v.at(target, i * width))

            left = f.sub("%length", at.index)
            transpose_square(v, left, left, read, store)
