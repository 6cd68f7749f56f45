"""Winograd's minimal filtering: fewer products than the sum has, by transforms along each axis.

What it is.  A tile of m outputs of r taps along an axis costs m + r - 1 products instead of m r, and
  axes nest: F(4x4, 3x3) takes 36 products for what the sum does with 144. Tiles of the input are
  transformed into lines of channels for each point (``winograd_input``); for each point these meet
  the transformed weights (``winograd_weight``) in the outer product of all methods, and what comes
  out is transformed back and stored (``winograd_products``). It is done in portions of tiles whose
  lines stay in the second-level caches; two portions take turns, so that the threads meet once a
  portion. (A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016.)
When it applies.  Axes of 3 or 5 taps with stride 1 and any dilation, beside axes of one tap; one
  group. It is a transform: it rounds more than the sum (about five times for F(4x4, 3x3)), and what
  is not finite spreads over its tile.
What it costs.  ``macs * points / (outputs * taps)`` multiply-adds, the transforms, and the way of
  the transformed weights, which are larger, through the caches.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cache
from math import inf, prod

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.copy import copy
from faltung.methods.correlation import Correlation
from faltung.methods.stage import rearrange
from faltung.methods.step import MISSING, Arrays, Operand, Step, Table, Work, shifted, table
from faltung.methods.winograd_input import Sizes, TransformInput
from faltung.methods.winograd_points import transform
from faltung.methods.winograd_products import Products
from faltung.methods.winograd_tiles import AxisTiles, axis_tiles, joined, offsets
from faltung.methods.winograd_tiles import count as tiles_along
from faltung.methods.winograd_weight import WORDS as WEIGHT_WORDS
from faltung.methods.winograd_weight import TransformWeight
from faltung.methods.words import ordered

# Outputs of a tile along an axis, by its taps.
OUTPUTS = {1: (1,), 3: (2, 4), 5: (2, 4)}
# Bytes on the stack for the sums of a run of tiles.
STACK = 64 * 1024
# Cycles of one element of a transform: loaded, combined, stored.
TRANSFORM = 1.6
# Cycles of a tile beside its channels: its tables of addresses.
TILE = 300
# Cycles of a tile of sums beside its products.
SUMS = 24
# Bytes a cycle that weights come from the third-level cache, and bytes that it holds of them.
NEAR, FAR, SHARED = 12.0, 4.0, 20 << 20


# What is asked, and what is decided ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels by ``rows`` tiles in registers;
    ``most`` tiles of a run.
    """

    sizes: Sizes
    vectors: int
    rows: int
    most: int

    @property
    def points(self) -> int:
        return prod(m + r - 1 for m, r in self.sizes)

    def __str__(self) -> str:
        m, r = ("x".join(map(str, part)) for part in zip(*self.sizes, strict=True))
        return f"F({m},{r})"


def why_not(c: Correlation, machine: Machine) -> str | None:
    """Why it does not apply."""
    if c.groups > 1:
        return "groups"
    kernels = [w.axis.kernel for w in c.windows]
    if not set(kernels) <= set(OUTPUTS):
        return "a kernel of other than 1, 3 or 5 taps"
    if max(kernels) == 1:
        return "a kernel of one tap"
    if any(w.axis.stride > 1 for w in c.windows if w.axis.kernel > 1):
        return "a stride"
    return None


def choose(c: Correlation, machine: Machine) -> Choice | None:
    """The cheapest sizes for one sample, so that no batch changes the bits."""
    if why_not(c, machine) is not None or not c.outputs:
        return None
    windows = tuple((w.axis.kernel, _counted(c, i)) for i, w in enumerate(c.windows))
    return _cheapest(c.dtype, c.channels_in, c.channels_out, windows, machine)


def _counted(c: Correlation, i: int) -> tuple[tuple[int, int], ...]:
    """(m, tiles) of an axis for every m."""
    window = c.windows[i]
    taps = window.axis.kernel
    return tuple((m, tiles_along(window, transform(m, taps))) for m in OUTPUTS[taps])


@cache
def _cheapest(
    dtype: str,
    channels_in: int,
    channels_out: int,
    windows: tuple[tuple[int, tuple[tuple[int, int], ...]], ...],
    machine: Machine,
) -> Choice | None:
    best: tuple[float, Choice] | None = None
    for parts in itertools.product(*(counted for _, counted in windows)):
        sizes = tuple((m, taps) for (m, _), (taps, _) in zip(parts, windows, strict=True))
        tiles = prod(tiles for _, tiles in parts)
        for vectors in (1, 2, 3, 4):
            made = _choice(dtype, sizes, vectors, machine)
            if made is None:
                continue
            price = _price(dtype, channels_in, channels_out, tiles, made, machine)
            if best is None or price < best[0]:
                best = price, made
    return best and best[1]


def _choice(dtype: str, sizes: Sizes, vectors: int, machine: Machine) -> Choice | None:
    # The sums, the vectors of weights that meet them, and one value of an input.
    rows = min(budget(machine), machine.registers - vectors - 1) // vectors
    points = prod(m + r - 1 for m, r in sizes)
    tile = (points * vectors + 1) * machine.vector_bytes
    if rows < 2 or rows * tile > STACK:
        return None
    return Choice(sizes, vectors, rows, STACK // tile // rows * rows)


def _price(
    dtype: str,
    channels_in: int,
    channels_out: int,
    tiles: int,
    chosen: Choice,
    machine: Machine,
) -> float:
    """Cycles of one core for ``tiles`` tiles, weights transformed."""
    lanes, item = machine.lanes(dtype), ELEMENTS[dtype][1]
    blocks = -(-channels_out // (chosen.vectors * lanes))
    sums = sum(
        count * (channels_in * max(rows * chosen.vectors / 2, 4) + SUMS)
        for rows, count in split(tiles, chosen.rows)
    )
    transforms = tiles * (
        -(-channels_in // lanes) * _elements(chosen.sizes, True)
        + -(-channels_out // lanes) * _elements(chosen.sizes, False)
    )
    weights = chosen.points * channels_in * blocks * chosen.vectors * lanes * item
    speed = inf if weights <= machine.l2 else NEAR if weights <= SHARED else FAR
    passes = -(-tiles // _portion(dtype, channels_in, weights, chosen, machine))
    streamed = weights * passes / speed
    return max(blocks * chosen.points * sums, streamed) + transforms * TRANSFORM + tiles * TILE


def _elements(sizes: Sizes, forward: bool) -> int:
    """Elements that the passes of a transform read and write, in vectors."""
    total = 0
    shape = [m + r - 1 for m, r in sizes]
    for i, (m, r) in enumerate(sizes):
        if m + r == 2:
            continue
        if forward:
            total += 2 * prod(shape)
        else:
            before = prod(shape)
            shape[i] = m
            total += before + prod(shape)
    return total


def _portion(dtype: str, channels_in: int, weights: int, chosen: Choice, machine: Machine) -> int:
    """Tiles of a portion: their lines stay in the second-level caches, but where weights do not,
    they are many enough to be worth the way of the weights.
    """
    tile = chosen.points * channels_in * ELEMENTS[dtype][1]
    least = chosen.rows * (4 if weights > machine.l2 else 2)
    return max(least, machine.l2 // 2 // tile // chosen.rows * chosen.rows) * machine.cores


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be copied: its channels are not neighbours."""
    return c.x[2] != 1 and c.channels_in > 1


def needs_channels_first(c: Correlation) -> bool:
    """Never: it lives on channels that lie side by side."""
    return False


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; infinite where it does not apply."""
    chosen = choose(c, machine)
    if chosen is None:
        return inf
    tiles = c.batch * prod(_tiles(c, chosen))
    return _price(c.dtype, c.channels_in, c.channels_out, tiles, chosen, machine)


def describe(c: Correlation, machine: Machine) -> str:
    """Its sizes."""
    return str(choose(c, machine) or "")


def _tiles(c: Correlation, chosen: Choice) -> list[int]:
    return [
        tiles_along(w, transform(*size)) for w, size in zip(c.windows, chosen.sizes, strict=True)
    ]


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    chosen = choose(c, machine)
    if chosen is None:
        raise ValueError(f"c={c}: must be a problem that applies ({why_not(c, machine)})")
    if c.out[2] == 1 or c.channels_out == 1:
        _planned(c, machine, work, arrays, after, chosen)
        return
    # Outputs go along channels: into memory where these are neighbours, and from there in one copy.
    shape = (c.batch, c.channels_out, *(w.axis.output for w in c.windows))
    steps = _channels_last(shape)
    made = Operand(work.borrow("output", prod(shape) * ELEMENTS[c.dtype][1]))
    beside = replace(
        c,
        windows=tuple(replace(w, out=s) for w, s in zip(c.windows, steps[2:], strict=True)),
        out=(steps[0], 0, 1),
        out_base=0,
    )
    _planned(beside, machine, work, replace(arrays, out=made), after, chosen)
    strides = (c.out[0], c.out[2], *(w.out for w in c.windows))
    out = shifted(arrays.out, c.out_base, c.dtype)
    work.steps.append(
        rearrange(c.dtype, shape, made, steps, out, strides, "channels first", after=True)
    )


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    batch, channels, *space = shape
    steps = [channels * prod(space[i + 1 :]) for i in range(len(space))]
    return (channels * prod(space), 1, *steps)


def _planned(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool, chosen: Choice
) -> None:
    lanes, item = machine.lanes(c.dtype), ELEMENTS[c.dtype][1]
    width = chosen.vectors * lanes
    blocks = -(-c.channels_out // width)
    line = -(-c.channels_in // lanes) * lanes
    pitch = chosen.points * line + lanes  # not a power of two: tiles would meet in the cache
    axes = [
        axis_tiles(w, transform(*size)) for w, size in zip(c.windows, chosen.sizes, strict=True)
    ]
    weights, bias = _weights(c, work, arrays, chosen, width)
    zeros = _zeros(c, work, arrays.w)
    total = c.batch * prod(axis.count for axis in axes)
    portion = min(
        total,
        _portion(
            c.dtype,
            c.channels_in,
            blocks * chosen.points * c.channels_in * width * item,
            chosen,
            machine,
        ),
    )
    portion = -(-total // -(-total // portion))
    portion = min(total, -(-portion // chosen.rows) * chosen.rows)
    lines = [
        Operand(work.borrow("lines", portion * pitch * item)) for _ in range(1 + (portion < total))
    ]
    reads = joined([offsets(a.inputs, w.x) for a, w in zip(axes, c.windows, strict=True)])
    counts = {f"tiles{i}": axis.count for i, axis in enumerate(axes)}
    transformed = TransformInput(c.dtype, chosen.sizes, c.channels_in, line, pitch)
    wide = blocks * chosen.points * c.channels_in * width * item > machine.l2
    title = f"winograd {chosen} {chosen.vectors}x{chosen.rows}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    kinds = _kinds(total, portion, chosen.rows)
    products = Products(
        dtype=c.dtype,
        sizes=chosen.sizes,
        vectors=chosen.vectors,
        rows=kinds,
        channels=c.channels_in,
        line=line,
        pitch=pitch,
        last=c.channels_out - (blocks - 1) * width,
        most=chosen.most,
        wide=wide,
        epilogue=c.epilogue,
        loads=c.neighbours("channel"),
    )
    writes = _writes(c, axes, arrays, width)
    for number, first in enumerate(range(0, total, portion)):
        here, size = lines[number % 2 if portion < total else 0], min(portion, total - first)
        words = {
            **counts,
            "x": shifted(arrays.x, c.x_base, c.dtype),
            "to": here,
            "zeros": zeros,
            "table": reads,
            "first": first,
            "batch": c.x[0],
        }
        work.steps.append(
            Step(
                transformed,
                size,
                ordered(transformed.words(), words),
                f"transform {size} tiles",
                after and not number,
            )
        )
        chunks, runs = _runs(size, chosen, kinds, machine, wide, blocks)
        words = {
            **counts,
            **writes,
            "v": here,
            "u": weights,
            "bias": bias,
            "runs": runs,
            "chunks": chunks,
            "blocks": blocks,
            "run_count": len(runs),
            "first": first,
            "u_block": chosen.points * c.channels_in * width,
            "u_point": c.channels_in * width,
        }
        work.steps.append(
            Step(products, blocks * len(runs), ordered(products.words(), words), title, True)
        )


def _kinds(total: int, portion: int, rows: int) -> tuple[int, ...]:
    """Rows of the tiles of sums, in all portions."""
    sizes = {min(portion, total - first) for first in (0, (total - 1) // portion * portion)}
    return tuple(sorted({size for part in sizes for size, _ in split(part, rows)}, reverse=True))


def _runs(
    tiles: int, chosen: Choice, kinds: tuple[int, ...], machine: Machine, wide: bool, blocks: int
) -> tuple[Table, Table]:
    """The tables ``chunks`` and ``runs`` of a portion."""
    chunks, first = [], 0
    for rows, count in split(tiles, chosen.rows):
        for _ in range(count):
            chunks.append((kinds.index(rows), first))
            first += rows
    ends = [*(start for _, start in chunks), tiles]
    most = chosen.most // chosen.rows
    shares = max(1, -(-len(chunks) // most))
    if not wide or blocks < machine.cores:
        # Every thread gets as much as the others.
        shares = min(len(chunks), -(-shares // machine.cores) * machine.cores)
    runs, lo = [], 0
    for size, count in split(len(chunks), -(-len(chunks) // shares)):
        for _ in range(count):
            runs.append((lo, lo + size, ends[lo], ends[lo + size]))
            lo += size
    return table(chunks, 2), table(runs, 4)


def _writes(
    c: Correlation, axes: list[AxisTiles], arrays: Arrays, width: int
) -> dict[str, Operand | Table | int]:
    """Where outputs and what the epilogue reads lie."""
    found: dict[str, Operand | Table | int] = {
        "out": shifted(arrays.out, c.out_base, c.dtype),
        "out_batch": c.out[0],
        "out_block": width,
        "table": joined([offsets(a.outputs, w.out) for a, w in zip(axes, c.windows, strict=True)]),
    }
    for i, (array, base, strides) in enumerate(zip(arrays.aux, c.aux_base, c.aux, strict=True)):
        # What does not exist is read where its tile begins.
        there = [np.where(a.outputs < 0, a.outputs[:, :1], a.outputs) for a in axes]
        found |= {
            f"aux{i}": shifted(array, base, c.dtype),
            f"aux{i}_batch": strides[0],
            f"aux{i}_block": width * strides[2],
            f"aux{i}_channel": strides[2],
            f"aux{i}_table": joined([t * w.aux[i] for t, w in zip(there, c.windows, strict=True)]),
        }
    return found


def _zeros(c: Correlation, work: Work, any_array: Operand) -> Operand:
    """A line of zeros, for what lies outside."""
    size = c.channels_in * ELEMENTS[c.dtype][1]
    made = Operand(work.keep("zeros", size))
    run = [(MISSING, 0, c.channels_in)]
    work.prepare.append(copy(c.dtype, any_array, made, [(0, 0)], run, title="a line of zeros"))
    return made


def _weights(
    c: Correlation, work: Work, arrays: Arrays, chosen: Choice, width: int
) -> tuple[Operand, Operand]:
    """The transformed weights and the bias, in blocks of output channels."""
    item = ELEMENTS[c.dtype][1]
    blocks = -(-c.channels_out // width)
    taps = [sum(offsets) for offsets in itertools.product(*(w.taps for w in c.windows))]
    source, block, channel, after = arrays.w, width * c.w[1], c.w[2], False
    if c.w[1] != 1 and c.channels_out > 1:
        source = Operand(work.keep("turned", c.taps * c.channels_in * c.channels_out * item))
        runs = [
            (tap + ci * c.w[2], (k * c.channels_in + ci) * c.channels_out, c.channels_out)
            for k, tap in enumerate(taps)
            for ci in range(c.channels_in)
        ]
        work.prepare.append(
            copy(c.dtype, arrays.w, source, [(0, 0)], runs, stride=c.w[1], title="turn weights")
        )
        taps = [k * c.channels_in * c.channels_out for k in range(c.taps)]
        block, channel, after = width, c.channels_out, True
    made = Operand(work.keep("weights", blocks * chosen.points * c.channels_in * width * item))
    recipe = TransformWeight(c.dtype, chosen.sizes, chosen.vectors)
    words = {
        "w": source,
        "to": made,
        "taps": np.array(taps, np.int64),
        "w_block": block,
        "w_channel": channel,
        "channels_in": c.channels_in,
        "channels_out": c.channels_out,
        "point": c.channels_in * width,
        "block": chosen.points * c.channels_in * width,
    }
    work.prepare.append(
        Step(
            recipe,
            blocks * c.channels_in,
            ordered(WEIGHT_WORDS, words),
            f"transform weights {chosen}",
            after,
        )
    )
    bias = Operand(work.keep("bias", blocks * width * item))
    counts = [min(width, c.channels_out - b * width) for b in range(blocks)]
    entries = [(b * width if arrays.bias else MISSING, b * width, counts[b]) for b in range(blocks)]
    work.prepare.append(
        copy(c.dtype, arrays.bias or made, bias, [(0, 0)], entries, fill=width, title="pack bias")
    )
    return made, bias
