"""The code of ``weight_grad``: a tile of sums over a band of positions.

Rows of a tile are broadcast from the array ``a``, columns are vectors of the array ``b``; where
lanes are positions both are vectors, and the lanes are summed at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.tile import flat, outer_product, shaped, zeros
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine


@dataclass(frozen=True)
class WeightGrad:
    """``kinds``: for each kind of tile the offsets of its rows in the broadcast array ``a``.

    ``columns``: offsets of the vectors in ``b``; ``lanes``: how many lanes of the last one exist.
    ``a_pitch``, ``b_pitch``: elements between neighbouring positions. ``space``: lanes are
    positions.
    """

    dtype: str
    kinds: tuple[tuple[int, ...], ...]
    columns: tuple[int, ...]
    lanes: int
    a_pitch: int
    b_pitch: int
    space: bool

    @property
    def symbol(self) -> str:
        return f"weight_grad_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, rows in enumerate(self.kinds):
            _tile(module, machine, self, rows, f"tile{number}")
        _driver(module, self)
        return str(module)


ADDRESSES = ("a", "b", "sums", "row_blocks", "taps", "spans", "pairs", "places")
WORDS = (
    *ADDRESSES,
    *("blocks", "tap_count", "row_block_count", "bands", "chunks"),
    *("a_group", "b_group", "b_block", "inner_taps"),
    # Where sums lie: elements between groups, blocks and rows; ``places`` has those of the taps.
    *("sums_group", "sums_block", "row"),
)
TILE = [
    *(("ptr", name) for name in ("a", "b", "sums", "pairs")),
    *(("i64", name) for name in ("first", "count", "length", "band", "row")),
]


def _driver(module: Module, recipe: WeightGrad) -> None:
    """For each band: items -> (group, block of b, tap, block of rows) -> one tile over the band."""
    f = module.function(
        recipe.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    element = ELEMENTS[recipe.dtype][0]
    word = {
        name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }
    with f.loop(0, word["bands"]) as band, f.loop("%begin", "%end") as item:
        band_rows, chunk = f.divmod(band.index, word["chunks"])
        rest, row_block = f.divmod(item.index, word["row_block_count"])
        pair, tap = f.divmod(rest, word["tap_count"])
        group, block = f.divmod(pair, word["blocks"])
        outer_tap, inner_tap = f.divmod(tap, word["inner_taps"])
        rows = f.at(word["row_blocks"], f.mul(row_block, 3), "i64")
        along = f.add(f.mul(chunk, word["inner_taps"]), inner_tap)
        reach = f.at(word["taps"], f.mul(along, 3), "i64")
        taps_outer = f.value(f"sdiv i64 {word['tap_count']}, {word['inner_taps']}")
        span = f.at(word["spans"], f.mul(f.add(f.mul(band_rows, taps_outer), outer_tap), 2), "i64")
        a = f.add(f.add(f.mul(group, word["a_group"]), f.word(rows, 1)), f.word(reach, 0))
        b = f.add(
            f.add(f.mul(group, word["b_group"]), f.mul(block, word["b_block"])), f.word(reach, 1)
        )
        sums = f.add(f.mul(group, word["sums_group"]), f.mul(block, word["sums_block"]))
        sums = f.add(sums, f.word(word["places"], tap))
        sums = f.add(sums, f.mul(f.word(rows, 2), word["row"]))
        at = {
            "a": f.at(word["a"], a, element),
            "b": f.at(word["b"], b, element),
            "sums": f.at(word["sums"], sums, element),
            "pairs": word["pairs"],
            "first": f.word(span, 0),
            "count": f.word(span, 1),
            "length": f.word(reach, 2),
            "band": band.index,
            "row": word["row"],
        }
        call = [(kind, at[name]) for kind, name in TILE]

        def tile(number: int) -> Callable[[], None]:
            return lambda: f.call(f"tile{number}", call)

        f.switch(f.word(rows, 0), [tile(number) for number in range(len(recipe.kinds))])


def _tile(
    module: Module, machine: Machine, recipe: WeightGrad, rows: tuple[int, ...], name: str
) -> None:
    f = module.function(name, TILE)
    v = Vectors(f, machine, recipe.dtype)
    columns = len(recipe.columns)
    last = f.add("%first", "%count")
    with f.loop("%first", last, flat(v, zeros(v, len(rows), columns))) as pair:
        entry = f.at("%pairs", f.mul(pair.index, 2), "i64")
        a, b = v.at("%a", f.word(entry, 0)), v.at("%b", f.word(entry, 1))
        values = pair.values
        if recipe.space:
            whole = f.mul(f.value(f"sdiv i64 %length, {v.lanes}"), v.lanes)
            a, b, values = _positions(v, recipe, rows, (a, b, values), "0", whole, None)
            some = f.value(f"icmp slt i64 {whole}, %length")
            stop = f.value(f"select i1 {some}, i64 {f.add(whole, 1)}, i64 {whole}")
            mask = v.below(f.sub("%length", whole))
            _, _, values = _positions(v, recipe, rows, (a, b, values), whole, stop, mask)
        else:
            _, _, values = _positions(v, recipe, rows, (a, b, values), "0", "%length", None)
        pair.carry(values)
    _store(v, recipe, shaped(pair.results, columns))


def _positions(
    v: Vectors,
    recipe: WeightGrad,
    rows: tuple[int, ...],
    state: tuple[str, str, list[str]],
    start: str,
    stop: str,
    mask: str | None,
) -> tuple[str, str, list[str]]:
    """Positions ``start`` to ``stop`` of one pair of rows; a vector of them a turn where lanes are
    positions.
    """
    f = v.function
    step = v.lanes if recipe.space else 1
    a, b, values = state
    columns = len(recipe.columns)

    def load_a(p: int) -> str:
        at = v.at(a_now, rows[p])
        return v.load(at, mask) if recipe.space else v.broadcast(at)

    def load_b(q: int) -> str:
        at = v.at(b_now, recipe.columns[q])
        return v.load(
            at, mask if recipe.space else v.first(recipe.lanes) if q == columns - 1 else None
        )

    carried = [("ptr", a), ("ptr", b), *((v.type, value) for value in values)]
    with f.loop(start, stop, carried, step=step) as turn:
        a_now, b_now = turn.values[:2]
        acc = outer_product(v, shaped(turn.values[2:], columns), load_a, load_b)
        onward = [v.at(a_now, step * recipe.a_pitch), v.at(b_now, step * recipe.b_pitch)]
        turn.carry([*onward, *(value for row in acc for value in row)])
    return turn.results[0], turn.results[1], turn.results[2:]


def _store(v: Vectors, recipe: WeightGrad, acc: list[list[str]]) -> None:
    """The first band stores, later ones add."""
    f = v.function
    more, line = f.value("icmp ne i64 %band, 0"), "%sums"
    for row in acc:
        for q, value in enumerate(row):
            if recipe.space:
                at = v.at(line, q)
                before = f.value(f"load {v.element}, ptr {at}, align {v.bytes}")
                total = v.total(value)
                summed = f.value(f"{v.prefix}add {v.element} {before}, {total}")
                chosen = f.value(f"select i1 {more}, {v.element} {summed}, {v.element} {total}")
                f.emit(f"store {v.element} {chosen}, ptr {at}, align {v.bytes}")
            else:
                mask = v.first(recipe.lanes) if q == len(row) - 1 else None
                at = v.at(line, q * v.lanes)
                summed = v.add(v.load(at, mask), value)
                total = f.value(f"select i1 {more}, {v.type} {summed}, {v.type} {value}")
                v.store(total, at, mask)
        line = v.at(line, "%row")
