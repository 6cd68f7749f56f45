"""The gradient for the weight: the same outer product, summed over samples and positions.

What it is.  ``grad_w[co, ci, k] = sum over n, o of grad[n, co, o] * x[n, ci, o*stride - lo +
  k*dilation]``. A tile of ``rows`` by ``vectors`` sums stays in registers while a band of positions
  goes by. "Channels": the vector operand is the output gradient along its channels (or the input
  along its own, where those are more), the other array is broadcast. "Space": both are vectors of
  neighbouring positions and the lanes are summed at the end, for arrays with few channels. Taps in
  zeros shorten the range of positions, they cost nothing.
When it applies.  Always; groups of one channel are better off with ``depthwise_grad``.
What it costs.  As the forward pass. Bands of positions short enough for the first-level cache are
  used by all taps and channels in turn; sums in two levels also keep rounding small.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.tile import budget, flat, outer_product, shaped, split, zeros
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.addresses import row_pairs
from faltung.methods.copy import spread
from faltung.methods.correlation import Correlation, Window
from faltung.methods.step import Arrays, Operand, Step, Table, Word, Work, shifted, table

# The longest sum in one accumulator, in positions.
BAND = 4096
# The shortest band: below it the sums are loaded and stored too often.
MIN_BAND = 128
# Entries of the table of taps and chunks of a row.
REACHES = 1 << 20
# Input channels of a group that alone make too small a tile.
FEW = 8


# The recipe ---------------------------------------------------------------------------------------


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
        _driver(module, machine, self)
        return str(module)

    def width(self, machine: Machine) -> int:
        """Sums that one row of a tile stores."""
        return len(self.columns) * (1 if self.space else machine.lanes(self.dtype))


ADDRESSES = ("a", "b", "sums", "row_blocks", "taps", "spans", "pairs")
WORDS = (
    *ADDRESSES,
    *("blocks", "tap_count", "row_block_count", "bands", "chunks"),
    *("a_group", "b_group", "b_block", "tap_sums", "inner_taps"),
)
TILE = [
    *(("ptr", name) for name in ("a", "b", "sums", "pairs")),
    *(("i64", name) for name in ("first", "count", "length", "band")),
]


def _driver(module: Module, machine: Machine, recipe: WeightGrad) -> None:
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
        width = recipe.width(machine)
        sums = f.add(
            f.mul(f.add(f.mul(pair, word["tap_count"]), tap), word["tap_sums"]),
            f.mul(f.word(rows, 2), width),
        )
        at = {
            "a": f.at(word["a"], a, element),
            "b": f.at(word["b"], b, element),
            "sums": f.at(word["sums"], sums, element),
            "pairs": word["pairs"],
            "first": f.word(span, 0),
            "count": f.word(span, 1),
            "length": f.word(reach, 2),
            "band": band.index,
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
    columns = len(recipe.columns)
    more = f.value("icmp ne i64 %band, 0")
    for p, row in enumerate(acc):
        for q, value in enumerate(row):
            if recipe.space:
                at = v.at("%sums", p * columns + q)
                before = f.value(f"load {v.element}, ptr {at}, align {v.bytes}")
                total = v.total(value)
                summed = f.value(f"fadd {v.element} {before}, {total}")
                chosen = f.value(f"select i1 {more}, {v.element} {summed}, {v.element} {total}")
                f.emit(f"store {v.element} {chosen}, ptr {at}, align {v.bytes}")
            else:
                at = v.at("%sums", (p * columns + q) * v.lanes)
                summed = v.add(v.load(at), value)
                v.store(f.value(f"select i1 {more}, {v.type} {summed}, {v.type} {value}"), at)


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """One array as the kernel sees it: channels of a group, strides, the elements between
    positions.
    """

    array: Operand
    channels: int
    group: int
    channel: int
    pitch: int


@dataclass(frozen=True, slots=True)
class Choice:
    """``swapped``: the input is the vector operand; ``merged``: taps of the last axis are rows of
    the tile.
    """

    space: bool
    swapped: bool
    merged: bool


def choose(c: Correlation, machine: Machine) -> Choice:
    """Lanes are channels where there are enough of them side by side, else positions where those
    are.
    """
    lanes = machine.lanes(c.dtype)
    last = c.windows[-1]
    beside = last.x * last.axis.stride == 1 and last.out == 1
    outputs = c.channels_out if c.out[2] == 1 else 0
    inputs = c.channels_in if c.x[2] == 1 else 0
    if beside and max(c.channels_out, c.channels_in) * 2 <= lanes:
        return Choice(True, False, False)
    fill = {size: size / (-(-size // lanes) * lanes) for size in (outputs, inputs) if size}
    swapped = bool(inputs) and fill[inputs] > 2 * fill.get(outputs, 0)
    merged = (
        not swapped
        and c.channels_in < FEW
        and last.axis.kernel > 1
        and last.axis.lo <= 0
        and last.axis.hi <= 0
    )
    return Choice(False, swapped, merged)


def describe(c: Correlation, machine: Machine) -> str:
    """What the lanes of a vector are, for people."""
    chosen = choose(c, machine)
    lanes = "input channels" if chosen.swapped else "output channels"
    return f"weight_grad, lanes are {'positions' if chosen.space else lanes}"


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    """Whether neither array has neighbouring channels and positions are no help either."""
    return not choose(c, machine).space and c.out[2] != 1 and c.x[2] != 1


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be copied first: borders that are not zeros along the last axis, or
    few channels, whose taps then fill the tile beside them.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    return last.borders or (pads and _mergeable(c, machine))


def _mergeable(c: Correlation, machine: Machine) -> bool:
    chosen = choose(c, machine)
    few = c.channels_in < FEW and c.windows[-1].axis.kernel > 1
    return few and not (chosen.swapped or chosen.space)


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight; ``arrays.out`` is the output
    gradient.
    """
    chosen = choose(c, machine)
    lanes = 1 if chosen.space else machine.lanes(c.dtype)
    last = c.windows[-1]
    x = Side(
        shifted(arrays.x, c.x_base, c.dtype),
        c.channels_in,
        c.x[1],
        c.x[2],
        last.axis.stride * last.x,
    )
    g = Side(shifted(arrays.out, c.out_base, c.dtype), c.channels_out, c.out[1], c.out[2], last.out)
    a, b = (g, x) if chosen.swapped else (x, g)
    # Vectors of one tile: two, or with lanes along space up to four channels.
    size = (4 if chosen.space else 2) * lanes
    whole, rest = divmod(b.channels, size)
    if whole:
        _part(c, machine, work, arrays, after, chosen, a, b, 0, whole, size)
    if rest:
        _part(c, machine, work, arrays, after, chosen, a, b, whole * size, 1, rest)


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    after: bool,
    chosen: Choice,
    a: Side,
    b: Side,
    start: int,
    blocks: int,
    channels: int,
) -> None:
    """Channels ``start`` onwards of the vector operand, in ``blocks`` equal blocks."""
    lanes = 1 if chosen.space else machine.lanes(c.dtype)
    vectors = -(-channels // lanes)
    last = c.windows[-1]
    inner = [0] if chosen.merged else list(range(last.axis.kernel))
    rows = [
        (k * last.axis.dilation * last.x + channel * a.channel)
        for k in (range(last.axis.kernel) if chosen.merged else [0])
        for channel in range(a.channels)
    ]
    kinds, row_blocks = _row_blocks(rows, budget(machine) // vectors)
    recipe = WeightGrad(
        dtype=c.dtype,
        kinds=kinds,
        columns=tuple(q * lanes * b.channel for q in range(vectors)),
        lanes=channels - (vectors - 1) * lanes,
        a_pitch=a.pitch,
        b_pitch=b.pitch,
        space=chosen.space,
    )
    positions, rows_a_band = _band(c, machine)
    chunks, taps = _reaches(last, inner, chosen, positions)
    spans, pairs = row_pairs(c, rows_a_band)
    if chosen.swapped:
        pairs = table(pairs[:, ::-1], 2)
    width = recipe.width(machine)
    outer_taps = c.taps // last.axis.kernel
    tap_count = outer_taps * len(inner)
    size = c.groups * blocks * tap_count * len(rows) * width * ELEMENTS[c.dtype][1]
    sums = Operand(work.borrow("sums", size))
    bands = len(spans) // outer_taps * chunks
    words: list[Word] = [
        *(
            a.array,
            shifted(b.array, start * b.channel, c.dtype),
            sums,
            row_blocks,
            taps,
            spans,
            pairs,
        ),
        *(blocks, tap_count, len(row_blocks), bands, chunks),
        *(a.group, b.group, channels * b.channel, len(rows) * width, len(inner)),
    ]
    items = c.groups * blocks * tap_count * len(row_blocks)
    title = f"weight_grad {vectors}x{len(kinds[0])}{' along space' if chosen.space else ''}"
    work.steps.append(Step(recipe, items, words, title, after))
    work.steps.append(_unpack(c, arrays, chosen, sums, start, blocks, channels, width))


def _row_blocks(rows: list[int], most: int) -> tuple[tuple[tuple[int, ...], ...], Table]:
    """Rows in tiles of nearly equal size: kinds of tiles, and for each tile (kind, offset in a,
    first row).
    """
    kinds: list[tuple[int, ...]] = []
    blocks = []
    first = 0
    for size in (size for size, count in split(len(rows), most) for _ in range(count)):
        part = rows[first : first + size]
        kind = tuple(offset - part[0] for offset in part)
        if kind not in kinds:
            kinds.append(kind)
        blocks.append((kinds.index(kind), part[0], first))
        first += size
    return tuple(kinds), table(blocks, 3)


def _reaches(last: Window, inner: list[int], chosen: Choice, positions: int) -> tuple[int, Table]:
    """Per chunk of a row and tap: offsets in a and b, and positions that read inside."""
    axis = last.axis
    start = np.arange(0, axis.output, positions, dtype=np.int64)[:, None]
    stop = np.minimum(start + positions, axis.output)
    shift = np.array(inner, dtype=np.int64) * axis.dilation - axis.lo
    first = np.maximum(start, -(shift // axis.stride))
    count = np.maximum(0, np.minimum(stop, (axis.size - 1 - shift) // axis.stride + 1) - first)
    x, g = (first * axis.stride + shift) * last.x, first * last.out
    a, b = (g, x) if chosen.swapped else (x, g)
    return len(start), table(np.stack([a, b, count], axis=-1).reshape(-1, 3), 3)


def _band(c: Correlation, machine: Machine) -> tuple[int, int]:
    """Positions of a row, and rows, in one band: the first cache full, if that is enough."""
    *_, last = c.windows
    each = (c.channels_in * last.axis.stride + c.channels_out) * c.groups * ELEMENTS[c.dtype][1]
    fit = min(BAND, max(MIN_BAND, machine.l1 // each))
    # A kernel of a million taps has a table of its own length for every chunk: then fewer chunks.
    fit = max(fit, last.axis.output * last.axis.kernel // REACHES)
    positions = min(last.axis.output, fit)
    return positions, -(-fit // positions)


def _unpack(
    c: Correlation,
    arrays: Arrays,
    chosen: Choice,
    sums: Operand,
    start: int,
    blocks: int,
    channels: int,
    width: int,
) -> Step:
    """Sums as (group, block, tap, row, channel of the block) -> the weight's own order."""
    along, across = (c.w[2], c.w[1]) if chosen.swapped else (c.w[1], c.w[2])
    count = c.channels_out if chosen.swapped else c.channels_in
    taps = [sum(offsets) for offsets in itertools.product(*(w.taps for w in c.windows))]
    block_sums = len(taps) * count * width
    outer = [
        ((g * blocks + b) * block_sums, g * c.w[0] + (start + b * channels) * along)
        for g in range(c.groups)
        for b in range(blocks)
    ]
    runs = [
        ((k * count + channel) * width, tap + channel * across, channels)
        for k, tap in enumerate(taps)
        for channel in range(count)
    ]
    return spread(
        c.dtype,
        sums,
        arrays.w,
        outer,
        runs,
        stride=along,
        title="unpack weight gradient",
        after=True,
    )
