"""The walk of a tiled method over its items: (sample, group, block of channels, row, segment).

``driver`` writes the public function of a kernel, which finds the addresses of every item and calls
the tiles of its segment, functions ``tile0``, ``tile1``, ... with the arguments ``tile(aux)``, one
for each kind of tile.
"""

from collections.abc import Sequence

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import ELEMENTS
from faltung.methods.epilogue import tile_arguments
from faltung.methods.tiled import Kind

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
    outputs = ("out", *(f"aux{i}" for i in range(aux)))
    with f.loop("%begin", "%end") as item:
        where = _place(f, word, order, item.index)
        row = f.at(word["rows"], f.mul(where["row"], COLUMNS + aux), "i64")
        segment = f.at(word["segments"], f.mul(where["segment"], COLUMNS + aux), "i64")
        block = f.add(f.mul(where["group"], word["block"]), where["block"])

        def offset(name: str, steps: Sequence[str], *more: str) -> str:
            total = "0"
            for index in steps:
                product = f.mul(where[index], word[f"{name}_{index}"])
                total = product if total == "0" else f.add(total, product)
            for term in more:
                total = f.add(total, term)
            return total

        x = offset("x", ("batch", "group"), f.word(row, 0), f.word(segment, 2))
        places = [
            offset(
                name,
                ("batch", "group", "block"),
                f.word(row, 1 if i == 0 else COLUMNS + i - 1),
                f.word(segment, 3 + i),
            )
            for i, name in enumerate(outputs)
        ]
        at = {
            "x": f.at(word["x"], x, element),
            "w": f.at(word["w"], f.mul(block, word["w_block"]), element),
            **{
                name: f.at(word[name], place, element)
                for name, place in zip(outputs, places, strict=True)
            },
            "bias": f.at(word["bias"], f.mul(block, word["bias_block"]), element),
            "pattern": f.at(word["patterns"], f.mul(f.word(row, 2), 2), "i64"),
            "entries": f.word(row, 3),
        }
        count = f.word(segment, 1)

        def tiles(number: int, kind: Kind) -> None:
            steps = [str(kind.positions * pitch)]
            steps += [f.mul(word[f"{name}_position"], kind.positions) for name in outputs]
            moving = ("x", *outputs)
            with f.loop(0, count, [("ptr", at[name]) for name in moving], runs=True) as turn:
                here = {**word, **at, **dict(zip(moving, turn.values, strict=True))}
                f.call(f"tile{number}", [(kind_, here[name]) for kind_, name in tile(aux)])
                turn.carry(
                    [
                        f.at(value, step, element)
                        for value, step in zip(turn.values, steps, strict=True)
                    ]
                )

        cases = [lambda n=n, k=k: tiles(n, k) for n, k in enumerate(kinds)]
        f.switch(f.word(segment, 0), cases)


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
