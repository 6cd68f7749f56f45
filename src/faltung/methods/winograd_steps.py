"""The steps of Winograd's minimal filtering: weights, and portions of tiles."""

import itertools
from collections.abc import Mapping

import numpy as np

from faltung.codegen.tile import split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.copy import copy
from faltung.methods.correlation import Correlation
from faltung.methods.step import MISSING, Arrays, Operand, Step, Table, Word, Work, shifted, table
from faltung.methods.winograd_choice import Choice, portion_of, wide
from faltung.methods.winograd_input import TransformInput
from faltung.methods.winograd_points import transform
from faltung.methods.winograd_products import Products
from faltung.methods.winograd_tiles import AxisTiles, axis_tiles, joined, offsets
from faltung.methods.winograd_weight import WORDS as WEIGHT_WORDS
from faltung.methods.winograd_weight import TransformWeight
from faltung.methods.words import ordered


def steps(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool, chosen: Choice
) -> None:
    """Add the steps of ``c``, whose channels are neighbours in input and output."""
    lanes, item = machine.lanes(c.dtype), ELEMENTS[c.dtype][1]
    width = chosen.vectors * lanes
    blocks = -(-c.channels_out // width)
    line = _apart(-(-c.channels_in // lanes) * lanes, lanes)
    pitch = _apart(chosen.points * line, lanes)
    point = _apart(c.channels_in * width, lanes)
    block = chosen.points * point
    shared = wide(blocks * block * item, machine) and blocks >= machine.cores
    weights, bias = _weights(c, work, arrays, chosen, width, point)
    sizes = zip(c.windows, chosen.sizes, strict=True)
    axes = [axis_tiles(window, transform(*size)) for window, size in sizes]
    portion = portion_of(c.dtype, c.channels_in, blocks * block * item, chosen, machine)
    parts = _portions(c, chosen, axes, portion * machine.cores)
    most = max(size for _, size in parts)
    # Another group, or another phase of a gradient, has the same memory after this one.
    names = [f"lines{i}" for i in range(len(parts[:2]))]
    used = [work.again(name, most * pitch * item) for name in names]
    lines, after = [Operand(name) for name in names], after or any(used)
    kinds = tuple(sorted({rows for _, n in parts for rows, _ in split(n, chosen.rows)})[::-1])
    counts: dict[str, Word] = {f"tiles{i}": axis.count for i, axis in enumerate(axes)}
    recipe = TransformInput(c.dtype, chosen.sizes, c.channels_in, line, pitch)
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
        wide=shared,
        epilogue=c.epilogue,
        loads=c.neighbours("channel"),
    )
    reads = counts | _reads(c, axes, work, arrays)
    writes = counts | _writes(c, axes, arrays, width)
    writes |= {"u": weights, "bias": bias, "blocks": blocks}
    writes |= {"u_block": block, "u_point": point}
    title = f"winograd {chosen} {chosen.vectors}x{chosen.rows}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    for number, (first, size) in enumerate(parts):
        # While the products of one portion are taken, the next one is made: two of them, in turns.
        here = lines[number % len(lines)]
        words = ordered(recipe.words(), {**reads, "to": here, "first": first})
        begins = after and not number
        work.steps.append(Step(recipe, size, words, f"transform {size} tiles", begins))
        chunks, runs = _runs(size, chosen, kinds, machine, shared)
        tables: dict[str, Word] = {"runs": runs, "chunks": chunks, "run_count": len(runs)}
        words = ordered(products.words(), {**writes, **tables, "v": here, "first": first})
        work.steps.append(Step(products, blocks * len(runs), words, title, True))


def _apart(length: int, lanes: int) -> int:
    """A distance of lines that are written one after the other: one that is a power of two, or
    nearly, has them all meet in a few places of the cache.
    """
    return length + lanes if length % (32 * lanes) == 0 else length


def _portions(
    c: Correlation, chosen: Choice, axes: list[AxisTiles], most: int
) -> list[tuple[int, int]]:
    """(first tile, tiles) of each portion: alike, and whole tiles of sums but in the last."""
    total = c.batch
    for axis in axes:
        total *= axis.count
    size = -(-total // -(-total // most))
    size = -(-size // chosen.rows) * chosen.rows
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def _runs(
    tiles: int, chosen: Choice, kinds: tuple[int, ...], machine: Machine, wide: bool
) -> tuple[Table, Table]:
    """The tables ``chunks`` and ``runs`` of a portion; ``wide``: threads share the blocks."""
    chunks, first = [], 0
    for rows, count in split(tiles, chosen.rows):
        for _ in range(count):
            chunks.append((kinds.index(rows), first))
            first += rows
    ends = [*(start for _, start in chunks), tiles]
    most = chosen.most // chosen.rows
    shares = max(1, -(-len(chunks) // most))
    if not wide:
        # Every thread gets as much as the others.
        shares = min(len(chunks), -(-shares // machine.cores) * machine.cores)
    runs, lo = [], 0
    for size, count in split(len(chunks), -(-len(chunks) // shares)):
        for _ in range(count):
            runs.append((lo, lo + size, ends[lo], ends[lo + size]))
            lo += size
    return table(chunks, 2), table(runs, 4)


def _reads(c: Correlation, axes: list[AxisTiles], work: Work, arrays: Arrays) -> dict[str, Word]:
    """Where inputs lie."""
    return {
        "x": shifted(arrays.x, c.x_base, c.dtype),
        "zeros": _zeros(c, work, arrays.w),
        "table": joined([offsets(a.inputs, w.x) for a, w in zip(axes, c.windows, strict=True)]),
        "batch": c.x[0],
    }


def _writes(c: Correlation, axes: list[AxisTiles], arrays: Arrays, width: int) -> dict[str, Word]:
    """Where outputs and what the epilogue reads lie."""
    found: dict[str, Word] = {
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
    c: Correlation, work: Work, arrays: Arrays, chosen: Choice, width: int, point: int
) -> tuple[Operand, Operand]:
    """The transformed weights and the bias, in blocks of output channels; ``point``: elements from
    one point of a block to the next.
    """
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
    made = Operand(work.keep("weights", blocks * chosen.points * point * item))
    recipe = TransformWeight(c.dtype, chosen.sizes, chosen.vectors)
    words: Mapping[str, Word] = {
        "w": source,
        "to": made,
        "taps": np.array(taps, np.int64),
        "w_block": block,
        "w_channel": channel,
        "channels_in": c.channels_in,
        "channels_out": c.channels_out,
        "point": point,
        "block": chosen.points * point,
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
