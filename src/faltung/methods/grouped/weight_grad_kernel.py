"""The code of ``depthwise_grad`` and ``grouped_grad``: sums of a block of taps stay in registers.

A unit is one line of channels (a few vectors, so that memory is read in stretches) over one band of
positions; an item is some units. A unit goes by rounds, which tables list: rows of both arrays are
copied to where neighbouring positions are neighbours in memory, or are read as they lie; then every
vector and every block of taps goes over them. Between two rounds the sums are in memory, so that
there may be any number of taps.
"""

from dataclasses import dataclass

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.grouped.weight_grad_sums import RUN, Block, Reads, span

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
# positions); and a run of tiles (``RUN``).
PART, ROUND, COPY, SPAN, CHUNK = 2, 6, 2, 4, 4


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
    def reads(self) -> Reads:
        """How the sums find what they read."""
        return Reads(
            *(self.dtype, self.lanes, self.taps, self.stride),
            *(self.x_pitch, self.g_pitch, self.g_copied),
        )

    @property
    def block_inputs(self) -> int:
        return max(map(max, self.lanes)) + 1

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, block in enumerate(self.blocks):
            span(module, machine, self.reads, block, f"span{number}")
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
