"""Items of ``grouped``: which tiles one computes, and what it copies before that.

In place an item is a row of outputs, or a pair of rows, by a segment of the last axis for a chunk
of channels. With a patch (``grouped_patches``) it is a box of rows by a stretch of the last axis
for a few blocks of channels: their inputs go into memory of the item's own first, block after
block, positions side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine

# Words of both: strides of samples and blocks, ... and after ``ADDRESSES`` and counts of items.
STRIDES = (
    # Blocks of channels in all, and in one chunk of them.
    *("blocks", "most"),
    *("x_batch", "x_block", "out_batch", "out_block", "w_block"),
    *("out_position", "out_channel", "tap"),
)
IN_PLACE = (
    *("x", "w", "out", "bias", "rows", "segments", "spans", "entries"),
    *("batch", "row", "segment", "chunk"),
    *STRIDES,
)
STAGED = (
    *("x", "w", "out", "bias", "boxes", "lines", "rows", "stretches", "segments", "spans"),
    *("entries", "batch", "box", "stretch", "chunk"),
    *STRIDES,
    # Elements between neighbouring positions of the input, and between blocks of a patch.
    *("x_position", "plane"),
)
ADDRESSES = frozenset(
    ("x", "w", "out", "bias", "boxes", "lines", "rows", "stretches", "segments", "spans", "entries")
)
# Of each further array of the epilogue: its address, and strides as those of the output.
AUX = ("", "_batch", "_block", "_position", "_channel")
# Columns of the tables: a row has (input, first span, spans) and for the output and each further
# array two places; a span of rows of taps (first entry, of the first row alone, of both, of the
# second alone); an entry (input, weights of the first row, of the second); a segment (kind, tiles,
# input) and places as a row. Of patches: a box (first line, lines, first row, rows), a line (input,
# place in the patch), a stretch (input, zeros before, positions, zeros behind, first segment,
# segments).
ROW, SPAN, ENTRY, SEGMENT = 3, 4, 3, 3
BOX, LINE, STRETCH = 4, 2, 6
# What copies one line.
LOADS = (
    *(("ptr", name) for name in ("x", "to")),
    *(("i64", name) for name in ("before", "loaded", "behind", "x_position", "x_block", "plane")),
)
Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Items:
    """``rows``: of a tile; ``aux``: further arrays; ``width``: output channels of a block, and
    ``inputs`` its input channels; ``kinds``: how many functions for tiles there are, which take
    ``arguments``; ``blocks``: of a patch, which has ``room`` elements, 0 without one.
    """

    symbol: str
    dtype: str
    rows: int
    aux: int
    width: int
    inputs: int
    kinds: int
    arguments: Sequence[tuple[str, str]]
    chunks_first: bool
    blocks: int
    room: int

    @property
    def element(self) -> str:
        return ELEMENTS[self.dtype][0]

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("out", *(f"aux{i}" for i in range(self.aux)))


def driver(module: Module, machine: Machine, items: Items) -> None:
    """The public function: its items, one after the other."""
    if items.room:
        for blocks in {1, items.blocks}:
            _copies(module, machine, items, blocks)
    f = module.function(
        items.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    further = [name + part for name in items.outputs[1:] for part in AUX]
    names = (*(STAGED if items.room else IN_PLACE), *further)
    word = {
        name: f.pointer("%words", i)
        if name in ADDRESSES or name in items.outputs
        else f.word("%words", i)
        for i, name in enumerate(names)
    }
    order = ("batch", "row", "segment", "chunk")
    if items.room:
        order = ("batch", "box", "stretch", "chunk")
        word["patch"] = f.value(f"alloca [{items.room} x {items.element}], align 64")
    elif items.chunks_first:
        order = ("batch", "chunk", "row", "segment")
    with f.loop("%begin", "%end") as item:
        rest, where = item.index, {}
        for name in reversed(order[1:]):
            rest, where[name] = f.divmod(rest, word[name])
        where["batch"] = rest
        word["block"] = f.mul(where["chunk"], word["most"])
        word["here"] = f.minimum(word["most"], f.sub(word["blocks"], word["block"]))
        (_staged if items.room else _in_place)(f, items, word, where)


def _in_place(f: Function, items: Items, word: Values, where: Values) -> None:
    row = f.at(word["rows"], f.mul(where["row"], ROW + 2 * (1 + items.aux)), "i64")
    segment = f.at(word["segments"], f.mul(where["segment"], SEGMENT + 1 + items.aux), "i64")
    x = f.add(_begin(f, word, where["batch"], "x"), f.add(f.word(row, 0), f.word(segment, 2)))
    word = {**word, "x": f.at(word["x"], x, items.element)}
    _tiles(f, items, word, where["batch"], row, segment)


def _begin(f: Function, word: Values, batch: str, name: str) -> str:
    """Elements from the begin of an array to that of a sample's chunk."""
    return f.add(f.mul(batch, word[f"{name}_batch"]), f.mul(word["block"], word[f"{name}_block"]))


def _tiles(f: Function, items: Items, word: Values, batch: str, row: str, segment: str) -> None:
    """The tiles of a segment of one row; ``x`` of ``word`` is where its first input lies."""
    block = word["block"]
    given = {
        **word,
        "w": f.at(word["w"], f.mul(block, word["w_block"]), items.element),
        "bias": f.at(word["bias"], f.mul(block, items.width), items.element),
        "spans": f.at(word["spans"], f.mul(f.word(row, 1), SPAN), "i64"),
        "last": f.word(row, 2),
        "tiles": f.word(segment, 1),
        "blocks": word["here"],
    }
    for i, name in enumerate(items.outputs):
        begin = f.add(_begin(f, word, batch, name), f.word(segment, SEGMENT + i))
        for r in range(items.rows):
            place = f.add(begin, f.word(row, ROW + 2 * i + r))
            given[f"{name}_{r}"] = f.at(word[name], place, items.element)
    call = [(kind, given[name]) for kind, name in items.arguments]
    cases = [lambda n=number: f.call(f"segment{n}", call) for number in range(items.kinds)]
    f.switch(f.word(segment, 0), cases)


# With a patch -------------------------------------------------------------------------------------


def _staged(f: Function, items: Items, word: Values, where: Values) -> None:
    box = f.at(word["boxes"], f.mul(where["box"], BOX), "i64")
    stretch = f.at(word["stretches"], f.mul(where["stretch"], STRETCH), "i64")
    _stage(f, items, word, where["batch"], box, stretch)
    rows, segments = (f.word(box, 2), f.word(box, 3)), (f.word(stretch, 4), f.word(stretch, 5))
    with f.loop(rows[0], f.add(*rows)) as line:
        row = f.at(word["rows"], f.mul(line.index, ROW + 2 * (1 + items.aux)), "i64")
        with f.loop(segments[0], f.add(*segments)) as run:
            segment = f.at(word["segments"], f.mul(run.index, SEGMENT + 1 + items.aux), "i64")
            x = f.at(word["patch"], f.add(f.word(row, 0), f.word(segment, 2)), items.element)
            now = {**word, "x": x, "x_block": word["plane"]}
            _tiles(f, items, now, where["batch"], row, segment)


def _stage(f: Function, items: Items, word: Values, batch: str, box: str, stretch: str) -> None:
    """Copy all lines of a patch."""
    x = f.at(word["x"], f.add(_begin(f, word, batch, "x"), f.word(stretch, 0)), items.element)
    given = {**word, **{name: f.word(stretch, 1 + i) for i, (_, name) in enumerate(LOADS[2:5])}}
    first, count = f.word(box, 0), f.word(box, 1)
    with f.loop(first, f.add(first, count)) as line:
        entry = f.at(word["lines"], f.mul(line.index, LINE), "i64")
        given["x"] = f.at(x, f.word(entry, 0), items.element)
        given["to"] = f.at(word["patch"], f.word(entry, 1), items.element)

        def all_blocks() -> None:
            f.call(f"copy{items.blocks}", [(kind, given[name]) for kind, name in LOADS])

        def one_by_one() -> None:
            with f.loop(0, word["here"], [("ptr", given["x"]), ("ptr", given["to"])]) as turn:
                x, to = turn.values
                now = {**given, "x": x, "to": to}
                f.call("copy1", [(kind, now[name]) for kind, name in LOADS])
                onward = (x, word["x_block"]), (to, word["plane"])
                turn.carry([f.at(at, step, items.element) for at, step in onward])

        less = f.value(f"icmp slt i64 {word['here']}, {items.blocks}")
        f.switch(f.value(f"zext i1 {less} to i64"), [all_blocks, one_by_one])


def _copies(module: Module, machine: Machine, items: Items, blocks: int) -> None:
    """The function that copies one line of ``blocks`` blocks, with its zeros."""
    f = module.function(f"copy{blocks}", LOADS)
    v = Vectors(f, machine, items.dtype)
    planes = [f.mul("%plane", b) if b else "0" for b in range(blocks)]
    across = [f.mul("%x_block", b) if b else "0" for b in range(blocks)]

    parts = [(b, first, count) for b in range(blocks) for first, count in _vectors(v, items.inputs)]
    to = "%to"
    for name in ("before", "loaded", "behind"):
        carried = [("ptr", to), ("ptr", "%x")] if name == "loaded" else [("ptr", to)]
        with f.loop(0, f"%{name}", carried) as turn:
            to, *x = turn.values
            read = [
                _load(v, v.at(v.at(at, across[b]), i), count) for at in x for b, i, count in parts
            ]
            for (b, first, count), vector in zip(parts, read or [v.zero] * len(parts), strict=True):
                _store(v, vector, v.at(v.at(to, planes[b]), first), count)
            turn.carry([v.at(to, items.inputs), *(v.at(at, "%x_position") for at in x)])
        to = turn.results[0]


def _vectors(v: Vectors, inputs: int) -> list[tuple[int, int]]:
    """(first, elements) of each vector of a position."""
    return [(i, min(v.lanes, inputs - i)) for i in range(0, inputs, v.lanes)]


def _short(v: Vectors, count: int) -> str | None:
    """The type of a vector of ``count`` elements, where that is one of the processor's."""
    return f"<{count} x {v.element}>" if count & (count - 1) == 0 else None


def _load(v: Vectors, at: str, count: int) -> str:
    short = _short(v, count)
    if short is None:
        return v.load(at, v.first(count))
    return v.function.value(f"load {short}, ptr {at}, align {v.bytes}")


def _store(v: Vectors, vector: str, at: str, count: int) -> None:
    short = _short(v, count)
    if short is None:
        v.store_first(vector, at, count)
    else:
        v.function.emit(f"store {short} {vector}, ptr {at}, align {v.bytes}")
