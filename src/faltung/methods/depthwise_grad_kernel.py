"""The code of ``depthwise_grad`` and ``grouped_grad``: sums of a block of taps stay in registers.

A unit is one line of channels (a few vectors, so that memory is read in stretches) over one band of
positions; an item is some units. A unit goes by rounds, which tables list: rows of both arrays are
copied to where neighbouring positions are neighbours in memory, or are read as they lie; then every
vector and every block of taps goes over them. Between two rounds the sums are in memory, so that
there may be any number of taps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.grouped_kernel import column
from faltung.methods.tiled import Kind

ADDRESSES = (
    *("x", "g", "sums", "x_rows", "g_rows"),
    *("parts", "rounds", "x_copies", "g_copies", "spans", "entries", "chunks", "runs"),
)
NUMBERS = (
    *("items", "units", "count_chunks", "count_lines", "count_parts", "most", "batch"),
    *("x_batch", "x_line", "x_vector", "g_batch", "g_line", "g_vector"),
    # Elements of the copies of an item; of all sums of a band, between those of two lines, to the
    # end of those of one, and between two of them.
    *("x_slot", "g_slot", "band", "line", "end", "width"),
)
WORDS = (*ADDRESSES, *NUMBERS)
# Columns of the tables: a part (first round, rounds); a round (first copy and copies of rows of the
# input, of the gradient, first span, spans); a copy (from, to); a span (function, first entry,
# entries, place of its first sum); a chunk of a row (input from, positions, gradient from,
# positions); a run of tiles (tiles, input, gradient).
PART, ROUND, COPY, SPAN, CHUNK, RUN = 2, 6, 2, 4, 4, 3


@dataclass(frozen=True)
class Masked:
    """A tile of ``positions`` vectors whose lanes are neighbouring positions; for each tap those
    that read the array, None for all.
    """

    positions: int
    masks: tuple[tuple[bool, ...] | None, ...]


Tile = Kind | Masked


@dataclass(frozen=True)
class Block:
    """Taps whose sums are in registers together: ``rows`` rows of the taps ``offsets`` (input
    elements), in them the input channels ``inputs`` of a group; ``copies``: sums of each, for
    neighbouring positions; ``kinds``: the tiles of a row, in their order, the runs of which are
    ``run`` onwards in the table.
    """

    rows: int
    offsets: tuple[int, ...]
    inputs: tuple[int, ...]
    copies: int
    kinds: tuple[Tile, ...]
    run: int


@dataclass(frozen=True)
class DepthwiseGrad:
    """``lanes``: for each input channel of a group the place that each lane reads, counted from its
    vector's first input; ``vectors``: of a line; ``taps``: sums of a row of taps and their input
    channels; ``x_from``, ``g_from``: elements between neighbouring positions of the arrays;
    ``x_pitch``, ``g_pitch``: of the rows that are read, the same where these are not copied.
    """

    dtype: str
    lanes: tuple[tuple[int, ...], ...]
    vectors: int
    blocks: tuple[Block, ...]
    taps: int
    runs: int
    stride: int
    x_from: int
    g_from: int
    x_pitch: int
    g_pitch: int
    x_copied: bool
    g_copied: bool

    @property
    def symbol(self) -> str:
        return f"depthwise_grad_{self.dtype}"

    @property
    def block_inputs(self) -> int:
        return max(map(max, self.lanes)) + 1

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, block in enumerate(self.blocks):
            _span(module, machine, self, block, f"span{number}")
        inputs, outputs = self.block_inputs, len(self.lanes[0])
        _copy(module, machine, self, "x", inputs, self.x_from, self.x_pitch)
        _copy(module, machine, self, "g", outputs, self.g_from, self.g_pitch)
        _unit(module, machine, self)
        _driver(module, self)
        return str(module)


# Units --------------------------------------------------------------------------------------------


def _driver(module: Module, recipe: DepthwiseGrad) -> None:
    """Items -> units. All items of one call write the copies of the first: what is still in the
    second-level cache.
    """
    arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
    f = module.function(recipe.symbol, arguments, public=True)
    word = _words(f)
    first, stop = (
        f.divmod(f.mul(at, word["units"]), word["items"])[0] for at in ("%begin", "%end")
    )
    with f.loop(first, stop) as unit:
        f.call("unit", [("ptr", "%words"), ("i64", "%begin"), ("i64", unit.index)])


def _words(f: Function) -> dict[str, str]:
    return {
        name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }


def _unit(module: Module, machine: Machine, recipe: DepthwiseGrad) -> None:
    f = module.function("unit", [("ptr", "words"), ("i64", "slot"), ("i64", "number")])
    v = Vectors(f, machine, recipe.dtype)
    word = _words(f)
    cut, line = f.divmod("%number", word["count_lines"])
    band, chunk = f.divmod(cut, word["count_chunks"])
    share, part = f.divmod(band, word["count_parts"])
    sums = f.add(f.mul(cut, word["band"]), f.mul(line, word["line"]))
    sums = v.at(word["sums"], sums)
    with f.loop(0, word["end"], step=word["width"]) as at:
        for number in range(recipe.vectors):
            v.store(v.zero, v.at(sums, f.add(at.index, number * v.lanes)))
    first = f.mul(share, word["most"])
    stop = f.minimum(word["batch"], f.add(first, word["most"]))
    given = {
        "x_rows": v.at(word["x_rows"], f.mul("%slot", word["x_slot"])),
        "g_rows": v.at(word["g_rows"], f.mul("%slot", word["g_slot"])),
        "x": v.at(word["x"], f.mul(line, word["x_line"])),
        "g": v.at(word["g"], f.mul(line, word["g_line"])),
        "chunk": f.at(word["chunks"], f.mul(chunk, CHUNK), "i64"),
        "runs": f.at(word["runs"], f.mul(chunk, RUN * recipe.runs), "i64"),
    }
    part = f.at(word["parts"], f.mul(part, PART), "i64")
    begin = f.word(part, 0)
    end = f.add(begin, f.word(part, 1))
    with f.loop(first, stop) as sample:
        x = v.at(given["x"], f.mul(sample.index, word["x_batch"]))
        g = v.at(given["g"], f.mul(sample.index, word["g_batch"]))
        here = {**given, "x": x, "g": g}
        with f.loop(begin, end) as turn:
            around = f.at(word["rounds"], f.mul(turn.index, ROUND), "i64")
            _copies(v, recipe, word, here, around)
            _spans(v, recipe, word, here, around, sums)


def _copies(
    v: Vectors, recipe: DepthwiseGrad, word: dict[str, str], here: dict[str, str], around: str
) -> None:
    """The rows that a round finds in no place yet."""
    f = v.function
    for place, name in enumerate("xg"):
        if not (recipe.x_copied, recipe.g_copied)[place]:
            continue
        start = v.at(here[name], f.word(here["chunk"], 2 * place))
        count = f.word(here["chunk"], 2 * place + 1)
        first = f.word(around, 2 * place)
        with f.loop(first, f.add(first, f.word(around, 2 * place + 1))) as copy:
            entry = f.at(word[f"{name}_copies"], f.mul(copy.index, COPY), "i64")
            source = v.at(start, f.word(entry, 0))
            to = v.at(here[f"{name}_rows"], f.word(entry, 1))
            numbers = [("i64", count), ("i64", word[f"{name}_vector"])]
            f.call(f"copy_{name}", [("ptr", source), ("ptr", to), *numbers])


def _spans(
    v: Vectors,
    recipe: DepthwiseGrad,
    word: dict[str, str],
    here: dict[str, str],
    around: str,
    sums: str,
) -> None:
    """The blocks of taps of a round, for a vector after the other."""
    f = v.function
    x = here["x_rows"] if recipe.x_copied else here["x"]
    g = here["g_rows"] if recipe.g_copied else here["g"]
    first = f.word(around, 4)
    stop = f.add(first, f.word(around, 5))
    with f.loop(0, recipe.vectors, [("ptr", at) for at in (x, g, sums)], runs=True) as vector:
        x_now, g_now, sums_now = vector.values
        with f.loop(first, stop) as span:
            entry = f.at(word["spans"], f.mul(span.index, SPAN), "i64")
            given = [
                *(("ptr", at) for at in (x_now, g_now)),
                ("ptr", v.at(sums_now, f.mul(f.word(entry, 3), word["width"]))),
                ("ptr", f.at(word["entries"], f.word(entry, 1), "i64")),
                ("ptr", here["runs"]),
                ("i64", f.word(entry, 2)),
                ("i64", word["width"]),
            ]
            cases = [lambda n=n: f.call(f"span{n}", given) for n in range(len(recipe.blocks))]
            f.switch(f.word(entry, 0), cases)
        steps = (word["x_vector"], word["g_vector"], str(v.lanes))
        vector.carry([v.at(at, step) for at, step in zip(vector.values, steps, strict=True)])


def _copy(
    module: Module,
    machine: Machine,
    recipe: DepthwiseGrad,
    name: str,
    channels: int,
    pitch: int,
    to_pitch: int,
) -> None:
    """``copy`` (from, to, count, vector): positions of a row, each vector of a line to rows of its
    own.
    """
    pointers = [("ptr", "from"), ("ptr", "to")]
    f = module.function(f"copy_{name}", [*pointers, ("i64", "count"), ("i64", "vector")])
    v = Vectors(f, machine, recipe.dtype)
    with f.loop(0, "%count", [("ptr", "%from"), ("ptr", "%to")]) as position:
        source, to = position.values
        for number in range(recipe.vectors):
            here = v.at(to, f.mul("%vector", number)) if number else to
            for first in range(0, channels, v.lanes):
                at = v.at(source, number * channels + first)
                v.store(v.load(at, v.first(channels - first)), v.at(here, first))
        position.carry([v.at(source, pitch), v.at(to, to_pitch)])


# Sums ---------------------------------------------------------------------------------------------


def _span(module: Module, machine: Machine, recipe: DepthwiseGrad, block: Block, name: str) -> None:
    """The sums of a block of taps over some rows."""
    pointers = [("ptr", at) for at in ("x", "g", "sums", "entries", "runs")]
    f = module.function(name, [*pointers, ("i64", "count"), ("i64", "width")])
    v = Vectors(f, machine, recipe.dtype)
    inputs = len(recipe.lanes)
    places = [
        v.at("%sums", f.mul("%width", r * recipe.taps + k * inputs + number))
        for r in range(block.rows)
        for k in range(len(block.offsets))
        for number in range(len(block.inputs))
    ]
    start = [("ptr", "%entries")]
    for place in places:
        start += [(v.type, v.load(place)), *[(v.type, v.zero)] * (block.copies - 1)]
    with f.loop(0, "%count", start) as row:
        entry, *acc = row.values
        xs = [v.at("%x", f.word(entry, r)) for r in range(block.rows)]
        g = v.at("%g", f.word(entry, block.rows))
        for number, kind in enumerate(block.kinds):
            run = f.at("%runs", RUN * (block.run + number), "i64")
            at = [v.at(x, f.word(run, 1)) for x in xs]
            carried = [*(("ptr", x) for x in at), ("ptr", v.at(g, f.word(run, 2)))]
            carried += [(v.type, value) for value in acc]
            with f.loop(0, f.word(run, 0), carried) as turn:
                now, g_now = turn.values[: block.rows], turn.values[block.rows]
                given = now, g_now, turn.values[block.rows + 1 :]
                if isinstance(kind, Masked):
                    made = _lanes(v, recipe, block, kind, *given)
                else:
                    made = _columns(v, recipe, block, kind, *given)
                step = kind.positions * recipe.stride * recipe.x_pitch
                onward = [v.at(x, step) for x in now]
                turn.carry([*onward, v.at(g_now, kind.positions * recipe.g_pitch), *made])
            acc = turn.results[block.rows + 1 :]
        row.carry([f.at(entry, block.rows + 1, "i64"), *acc])
    acc = row.results[1:]
    for i, place in enumerate(places):
        total, *others = acc[i * block.copies : (i + 1) * block.copies]
        for other in others:
            total = v.add(total, other)
        v.store(total, place)


def _columns(
    v: Vectors,
    recipe: DepthwiseGrad,
    block: Block,
    kind: Kind,
    xs: Sequence[str],
    g: str,
    acc: Sequence[str],
) -> list[str]:
    """One tile: every column of the input meets the gradients of all positions that read it."""
    made, taps = list(acc), len(block.offsets)
    mask = None if recipe.g_copied else v.first(len(recipe.lanes[0]))
    columns: dict[int, list[tuple[int, int]]] = {}
    for p in range(kind.positions):
        for k, offset in enumerate(block.offsets):
            if p not in kind.outside[k]:
                column_at = p * recipe.stride * recipe.x_pitch + offset
                columns.setdefault(column_at, []).append((p, k))
    grads: dict[int, str] = {}
    for offset, products in sorted(columns.items()):
        for p, _ in products:
            if p not in grads:
                grads[p] = v.load(v.at(g, p * recipe.g_pitch), mask)
        for r, x in enumerate(xs):
            for i, number in enumerate(block.inputs):
                read = column(v, recipe.lanes, v.at(x, offset), number)
                for p, k in products:
                    here = (r * taps + k) * len(block.inputs) + i
                    here = here * block.copies + p % block.copies
                    made[here] = v.multiply_add(read, grads[p], made[here])
    return made


def _lanes(
    v: Vectors,
    recipe: DepthwiseGrad,
    block: Block,
    tile: Masked,
    xs: Sequence[str],
    g: str,
    acc: Sequence[str],
) -> list[str]:
    """One tile whose lanes are positions. A lane outside a mask is zero in both arrays, whatever
    lies there.
    """
    made, taps = list(acc), len(block.offsets)
    for p in range(tile.positions):
        grads: dict[tuple[bool, ...] | None, str] = {}
        for k, (offset, lanes) in enumerate(zip(block.offsets, tile.masks, strict=True)):
            if lanes is not None and not any(lanes):
                continue
            mask = None if lanes is None else v.mask(lanes)
            if lanes not in grads:
                grads[lanes] = v.load(v.at(g, p * v.lanes), mask)
            for r, x in enumerate(xs):
                here = (r * taps + k) * block.copies + p % block.copies
                read = v.load(v.at(x, p * v.lanes + offset), mask)
                made[here] = v.multiply_add(read, grads[lanes], made[here])
    return made
