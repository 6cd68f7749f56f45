"""The tables of an integer convolution: chunks, their patches, tiles, and blocks of channels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product as crossing

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Table, table
from faltung.methods.integer.choice import Blocks, Choice
from faltung.methods.integer.kernel import (
    BLOCK_COLUMNS,
    CHUNK_COLUMNS,
    SPAN_COLUMNS,
    TILE_COLUMNS,
    Tile,
)
from faltung.methods.integer.packing import PACKED_COLUMNS
from faltung.methods.integer.patch import ROW_COLUMNS, RUN_COLUMNS
from faltung.methods.integer.problem import Problem, patch_rows, patch_runs, positions_of


def block_tables(
    p: Problem, machine: Machine, chosen: Choice, length: int
) -> tuple[Table, Table, tuple[int, int]]:
    """Of blocks, for the sums and for packing: each has so many terms. And how many bytes of
    weights there are, and sums of a bias.
    """
    c, lanes = p.c, machine.lanes("int32")
    step = c.w[0] if chosen.slice else c.w[1]
    rows, packs, weight, bias = [], [], 0, 0
    for group in range(1 if chosen.slice else c.groups):
        first = 0
        for kind, blocks in _each(chosen):
            width = blocks.vectors * lanes
            begin = group * c.channels_out + first
            levels = first % chosen.slice if chosen.slice else group * c.channels_in
            rows.append((kind, weight, bias, levels * chosen.inner.bytes, begin, width))
            source = group * c.w[0] + first * step
            packs.append((source, begin, blocks.channels, width, weight, bias))
            weight += length * width * chosen.bits // 8
            bias, first = bias + width, first + width
    return table(rows, BLOCK_COLUMNS), table(packs, PACKED_COLUMNS), (weight, bias)


def _each(chosen: Choice) -> Iterator[tuple[int, Blocks]]:
    """The blocks of a group one by one, with the numbers of their kinds."""
    for kind, blocks in enumerate(chosen.blocks):
        for _ in range(blocks.count):
            yield kind, blocks


def tables(
    p: Problem, machine: Machine, chosen: Choice, block_count: int
) -> tuple[dict[str, Argument], tuple[Tile, ...]]:
    """The tables of chunks, patches, positions and tiles; and the tiles."""
    p = replace(p, slice=chosen.slice)
    slices = _slices(p, machine, chosen, block_count)
    given, shapes = chunk_tables(p, chosen.chunk, chosen.chunk, chosen.inner.bytes, slices)
    more, tiles = _shapes(p, machine, chosen, shapes)
    return given | more, tiles


def chunk_tables(
    p: Problem,
    chunk: Sequence[int],
    room: Sequence[int],
    size: int,
    slices: Sequence[tuple[int, int, int, int]],
) -> tuple[dict[str, Argument], list[tuple[int, ...]]]:
    """The tables of chunks and of their patches, and the shapes that chunks have. room: outputs for
    which a patch has memory; size: bytes of a level in it. slices: as ``_slices``.
    """
    counts = [-(-n // m) for n, m in zip(p.outputs, chunk, strict=True)]
    starts, columns = np.array(chunk, np.int64), range(counts[-1])
    # Runs of whole slices, and of a last one that is narrower.
    widths = list(dict.fromkeys(width for width, *_ in slices))
    ends = [min((i + 1) * chunk[-1], p.outputs[-1]) for i in columns]
    parts = [(i * chunk[-1], end - i * chunk[-1]) for i, end in zip(columns, ends, strict=True)]
    runs = [patch_runs(p, first, count, n) for n in widths for first, count in parts]
    outer = list(crossing(*map(range, counts[:-1])))
    rows = [patch_rows(p, chunk, room, (starts[:-1] * where).tolist()) for where in outer]
    run_spans, row_spans, steps = spans_of(runs), spans_of(rows), offsets_of(p)
    chunks, shapes = [], dict[tuple[int, ...], int]()
    for width, *slice_ in slices:
        spans = run_spans[widths.index(width) * counts[-1] :]
        for span, where in zip(row_spans, outer, strict=True):
            for i, run_span in zip(columns, spans, strict=False):
                first = starts * (*where, i)
                shape = tuple(np.minimum(starts, np.array(p.outputs) - first).tolist())
                number = shapes.setdefault(shape, len(shapes))
                at = (first @ steps).tolist()
                chunks.append([*span, *run_span, number, *slice_, *at])
    return {
        "chunks": table(chunks, CHUNK_COLUMNS + steps.shape[1]),
        "rows": table(np.concatenate(rows) * (1, size), ROW_COLUMNS),
        "runs": table(np.concatenate(runs), RUN_COLUMNS),
    }, list(shapes)


def _slices(
    p: Problem, machine: Machine, chosen: Choice, block_count: int
) -> list[tuple[int, int, int, int]]:
    """For each slice of channels: how many; where it begins in the input; its first block, and how
    many.
    """
    if not chosen.slice:
        return [(p.channels, 0, 0, block_count)]
    block, every, found = chosen.blocks[0].vectors * machine.lanes("int32"), p.c.groups, []
    for first in range(0, every, chosen.slice):
        width = min(chosen.slice, every - first)
        found.append((width, first * p.channel_step, first // block, -(-width // block)))
    return found


def spans_of(parts: Sequence[Table]) -> list[tuple[int, int]]:
    """Where each part of a table begins, and how long it is."""
    lengths = np.array([len(part) for part in parts], np.int64)
    return list(zip((np.cumsum(lengths) - lengths).tolist(), lengths.tolist(), strict=True))


def offsets_of(p: Problem) -> Table:
    """Elements from one output of each axis to the next, in the output and in what is read."""
    return np.array([(w.out, *w.aux) for w in p.windows], np.int64)


def _shapes(
    p: Problem, machine: Machine, chosen: Choice, shapes: Sequence[tuple[int, ...]]
) -> tuple[dict[str, Argument], tuple[Tile, ...]]:
    """For each shape of a chunk its positions, and for each kind of block its tiles."""
    found = dict[Tile, int]()
    spans: list[tuple[int, int]] = []
    runs: list[tuple[int, int, int]] = []
    positions: list[Table] = []
    first = 0
    for shape in shapes:
        at = positions_of(p, chosen.chunk, shape)
        at[:, 0] *= chosen.inner.bytes
        positions.append(at)
        for blocks in chosen.blocks:
            sizes = split(len(at), max(1, budget(machine) // blocks.vectors))
            spans.append((len(runs), len(sizes)))
            place = first
            for height, count in sizes:
                tile = Tile(height, blocks.vectors, blocks.channels)
                runs.append((found.setdefault(tile, len(found)), place, count))
                place += height * count
        first += len(at)
    return {
        "positions": np.ascontiguousarray(np.concatenate(positions)),
        "spans": table(spans, SPAN_COLUMNS),
        "tile_table": table(runs, TILE_COLUMNS),
    }, tuple(found)
