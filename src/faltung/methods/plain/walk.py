"""The walk of a tiled method over its items: (sample, group, block of channels, row, segment).

``driver`` writes the public function of a kernel, which finds the addresses of every item and calls
the tiles of its segment, functions ``tile0``, ``tile1``, ... with the arguments ``tile(aux)``, one
for each kind of tile.
"""

from collections.abc import Sequence
from functools import partial

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import ELEMENTS
from faltung.methods.base.epilogue import tile_arguments
from faltung.methods.base.tiles import Kind

COUNTS = ("batch", "group", "block", "row", "segment")
ADDRESSES = ("x", "w", "out", "bias", "rows", "segments", "patterns")
WORDS = (
    *ADDRESSES,
    *COUNTS,
    *("x_batch", "x_group", "x_channel"),
    *("out_batch", "out_group", "out_block", "out_position", "out_channel"),
    *("w_block", "channels", "bias_block"),
)
# Of each further array of the epilogue: its address, and strides as those of the output.
AUX = ("", "_batch", "_group", "_block", "_position", "_channel")
# Columns of the tables of rows and segments; behind them one for each further array.
COLUMNS = 4


def tile(aux: int) -> list[tuple[str, str]]:
    """The arguments of a tile function; "channels" counts input channels."""
    return [
        *(("ptr", name) for name in ("x", "w", "out", "bias", "pattern")),
        *(
            ("i64", name)
            for name in ("entries", "channels", "x_channel", "out_position", "out_channel")
        ),
        *tile_arguments(aux),
    ]


def driver(
    module: Module,
    symbol: str,
    dtype: str,
    order: tuple[str, ...],
    kinds: Sequence[Kind],
    pitch: int,
    aux: int = 0,
) -> None:
    """Items, in ``order`` with the outermost first, -> tiles. ``aux``: arrays of the epilogue."""
    f = module.function(symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True)
    element = ELEMENTS[dtype][0]
    word = _words(f, aux)
    with f.loop("%begin", "%end") as item:
        where = _place(f, word, order, item.index)
        row = f.at(word["rows"], f.mul(where["row"], COLUMNS + aux), "i64")
        segment = f.at(word["segments"], f.mul(where["segment"], COLUMNS + aux), "i64")
        at = _addresses(f, element, word, where, (row, segment), aux)
        count = f.word(segment, 1)
        cases = [
            partial(_tiles, f, element, {**word, **at}, number, kind, count, pitch, aux)
            for number, kind in enumerate(kinds)
        ]
        f.switch(f.word(segment, 0), cases)


def _addresses(
    f: Function,
    element: str,
    word: dict[str, str],
    where: dict[str, str],
    tables: tuple[str, str],
    aux: int,
) -> dict[str, str]:
    """What tiles take that is not the same for all items: addresses, and the number of entries.

    ``tables``: where the entries of the row and of the segment begin.
    """
    row, segment = tables
    block = f.add(f.mul(where["group"], word["block"]), where["block"])
    read = f.word(row, 0), f.word(segment, 2)
    places = {"x": _offset(f, word, where, "x", ("batch", "group"), read)}
    for i, name in enumerate(_outputs(aux)):
        along = f.word(row, 1 if i == 0 else COLUMNS + i - 1), f.word(segment, 3 + i)
        places[name] = _offset(f, word, where, name, ("batch", "group", "block"), along)

    def at(name: str, place: str) -> str:
        return f.at(word[name], place, element)

    return {
        "x": at("x", places.pop("x")),
        "w": at("w", f.mul(block, word["w_block"])),
        **{name: at(name, place) for name, place in places.items()},
        "bias": at("bias", f.mul(block, word["bias_block"])),
        "pattern": f.at(word["patterns"], f.mul(f.word(row, 2), 2), "i64"),
        "entries": f.word(row, 3),
    }


def _offset(
    f: Function,
    word: dict[str, str],
    where: dict[str, str],
    name: str,
    steps: Sequence[str],
    more: Sequence[str],
) -> str:
    """How far an array goes along each of ``steps``, and ``more``, together."""
    total = "0"
    for index in steps:
        product = f.mul(where[index], word[f"{name}_{index}"])
        total = product if total == "0" else f.add(total, product)
    for term in more:
        total = f.add(total, term)
    return total


def _outputs(aux: int) -> tuple[str, ...]:
    """The arrays that have the output's shape."""
    return ("out", *(f"aux{i}" for i in range(aux)))


def _tiles(
    f: Function,
    element: str,
    here: dict[str, str],
    number: int,
    kind: Kind,
    count: str,
    pitch: int,
    aux: int,
) -> None:
    """``count`` tiles of one kind, one after the other along the row."""
    outputs = _outputs(aux)
    steps = [str(kind.positions * pitch)]
    steps += [f.mul(here[f"{name}_position"], kind.positions) for name in outputs]
    moving = ("x", *outputs)
    with f.loop(0, count, [("ptr", here[name]) for name in moving], runs=True) as turn:
        now = {**here, **dict(zip(moving, turn.values, strict=True))}
        f.call(f"tile{number}", [(type_, now[name]) for type_, name in tile(aux)])
        onward = zip(turn.values, steps, strict=True)
        turn.carry([f.at(value, step, element) for value, step in onward])


def _words(f: Function, aux: int) -> dict[str, str]:
    names = (*WORDS, *(f"aux{i}{name}" for i in range(aux) for name in AUX))
    addresses = (*ADDRESSES, *(f"aux{i}" for i in range(aux)))
    return {
        name: f.pointer("%words", i) if name in addresses else f.word("%words", i)
        for i, name in enumerate(names)
    }


def _place(f: Function, word: dict[str, str], order: tuple[str, ...], item: str) -> dict[str, str]:
    """The number of an item as an index for each of ``order``."""
    rest, where = item, {}
    for name in reversed(order[1:]):
        rest, where[name] = f.divmod(rest, word[name])
    where[order[0]] = rest
    return where
