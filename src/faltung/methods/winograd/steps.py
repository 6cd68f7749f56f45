"""The steps of Winograd's minimal filtering: weights, and portions of tiles."""

from dataclasses import dataclass
from math import prod

import numpy as np

from faltung.codegen.tile import split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import (
    MISSING,
    Argument,
    Arrays,
    Operand,
    Step,
    Table,
    Work,
    shifted,
    table,
)
from faltung.methods.copies.copy import copy
from faltung.methods.winograd.choice import Choice, fused, part_of, portion_of, summed, wide
from faltung.methods.winograd.filters import filters, padded_bias, weights
from faltung.methods.winograd.fused import FusedProducts
from faltung.methods.winograd.input_transform import TransformInput
from faltung.methods.winograd.points import transform
from faltung.methods.winograd.products import Products
from faltung.methods.winograd.tiles import AxisTiles, axis_tiles, joined, offsets


@dataclass(frozen=True, slots=True)
class Lengths:
    """Elements of a block's ``width``, from a ``line`` to the next, from a tile to the next
    (``pitch``); ``blocks`` of output channels.
    """

    width: int
    blocks: int
    line: int
    pitch: int

    @staticmethod
    def of(c: Correlation, chosen: Choice, lanes: int) -> "Lengths":
        width = chosen.vectors * lanes
        line = _apart(-(-c.channels_in // lanes) * lanes, lanes)
        return Lengths(
            width, -(-c.channels_out // width), line, _apart(chosen.points * line, lanes)
        )


def steps(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool, chosen: Choice
) -> None:
    """Add the steps of ``c``, whose channels are neighbours in input and output."""
    lanes, item = machine.lanes(c.dtype), ELEMENTS[c.dtype][1]
    n = Lengths.of(c, chosen, lanes)
    point = _apart(c.channels_in * n.width, lanes)
    size = n.blocks * chosen.points * point * item
    sizes = zip(c.windows, chosen.sizes, strict=True)
    axes = [axis_tiles(window, transform(*size)) for window, size in sizes]
    tiles = c.batch * prod(axis.count for axis in axes)
    together = fused(tiles, n.blocks, chosen, machine) if work.packs else 0
    portion = portion_of(c.dtype, c.channels_in, size, chosen, machine)
    parts = [(0, tiles)] if together else _portions(tiles, chosen, portion * machine.cores)
    # Another group, or another phase of a gradient, has the same memory after this one.
    names = [f"lines{i}" for i in range(len(parts[:2]))]
    most = max(size for _, size in parts)
    used = [work.again(name, most * n.pitch * item) for name in names]
    lines, barrier = [Operand(name) for name in names], barrier or any(used)
    counts: dict[str, Argument] = {f"tiles{i}": axis.count for i, axis in enumerate(axes)}
    recipe = TransformInput(c.dtype, chosen.sizes, c.channels_in, n.line, n.pitch)
    products = Products(
        dtype=c.dtype,
        sizes=chosen.sizes,
        vectors=chosen.vectors,
        rows=tuple(sorted({rows for _, t in parts for rows, _ in split(t, chosen.rows)})[::-1]),
        channels=c.channels_in,
        line=n.line,
        pitch=n.pitch,
        last=c.channels_out - (n.blocks - 1) * n.width,
        most=summed(chosen, machine) if together else chosen.most,
        wide=bool(together) or (wide(size, machine) and n.blocks >= machine.cores),
        epilogue=c.epilogue,
        aux_contiguous=c.aux_contiguous("channel"),
    )
    reads = counts | _reads(c, axes, work, arrays)
    writes = counts | _writes(c, axes, arrays, n.width)
    writes |= {"bias": padded_bias(c, work, arrays, n.blocks, n.width), "blocks": n.blocks}
    title = f"winograd {chosen} {chosen.vectors}x{chosen.rows}"
    title += f", {c.epilogue}" * (c.epilogue is not None)
    made: Products | FusedProducts = products
    if together:
        made, more = _fused(c, machine, work, arrays, chosen, products, together)
        more |= {"tiles": tiles}
        title = f"{title}, transforms weights"
    else:
        more = {"u": weights(c, work, arrays, chosen, n.width, point)}
        more |= {"u_block": chosen.points * point, "u_point": point}
    for number, (first, count) in enumerate(parts):
        # While the products of one portion are taken, the next one is made: two of them, in turns.
        here = lines[number % len(lines)]
        words = ordered(recipe.words(), {**reads, "to": here, "first": first})
        begins = barrier and not number
        work.steps.append(Step(recipe, count, words, f"transform {count} tiles", begins))
        chunks, runs = _runs(count, chosen, products, machine)
        tables: dict[str, Argument] = {"runs": runs, "chunks": chunks, "run_count": len(runs)}
        words = ordered(made.words(), {**writes, **more, **tables, "v": here, "first": first})
        items = -(-n.blocks // together) if together else n.blocks * len(runs)
        work.steps.append(Step(made, items, words, title, True))


def _fused(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    chosen: Choice,
    products: Products,
    together: int,
) -> tuple[FusedProducts, dict[str, Argument]]:
    """The products of all tiles in one run, with weights that are transformed on the way."""
    width = chosen.vectors * machine.lanes(c.dtype)
    part = part_of(c.channels_in, chosen, machine)
    point = _apart(part * width, machine.lanes(c.dtype))
    weight, reads, _ = filters(c, work, arrays, chosen, width)
    size = chosen.points * point
    items = -(-c.channels_out // width // together)
    work.again("part", items * size * ELEMENTS[c.dtype][1])
    return FusedProducts(products, weight, part), {
        **reads,
        "u": Operand("part"),
        "u_point": point,
        "u_block": 0,
        "u_item": size,
        "channels_out": c.channels_out,
        "together": together,
    }


def _apart(length: int, lanes: int) -> int:
    """A distance of lines that are written one after the other: one that is a power of two, or
    nearly, has them all meet in a few places of the cache.
    """
    return length + lanes if length % (32 * lanes) == 0 else length


def _portions(total: int, chosen: Choice, most: int) -> list[tuple[int, int]]:
    """(first tile, tiles) of each portion: alike, and whole tiles of sums but in the last."""
    size = -(-total // -(-total // most))
    size = -(-size // chosen.rows) * chosen.rows
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def _runs(tiles: int, chosen: Choice, products: Products, machine: Machine) -> tuple[Table, Table]:
    """The tables ``chunks`` and ``runs`` of a portion."""
    chunks, first = [], 0
    for rows, count in split(tiles, chosen.rows):
        for _ in range(count):
            chunks.append((products.rows.index(rows), first))
            first += rows
    ends = [*(start for _, start in chunks), tiles]
    shares = max(1, -(-len(chunks) // -(-products.most // chosen.rows)))
    if not products.wide:
        # Every thread gets as much as the others.
        shares = min(len(chunks), -(-shares // machine.cores) * machine.cores)
    runs, lo = [], 0
    for size, count in split(len(chunks), -(-len(chunks) // shares)):
        for _ in range(count):
            runs.append((lo, lo + size, ends[lo], ends[lo + size]))
            lo += size
    return table(chunks, 2), table(runs, 4)


def _reads(
    c: Correlation, axes: list[AxisTiles], work: Work, arrays: Arrays
) -> dict[str, Argument]:
    """Where inputs lie."""
    return {
        "x": shifted(arrays.x, c.x_base, c.dtype),
        "zeros": _zeros(c, work, arrays.w),
        "table": joined([offsets(a.inputs, w.x) for a, w in zip(axes, c.windows, strict=True)]),
        "batch": c.x[0],
    }


def _writes(
    c: Correlation, axes: list[AxisTiles], arrays: Arrays, width: int
) -> dict[str, Argument]:
    """Where outputs and what the epilogue reads lie."""
    found: dict[str, Argument] = {
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
