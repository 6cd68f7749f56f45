"""The code of local layers: tiles of rows by output elements, sums kept in registers.

In ``_outer`` one operand is broadcast and the output elements are lanes; in ``_dots`` both operands
are vectors along the sum, and lanes are added last. Which layer wants which: ``local.py``.
"""

from functools import partial
from itertools import product

from faltung.codegen.ir import parameters
from faltung.codegen.tile import (
    Accumulators,
    accumulate,
    broadcast_product,
    flat,
    outer_product,
    shaped,
    zeros,
)
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel

# What a tile is given: its operands, the entries of its pattern and its strides.
TILE = parameters(
    ["a", "b", "bias", "out", "pattern"],
    ["entries", "inner", "a_row", "a_inner", "b_inner", "out_row"],
)


@dataclass(frozen=True)
class LocalKernel(Kernel):
    """``rows``: the numbers of rows of tiles; ``blocks``: their output elements of one row.

    ``dots``: both operands are vectors along the sum, which ends in a vector of ``tail`` lanes (0
    for a whole one); otherwise ``a`` is broadcast and the output elements are the lanes.
    """

    name = "local"
    pointers = ("a", "b", "bias", "out", "places", "patterns", "blocks", "segments")
    numbers = (
        *("block_count", "segment_count", "b_block", "bias_place", "inner"),
        *("a_row", "a_inner", "b_inner", "out_row"),
    )

    dtype: str
    rows: tuple[int, ...]
    blocks: tuple[int, ...]
    dots: bool
    tail: int
    bias: bool

    def functions(self, code: Functions) -> None:
        for number, (block, rows) in enumerate(product(self.blocks, self.rows)):
            tile = _dots if self.dots else _outer
            tile(code.open(f"tile{number}", TILE), self, rows, block)

    def body(self, v: Vectors, given: Arguments) -> None:
        """Items -> (place of the output, block of its elements, segment of rows) -> tiles."""
        f = v.function
        with f.loop("%begin", "%end") as item:
            rest, segment = f.divmod(item.index, given["segment_count"])
            place, block = f.divmod(rest, given["block_count"])
            self._segment(v, given, place, block, segment)

    def _segment(self, v: Vectors, given: Arguments, number: str, block: str, segment: str) -> None:
        f = v.function
        place = f.at(given["places"], f.mul(number, 5), "i64")
        block = f.at(given["blocks"], f.mul(block, 2), "i64")
        segment = f.at(given["segments"], f.mul(segment, 3), "i64")
        first, row = f.word(block, 1), f.word(segment, 2)
        along_b = f.add(f.word(place, 1), f.mul(first, given["b_block"]))
        along_out = f.add(f.add(f.word(place, 2), first), f.mul(row, given["out_row"]))
        at = {
            "a": v.at(given["a"], f.add(f.word(place, 0), f.mul(row, given["a_row"]))),
            "b": v.at(given["b"], along_b),
            "bias": v.at(given["bias"], f.add(f.mul(number, given["bias_place"]), first)),
            "out": v.at(given["out"], along_out),
            "pattern": f.at(given["patterns"], f.mul(f.word(place, 3), 2), "i64"),
            "entries": f.word(place, 4),
        }
        kind = f.add(f.mul(f.word(block, 0), len(self.rows)), f.word(segment, 0))
        count = f.word(segment, 1)

        def tiles(number: int, rows: int) -> None:
            with f.loop(0, count, [("ptr", at["a"]), ("ptr", at["out"])], runs=True) as tile:
                here = {**given, **at, "a": tile.values[0], "out": tile.values[1]}
                f.call_with(f"tile{number}", TILE, here)
                onward = (f.mul(given[name], rows) for name in ("a_row", "out_row"))
                tile.carry([v.at(p, by) for p, by in zip(tile.values, onward, strict=True)])

        kinds = enumerate(product(self.blocks, self.rows))
        f.switch(kind, [partial(tiles, n, rows) for n, (_, rows) in kinds])


def _multiples(v: Vectors, step: str, count: int) -> list[str]:
    return ["0", *(v.function.mul(step, i) for i in range(1, count))]


def _outer(v: Vectors, kernel: LocalKernel, rows: int, block: int) -> None:
    """``out[p][q] = bias[q] + sum of a[p] * b[q]``, q along the lanes."""
    columns = -(-block // v.lanes)
    masks = [v.first(block - q * v.lanes) for q in range(columns)]
    down = _multiples(v, "%a_row", rows)

    def add(acc: Accumulators, tap: str) -> Accumulators:
        a, b = v.pair("%pattern", tap, "%a", "%b")

        def term(acc: Accumulators, _: str, a: str, b: str) -> Accumulators:
            return broadcast_product(v, acc, a, down, b, masks)

        return accumulate(v, acc, (0, "%inner"), [(a, "%a_inner"), (b, "%b_inner")], term)[1]

    _, acc = accumulate(v, zeros(v, rows, columns), (0, "%entries"), [], add)
    if kernel.bias:
        bias = [v.load(v.at("%bias", q * v.lanes), masks[q]) for q in range(columns)]
        acc = [[v.add(value, bias[q]) for q, value in enumerate(row)] for row in acc]
    out = "%out"
    for row in acc:
        for q, value in enumerate(row):
            v.store_first(value, v.at(out, q * v.lanes), block - q * v.lanes)
        out = v.at(out, "%out_row")


def _dots(v: Vectors, kernel: LocalKernel, rows: int, block: int) -> None:
    """``out[p][q] = sum of a[p] * b[q]`` over lanes and vectors; ``inner`` counts whole vectors."""
    f = v.function
    down, across = _multiples(v, "%a_row", rows), _multiples(v, "%b_inner", block)

    def products(a: str, b: str, values: list[str], mask: str | None) -> list[str]:
        acc = outer_product(
            v,
            shaped(values, block),
            lambda p: v.load(v.at(a, down[p]), mask),
            lambda q: v.load(v.at(b, across[q]), mask),
        )
        return [value for row in acc for value in row]

    with f.loop(0, "%entries", flat(v, zeros(v, rows, block))) as tap:
        start = [("ptr", at) for at in v.pair("%pattern", tap.index, "%a", "%b")]
        carried = [*start, *v.carried(tap.values)]
        with f.loop(0, "%inner", carried) as term:
            a, b, *values = term.values
            term.carry([v.at(a, v.lanes), v.at(b, v.lanes), *products(a, b, values, None)])
        a, b, *values = term.results
        tap.carry(products(a, b, values, v.first(kernel.tail)) if kernel.tail else values)
    out = "%out"
    for row in shaped(tap.results, block):
        for q, value in enumerate(row):
            v.store_one(v.total(value), v.at(out, q))
        out = v.at(out, "%out_row")
