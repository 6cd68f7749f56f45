"""What the tiled methods share: kinds of tiles along the last axis, the walk over items, packed
weights.

``direct`` and ``spatial`` differ in what one tile does. Both cut the outputs of the last axis into
tiles, leave out what lies in zeros, and go over (sample, group, block of output channels, row,
segment of a row).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.jit.compile import Recipe
from faltung.methods.addresses import interior, rows_of
from faltung.methods.copy import copy
from faltung.methods.correlation import Correlation, Window
from faltung.methods.step import (
    MISSING,
    Arrays,
    Operand,
    Step,
    Table,
    Word,
    Work,
    shifted,
    table,
)

# Tiles in one item of work: long rows are cut so that threads can share them.
SEGMENT = 16
# Items that a row is cut into at the most.
SEGMENTS = 4096


@dataclass(frozen=True)
class Kind:
    """One kind of tile: its output positions, and for each unrolled tap those whose input is a
    zero.
    """

    positions: int
    outside: tuple[tuple[int, ...], ...]


# One run of tiles: kind, first output, how many.
Run = tuple[Kind, int, int]


# The walk -----------------------------------------------------------------------------------------

COUNTS = ("batch", "group", "block", "row", "segment")
ADDRESSES = ("x", "w", "out", "bias", "rows", "segments", "patterns")
WORDS = (
    *ADDRESSES,
    *COUNTS,
    *(
        "x_batch",
        "x_group",
        "x_channel",
        "out_batch",
        "out_group",
        "out_block",
        "out_position",
        "out_channel",
    ),
    *("w_block", "channels", "bias_block"),
)
# The arguments of a tile function; "channels" counts input channels.
TILE = [
    *(("ptr", name) for name in ("x", "w", "out", "bias", "pattern")),
    *(
        ("i64", name)
        for name in ("entries", "channels", "x_channel", "out_position", "out_channel")
    ),
]


def driver(
    module: Module,
    symbol: str,
    dtype: str,
    order: tuple[str, ...],
    kinds: Sequence[Kind],
    pitch: int,
) -> None:
    """Items -> (sample, group, block of channels, row, segment) -> tiles."""
    f = module.function(symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True)
    element = ELEMENTS[dtype][0]
    word = {
        name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }
    with f.loop("%begin", "%end") as item:
        rest, where = item.index, {}
        for name in reversed(order[1:]):
            rest, where[name] = f.divmod(rest, word[name])
        where[order[0]] = rest
        row = f.at(word["rows"], f.mul(where["row"], 4), "i64")
        segment = f.at(word["segments"], f.mul(where["segment"], 4), "i64")
        block = f.add(f.mul(where["group"], word["block"]), where["block"])

        def offset(parts: list[tuple[str, str]], *more: str) -> str:
            total = "0"
            for index, stride in parts:
                product = f.mul(where[index], word[stride])
                total = product if total == "0" else f.add(total, product)
            for term in more:
                total = f.add(total, term)
            return total

        x = offset([("batch", "x_batch"), ("group", "x_group")], f.word(row, 0), f.word(segment, 2))
        out = offset(
            [("batch", "out_batch"), ("group", "out_group"), ("block", "out_block")],
            f.word(row, 1),
            f.word(segment, 3),
        )
        at = {
            "x": f.at(word["x"], x, element),
            "w": f.at(word["w"], f.mul(block, word["w_block"]), element),
            "out": f.at(word["out"], out, element),
            "bias": f.at(word["bias"], f.mul(block, word["bias_block"]), element),
            "pattern": f.at(word["patterns"], f.mul(f.word(row, 2), 2), "i64"),
            "entries": f.word(row, 3),
        }
        count = f.word(segment, 1)

        def tiles(number: int, kind: Kind) -> None:
            forward = f.mul(word["out_position"], kind.positions)
            carried = [("ptr", at["x"]), ("ptr", at["out"])]
            with f.loop(0, count, carried, runs=True) as turn:
                here = {**word, **at, "x": turn.values[0], "out": turn.values[1]}
                f.call(f"tile{number}", [(type_, here[name]) for type_, name in TILE])
                turn.carry(
                    [
                        f.at(turn.values[0], kind.positions * pitch, element),
                        f.at(turn.values[1], forward, element),
                    ]
                )

        cases = [lambda n=n, k=k: tiles(n, k) for n, k in enumerate(kinds)]
        f.switch(f.word(segment, 0), cases)


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Output channels of every group from ``start`` on, in ``blocks`` blocks of ``channels``.

    A block is packed ``width`` wide, the rest zeros. ``unrolled``: the last axis's taps are in the
    code.
    """

    start: int
    blocks: int
    channels: int
    width: int
    unrolled: bool


def taps_of(last: Window) -> tuple[int, ...]:
    """Input offsets of the taps of the last axis."""
    return tuple(k * last.axis.dilation * last.x for k in range(last.axis.kernel))


def kinds_of(runs: Sequence[Run]) -> tuple[Kind, ...]:
    return tuple(dict.fromkeys(kind for kind, _, _ in runs))


def tiles_of(axis: Axis, sizes: Sequence[tuple[int, int]], unrolled: bool) -> list[Run]:
    """The tiles along the last axis as runs of one kind, from (size, count) pairs in their order.

    Only tiles that reach into the padding are looked at one by one.
    """
    taps = axis.kernel if unrolled else 1
    inside = interior(axis)
    # Outputs before `left` and from `right` on read nothing but padding.
    left = max(0, -(-(axis.lo - axis.extent + 1) // axis.stride))
    right = -(-(axis.size + axis.lo) // axis.stride)
    runs: list[Run] = []
    start = 0
    for size, count in sizes:
        plain = Kind(size, ((),) * taps)
        blank = Kind(size, (tuple(range(size)),) * taps)
        while count:
            if not unrolled:
                kind, done = plain, count
            elif start in inside and start + size <= inside.stop:
                kind, done = plain, (inside.stop - start) // size
            elif start + size <= left:
                kind, done = blank, (left - start) // size
            elif start >= right:
                kind, done = blank, count
            else:
                kind, done = _edge(axis, start, size), 1
            done = min(done, count)
            runs.append((kind, start, done))
            start += size * done
            count -= done
    return runs


def _edge(axis: Axis, start: int, size: int) -> Kind:
    """A tile of which some taps may lie in the padding."""
    first = start * axis.stride - axis.lo
    outside = tuple(
        tuple(
            p
            for p in range(size)
            if axis.source(first + p * axis.stride + k * axis.dilation) is None
        )
        for k in range(axis.kernel)
    )
    return Kind(size, outside)


def part(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    recipe: Recipe,
    runs: list[Run],
    shape: "Part",
    title: str,
    after: bool,
) -> None:
    """Add the steps for the output channels of ``shape``: packing, then the tiles."""
    *outer, last = c.windows
    packed, bias = pack(c, work, arrays, shape)
    tap = c.channels_in * shape.width
    offsets = taps_of(last)
    inner = (0,) if shape.unrolled else offsets
    step = tap * len(offsets) if shape.unrolled else tap
    where = rows_of(outer, inner, step)
    kinds = kinds_of(runs)
    cut = segments(runs, kinds, last)
    counts = (c.batch, c.groups, shape.blocks, len(where.rows), len(cut))
    out = shifted(arrays.out, c.out_base + shape.start * c.out[2], c.dtype)
    words: list[Word] = [
        *(shifted(arrays.x, c.x_base, c.dtype), packed, out, bias),
        *(where.rows, cut, where.patterns),
        *counts,
        *c.x,
        *(c.out[0], c.out[1], shape.channels * c.out[2], last.out, c.out[2]),
        *(tap * c.taps, c.channels_in, shape.width),
    ]
    work.steps.append(Step(recipe, int(np.prod(counts)), words, title, after))


def segments(runs: list[Run], kinds: tuple[Kind, ...], last: Window) -> Table:
    """The tiles of one row: (kind, tiles, input offset, output offset)."""
    most = max(SEGMENT, sum(count for _, _, count in runs) // SEGMENTS)
    parts = []
    for kind, first, count in runs:
        done = np.arange(0, count, most, dtype=np.int64)
        at = first + done * kind.positions
        position = (at * last.axis.stride - last.axis.lo) * last.x
        number = np.full_like(done, kinds.index(kind))
        parts.append(
            np.stack([number, np.minimum(most, count - done), position, at * last.out], axis=1)
        )
    return table(np.concatenate(parts), 4)


def pack(c: Correlation, work: Work, arrays: Arrays, shape: Part) -> tuple[Operand, Operand]:
    """Weights as (group, block, tap, input channel, output channel of the block), and the bias
    likewise.
    """
    tap = c.channels_in * shape.width
    bytes_ = ELEMENTS[c.dtype][1]
    packed = Operand(work.keep("weights", c.groups * shape.blocks * c.taps * tap * bytes_))
    bias = Operand(work.keep("bias", c.groups * shape.blocks * shape.width * bytes_))
    outer, biases = [], []
    for number, (g, b) in enumerate(itertools.product(range(c.groups), range(shape.blocks))):
        channel = shape.start + b * shape.channels
        outer.append((g * c.w[0] + channel * c.w[1], number * c.taps * tap))
        biases.append((g * c.channels_out + channel if arrays.bias else 0, number * shape.width))
    runs = [
        (sum(offsets) + ci * c.w[2], k * tap + ci * shape.width, shape.channels)
        for k, offsets in enumerate(itertools.product(*(w.taps for w in c.windows)))
        for ci in range(c.channels_in)
    ]
    title = "pack weights"
    pack_weights = copy(
        c.dtype, arrays.w, packed, outer, runs, stride=c.w[1], fill=shape.width, title=title
    )
    source = [(0 if arrays.bias else MISSING, 0, shape.channels)]
    given = arrays.bias or packed
    pack_bias = copy(c.dtype, given, bias, biases, source, fill=shape.width, title="pack bias")
    work.prepare += [pack_weights, pack_bias]
    return packed, bias
