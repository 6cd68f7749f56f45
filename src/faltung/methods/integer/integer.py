"""Integer convolution: exact sums of 8-bit numbers, whatever the geometry.

What it computes.  ``y = store(formula(float32(sum((x - zero) * w) + bias), *aux))``. x: levels of
  a grid, uint8 or int8 in memory, any strides; padding of mode "zeros" is the level ``zero``, of
  other modes the level that it repeats. w: whole numbers from -128 to 127; bias: whole numbers of
  32 bits; the sum is an int32 (modulo 2**32). formula: an ``Epilogue``, of which operand 0 is the
  sum as a float32, and operand 1 + i array i: numbers, or levels, which count as (q - zero) *
  scale. store: float32, or levels of the grid ``result``: ``geometry/levels.py``.
What it is.  An item copies the levels that a chunk of the outputs reads into a patch, in the form
  that the inner product of the machine takes (``inner.py``), and goes over blocks of output
  channels, tile by tile. There is no im2col: a patch has each level once. Weights are packed once.
When it applies.  Always; output channels are contiguous.
What it costs.  A multiplication for ``group`` terms in each lane, two in a cycle; the copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product as crossing
from math import prod

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Table, Work, table
from faltung.methods.integer.inner import Inner, inner_of
from faltung.methods.integer.kernel import CHUNK_COLUMNS, DenseKernel, Tile
from faltung.methods.integer.packing import PackIntegers
from faltung.methods.integer.patch import ROW_COLUMNS, RUN_COLUMNS, Form
from faltung.methods.integer.problem import Problem, patch_rows, patch_runs, positions_of
from faltung.methods.integer.store import Store

# Of the second-level cache, what a patch may take, and in bytes at most.
PATCH_SHARE, MAX_PATCH_BYTES = 0.25, 128 << 10
# Items that each core should have, unless they take less than so many cycles; calls for each core
# at most, each of which has room for a patch.
CORE_ITEMS, MIN_ITEM_CYCLES, CORE_CALLS = 4, 4000, 8
# Cycles to copy a level into a patch; multiplications in a cycle.
COPY_CYCLES, PRODUCTS = 0.2, 2
# Groups of terms in an iteration, where that adds no more than this to a run.
UNROLLS, MAX_LONGER = (4, 2, 1), 1.1
# Vectors of a block; and of one for an output alone, whose sums have to hide their latency.
VECTORS, ALONE_VECTORS = 2, 8
LINE = 64


@dataclass(frozen=True, slots=True)
class Blocks:
    """Output channels of each group: ``count`` blocks of so many ``vectors``, one after the other,
    in which so many ``channels`` exist.
    """

    vectors: int
    count: int
    channels: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What is decided before any code is written. chunk: outputs of each axis in an item; parts:
    how many items share the blocks of a chunk; bits: of a packed weight.
    """

    inner: Inner
    chunk: tuple[int, ...]
    parts: int
    blocks: tuple[Blocks, ...]
    unroll: int
    bits: int

    def chunks(self, outputs: Sequence[int]) -> int:
        return prod(-(-n // m) for n, m in zip(outputs, self.chunk, strict=True))


def choose(p: Problem, machine: Machine, inner: Inner | None = None) -> Choice:
    """Inner product, chunk, blocks."""
    inner = inner or inner_of(machine)
    lanes = machine.lanes("int32")
    groups = -(-p.run // inner.group)
    unroll = next(u for u in UNROLLS if -(-groups // u) * u <= MAX_LONGER * groups)
    most = max(p.channels * inner.bytes, min(MAX_PATCH_BYTES, int(machine.l2 * PATCH_SHARE)))
    alone = prod(p.outputs) == 1
    blocks = _blocks(p.c.channels_out, lanes, ALONE_VECTORS if alone else VECTORS)
    every = sum(each.count for each in blocks) * p.c.groups
    cycles = sums_cycles(p, machine, inner)
    wanted = min(CORE_ITEMS * machine.cores, max(1, int(cycles / MIN_ITEM_CYCLES)))
    chunk = _chunk(p, inner, most)
    made = Choice(inner, chunk, 1, blocks, unroll, 8 * inner.bytes if not alone else 8)
    while made.chunks(p.outputs) * every < wanted and most > 1024:
        most //= 2
        made = replace(made, chunk=_chunk(p, inner, most))
    chunks = made.chunks(p.outputs)
    return replace(made, parts=min(every, max(1, -(-wanted // chunks))))


def _blocks(channels: int, lanes: int, most: int) -> tuple[Blocks, ...]:
    """Blocks of nearly one size; of two vectors but for one of three where the number is odd. The
    last is by itself where its vectors are not full.
    """
    vectors = -(-channels // lanes)
    sizes = split(vectors, most)
    if most == VECTORS and vectors > most and vectors % 2:
        sizes = [(2, (vectors - 3) // 2), (3, 1)]
    made, left = [], channels
    for size, count in sizes:
        whole = min(count, left // (size * lanes))
        made.append(Blocks(size, whole, size * lanes))
        left -= whole * size * lanes
        if whole < count:
            made.append(Blocks(size, 1, left))
    return tuple(blocks for blocks in made if blocks.count)


def _chunk(p: Problem, inner: Inner, most: int) -> tuple[int, ...]:
    """Outputs of each axis whose patch has at most so many bytes: as many as fit of the last axis,
    then of the one before; parts of an axis have nearly one size.
    """
    chunk = [1] * len(p.outputs)
    for i in reversed(range(len(chunk))):
        output = p.outputs[i]

        def size(n: int, axis: int = i) -> int:
            return p.patch_size([*chunk[:axis], n, *chunk[axis + 1 :]]) * inner.bytes

        one = size(1)
        fits = 1 if output == 1 else max(1, 1 + (most - one) // max(1, size(2) - one))
        chunk[i] = -(-output // -(-output // min(output, fits)))
        if chunk[i] < output:
            break
    return tuple(chunk)


def sums_cycles(p: Problem, machine: Machine, inner: Inner) -> float:
    """Of the sums alone, on one core."""
    lanes = machine.lanes("int32")
    wide = -(-p.c.channels_out // lanes) * p.c.groups
    groups = p.sum_length / p.run * -(-p.run // inner.group)
    return prod(p.outputs) * wide * groups * (2 / inner.group if inner.group == 2 else 1) / PRODUCTS


# The plan -----------------------------------------------------------------------------------------


def plan(
    p: Problem,
    machine: Machine,
    work: Work,
    *,
    bias: bool,
    weights: str = "float32",
    inner: Inner | None = None,
) -> Choice:
    """Add the steps: packing, then the sums. The arrays are "x", "w", "out", "bias", "aux0", ...

    weights: their type, "float32" or "int8"; a bias is float32. inner: an inner product other than
    that of the machine.
    """
    chosen = choose(p, machine, inner)
    run = -(-p.run // (chosen.inner.group * chosen.unroll)) * chosen.inner.group * chosen.unroll
    form = Form(chosen.inner, p.x.stored == "int8", p.x.zero, p.c.x[2] == 1 or p.channels == 1)
    table_of_blocks, packed_blocks, sizes = _block_tables(p, machine, chosen, run)
    packed = work.keep("weights", sizes[0])
    totals = work.keep("bias", sizes[1] * 4)
    work.prepare.append(
        PackIntegers("int32", weights, chosen.bits, chosen.inner.group, bias).step(
            len(packed_blocks),
            "pack weights",
            w=Operand("w"),
            given_bias=Operand("bias") if bias else Operand("w"),
            blocks=packed_blocks,
            reduction=p.reduction(run),
            packed=packed,
            bias=totals,
            length=p.sum_length // p.run * run,
            channel=p.c.w[1],
            correction=form.shift - p.x.zero,
        )
    )
    tables, tiles = _tables(p, machine, chosen)
    store = store_of(p)
    kernel = DenseKernel(
        product=chosen.inner.name,
        form=form,
        store=store,
        tiles=tiles,
        kinds=len(chosen.blocks),
        unroll=chosen.unroll,
        bits=chosen.bits,
    )
    items = chosen.chunks(p.outputs) * chosen.parts
    calls = min(items, CORE_CALLS * machine.cores)
    patch = p.patch_size(chosen.chunk) * chosen.inner.bytes + 4 * chosen.unroll
    patch = -(-patch // LINE) * LINE
    arrays: dict[str, Argument] = {name: Operand(name) for name in store.names}
    work.steps.append(
        kernel.step(
            calls,
            _title(p, chosen, tiles),
            x=Operand("x"),
            w=packed,
            bias=totals,
            patches=work.borrow("patches", calls * patch),
            blocks=table_of_blocks,
            entries=p.tap_entries(chosen.chunk) * chosen.inner.bytes,
            inner=items,
            calls=calls,
            parts=chosen.parts,
            block_count=len(table_of_blocks),
            patch_bytes=patch,
            entry_count=p.sum_length // p.run,
            run_bytes=run * chosen.inner.bytes,
            x_channel=p.c.x[2],
            **arrays,
            **tables,
        )
    )
    return chosen


def cycles(p: Problem, machine: Machine, chosen: Choice) -> float:
    """Of one core: sums and copies."""
    chunks = chosen.chunks(p.outputs) * chosen.parts
    return sums_cycles(p, machine, chosen.inner) + COPY_CYCLES * chunks * p.patch_size(chosen.chunk)


def traffic(p: Problem) -> int:
    """Bytes of the arrays, each once."""
    c = p.c
    out = c.batch * c.groups * c.channels_out * c.outputs * (1 if p.result else 4)
    levels = c.batch * c.groups * c.channels_in * c.inputs
    return out + levels + c.groups * c.channels_out * p.sum_length


def describe(p: Problem, chosen: Choice) -> str:
    """How it proceeds, for people."""
    outputs = "x".join(map(str, chosen.chunk))
    return f"{chosen.inner.name}, patches for {outputs} outputs"


def _title(p: Problem, chosen: Choice, tiles: Sequence[Tile]) -> str:
    largest = max(tiles, key=lambda tile: tile.height * tile.vectors)
    what = f"integer {largest.height}x{largest.vectors}, {chosen.inner.name}"
    stored = f", to {p.result.stored}" if p.result else ""
    return f"{what}{stored}" + (f", {p.epilogue}" if p.epilogue else "")


def store_of(p: Problem) -> Store:
    along = list(zip(*(w.aux for w in p.windows), strict=True))
    return Store(
        p.result,
        p.epilogue,
        p.grids,
        tuple(aux[2] for aux in p.c.aux),
        tuple(not any(steps) for steps in along),
    )


def _block_tables(
    p: Problem, machine: Machine, chosen: Choice, run: int
) -> tuple[Table, Table, tuple[int, int]]:
    """Of blocks, for the sums and for packing; and how many bytes of weights there are, and sums of
    a bias.
    """
    c, lanes = p.c, machine.lanes("int32")
    length = p.sum_length // p.run * run
    rows, packs, weight, bias = [], [], 0, 0
    for group in range(c.groups):
        first = 0
        for kind, blocks in enumerate(chosen.blocks):
            width = blocks.vectors * lanes
            for _ in range(blocks.count):
                begin = group * c.channels_out + first
                levels = group * c.channels_in * chosen.inner.bytes
                rows.append((kind, weight, bias, levels, begin))
                source = group * c.w[0] + first * c.w[1]
                packs.append((source, begin, blocks.channels, width, weight, bias))
                weight += length * width * chosen.bits // 8
                bias, first = bias + width, first + width
    return table(rows, 5), table(packs, 6), (weight, bias)


def _tables(
    p: Problem, machine: Machine, chosen: Choice
) -> tuple[dict[str, Argument], tuple[Tile, ...]]:
    """The tables of chunks, patches, positions and tiles; and the tiles."""
    counts = [-(-n // m) for n, m in zip(p.outputs, chosen.chunk, strict=True)]
    runs = [patch_runs(p, chosen.chunk, i * chosen.chunk[-1]) for i in range(counts[-1])]
    run_spans = spans_of(runs)
    outer = list(crossing(*map(range, counts[:-1])))
    starts = np.array(chosen.chunk, np.int64)
    rows = [patch_rows(p, chosen.chunk, (starts[:-1] * where).tolist()) for where in outer]
    row_spans, steps = spans_of(rows), offsets_of(p)
    chunks, shapes = [], dict[tuple[int, ...], int]()
    for span, where in zip(row_spans, outer, strict=True):
        for i, run_span in enumerate(run_spans):
            first = starts * (*where, i)
            size = tuple(np.minimum(starts, np.array(p.outputs) - first).tolist())
            shape = shapes.setdefault(size, len(shapes))
            chunks.append([*span, *run_span, shape, *(first @ steps).tolist()])
    every = np.concatenate(rows) * (1, chosen.inner.bytes)
    given, tiles = _shapes(p, machine, chosen, list(shapes))
    return {
        "chunks": table(chunks, CHUNK_COLUMNS + steps.shape[1]),
        "rows": table(every, ROW_COLUMNS),
        "runs": table(np.concatenate(runs), RUN_COLUMNS),
        **given,
    }, tiles


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
    spans, runs, positions, first = [], [], [], 0
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
        "spans": table(spans, 2),
        "tile_table": table(runs, 3),
    }, tuple(found)
