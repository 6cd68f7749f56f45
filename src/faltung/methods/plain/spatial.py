"""Spatial convolution: vectors along contiguous positions, weights broadcast.

What it is.  A tile of ``channels`` output channels by ``vectors`` vectors of output positions stays
  in registers; each step loads vectors of contiguous inputs (unaligned) and multiplies them by one
  weight for each channel.
When it applies.  Always; it wins where output channels are too few to fill a vector (a signal, a
  grey image, the last layer of a segmentation network), and for pointwise layers on channels-first
  arrays.
What it costs.  One load a multiply-add with one output channel, else as ``direct``. With a stride
  the inputs are gathered, which is slow but never wrong.
"""

from functools import partial

from faltung.codegen.tile import (
    Accumulators,
    accumulate,
    budget,
    outer_product,
    unrolled,
    zeros,
)
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.blocks import channel_blocks
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import finish, finished
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import Arrays, Work
from faltung.methods.base.tiles import Kind, Run, kinds_of, taps_of, tiles_of
from faltung.methods.plain.tiled import (
    TiledKernel,
    add_tiles,
    product_cycles,
    tile_cycles,
)

# Vectors of positions in one tile: more than this hide no more latency.
MAX_VECTORS = 8


# The code -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SpatialKernel(TiledKernel):
    """``channels``: output channels of a tile; out_contiguous: output positions are contiguous."""

    name = "spatial"

    channels: int
    out_contiguous: bool

    def tile(self, v: Vectors, kind: Kind) -> None:
        f = v.function
        tap_size = f.mul("%channels", self.channels)

        def add(acc: Accumulators, tap: str) -> Accumulators:
            x, w = v.pair("%pattern", tap, "%x", "%w")
            for k, offset in enumerate(self.taps):
                present = set(range(kind.positions)).difference(kind.outside[k])
                if present:
                    start = v.at(x, offset), v.at(w, f.mul(tap_size, k))
                    acc = self._channels(v, acc, *start, present)
            return acc

        start = zeros(v, self.channels, -(-kind.positions // v.lanes))
        self._store(v, kind, accumulate(v, start, (0, "%entries"), [], add)[1])

    def _channels(
        self, v: Vectors, acc: Accumulators, x: str, w: str, present: set[int]
    ) -> Accumulators:
        """All input channels of one tap."""

        def load(x: str, q: int) -> str:
            lanes = [q * v.lanes + lane in present for lane in range(v.lanes)]
            mask = None if all(lanes) else v.mask(lanes)
            at = v.at(x, q * v.lanes * self.pitch)
            if not any(lanes):
                return v.zero
            return v.load(at, mask) if self.pitch == 1 else v.gather(at, self.pitch, mask)

        def add(acc: Accumulators, _: str, x: str, w: str) -> Accumulators:
            return outer_product(v, acc, lambda p: v.broadcast(v.at(w, p)), partial(load, x))

        moving = [(x, "%x_channel"), (w, str(self.channels))]
        bounds = None if self.single else (0, "%channels")
        return accumulate(v, acc, bounds, moving, add, runs=True)[1]

    def _store(self, v: Vectors, kind: Kind, acc: list[list[str]]) -> None:
        """Add the bias, finish, and write a channel at a time."""
        out, end = "%out", finish(v, self.epilogue, self.aux_steps)
        for p, row in enumerate(acc):
            bias = v.broadcast(v.at("%bias", p))
            places = [q * v.lanes for q in range(len(row))]
            sums = (
                (end.moved("position", at), v.add(value, bias), v.first(kind.positions - at))
                for at, value in zip(places, row, strict=True)
            )
            for q, total in enumerate(finished(sums, "position")):
                left = kind.positions - q * v.lanes
                if self.out_contiguous:
                    v.store_first(total, v.at(out, q * v.lanes), left)
                else:
                    at = v.at(out, v.function.mul("%out_position", q * v.lanes))
                    v.scatter(total, at, "%out_position", v.first(left))
            out, end = v.at(out, "%out_channel"), end.moved("channel", 1)


# The choice ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpatialChoice:
    """``channels`` by ``vectors`` in a tile; ``unrolled``: the last axis's taps are in the code."""

    channels: int
    vectors: int
    unrolled: bool


@remembered(1024)
def choose(c: Correlation, machine: Machine) -> SpatialChoice:
    """As many channels as half of the registers hold, in blocks of one size where that can be."""
    most, limit = budget(machine), unrolled(machine)
    even = [p for p in range(most // 2, most // 4, -1) if c.channels_out % p == 0]
    channels = c.channels_out if c.channels_out <= most // 2 else even[0] if even else most // 2
    axis = c.windows[-1].axis
    fits = max(v for v in range(1, most + 1) if v == 1 or _in_registers(channels, v, machine))
    vectors = max(1, min(fits, MAX_VECTORS, -(-axis.output // machine.lanes(c.dtype))))
    products = 0
    if axis.kernel * channels * vectors <= limit:
        kinds = kinds_of(_tiles(c, machine, vectors, True))
        products = len(kinds) * channels * vectors * axis.kernel
    return SpatialChoice(channels, vectors, 0 < products <= limit)


def _in_registers(channels: int, vectors: int, machine: Machine) -> bool:
    """Whether a tile fits beside its operands, all of the shorter side and two of the longer."""
    sums = channels * vectors
    return sums <= budget(machine) and sums + min(channels, vectors) + 2 <= machine.registers


def _tiles(c: Correlation, machine: Machine, vectors: int, in_code: bool) -> list[Run]:
    """Whole tiles, then one with what is left."""
    axis = c.windows[-1].axis
    size = vectors * machine.lanes(c.dtype)
    whole, rest = divmod(axis.output, size)
    return tiles_of(axis, [(size, whole), (rest, int(rest > 0))], in_code)


class Spatial(ForwardMethod):
    """Vectors along contiguous positions."""

    copies = "channels_first"

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Where borders along the last axis are not zeros, or its taps too many for the code."""
        last = c.windows[-1]
        return last.borders or (last.pads and not choose(c, machine).unrolled)

    def needs_channels_first(self, c: Correlation) -> bool:
        """Positions that are not contiguous are worth a copy; a stride is gathered."""
        last = c.windows[-1]
        return last.x != 1 and last.axis.size > 1

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core; a vector load that crosses cache lines counts twice, a gather once a
        lane.
        """
        chosen, last, lanes = choose(c, machine), c.windows[-1].axis, machine.lanes(c.dtype)
        load = 2 if last.stride == 1 else 2 * lanes
        tiles = []
        for blocks in channel_blocks(c.channels_out, chosen.channels):
            for row in channel_blocks(-(-last.output // lanes), chosen.vectors):
                channels, vectors = blocks.channels, row.channels
                step = product_cycles(channels * vectors, channels + load * vectors)
                tiles.append((row.count * blocks.count, step))
        cycles = tile_cycles(c, last.kernel, tiles)
        return cycles + self._uncached_cycles(c) + _scatter_cycles(c, machine)

    def _uncached_cycles(self, c: Correlation) -> float:
        """Of reading a copy with channels first that is too long for the caches: in as many places
        at once as there are channels, which nothing foresees.
        """
        if not self.needs_channels_first(c) or c.channels_in == 1:
            return 0.0
        size = c.batch * c.groups * c.channels_in * c.inputs
        bytes_ = size * c.item_bytes
        return costs.UNCACHED_BYTE_CYCLES * bytes_ if bytes_ > costs.CACHED_COPY_BYTES else 0.0

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        chosen, last = choose(c, machine), c.windows[-1]
        runs = _tiles(c, machine, chosen.vectors, chosen.unrolled)
        for blocks in channel_blocks(c.channels_out, chosen.channels):
            kernel = SpatialKernel(
                dtype=c.dtype,
                kinds=kinds_of(runs),
                pitch=last.axis.stride * last.x,
                taps=taps_of(last) if chosen.unrolled else (0,),
                single=c.channels_in == 1,
                epilogue=c.epilogue,
                aux_steps=c.aux_steps("position"),
                channels=blocks.channels,
                out_contiguous=last.out == 1,
            )
            title = f"spatial {blocks.channels}x{chosen.vectors}"
            add_tiles(c, work, arrays, kernel, runs, blocks, title, barrier, machine)


def _scatter_cycles(c: Correlation, machine: Machine) -> float:
    """Of results that are not contiguous in memory, stored one by one."""
    if c.windows[-1].out == 1 or c.windows[-1].axis.output == 1:
        return 0.0
    results = c.batch * c.groups * c.channels_out * c.outputs
    cached = results * c.item_bytes <= machine.l2
    return results * costs.SCATTER_CYCLES[0 if cached else 1]


SPATIAL = Spatial()
