"""The gradient for the weight of a depthwise convolution: vectors along the channels.

What it is.  ``grad_w[c, k] = sum over n, o of grad[n, c, o] * x[n, c, o*stride - lo +
  k*dilation]``. Neighbouring groups are the lanes. The sums of a row of taps stay in registers,
  once for each of a few neighbouring positions, while a band of positions goes by; each column of
  the input is loaded once for all taps and positions that read it. What a band gave is stored, and
  bands are added in order (``band_sums``). Taps in zeros are left out, as in ``depthwise``.
When it applies.  One channel in and one out for each group, side by side in memory in both arrays.
What it costs.  ``((p - 1) s + d (k - 1) + 1) + p`` loads for ``p k`` multiply-adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.tile import budget, split, unrolled
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.addresses import row_pairs
from faltung.methods.band_sums import band_sums
from faltung.methods.correlation import Correlation, Window
from faltung.methods.grouped import together
from faltung.methods.grouped_kernel import column, places
from faltung.methods.step import Arrays, Operand, Step, Table, Word, Work, shifted, table
from faltung.methods.tiled import Kind, Run, tiles_of

# The longest and the shortest sum in one accumulator, in positions.
BAND, MIN_BAND = 4096, 128
# Positions for each tap in a band, so that the sums are little memory beside the input.
POSITIONS_A_TAP = 16
# Accumulators that hide the latency of a multiply-add; more neighbouring positions gain nothing.
CHAINS = 8
# Cycles between two multiply-adds of one accumulator.
LATENCY = 4


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DepthwiseGrad:
    """``lanes``: for each input channel of a group the place that each lane reads, counted from its
    block's first input; ``copies``: sums of each tap, one for each position of a tile, or one;
    ``taps``: input offsets of the taps of a row;
    ``x_pitch``, ``g_pitch``: elements between neighbouring positions; ``kinds``: the tiles of a
    row, in their order.
    """

    dtype: str
    lanes: tuple[tuple[int, ...], ...]
    copies: int
    taps: tuple[int, ...]
    x_pitch: int
    g_pitch: int
    kinds: tuple[Kind, ...]

    @property
    def symbol(self) -> str:
        return f"depthwise_grad_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        _row(module, machine, self)
        _driver(module, self, machine.lanes(self.dtype))
        return str(module)


ADDRESSES = ("x", "g", "sums", "pairs", "spans", "runs")
# Items are (band of rows, chunk of a row, block of channels, outer tap), the first outermost.
COUNTS = ("chunk", "block", "tap")
WORDS = (*ADDRESSES, *COUNTS, "block_inputs", "block_channels", "width")
ROW = [
    *(("ptr", name) for name in ("x", "g", "sums", "pairs", "runs")),
    *(("i64", name) for name in ("first", "last", "width")),
]


def _driver(module: Module, recipe: DepthwiseGrad, lanes: int) -> None:
    f = module.function(
        recipe.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    element = ELEMENTS[recipe.dtype][0]
    word = {
        name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }
    with f.loop("%begin", "%end") as item:
        rest, where = item.index, {}
        for name in reversed(COUNTS):
            rest, where[name] = f.divmod(rest, word[name])
        channel = f.mul(where["block"], word["block_channels"])
        first_input = f.mul(where["block"], word["block_inputs"])
        span = f.add(f.mul(rest, word["tap"]), where["tap"])
        span = f.at(word["spans"], f.mul(span, 2), "i64")
        # Sums: (band of rows, chunk, outer tap, tap, input channel, lane), blocks side by side.
        band = f.add(f.mul(rest, word["chunk"]), where["chunk"])
        line = f.mul(
            f.add(f.mul(band, word["tap"]), where["tap"]), len(recipe.taps) * len(recipe.lanes)
        )
        first = f.word(span, 0)
        at = {
            "x": f.at(word["x"], first_input, element),
            "g": f.at(word["g"], channel, element),
            "sums": f.at(
                word["sums"],
                f.add(f.mul(line, word["width"]), f.mul(where["block"], lanes)),
                element,
            ),
            "pairs": word["pairs"],
            "runs": f.at(word["runs"], f.mul(where["chunk"], 3 * len(recipe.kinds)), "i64"),
            "first": first,
            "last": f.add(first, f.word(span, 1)),
            "width": word["width"],
        }
        f.call("row", [(kind, at[name]) for kind, name in ROW])


def _row(module: Module, machine: Machine, recipe: DepthwiseGrad) -> None:
    """The sums of one row of taps over pairs of rows."""
    f = module.function("row", ROW)
    v = Vectors(f, machine, recipe.dtype)
    copies = recipe.copies
    sums = len(recipe.taps) * len(recipe.lanes) * copies
    with f.loop("%first", "%last", [(v.type, v.zero)] * sums) as pair:
        entry = f.at("%pairs", f.mul(pair.index, 2), "i64")
        x, g = v.at("%x", f.word(entry, 0)), v.at("%g", f.word(entry, 1))
        acc = pair.values
        for number, kind in enumerate(recipe.kinds):
            run = f.at("%runs", 3 * number, "i64")
            start = v.at(x, f.word(run, 1)), v.at(g, f.word(run, 2))
            carried = [*(("ptr", at) for at in start), *((v.type, value) for value in acc)]
            with f.loop(0, f.word(run, 0), carried) as turn:
                x_now, g_now = turn.values[:2]
                made = _products(v, recipe, kind, x_now, g_now, turn.values[2:])
                onward = [
                    v.at(x_now, kind.positions * recipe.x_pitch),
                    v.at(g_now, kind.positions * recipe.g_pitch),
                ]
                turn.carry([*onward, *made])
            acc = turn.results[2:]
        pair.carry(acc)
    for k in range(len(recipe.taps) * len(recipe.lanes)):
        total, *others = pair.results[k * copies : (k + 1) * copies]
        for other in others:
            total = v.add(total, other)
        v.store(total, v.at("%sums", f.mul("%width", k)))


def _products(
    v: Vectors, recipe: DepthwiseGrad, kind: Kind, x: str, g: str, acc: Sequence[str]
) -> list[str]:
    """One tile: every column of the input meets the gradients of all positions that read it."""
    mask, made, inputs = v.first(len(recipe.lanes[0])), list(acc), len(recipe.lanes)
    columns: dict[int, list[tuple[int, int]]] = {}
    for p in range(kind.positions):
        for k, offset in enumerate(recipe.taps):
            if p not in kind.outside[k]:
                columns.setdefault(p * recipe.x_pitch + offset, []).append((p, k))
    grads: dict[int, str] = {}
    for offset, products in sorted(columns.items()):
        for p, _ in products:
            if p not in grads:
                grads[p] = v.load(v.at(g, p * recipe.g_pitch), mask)
        for number in range(inputs):
            read = column(v, recipe.lanes, v.at(x, offset), number)
            for p, k in products:
                here = (k * inputs + number) * recipe.copies + p % recipe.copies
                made[here] = v.multiply_add(read, grads[p], made[here])
    return made


# The plan -----------------------------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.groups < 2 or not c.channels_in == 1 == c.channels_out:
        return "groups have more than one channel"
    return None if fits(c, machine) else "channels are not neighbours"


def fits(c: Correlation, machine: Machine) -> bool:
    """Whether ``plan`` can do it: channels side by side in both arrays, whatever their number in a
    group.
    """
    groups = together(c, machine)
    beside = c.channels_out == 1 or c.out[2] == 1
    beside = beside and (groups == 1 or c.out[1] == c.channels_out)
    return groups > 0 and beside and c.channels_in <= budget(machine)


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; infinite if it does not apply."""
    return inf if why_not(c, machine) is not None else cycles(c, machine)


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``: loads, shuffles or products, whichever are most."""
    axis, inputs = c.windows[-1].axis, c.channels_in
    groups = together(c, machine)
    shuffled = groups > 1 and inputs * c.channels_out > 1
    rows = c.batch * -(-c.groups // groups) * c.outputs / axis.output * c.row_taps
    made = 0.0
    for _, taps in _taps(c, machine):
        for positions, count in split(axis.output, _most(c, machine, taps)):
            columns = min(positions * taps, (positions - 1) * axis.stride + taps)
            products = positions * taps * inputs
            reads = columns * (1 if shuffled else inputs) + positions
            work = (products + columns * inputs) / 3 if shuffled else 0.0
            made += rows * count * max(products / 2, reads / 2, work, LATENCY)
    return made


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    """Never: the gradient has neighbouring channels where the method applies."""
    return False


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the last axis must be padded by a copy first: borders that are not zeros, or too many
    tiles with taps in them.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    if not pads or last.borders:
        return last.borders
    cuts = [_runs(c, machine, first, taps) for first, taps in _taps(c, machine)]
    products = [sum(kind.positions * len(kind.outside) for kind, _, _ in runs) for runs in cuts]
    return max(products) * c.channels_in > unrolled(machine)


def _taps(c: Correlation, machine: Machine) -> list[tuple[int, int]]:
    """The taps of a row in blocks whose sums fit the registers: (first, how many)."""
    # Two registers less than the budget: a column and a gradient stay beside the sums.
    most = budget(machine) - 2 if c.channels_in == 1 else budget(machine) // c.channels_in
    sizes = [size for size, n in split(c.windows[-1].axis.kernel, most) for _ in range(n)]
    return [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]


def _most(c: Correlation, machine: Machine, taps: int) -> int:
    """Positions of a tile: with several input channels the sums of one are enough."""
    if c.channels_in > 1:
        return 1
    return max(1, min((budget(machine) - 2) // taps, CHAINS))


def _runs(c: Correlation, machine: Machine, first: int, taps: int) -> list[Run]:
    """The tiles of a row for a block of its taps, without those that only read zeros."""
    a, most = c.windows[-1].axis, _most(c, machine, taps)
    part = _part_axis(a, first, taps)
    found = tiles_of(part, split(a.output, most), True)
    return [
        (kind, start, count)
        for kind, start, count in found
        if any(len(outside) < kind.positions for outside in kind.outside)
    ]


def _part_axis(a: Axis, first: int, taps: int) -> Axis:
    """The axis with a block of its taps alone. Borders, if it had any, lie in a copy by now."""
    lo, hi = a.lo - first * a.dilation, a.hi - (a.kernel - first - taps) * a.dilation
    return replace(a, kernel=taps, lo=lo, hi=hi, mode="zeros")


def _band(c: Correlation, machine: Machine) -> int:
    """Positions of a band: half of the second-level cache, so that all blocks find it there."""
    last = c.windows[-1]
    channels = (c.channels_in * last.axis.stride + c.channels_out) * c.groups
    each = channels * ELEMENTS[c.dtype][1]
    return min(BAND, max(MIN_BAND, POSITIONS_A_TAP * c.taps, machine.l2 // 2 // each))


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight; ``arrays.out`` is the output
    gradient.
    """
    groups = together(c, machine)
    whole, rest = divmod(c.groups, groups)
    sums: list[Step] = []
    for first, blocks, count in ((0, whole, groups), (whole * groups, 1, rest)):
        for taps in _taps(c, machine) if blocks and count else ():
            step, adding = _part(c, machine, work, arrays, taps, (first, blocks, count))
            work.steps.append(replace(step, after=after and not sums))
            sums.append(replace(adding, after=not sums))
    work.steps += sums


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    taps: tuple[int, int],
    groups: tuple[int, int, int],
) -> tuple[Step, Step]:
    """A block of the taps of a row, for ``blocks`` blocks of ``together`` groups from ``start``."""
    start, blocks, together = groups
    last, lanes = c.windows[-1], machine.lanes(c.dtype)
    first, count = taps
    runs = _runs(c, machine, first, count)
    inputs, channels = c.channels_in, together * c.channels_out
    positions = _band(c, machine)
    chunks = _chunks(last, runs, first, positions)
    spans, pairs = row_pairs(c, max(1, positions // last.axis.output))
    outer = c.taps // last.axis.kernel
    bands, width = len(spans) // outer, blocks * lanes
    recipe = DepthwiseGrad(
        dtype=c.dtype,
        lanes=places(together, inputs, c.channels_out),
        copies=max((k.positions for k, _, _ in runs), default=1) if inputs == 1 else 1,
        taps=tuple(k * last.axis.dilation * last.x for k in range(count)),
        x_pitch=last.axis.stride * last.x,
        g_pitch=last.out,
        kinds=tuple(kind for kind, _, _ in runs),
    )
    size = bands * len(chunks) * outer * count * inputs * width * ELEMENTS[c.dtype][1]
    sums = Operand(work.borrow("sums", size))
    words: list[Word] = [
        shifted(arrays.x, c.x_base + start * c.x[1], c.dtype),
        shifted(arrays.out, c.out_base + start * c.out[1], c.dtype),
        *(sums, pairs, spans, chunks),
        *(len(chunks), blocks, outer, together * c.x[1], together * c.out[1], width),
    ]
    name = "depthwise_grad" if inputs == 1 == c.channels_out else "grouped_grad"
    title = f"{name} {count}x{max((k.positions for k in recipe.kinds), default=1)}"
    step = Step(recipe, bands * len(chunks) * blocks * outer, words, title)
    offsets = [window.taps for window in c.windows[:-1]]
    adding = band_sums(
        c.dtype,
        sums,
        shifted(arrays.w, start * c.w[0], c.dtype),
        bands * len(chunks),
        [*offsets, last.taps[first : first + count], [ci * c.w[2] for ci in range(inputs)]],
        (blocks, channels, width),
        c.w[0] if c.channels_out == 1 else c.w[1],
    )
    return step, adding


def _chunks(last: Window, runs: Sequence[Run], first: int, positions: int) -> Table:
    """A row in chunks of about ``positions``: for each chunk and run of tiles how many of them, and
    where they begin in the input and in the gradient.
    """
    a = last.axis
    tile = max((kind.positions for kind, _, _ in runs), default=1)
    most = max(1, positions // tile)
    tiles = sum(count for _, _, count in runs)
    cuts = np.arange(0, max(tiles, 1), most, dtype=np.int64)
    rows = np.zeros((len(cuts), len(runs), 3), np.int64)
    before = 0
    for number, (kind, start, count) in enumerate(runs):
        low = np.clip(cuts - before, 0, count)
        high = np.clip(cuts + most - before, 0, count)
        at = start + low * kind.positions
        rows[:, number, 0] = high - low
        rows[:, number, 1] = (at * a.stride - a.lo + first * a.dilation) * last.x
        rows[:, number, 2] = at * last.out
        before += count
    return table(rows.reshape(len(cuts), -1), 3 * len(runs) or 1)
