"""Direct convolution: plain sums held in registers, vectors along the output channels.

What it is.  A tile of ``columns`` output positions by ``vectors`` vectors of output channels stays
  in registers while taps and input channels go by: each step loads ``vectors`` weight vectors,
  broadcasts one input value for each position, and does ``columns * vectors`` multiply-adds. No
  im2col and, for padding with zeros, no padded copy: taps that fall outside are left out of the
  code of the edge tiles along the last axis and out of the tap lists of the other axes. (Georganas
  et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures", 2018, for
  the shape of the loops.)
When it applies.  Always; it is the method that the others are compared with.
What it costs.  ``macs / (lanes * 2 per cycle)`` when the output channels fill the vectors.
"""

from dataclasses import replace
from itertools import chain, islice

from faltung.codegen.tile import (
    Accumulators,
    accumulate,
    broadcast_product,
    flat,
    rows_for,
    shaped,
    split,
    unrolled,
    zeros,
)
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.blocks import ChannelBlocks, channel_blocks
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import Finish, finish, finished, walked
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import Arrays, Work
from faltung.methods.base.tiles import (
    MAX_ROW_SEGMENTS,
    MAX_SEGMENT_TILES,
    Kind,
    Run,
    kinds_of,
    taps_of,
    tiles_of,
)
from faltung.methods.plain.blocked import BlockedSums, panel_of
from faltung.methods.plain.inside import inside
from faltung.methods.plain.tiled import (
    TiledKernel,
    add_tiles,
    product_cycles,
    tile_cycles,
)

# Products in the code of the innermost loops, where an iteration takes several channels.
UNROLLED_PRODUCTS = 200
# Long sums go over panels of weights that take this part of the first-level cache: where there are
# so many panels, and so many tiles for each. A panel has a multiple of so many input channels.
PANEL_SHARE, MIN_PANELS, MIN_PANEL_TILES, PANEL_STEP = 0.5, 2, 4, 4
# Blocks of three vectors read more weights for a position than blocks of two: they have to win by
# something.
MAX_THREE_PRICE = 0.97
# So many vectors of outputs at one position add as fast as weights come from a cache that cores
# share. Fewer than hide latency have to win by something.
MIN_ROW_VECTORS, MAX_FEWER_PART = 4, 0.95


# The code -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DirectKernel(TiledKernel):
    """``channels``: how many of the ``vectors * lanes`` output channels of a block exist.

    x_contiguous: input channels are. store: along "channels" or "positions", which are contiguous
    (tiles are transposed for positions), or "scattered". prefetch_maps: the input and output of the
    next tile; prefetch_weights: those of later iterations. channels_per_iteration: of the input, in
    the innermost loop.
    """

    name = "direct"

    vectors: int
    channels: int
    x_contiguous: bool
    store: str
    prefetch_maps: bool
    prefetch_weights: bool
    channels_per_iteration: int

    def tile(self, v: Vectors, kind: Kind) -> None:
        f = v.function
        tap_size = f.mul("%channels", self.vectors * v.lanes)
        if self.prefetch_maps:
            self._prefetch_output(v, kind)

        def add(acc: Accumulators, tap: str) -> Accumulators:
            x, w = v.pair("%pattern", tap, "%x", "%w")
            for k, offset in enumerate(self.taps):
                present = [p for p in range(kind.positions) if p not in kind.outside[k]]
                if present:
                    here = v.at(x, offset), v.at(w, f.mul(tap_size, k))
                    acc = self._channels(v, acc, *here, present)
            return acc

        start = zeros(v, kind.positions, self.vectors)
        self._store(v, accumulate(v, start, (0, "%entries"), [], add)[1])

    def _prefetch_output(self, v: Vectors, kind: Kind) -> None:
        """Before the sums begin: the lines arrive while those run."""
        out = "%out"
        line = costs.LINE_BYTES // v.bytes
        for _ in range(kind.positions):
            for q in range(0, self.vectors, max(1, line // v.lanes)):
                v.function.prefetch(v.at(out, q * v.lanes), write=True)
            out = v.at(out, "%out_position")

    def _channels(
        self, v: Vectors, acc: Accumulators, x: str, w: str, present: list[int]
    ) -> Accumulators:
        """All input channels of one tap."""
        f, block = v.function, self.vectors * v.lanes
        sums = [acc[p] for p in present]
        next_tile = v.at(x, len(acc) * self.pitch)
        carried = [("ptr", x), ("ptr", w), *flat(v, sums)]
        count, line = self.channels_per_iteration, costs.LINE_BYTES // v.bytes
        once = f.once(carried)
        with once if self.single else f.loop(0, "%channels", carried, step=count, runs=True) as ci:
            x, w = ci.values[:2]
            sums = shaped(ci.values[2:], self.vectors)
            if self.prefetch_maps:
                # The next tile's input lies behind this one's: a few lines an iteration are all.
                onward = v.at(next_tile, f.mul(ci.index, len(acc)))
                for i in range(-(-count * len(acc) // line)):
                    f.prefetch(v.at(onward, i * line))
            self.fetch_weights(v, ci.index, w)
            for _ in range(count):
                sums = broadcast_product(v, sums, x, [p * self.pitch for p in present], w)
                x, w = v.at(x, 1 if self.x_contiguous else "%x_channel"), v.at(w, block)
            ci.carry([x, w, *(value for row in sums for value in row)])
        made = list(acc)
        for p, row in zip(present, shaped(ci.results[2:], self.vectors), strict=True):
            made[p] = row
        return made

    def fetch_weights(self, v: Vectors, index: str, w: str) -> None:
        """Weights of later iterations, in the one from input channel ``index`` on."""
        if not self.prefetch_weights:
            return
        f, block, line = v.function, self.vectors * v.lanes, costs.LINE_BYTES // v.bytes
        for i in range(-(-self.channels_per_iteration * block // line)):
            f.prefetch(v.at(w, costs.PREFETCH_DISTANCE_ITERATIONS * block + i * line))

    def _store(self, v: Vectors, acc: Accumulators) -> None:
        """Add the bias, finish, and write the tile the way the output lies in memory."""
        bias = [v.load(v.at("%bias", q * v.lanes)) for q in range(self.vectors)]
        acc = [[v.add(value, bias[q]) for q, value in enumerate(row)] for row in acc]
        end = finish(v, self.epilogue, self.aux_steps)
        firsts = range(0, self.vectors * v.lanes, v.lanes)
        counts = [min(v.lanes, self.channels - first) for first in firsts]
        columns = [[row[q] for row in acc] for q in range(self.vectors)]
        if self.store == "positions":
            for first, channels, column in zip(firsts, counts, columns, strict=True):
                _store_positions(v, column, first, channels, end.moved("channel", first))
            return
        sums = (
            walked(end.moved("channel", first), "position", column, v.first(channels))
            for first, channels, column in zip(firsts, counts, columns, strict=True)
        )
        made = finished(chain.from_iterable(sums), "channel")
        for first, channels in zip(firsts, counts, strict=True):
            out = v.at("%out", v.function.mul("%out_channel", first))
            for done in islice(made, len(acc)):
                if self.store == "channels":
                    v.store_first(done, out, channels)
                else:
                    v.scatter(done, out, "%out_channel", v.first(channels))
                out = v.at(out, "%out_position")


def _store_positions(
    v: Vectors, column: list[str], channel: int, channels: int, end: Finish
) -> None:
    """Positions are contiguous: transpose the tile, then store a channel at a time."""
    for start in range(0, len(column), v.lanes):
        rows = column[start : start + v.lanes]
        transposed = v.transpose(rows)
        out = v.at(v.at("%out", start), v.function.mul("%out_channel", channel))
        here, mask = end.moved("position", start), v.first(len(rows))
        sums = walked(here, "channel", transposed[:channels], mask)
        for done in finished(sums, "position"):
            v.store(done, out, mask)
            out = v.at(out, "%out_channel")


@dataclass(frozen=True, kw_only=True)
class BlockedKernel(DirectKernel, BlockedSums):
    """The same for one tap and long sums, in blocks of input channels."""

    name = "direct_blocked"

    def fetch_weights(self, v: Vectors, index: str, w: str) -> None:
        self.fetch_ahead(v, index)


# The choice ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DirectChoice:
    """What is decided before any code is written. unrolled: the last axis's taps are in the code.

    vectors: of a whole block of output channels. order: of the loops, outermost first.
    """

    vectors: int
    unrolled: bool
    order: tuple[str, ...]


@remembered(1024)
def choose(c: Correlation, machine: Machine) -> DirectChoice:
    """Tile and loop order."""
    last = c.windows[-1].axis
    vectors = _vectors(-(-c.channels_out // machine.lanes(c.dtype)), last.output, machine)
    most, limit = rows_for(machine, vectors), unrolled(machine)
    # Of very many taps the kinds of tiles, a flag for each tap and position, are not even listed.
    kinds = kinds_of(_tiles(c, machine, vectors, True)) if last.kernel * most < limit else ()
    products = sum(kind.positions for kind in kinds) * last.kernel * vectors
    return DirectChoice(vectors, bool(kinds) and products <= limit, _order(c, machine))


def _vectors(every: int, positions: int, machine: Machine) -> int:
    """Vectors of a block: two, or with few positions in a row as many as hide the latency of the
    sums, in blocks of nearly one size; or three, where that takes fewer cycles: rows of 7 are tiles
    of 4 and 3; also where that costs nothing and leaves no smaller block.
    """
    most = max(2, costs.FMA_LATENCY_SUMS // positions)
    usual = -(-every // -(-every // most))
    if positions == 1:
        # Weights that are read once take longer than the sums: what counts is who reads how many.
        fewer = range(usual - 1, MIN_ROW_VECTORS - 1, -1)
        parts = {n: _most_vectors(every, n, machine.cores) for n in (usual, *fewer)}
        best = min(parts, key=parts.__getitem__)
        return best if parts[best] < MAX_FEWER_PART * parts[usual] else usual
    if every < 3 or usual > 2:
        return 3 if every == 3 else usual
    three, two = (_row_cycles(every, vectors, positions, machine) for vectors in (3, usual))
    limit = two if every % usual and every % 3 == 0 else MAX_THREE_PRICE * two
    return 3 if three <= limit else usual


def _most_vectors(every: int, vectors: int, cores: int) -> int:
    """Vectors of the outputs of one position that the core with the most has: of blocks, and of the
    smaller one that is left, which is a step of its own.
    """
    whole, rest = divmod(every, vectors)
    return -(-whole // cores) * vectors + rest


def _row_cycles(every: int, vectors: int, positions: int, machine: Machine) -> float:
    """Cycles of a channel of the input, for all outputs of a row of ``positions``."""
    return sum(
        blocks.count * count * product_cycles(size * blocks.width, size + blocks.width)
        for blocks in channel_blocks(every, vectors)
        for size, count in split(positions, rows_for(machine, blocks.width))
    )


def _order(c: Correlation, machine: Machine) -> tuple[str, ...]:
    """The loops, outermost first: what is used again soonest stays in the second-level cache.

    Weights stay while samples pass when they are larger than a sample.
    """
    item = c.item_bytes
    weights = c.channels_out * c.channels_in * c.taps * item
    sample = c.channels_in * c.inputs * item
    if weights <= machine.l2 // 2:
        # All weights stay: the input is read once, and the output written once.
        return ("batch", "group", "row", "segment", "block")
    if weights > sample:
        return ("group", "block", "batch", "row", "segment")
    return ("batch", "group", "block", "row", "segment")


def _tiles(c: Correlation, machine: Machine, vectors: int, in_code: bool) -> list[Run]:
    axis = c.windows[-1].axis
    return tiles_of(axis, split(axis.output, rows_for(machine, vectors)), in_code)


def _channels_per_iteration(c: Correlation, kernel_products: int) -> int:
    """Input channels in an iteration of the innermost loop: as many as divide theirs and keep the
    code short.
    """
    fits = (
        count
        for count in (4, 2)
        if c.channels_in % count == 0 and kernel_products * count <= UNROLLED_PRODUCTS
    )
    return next(fits, 1)


class Direct(ForwardMethod):
    """Vectors along the output channels."""

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Where borders along the last axis are not zeros, or its taps too many for the code."""
        last = c.windows[-1]
        return last.borders or (last.pads and not choose(c, machine).unrolled)

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core: multiply-adds, loads or latency, whichever is longest, and the ends
        of tiles.
        """
        # Prices decide about transforms: they are the same for any number of cores.
        chosen, last = choose(c, replace(machine, cores=1)), c.windows[-1].axis
        tiles, lanes = [], machine.lanes(c.dtype)
        for blocks in channel_blocks(c.channels_out, chosen.vectors * lanes, lanes):
            vectors = blocks.width // lanes
            for positions, count in split(last.output, rows_for(machine, vectors)):
                step = product_cycles(positions * vectors, positions + vectors)
                tiles.append((blocks.count * count, step))
        return tile_cycles(c, c.last_taps if chosen.unrolled else last.kernel, tiles)

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        chosen, lanes = choose(c, machine), machine.lanes(c.dtype)
        for blocks in channel_blocks(c.channels_out, chosen.vectors * lanes, lanes):
            runs = _tiles(c, machine, blocks.width // lanes, chosen.unrolled)
            kernel = _kernel(c, machine, chosen, blocks, runs)
            kernel = replace(kernel, inside=inside(c, work.packs, chosen.order, blocks))
            title = f"direct {kernel.vectors}x{kernel.kinds[0].positions}"
            # Blocks that follow each other, where nothing else brings their weights in time.
            apart = kernel.order.index("block") < kernel.order.index("segment")
            further: dict[str, int] = {}
            fetched = 0
            if apart and not kernel.prefetch_weights and kernel.inside is None:
                fetched = c.channels_in * c.taps * blocks.width * c.item_bytes
            if isinstance(kernel, BlockedKernel):
                size = panel_of(c.channels_in, _panel(c, machine, blocks), PANEL_STEP)
                title, further = f"{title} by {size} channels", {"panel": size}
            asked = (c, work, arrays, kernel, runs, blocks, title, barrier, machine)
            add_tiles(*asked, fetched, further)


def _panel(c: Correlation, machine: Machine, blocks: ChannelBlocks) -> int:
    """Input channels whose weights for a block of outputs stay in the first-level cache."""
    return int(machine.l1 * PANEL_SHARE) // (blocks.width * c.item_bytes)


def _in_panels(c: Correlation, machine: Machine, blocks: ChannelBlocks, runs: list[Run]) -> bool:
    """Whether sums are so long, and tiles so many, that weights should stay for several of them."""
    tiles = sum(count for _, _, count in runs) * c.outputs // c.windows[-1].axis.output
    most = MAX_ROW_SEGMENTS * MAX_SEGMENT_TILES
    long = c.channels_in >= MIN_PANELS * _panel(c, machine, blocks)
    return c.taps == 1 and long and MIN_PANEL_TILES <= tiles <= most


def _kernel(
    c: Correlation, machine: Machine, chosen: DirectChoice, blocks: ChannelBlocks, runs: list[Run]
) -> DirectKernel:
    last, vectors = c.windows[-1], blocks.width // machine.lanes(c.dtype)
    taps, kinds = taps_of(last) if chosen.unrolled else (0,), kinds_of(runs)
    store = "channels" if c.out[2] == 1 else "positions" if last.out == 1 else "scattered"
    weight_bytes = c.channels_in * c.taps * blocks.width * c.item_bytes
    products = sum(kind.positions for kind in kinds) * vectors * len(taps)
    # Pointwise layers touch every line once, so that nothing else hides the way to memory.
    touched_once = c.taps == 1 and last.axis.stride == 1 and c.x[2] == 1 and c.out[2] == 1
    made = BlockedKernel if _in_panels(c, machine, blocks, runs) else DirectKernel
    return made(
        dtype=c.dtype,
        kinds=kinds,
        pitch=last.axis.stride * last.x,
        taps=taps,
        single=c.channels_in == 1,
        order=chosen.order,
        epilogue=c.epilogue,
        aux_steps=c.aux_steps("position" if store == "positions" else "channel"),
        vectors=vectors,
        channels=blocks.channels,
        x_contiguous=c.x[2] == 1 or c.channels_in == 1,
        store=store,
        prefetch_maps=touched_once and c.map_bytes > machine.l2 // 2,
        prefetch_weights=c.channels_in > 1 and weight_bytes > machine.l1 // 2,
        channels_per_iteration=_channels_per_iteration(c, products),
    )


DIRECT = Direct()
