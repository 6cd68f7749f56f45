"""Sums over tiles at every point, and back to taps: the second half of ``winograd_grad``.

An item is a block of output channels by a lot of input channels. At each point a tile of sums in
registers, ``rows`` input channels by some vectors of output channels, takes the products of all
tiles; the lot's tiles of sums go by one after the other while the gradient's vectors stay in the
first cache. When the last tile is in, the sums of all points become taps.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod

from faltung.codegen.ir import Index, Module
from faltung.codegen.tile import flat, outer_product, shaped, zeros
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words
from faltung.methods.winograd.matrix_lines import nested, scratch
from faltung.methods.winograd.points import Matrix

ADDRESSES = ("x", "grad", "w", "sums", "blocks", "places")
WORDS = (
    *ADDRESSES,
    # Items are (group, block of output channels, lot of input channels).
    *("block_count", "lots", "tiles", "row_blocks", "channels_in"),
    # Blocks of channels in a group, elements between blocks and between points, of both arrays.
    *("x_blocks", "x_block", "x_point", "grad_blocks", "grad_block", "grad_point"),
    # Elements of the weight between groups, output and input channels; of the sums of an item.
    *("w_group", "w_out", "w_in", "item_sums"),
    # Tiles that the sums have already, and whether these are the last.
    *("before", "last"),
)
ITEM = [
    *(("ptr", name) for name in ("words", "x", "grad", "w", "sums")),
    *(("i64", name) for name in ("start", "count")),
]
BACK = [("ptr", "sums"), ("ptr", "taps"), ("ptr", "places"), ("i64", "point"), ("i64", "width")]


@dataclass(frozen=True)
class GradSums:
    """``inverse``: the matrix of each axis, taps by points. ``rows``: input channels of a tile of
    sums; ``lot``: how many such tiles an item has. ``kinds``: blocks of output channels, as vectors
    and lanes of the last one. ``whole``: all tiles at once, so that sums stay on the stack.

    ``turned``: in the weight not output channels are neighbours, but all taps and input channels of
    one.
    """

    dtype: str
    inverse: tuple[Matrix, ...]
    rows: int
    lot: int
    kinds: tuple[tuple[int, int], ...]
    whole: bool
    turned: bool

    @property
    def symbol(self) -> str:
        return f"winograd_grad_sums_{self.dtype}"

    @property
    def points(self) -> int:
        return prod(len(matrix[0]) for matrix in self.inverse)

    @property
    def taps(self) -> int:
        return prod(len(matrix) for matrix in self.inverse)

    def emit(self, machine: Machine) -> str:
        module = Module()
        _back(module, machine, self)
        for number, kind in enumerate(self.kinds):
            _item(module, machine, self, number, kind)
        _driver(module, machine, self)
        return str(module)


def _driver(module: Module, machine: Machine, recipe: GradSums) -> None:
    f = module.function(
        recipe.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, WORDS)
    address = {name: words.pointer(name) for name in ADDRESSES}
    word = {name: words.number(name) for name in WORDS[len(ADDRESSES) :]}
    with f.loop("%begin", "%end") as item:
        pair, lot = f.divmod(item.index, word["lots"])
        group, block = f.divmod(pair, word["block_count"])
        entry = f.at(address["blocks"], f.mul(block, 2), "i64")
        vector, start = f.word(entry, 1), f.mul(lot, recipe.lot)
        count = f.minimum(f.sub(word["row_blocks"], start), recipe.lot)
        x = f.mul(f.mul(group, word["x_blocks"]), word["x_block"])
        grad = f.mul(f.add(f.mul(group, word["grad_blocks"]), vector), word["grad_block"])
        w = f.add(f.mul(group, word["w_group"]), f.mul(f.mul(vector, v.lanes), word["w_out"]))
        w = f.add(w, f.mul(f.mul(start, recipe.rows), word["w_in"]))
        arguments: list[tuple[str, Index]] = [
            ("ptr", "%words"),
            ("ptr", v.at(address["x"], x)),
            ("ptr", v.at(address["grad"], grad)),
            ("ptr", v.at(address["w"], w)),
            ("ptr", v.at(address["sums"], f.mul(item.index, word["item_sums"]))),
            ("i64", start),
            ("i64", count),
        ]
        calls = [lambda n=n: f.call(f"item{n}", arguments) for n in range(len(recipe.kinds))]
        f.switch(f.word(entry, 0), calls)


# Sums ---------------------------------------------------------------------------------------------


def _item(
    module: Module, machine: Machine, recipe: GradSums, number: int, kind: tuple[int, int]
) -> None:
    """``count`` tiles of sums from ``start`` on; in memory (tile, point, row, vector)."""
    f = module.function(f"item{number}", ITEM)
    v = Vectors(f, machine, recipe.dtype)
    words, columns = Words(f, WORDS), kind[0]
    each = recipe.rows * columns * v.lanes
    sums, added = "%sums", ""
    if recipe.whole:
        room = recipe.lot * recipe.points * each
        sums = f.value(f"alloca [{room} x {v.element}], align 64")
    else:
        added = f.value(f"icmp ne i64 {words.number('before')}, 0")
    channels = recipe.rows * recipe.lot if recipe.turned else 1
    # A block that is turned may begin in the last row.
    room = (channels * recipe.taps + v.lanes) * columns * v.lanes
    taps = f.value(f"alloca [{room} x {v.element}], align 64")
    x_block, x_point = words.number("x_block"), words.number("x_point")
    grad_block, grad_point = words.number("grad_block"), words.number("grad_point")
    end = f.mul(words.number("tiles"), v.lanes)
    with f.loop(0, recipe.points) as point:
        x = v.at("%x", f.mul(point.index, x_point))
        grad = v.at("%grad", f.mul(point.index, grad_point))
        vectors = [v.at(grad, f.mul(grad_block, q)) for q in range(columns)]
        line = v.at(sums, f.mul(point.index, each))
        with f.loop(0, "%count") as turn:
            block, row = f.divmod(f.mul(f.add("%start", turn.index), recipe.rows), v.lanes)
            start = v.at(x, f.add(f.mul(block, x_block), row))
            target = v.at(line, f.mul(turn.index, recipe.points * each))
            for i, value in enumerate(_products(v, recipe.rows, start, vectors, end)):
                at = v.at(target, i * v.lanes)
                if added:
                    total = v.add(v.load(at), value)
                    value = f.value(f"select i1 {added}, {v.type} {total}, {v.type} {value}")
                v.store(value, at)
    last = "" if recipe.whole else f.value(f"icmp ne i64 {words.number('last')}, 0")
    with f.when(last) if last else nullcontext():
        _taps(v, recipe, words, (sums, taps), kind)


def _products(v: Vectors, rows: int, x: str, vectors: list[str], end: str) -> list[str]:
    """The sums over all tiles, ``rows`` by as many vectors as there are, in row order."""
    columns = len(vectors)
    start = flat(v, zeros(v, rows, columns))
    with v.function.loop(0, end, start, step=v.lanes, runs=True) as tile:
        here = v.at(x, tile.index)
        acc = outer_product(
            v,
            shaped(tile.values, columns),
            lambda p: v.broadcast(v.at(here, p)),
            lambda q: v.load(v.at(vectors[q], tile.index)),
        )
        tile.carry([value for row in acc for value in row])
    return tile.results


# Taps ---------------------------------------------------------------------------------------------


def _back(module: Module, machine: Machine, recipe: GradSums) -> None:
    """The sums of all points for one input channel and one vector -> a vector for each tap."""
    f = module.function("back", BACK)
    v = Vectors(f, machine, recipe.dtype)
    room = max(1, scratch(recipe.inverse))
    between = f.value(f"alloca [{room} x {v.type}], align {v.lanes * v.bytes}")

    def load(point: Index) -> str:
        return v.load(v.at("%sums", f.mul(point, "%point")))

    def store(results: Sequence[tuple[Index, str]]) -> None:
        for tap, value in results:
            where = f.word("%places", tap) if recipe.turned else tap
            v.store(value, v.at("%taps", f.mul(where, "%width")))

    nested(v, recipe.inverse, load, store, between)


def _taps(
    v: Vectors, recipe: GradSums, words: Words, where: tuple[str, str], kind: tuple[int, int]
) -> None:
    """All sums of an item become taps, in memory (channel, tap, vector), and are stored: one input
    channel after the other, or all at once where they have to be turned.
    """
    f, columns = v.function, kind[0]
    (sums, memory), width = where, columns * v.lanes
    left = f.sub(words.number("channels_in"), f.mul("%start", recipe.rows))
    count = f.minimum(left, f.mul("%count", recipe.rows))
    places, step = words.pointer("places"), words.number("w_in")
    with f.loop(0, count) as channel:
        tile, row = f.divmod(channel.index, recipe.rows)
        each = recipe.rows * width
        source = v.at(sums, f.add(f.mul(tile, recipe.points * each), f.mul(row, width)))
        taps = memory
        if recipe.turned:
            taps = v.at(memory, f.mul(channel.index, recipe.taps * width))
        with f.loop(0, columns) as q:
            at = f.mul(q.index, v.lanes)
            lines = [("ptr", v.at(source, at)), ("ptr", v.at(taps, at)), ("ptr", places)]
            f.call("back", [*lines, ("i64", str(each)), ("i64", str(width))])
        if not recipe.turned:
            target = v.at("%w", f.mul(channel.index, step))
            _rows(v, recipe.taps, memory, target, places, kind)
    if recipe.turned:
        _turned(v, memory, f.mul(count, recipe.taps), words.number("w_out"), kind)


def _rows(
    v: Vectors, taps: int, memory: str, target: str, places: str, kind: tuple[int, int]
) -> None:
    """Output channels are neighbours: a row for each tap."""
    f = v.function
    columns, exist = kind
    with f.loop(0, taps) as tap:
        line = v.at(memory, f.mul(tap.index, columns * v.lanes))
        to = v.at(target, f.word(places, tap.index))
        for q in range(columns):
            lanes = exist if q == columns - 1 else v.lanes
            v.store_first(v.load(v.at(line, q * v.lanes)), v.at(to, q * v.lanes), lanes)


def _turned(v: Vectors, memory: str, rows: str, step: str, kind: tuple[int, int]) -> None:
    """Each output channel gets a line of ``rows`` neighbours: blocks turned in registers."""
    f = v.function
    columns, exist = kind
    whole = f.mul(f.value(f"sdiv i64 {rows}, {v.lanes}"), v.lanes)
    for q in range(columns):
        lanes = exist if q == columns - 1 else v.lanes
        for masked in (False, True):
            bounds = (whole, rows) if masked else ("0", whole)
            with f.loop(*bounds, step=v.lanes) as row:
                line = v.at(memory, f.add(f.mul(row.index, columns * v.lanes), q * v.lanes))
                # Rows behind the last one are of memory that nobody has written; they go nowhere.
                block = [v.load(v.at(line, i * columns * v.lanes)) for i in range(v.lanes)]
                mask = v.below(f.sub(rows, row.index)) if masked else None
                for i, value in enumerate(v.transpose(block)[:lanes]):
                    to = f.add(f.mul(step, q * v.lanes + i), row.index)
                    v.store(value, v.at("%w", to), mask)
