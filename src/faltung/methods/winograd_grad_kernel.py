"""The code of ``winograd_grad``: tiles transformed, products summed over tiles, sums transformed
back.

A tile of any rank is transformed axis by axis, the last one first, each pass a loop over lines of
vectors in memory of the stack: little code, which all sizes share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from faltung.codegen.ir import Function, Module
from faltung.codegen.tile import flat, outer_product, shaped, zeros
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.step import MISSING
from faltung.methods.winograd_lines import product
from faltung.methods.words import Words

# For each axis, the first one outermost: rows of numbers, one column for each entry of a line.
Matrices = tuple[tuple[tuple[float, ...], ...], ...]
SIGNATURE = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]

# A tile, axis by axis -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pass:
    """One axis: lines of ``matrix``'s columns, ``before`` times ``behind`` of them."""

    matrix: tuple[tuple[float, ...], ...]
    before: int
    behind: int

    @property
    def inputs(self) -> int:
        return len(self.matrix[0])


def _passes(matrices: Matrices) -> list[_Pass]:
    """The last axis first; axes of a single entry that stay as they are have none, but one is left."""
    found = []
    for i in reversed(range(len(matrices))):
        if found and matrices[i] == ((1.0,),):
            continue
        before = prod(len(matrix[0]) for matrix in matrices[:i])
        behind = prod(len(matrix) for matrix in matrices[i + 1 :])
        found.append(_Pass(matrices[i], before, behind))
    return found


Load = Callable[[str], list[str]]
Store = Callable[[str, str], None]


def _nested(
    v: Vectors, matrices: Matrices, load: Load, store: Store, missing: Callable[[str], str] | None
) -> None:
    """``load``: the entries of a line of the last axis by its number; ``store``: the number of an
    entry of the result, and its vector. ``missing``: whether a line is nothing but zeros (an i1).
    """
    f = v.function
    passes = _passes(matrices)
    room = max([1, *(p.before * p.behind * len(p.matrix) for p in passes[:-1])])
    aligned = 16 if v.machine.vector_bytes < 32 else v.machine.vector_bytes
    lines = [
        f.value(f"alloca [{room} x {v.type}], align {aligned}") for _ in range(min(2, len(passes)))
    ]
    for number, turn in enumerate(passes):
        source, target = lines[(number + 1) % len(lines)], lines[number % len(lines)]
        first, last = number == 0, number == len(passes) - 1
        with _turns(f, turn.before) as b, _turns(f, turn.behind) as h:

            def place(
                k: int, size: int, b: str = b.index, h: str = h.index, p: _Pass = turn
            ) -> str:
                return f.add(f.mul(f.add(f.mul(b, size), k), p.behind), h)

            def put(
                values: Sequence[str],
                last: bool = last,
                target: str = target,
                place: Callable[[int, int], str] = place,
            ) -> None:
                for k, value in enumerate(values):
                    where = place(k, len(values))
                    if last:
                        store(where, value)
                    else:
                        v.store(value, v.at(target, f.mul(where, v.lanes)), align=aligned)

            def get(
                size: int, source: str = source, place: Callable[[int, int], str] = place
            ) -> list[str]:
                at = (v.at(source, f.mul(place(k, size), v.lanes)) for k in range(size))
                return [v.load(address, align=aligned) for address in at]

            if first and missing is not None:
                nothing = missing(b.index)
                with f.when(f.value(f"xor i1 {nothing}, 1")):
                    put(product(v, turn.matrix, load(b.index)))
                with f.when(nothing):
                    put([v.zero] * len(turn.matrix))
            else:
                put(product(v, turn.matrix, load(b.index) if first else get(turn.inputs)))


def _turns(f: Function, count: int):  # type: ignore[no-untyped-def]
    return f.once() if count == 1 else f.loop(0, count, runs=True)


# Transformed tiles --------------------------------------------------------------------------------

TILE_WORDS = (
    *("source", "target", "tiles", "rows", "columns"),
    # Items are (group, block of channels, segment of tiles).
    *("blocks", "segments", "segment", "first", "count"),
    # Elements of the source between groups, of the target between blocks and between points.
    *("group", "block", "point"),
)
TILE = [("ptr", name) for name in ("source", "target", "rows", "column")] + [("i64", "point")]


@dataclass(frozen=True)
class GradTiles:
    """Tiles of an array with its channels side by side -> (point, block of channels, tile, lane).

    ``matrices``: of each axis; ``lanes``: channels in the last block of a group.
    """

    dtype: str
    matrices: Matrices
    lanes: int

    @property
    def symbol(self) -> str:
        return f"winograd_grad_tiles_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        whole = self.lanes == machine.lanes(self.dtype)
        for tail in (False,) if whole else (False, True):
            for border in (False, True):
                _tile(module, machine, self, border, tail)
        _tiles(module, machine, self, not whole)
        return str(module)


def _tile_name(border: bool, tail: bool) -> str:
    return f"tile{'_border' * border}{'_tail' * tail}"


def _tile(module: Module, machine: Machine, recipe: GradTiles, border: bool, tail: bool) -> None:
    """One tile of one block of channels. ``border``: entries of its lines may be missing."""
    f = module.function(_tile_name(border, tail), TILE)
    v = Vectors(f, machine, recipe.dtype)
    size = len(recipe.matrices[-1][0])
    columns = [f.word("%column", 1 + i) for i in range(size)]
    whole = f"i{8 * v.bytes}"
    bits = f"<{v.lanes} x {whole}>"
    masks = []
    for i in range(size if border else 0):
        word = f.word("%column", 1 + size + i)
        narrow = word if whole == "i64" else f.value(f"trunc i64 {word} to {whole}")
        masks.append(v.spread(narrow, whole))
    exists = v.first(recipe.lanes) if tail else None

    def load(line: str) -> list[str]:
        row = v.at("%source", f.word("%rows", line))
        values = [v.load(v.at(row, column), exists) for column in columns]
        for i, mask in enumerate(masks):
            number = f.value(f"bitcast {v.type} {values[i]} to {bits}")
            kept = f.value(f"and {bits} {number}, {mask}")
            values[i] = f.value(f"bitcast {bits} {kept} to {v.type}")
        return values

    def store(point: str, value: str) -> None:
        v.store(value, v.at("%target", f.mul(point, "%point")))

    def missing(line: str) -> str:
        return f.value(f"icmp eq i64 {f.word('%rows', line)}, {MISSING}")

    _nested(v, recipe.matrices, load, store, missing if len(recipe.matrices) > 1 else None)


def _tiles(module: Module, machine: Machine, recipe: GradTiles, tails: bool) -> None:
    f = module.function(recipe.symbol, SIGNATURE, public=True)
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, TILE_WORDS)
    source, target, tiles, rows, columns = (words.pointer(name) for name in TILE_WORDS[:5])
    word = {name: words.number(name) for name in TILE_WORDS[5:]}
    outer = prod(len(matrix[0]) for matrix in recipe.matrices[:-1])
    inner = 1 + 2 * len(recipe.matrices[-1][0])
    with f.loop("%begin", "%end") as item:
        line, segment = f.divmod(item.index, word["segments"])
        group, block = f.divmod(line, word["blocks"])
        first = f.mul(segment, word["segment"])
        stop = f.minimum(f.add(first, word["segment"]), word["count"])
        base = v.at(source, f.add(f.mul(group, word["group"]), f.mul(block, v.lanes)))
        made = v.at(target, f.mul(line, word["block"]))
        tail = f.value(f"icmp eq i64 {f.add(block, 1)}, {word['blocks']}")
        with f.loop(first, stop) as turn:
            entry = f.at(tiles, f.mul(f.add(word["first"], turn.index), 3), "i64")
            column = f.at(columns, f.mul(f.word(entry, 2), inner), "i64")
            arguments = [
                ("ptr", v.at(base, f.word(entry, 0))),
                ("ptr", v.at(made, f.mul(turn.index, v.lanes))),
                ("ptr", f.at(rows, f.mul(f.word(entry, 1), outer), "i64")),
                ("ptr", column),
                ("i64", word["point"]),
            ]
            kind = f.word(column, 0)
            if tails:
                kind = f.add(kind, f.mul(f.value(f"zext i1 {tail} to i64"), 2))

            def call(
                border: bool, tail: bool, arguments: list[tuple[str, str]] = arguments
            ) -> None:
                f.call(_tile_name(border, tail), arguments)

            cases = [(b, t) for t in ((False, True) if tails else (False,)) for b in (False, True)]
            f.switch(kind, [lambda b=b, t=t: call(b, t) for b, t in cases])


# Sums of products, and back -----------------------------------------------------------------------

SUM_WORDS = (
    *("x", "grad", "w", "sums", "blocks", "places"),
    # Items are (group, block of output channels, lot of input channels).
    *("block_count", "lots", "tiles", "row_blocks", "channels_in"),
    # Blocks of channels in a group, elements between blocks and between points, of both arrays.
    *("x_blocks", "x_block", "x_point", "grad_blocks", "grad_block", "grad_point"),
    # Of the weight, between groups and input channels; of the sums of an item.
    *("w_group", "w_channel", "item_sums"),
    *("before", "last"),
)
ITEM = [
    *(("ptr", name) for name in ("words", "x", "grad", "w", "sums")),
    *(("i64", name) for name in ("start", "blocks")),
]


@dataclass(frozen=True)
class GradSums:
    """``inverse``: matrices of each axis, taps by points. ``rows``: input channels of a tile of
    sums, ``lot``: how many such tiles an item has. ``kinds``: blocks of output channels, as vectors
    and lanes of the last one. ``whole``: all tiles at once, sums stay on the stack.
    """

    dtype: str
    inverse: Matrices
    rows: int
    lot: int
    kinds: tuple[tuple[int, int], ...]
    whole: bool

    @property
    def symbol(self) -> str:
        return f"winograd_grad_sums_{self.dtype}"

    @property
    def points(self) -> int:
        return prod(len(matrix[0]) for matrix in self.inverse)

    def emit(self, machine: Machine) -> str:
        module = Module()
        lanes = machine.lanes(self.dtype)
        for exist in sorted({lanes, *(last for _, last in self.kinds)}):
            _back(module, machine, self, exist)
        for number, kind in enumerate(self.kinds):
            _item(module, machine, self, number, kind)
        _sums(module, machine, self)
        return str(module)


BACK = [("ptr", "sums"), ("ptr", "w"), ("ptr", "places"), ("i64", "point")]


def _back(module: Module, machine: Machine, recipe: GradSums, lanes: int) -> None:
    """The sums of all points for one input channel and a vector of output channels -> taps."""
    f = module.function(f"back{lanes}", BACK)
    v = Vectors(f, machine, recipe.dtype)
    size = len(recipe.inverse[-1][0])

    def load(line: str) -> list[str]:
        base = f.mul(line, size)
        return [v.load(v.at("%sums", f.mul(f.add(base, i), "%point"))) for i in range(size)]

    def store(tap: str, value: str) -> None:
        v.store(value, v.at("%w", f.word("%places", tap)), v.first(lanes))

    _nested(v, recipe.inverse, load, store, None)


def _item(
    module: Module, machine: Machine, recipe: GradSums, number: int, kind: tuple[int, int]
) -> None:
    """``lot`` tiles of sums, for all points one after the other: (tile of sums, point, row, vector).

    ``start``: the first tile; ``blocks``: how many there are.
    """
    f = module.function(f"item{number}", ITEM)
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, SUM_WORDS)
    columns, exist = kind
    each = recipe.rows * columns * v.lanes
    sums = "%sums"
    if recipe.whole:
        room = recipe.lot * recipe.points * each
        sums = f.value(f"alloca [{room} x {v.element}], align 64")
    word = {name: words.number(name) for name in SUM_WORDS[6:]}
    added = None if recipe.whole else f.value(f"icmp ne i64 {word['before']}, 0")
    with f.loop(0, recipe.points) as point:
        a = v.at("%x", f.mul(point.index, word["x_point"]))
        b = v.at("%grad", f.mul(point.index, word["grad_point"]))
        line = v.at(sums, f.mul(point.index, each))
        with f.loop(0, "%blocks") as turn:
            channel = f.mul(f.add("%start", turn.index), recipe.rows)
            block, row = f.divmod(channel, v.lanes)
            here = v.at(a, f.add(f.mul(block, word["x_block"]), row))
            at = v.at(line, f.mul(turn.index, recipe.points * each))
            acc = _products(v, recipe.rows, columns, here, b, word)
            for i, value in enumerate(value for line_ in acc for value in line_):
                where = v.at(at, i * v.lanes)
                if added is not None:
                    value = v.select_all(added, v.add(v.load(where), value), value)
                v.store(value, where)
    last = None if recipe.whole else f.value(f"icmp ne i64 {word['last']}, 0")
    if last is None:
        _all_back(v, recipe, words, sums, columns, exist)
    else:
        with f.when(last):
            _all_back(v, recipe, words, sums, columns, exist)


def _products(
    v: Vectors, rows: int, columns: int, a: str, b: str, word: dict[str, str]
) -> list[list[str]]:
    """The sums over all tiles of one block of rows by ``columns`` vectors."""
    f = v.function
    vectors = [v.at(b, f.mul(word["grad_block"], q)) if q else b for q in range(columns)]
    end = f.mul(word["tiles"], v.lanes)
    with f.loop(0, end, flat(v, zeros(v, rows, columns)), step=v.lanes, runs=True) as tile:
        here = v.at(a, tile.index)
        acc = outer_product(
            v,
            shaped(tile.values, columns),
            lambda p: v.broadcast(v.at(here, p)),
            lambda q: v.load(v.at(vectors[q], tile.index)),
        )
        tile.carry([value for row in acc for value in row])
    return shaped(tile.results, columns)


def _all_back(
    v: Vectors, recipe: GradSums, words: Words, sums: str, columns: int, exist: int
) -> None:
    f = v.function
    each = recipe.rows * columns * v.lanes
    places, w_channel = words.pointer("places"), words.number("w_channel")
    first = f.mul("%start", recipe.rows)
    left = f.sub(words.number("channels_in"), first)
    count = f.minimum(left, f.mul("%blocks", recipe.rows))
    with f.loop(0, count) as channel:
        tile, row = f.divmod(channel.index, recipe.rows)
        line = f.add(f.mul(tile, recipe.points * each), f.mul(row, columns * v.lanes))
        target = v.at("%w", f.mul(channel.index, w_channel))
        source = v.at(sums, line)

        def back(lanes: int, q: str, source: str = source, target: str = target) -> None:
            step = f.mul(q, v.lanes)
            where = [("ptr", v.at(source, step)), ("ptr", v.at(target, step)), ("ptr", places)]
            f.call(f"back{lanes}", [*where, ("i64", each)])

        with f.loop(0, columns - 1) as q:
            back(v.lanes, q.index)
        back(exist, str(columns - 1))


def _sums(module: Module, machine: Machine, recipe: GradSums) -> None:
    f = module.function(recipe.symbol, SIGNATURE, public=True)
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, SUM_WORDS)
    x, grad, w, sums, blocks = (words.pointer(name) for name in SUM_WORDS[:5])
    word = {name: words.number(name) for name in SUM_WORDS[6:]}
    with f.loop("%begin", "%end") as item:
        pair, lot = f.divmod(item.index, word["lots"])
        group, block = f.divmod(pair, word["block_count"])
        entry = f.at(blocks, f.mul(block, 2), "i64")
        vector = f.word(entry, 1)
        start = f.mul(lot, recipe.lot)
        count = f.minimum(f.sub(word["row_blocks"], start), recipe.lot)
        a = f.mul(f.mul(group, word["x_blocks"]), word["x_block"])
        b = f.mul(f.add(f.mul(group, word["grad_blocks"]), vector), word["grad_block"])
        to = f.add(f.mul(group, word["w_group"]), f.mul(vector, v.lanes))
        to = f.add(to, f.mul(f.mul(start, recipe.rows), word["w_channel"]))
        arguments = [
            ("ptr", "%words"),
            ("ptr", v.at(x, a)),
            ("ptr", v.at(grad, b)),
            ("ptr", v.at(w, to)),
            ("ptr", v.at(sums, f.mul(item.index, word["item_sums"]))),
            ("i64", start),
            ("i64", count),
        ]
        cases = [lambda n=n: f.call(f"item{n}", arguments) for n in range(len(recipe.kinds))]
        f.switch(f.word(entry, 0), cases)
