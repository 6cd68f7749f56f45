"""The plan of minimal filtering: its tables, and its steps."""

from collections.abc import Sequence
from itertools import product as crossing
from math import prod

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offset_columns, pitches, sums
from faltung.methods.base.step import MISSING, Argument, Table, table
from faltung.methods.integer.choice import Choice
from faltung.methods.integer.kernel import SPAN_COLUMNS, Tile
from faltung.methods.integer.minimal import COMPONENTS, OUTPUTS, PLACE_COLUMNS, RUN_COLUMNS, Finish
from faltung.methods.integer.problem import Problem
from faltung.methods.integer.tables import chunk_tables, offsets_of

# Bytes beyond a component that its last vector may write.
SLACK = 64


def reduction(p: Problem, run: int) -> Table:
    """The nine taps of each term, runs filled up with MISSING."""
    *outer, rows, columns = (np.array(w.taps, np.int64)[:, None] for w in p.windows)
    inner = np.arange(p.c.channels_in, dtype=np.int64)[:, None] * p.c.w[2]
    terms = sums([*outer, inner], 1).reshape(-1, p.c.channels_in, 1)
    made = np.full((len(terms), run, 9), MISSING, np.int64)
    made[:, : p.c.channels_in] = terms + sums([rows, columns], 1)[:, 0]
    return made.reshape(-1, 9)


def rooms(chunk: Sequence[int]) -> tuple[int, ...]:
    """Outputs for which a patch has memory: of whole tiles."""
    return (*chunk[:-2], *(-(-n // OUTPUTS) * OUTPUTS for n in chunk[-2:]))


def _tiles(chunk: Sequence[int]) -> list[int]:
    """Tiles along the last two axes."""
    return [-(-n // OUTPUTS) for n in chunk[-2:]]


def _sizes(p: Problem, chunk: Sequence[int]) -> list[int]:
    """Transformed tiles along each axis: of all that is read along the others."""
    outer = zip(p.ways[:-2], chunk[:-2], strict=True)
    return [*(way.entries(n) for way, n in outer), *_tiles(chunk)]


def memory(p: Problem, chosen: Choice, lanes: int) -> dict[str, int]:
    """Where the transform and the sums are behind a patch, in bytes, and the steps in them."""
    room, size = rooms(chosen.chunk), chosen.inner.bytes
    transformed = -(-p.patch_size(room) * size // SLACK) * SLACK + SLACK
    component = prod(_sizes(p, chosen.chunk)) * p.channels * size + SLACK
    component = -(-component // SLACK) * SLACK
    at = transformed + COMPONENTS * component
    tiles = prod(chosen.chunk[:-2]) * prod(_tiles(chosen.chunk))
    width = max(blocks.vectors for blocks in chosen.blocks) * lanes
    pitch = p.patch_pitches(room)
    return {
        "transformed": transformed,
        "component": component,
        "sums": at,
        "sum_component": tiles * width * 4,
        "patch_bytes": at + COMPONENTS * tiles * width * 4,
        "row": pitch[-2] * size,
        "column": pitch[-1] * size,
    }


def entries(p: Problem, chosen: Choice) -> Table:
    """Where the taps of the other axes are in the transform."""
    steps = pitches(_sizes(p, chosen.chunk), p.channels * chosen.inner.bytes)
    ways = p.ways[:-2]
    along = [step * way.dilation for step, way in zip(steps, ways, strict=False)]
    return offset_columns([way.axis.kernel for way in ways], along)[:, 0]


def tables(
    p: Problem, machine: Machine, chosen: Choice, block_count: int
) -> tuple[dict[str, Argument], tuple[Tile, ...], tuple[Finish, ...]]:
    """All tables; the tiles of the sums, and of what is stored."""
    chunk, size = chosen.chunk, chosen.inner.bytes
    room = rooms(chunk)
    given, shapes = chunk_tables(p, chunk, room, size, [(p.channels, 0, 0, block_count)])
    tiles, finishes = dict[Tile, int](), dict[Finish, int]()
    places, positions, outputs = list[Table](), list[Table](), list[Table]()
    spans, transform_spans, finish_spans = [list[tuple[int, int]]() for _ in range(3)]
    runs, finish_runs = (list[tuple[int, int, int, int]]() for _ in range(2))
    moves = begins = stored = 0
    for shape in shapes:
        moved = _places(p, chunk, shape) * size
        transform_spans.append((moves, len(moved)))
        moves += len(moved)
        places.append(moved)
        kinds, at, outs = _ordered(p, chunk, shape)
        positions.append(at * size)
        outputs.append(outs)
        for blocks in chosen.blocks:
            sizes = split(len(at), max(1, budget(machine) // blocks.vectors))
            spans.append((len(runs), len(sizes)))
            place = begins
            for height, count in sizes:
                tile = Tile(height, blocks.vectors, blocks.channels)
                runs.append((tiles.setdefault(tile, len(tiles)), place, count, height))
                place += height * count
            finish_spans.append((len(finish_runs), len(kinds)))
            tile_number, output = 0, stored
            for rows, columns, count in kinds:
                finish = Finish(rows, columns, blocks.vectors, blocks.channels)
                number = finishes.setdefault(finish, len(finishes))
                finish_runs.append((number, output, count, tile_number))
                tile_number, output = tile_number + count, output + count * rows * columns
        stored, begins = stored + len(outs), begins + len(at)
    given |= {
        "places": table(np.concatenate(places), PLACE_COLUMNS),
        "shapes": table(transform_spans, SPAN_COLUMNS),
        "spans": table(spans, SPAN_COLUMNS),
        "tile_table": table(runs, RUN_COLUMNS),
        "positions": table(np.concatenate(positions), 1),
        "finish_spans": table(finish_spans, SPAN_COLUMNS),
        "finish_table": table(finish_runs, RUN_COLUMNS),
        "outputs": np.ascontiguousarray(np.concatenate(outputs)),
    }
    return given, tuple(tiles), tuple(finishes)


def _places(p: Problem, chunk: Sequence[int], shape: Sequence[int]) -> Table:
    """Elements at which each tile of a chunk of this shape begins in the patch, and in the
    transform.
    """
    counts = _sizes(p, shape)
    patch = p.patch_pitches(rooms(chunk))
    begin = [*patch[:-2], *(OUTPUTS * step for step in patch[-2:])]
    return offset_columns(counts, begin, pitches(_sizes(p, chunk), p.channels))


def _ordered(
    p: Problem, chunk: Sequence[int], shape: Sequence[int]
) -> tuple[list[tuple[int, int, int]], Table, Table]:
    """The tiles of the outputs, those with the same outputs together: how many outputs along each
    axis, and how many tiles; where each is in the transform; and the positions of the outputs.
    """
    steps = pitches(_sizes(p, chunk), p.channels)
    moves = [step * way.stride for step, way in zip(steps, p.ways[:-2], strict=False)]
    moves += steps[-2:]
    outs = offsets_of(p)
    kinds, at, stored = list[tuple[int, int, int]](), list[Table](), list[Table]()
    whole = [n // OUTPUTS for n in shape[-2:]]
    rests = [n % OUTPUTS for n in shape[-2:]]
    for below, beside in crossing((False, True), repeat=2):
        here = [1 if last else count for last, count in zip((below, beside), whole, strict=True)]
        sizes = [
            rest if last else OUTPUTS for last, rest in zip((below, beside), rests, strict=True)
        ]
        first = [count if last else 0 for last, count in zip((below, beside), whole, strict=True)]
        if not all((*here, *sizes)):
            continue
        counts = [*shape[:-2], *here]
        kinds.append((sizes[0], sizes[1], prod(counts)))
        begin = sum(n * step for n, step in zip(first, steps[-2:], strict=True))
        at.append(offset_columns(counts, moves) + begin)
        tile = outs * np.array([1] * (len(shape) - 2) + [OUTPUTS] * 2)[:, None]
        corner = np.array(first) @ tile[-2:]
        begins = offset_columns(counts, *tile.T.tolist()) + corner
        inside = offset_columns(sizes, *outs[-2:].T.tolist())
        every = (begins[:, None] + inside).reshape(-1, outs.shape[1])
        stored.append(np.insert(every, 0, 0, axis=1))
    return kinds, np.concatenate(at), table(np.concatenate(stored), 1 + outs.shape[1])
