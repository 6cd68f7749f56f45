"""How an integer convolution proceeds: its inner product, chunks of outputs, blocks of channels."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from faltung.codegen.tile import split
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.integer.inner import BYTES, PAIRS, SINGLE, Inner, inner_of
from faltung.methods.integer.problem import Problem

# Of the second-level cache, what a patch may take, and in bytes at most.
PATCH_SHARE, MAX_PATCH_BYTES = 0.25, 128 << 10
# Items that each core should have, unless they take less than so many cycles; calls for each core
# at most, each of which has room for a patch.
CORE_ITEMS, MIN_ITEM_CYCLES, CORE_CALLS = 4, 4000, 8
# Cycles to copy a level into a patch; multiplications in a cycle.
COPY_CYCLES, PRODUCTS = 0.2, 2
# Groups of terms in an iteration, where that adds no more than this to a run. Where products and
# sums are instructions of their own, LLVM adds products first, and has no registers for them.
UNROLLS, MAX_LONGER = {"pmaddwd": (1,), "pmaddubsw": (1,)}, 1.1
# Vectors of a block; and of one for an output alone, whose sums have to hide their latency.
VECTORS, ALONE_VECTORS = 2, 8
# Outputs along an axis below which a patch copies too much twice: the channels of a depthwise layer
# are rather cut into slices, of so many at least. The most taps that float32 adds exactly.
FEW_ROWS, SLICE, EXACT_TAPS = 8, 64, 500

# The shortest sums for products of bytes, whose steps go through a table.
MIN_BYTES_TERMS = 48
# Minimal filtering: the fewest channels, the most terms of sums that keep within 30 bits (each is
# at most 255 * 128), and of the second-level cache what a patch takes, a fourth of its transform,
# where all weights stay in the cache too.
MIN_CHANNELS, MOST_TERMS, SMALL_SHARE = 12, 16_000, 0.125


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
    how many items share the blocks of a chunk; bits: of a packed weight; slices: into how many the
    channels of a depthwise layer are cut, each with patches of its own, and of ``slice`` channels;
    minimal: whether by minimal filtering, two by two outputs at a time.
    """

    inner: Inner
    chunk: tuple[int, ...]
    parts: int
    blocks: tuple[Blocks, ...]
    unroll: int
    bits: int
    slices: int = 1
    slice: int = 0
    minimal: bool = False

    def chunks(self, outputs: Sequence[int]) -> int:
        return self.slices * prod(-(-n // m) for n, m in zip(outputs, self.chunk, strict=True))


def choose(p: Problem, machine: Machine, inner: Inner | None = None) -> Choice:
    """Inner product, chunk, blocks."""
    lanes = machine.lanes("int32")
    if p.depthwise and p.c.taps <= EXACT_TAPS:
        return _depthwise(p, machine, lanes)
    inner = inner or _suited(p, inner_of(machine))
    groups = -(-p.run // inner.group)
    longest = MAX_LONGER * groups
    unrolls = UNROLLS.get(inner.name, (4, 2, 1))
    unroll = next(u for u in unrolls if padded(groups, u) <= longest)
    most = max(p.channels * inner.bytes, min(MAX_PATCH_BYTES, int(machine.l2 * PATCH_SHARE)))
    alone = prod(p.outputs) == 1
    blocks = _blocks(p.c.channels_out, lanes, ALONE_VECTORS if alone else VECTORS, not alone)
    # Products of bytes keep large weights in 16 bits.
    bits = 16 if inner is BYTES else 8 if alone else 8 * inner.bytes
    made = Choice(inner, (), 1, blocks, unroll, bits)
    if minimal_why_not(p, inner) is None:
        return _minimal(p, machine, Choice(inner, (), 1, blocks, 1, 16, minimal=True))
    every = sum(each.count for each in blocks) * p.c.groups
    wanted = _items(p, machine, inner)
    made = _shared(p, made, most, -(-wanted // every))
    return replace(made, parts=min(every, -(-wanted // made.chunks(p.outputs))))


def _suited(p: Problem, inner: Inner) -> Inner:
    """The inner product itself, or where products of bytes gain nothing those of 16 bits: sums of
    weights that may be large, that are short, that minimal filtering makes, or whose weights are
    read once.
    """
    short = not p.narrow or p.c.groups > 1 or p.sum_length < MIN_BYTES_TERMS or prod(p.outputs) == 1
    if inner is BYTES and (short or minimal_why_not(p, PAIRS) is None):
        return PAIRS
    return inner


def minimal_why_not(p: Problem, inner: Inner) -> str | None:
    """Why minimal filtering does not apply; None where it does."""
    last = [w.axis for w in p.windows[-2:]]
    if any((a.kernel, a.stride, a.dilation) != (3, 1, 1) for a in last) or p.c.groups > 1:
        return "for two axes of three taps, without stride, dilation and groups"
    if inner.stored != "int16":
        return f"{inner.name} takes 8 bits"
    if min(p.c.channels_in, p.c.channels_out) < MIN_CHANNELS or min(p.outputs[-2:]) < 2:
        return "too few channels or outputs"
    if p.sum_length > MOST_TERMS:
        return "its sums are too long"
    return None


def _minimal(p: Problem, machine: Machine, made: Choice) -> Choice:
    """Chunks of whole tiles, whose transformed patch stays in the second-level cache."""
    every, wanted = sum(each.count for each in made.blocks), _items(p, machine, made.inner)
    most = int(machine.l2 * (SMALL_SHARE if p.sum_length * p.c.channels_out < machine.l2 else 0.25))
    while True:
        chunk = list(_chunk(p, made.inner, most))
        for i in (-2, -1):
            chunk[i] = min(p.outputs[i], padded(chunk[i], 2))
        made = replace(made, chunk=tuple(chunk))
        if made.chunks(p.outputs) * every >= wanted or most < 4096:
            break
        most //= 2
    return replace(made, parts=min(every, -(-wanted // made.chunks(p.outputs))))


def _items(p: Problem, machine: Machine, inner: Inner) -> int:
    """How many there should be."""
    cycles = sums_cycles(p, machine, inner)
    return min(CORE_ITEMS * machine.cores, max(1, int(cycles / MIN_ITEM_CYCLES)))


def _shared(p: Problem, made: Choice, most: int, wanted: int) -> Choice:
    """With chunks whose patches have at most so many bytes, or smaller where chunks are too few."""
    made = replace(made, chunk=_chunk(p, made.inner, most))
    while made.chunks(p.outputs) < wanted and most > 1024:
        most //= 2
        made = replace(made, chunk=_chunk(p, made.inner, most))
    return made


def _depthwise(p: Problem, machine: Machine, lanes: int) -> Choice:
    """Slices of channels, each of whole blocks, where a patch of all of them has few rows."""
    channels, most = p.c.groups, min(MAX_PATCH_BYTES, int(machine.l2 * PATCH_SHARE))
    blocks = _blocks(channels, lanes, VECTORS)
    slices = 1
    while True:
        size = padded(-(-channels // slices), VECTORS * lanes)
        chunk = _chunk(replace(p, slice=size), SINGLE, most)
        few = any(n < min(output, FEW_ROWS) for n, output in zip(chunk, p.outputs, strict=True))
        if not few or size <= SLICE:
            break
        slices *= 2
    made = Choice(SINGLE, chunk, 1, blocks, 1, 32, -(-channels // size), size)
    return _shared(replace(p, slice=size), made, most, _items(p, machine, SINGLE))


def padded(count: int, size: int) -> int:
    """The next multiple of ``size``."""
    return -(-count // size) * size


def _blocks(channels: int, lanes: int, most: int, joins: bool = False) -> tuple[Blocks, ...]:
    """Blocks of at most so many vectors; ``joins``: of two, but for one of three where the number
    is odd. The last is by itself where its vectors are not full.
    """
    vectors = -(-channels // lanes)
    sizes = split(vectors, most)
    if joins and vectors > most and vectors % 2:
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
    if p.depthwise:
        wide = -(-p.c.groups // lanes)
    return prod(p.outputs) * wide * groups / PRODUCTS
