"""Long sums of pointwise layers, in blocks of input channels: a panel of weights stays in a cache.

The weights of a thousand input channels and two vectors of outputs are larger than the first-level
cache, so every tile of a few positions would read all of them from further away. Here an item goes
over its tiles with the weights of some hundred channels, then with those of the next hundred; in
between the sums of all its tiles are stored, as they are: float32 sums that are stored and loaded
go on exactly, so the bits are those of a sum in one go. The output, and whatever a formula reads
with it, is touched once, when the sums are complete.
"""

from collections.abc import Callable, Mapping
from functools import partial

from faltung.codegen.ir import parameters
from faltung.codegen.tile import Accumulators
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.methods.base.epilogue import tile_arguments
from faltung.methods.base.kernel import Arguments
from faltung.methods.base.tiles import MAX_SEGMENT_TILES, Kind
from faltung.methods.plain.tiled import TiledKernel

# Tiles that fetch the next panel while they use this one.
FETCHING_TILES = 4
# What is done for a tile: its kind, its number in the share, and its addresses.
Do = Callable[[Vectors, int, str, Mapping[str, str]], None]
# What a function that adds the products of a block of channels takes; ``ahead``: where it fetches
# weights, ``ahead_step`` elements further in each iteration.
SUM = parameters(["x", "w", "sums", "ahead"], ["channels", "x_channel", "ahead_step"])
# What a function that completes and stores a tile takes, before the arrays of the epilogue.
FINISH = parameters(["sums", "out", "bias"], ["out_position", "out_channel"])


@dataclass(frozen=True, kw_only=True)
class BlockedSums(TiledKernel):
    """The items of a kernel with one tap, of at most ``MAX_SEGMENT_TILES`` tiles each, that go over
    ``panel`` input channels at a time. vectors: of a block of output channels.
    """

    numbers = (*TiledKernel.numbers, "panel")

    vectors: int
    channels_per_iteration: int

    def _channels(
        self, v: Vectors, acc: Accumulators, x: str, w: str, present: list[int]
    ) -> Accumulators:
        """``acc``, with the products of ``%channels`` input channels added."""
        raise NotImplementedError

    def _store(self, v: Vectors, acc: Accumulators) -> None:
        """Complete and store the output."""
        raise NotImplementedError

    def functions(self, code: Functions) -> None:
        for number, kind in enumerate(self.kinds):
            self._sum(code.open(f"sum{number}", SUM), kind)
            self._finish(code.open(f"finish{number}", self.finish_function), kind)
        self.packing_function(code)

    @property
    def finish_function(self) -> list[tuple[str, str]]:
        return [*FINISH, *tile_arguments(len(self.aux_steps))]

    @property
    def _most_sums(self) -> int:
        """Vectors of the sums of the largest tile."""
        return self.vectors * max(kind.positions for kind in self.kinds)

    def _sum(self, v: Vectors, kind: Kind) -> None:
        """Add the products of some channels to the stored sums of a tile."""
        every = list(range(kind.positions))
        acc = self._channels(v, self._stored(v, kind), "%x", "%w", every)
        for p, row in enumerate(acc):
            for q, value in enumerate(row):
                v.store(value, self._place(v, p, q))

    def _finish(self, v: Vectors, kind: Kind) -> None:
        """Store the output of a tile."""
        self._store(v, self._stored(v, kind))

    def _stored(self, v: Vectors, kind: Kind) -> Accumulators:
        return [
            [v.load(self._place(v, p, q)) for q in range(self.vectors)]
            for p in range(kind.positions)
        ]

    def _place(self, v: Vectors, position: int, vector: int) -> str:
        return v.at("%sums", (position * self.vectors + vector) * v.lanes)

    def fetch_ahead(self, v: Vectors, index: str) -> None:
        """Some lines of the next panel, in the iteration from input channel ``index`` on."""
        f, line = v.function, costs.LINE_BYTES // v.bytes
        iteration = f.value(f"udiv i64 {index}, {self.channels_per_iteration}")
        at = v.at("%ahead", f.mul(iteration, "%ahead_step"))
        for i in range(self._lines(v) // FETCHING_TILES or 1):
            f.prefetch(v.at(at, i * line), level=2)

    def _lines(self, v: Vectors) -> int:
        """Cache lines of the weights of an iteration."""
        size = self.channels_per_iteration * self.vectors * v.lanes * v.bytes
        return max(1, size // costs.LINE_BYTES)

    def body(self, v: Vectors, given: Arguments) -> None:
        room = MAX_SEGMENT_TILES * self._most_sums * v.lanes
        given["sums"] = v.function.value(f"alloca [{room} x {v.element}], align 64")
        super().body(v, given)

    def share(self, v: Vectors, here: Mapping[str, str], first: str, stop: str) -> None:
        """Zeros, then block after block of channels, then the results."""
        f, block = v.function, self.vectors * v.lanes
        self._zeros(v, here, first, stop)
        with f.loop(0, here["channels"], step=here["panel"], runs=True) as at:
            rest = f.sub(here["channels"], at.index)
            now = {
                **here,
                "x": v.at(here["x"], f.mul(at.index, here["x_channel"])),
                "w": v.at(here["w"], f.mul(at.index, block)),
                "channels": f.minimum(here["panel"], rest),
            }
            self._over(v, now, first, stop, self._add)
        self._over(v, here, first, stop, self._complete)

    def _zeros(self, v: Vectors, here: Mapping[str, str], first: str, stop: str) -> None:
        """The sums of all tiles of the share."""
        f = v.function
        with f.loop(first, stop, [("i64", "0")], runs=True) as run:
            run.carry([f.add(run.values[0], self.run(v, here, run.index)[1])])
        moving = [(here["sums"], self._most_sums * v.lanes)]
        with v.walk(0, run.results[0], moving, runs=True) as tile:
            for i in range(self._most_sums):
                v.store(v.zero, v.at(tile.values[0], i * v.lanes))

    def _over(self, v: Vectors, here: Mapping[str, str], first: str, stop: str, do: "Do") -> None:
        """``do`` for all tiles of a share, with the number of each and its sums."""
        f, pitch = v.function, self._most_sums * v.lanes

        def tiles(number: int, count: str, before: str, now: Mapping[str, str]) -> None:
            with self.along(v, now, number, count) as (index, there):
                tile = f.add(before, index)
                sums = v.at(here["sums"], f.mul(tile, pitch))
                do(v, number, tile, {**there, "sums": sums})

        with f.loop(first, stop, [("i64", "0")], runs=True) as run:
            kind, count, now = self.run(v, here, run.index)
            before = run.values[0]
            f.switch(kind, [partial(tiles, i, count, before, now) for i in range(len(self.kinds))])
            run.carry([f.add(before, count)])

    def _add(self, v: Vectors, number: int, tile: str, now: Mapping[str, str]) -> None:
        """Products of a block of channels for one tile; the first tiles fetch the next panel."""
        f, line = v.function, costs.LINE_BYTES // v.bytes
        lines = self._lines(v)
        fetches = f.value(f"icmp slt i64 {tile}, {FETCHING_TILES}")
        begin = f.mul(now["channels"], self.vectors * v.lanes)
        begin = f.add(begin, f.mul(tile, (lines // FETCHING_TILES or 1) * line))
        begin = f.value(f"select i1 {fetches}, i64 {begin}, i64 0")
        step = f.value(f"select i1 {fetches}, i64 {lines * line}, i64 0")
        given = {**now, "ahead": v.at(now["w"], begin), "ahead_step": step}
        f.call_with(f"sum{number}", SUM, given)

    def _complete(self, v: Vectors, number: int, _: str, now: Mapping[str, str]) -> None:
        """The output of one tile."""
        v.function.call_with(f"finish{number}", self.finish_function, now)


def panel_of(channels: int, size: int, every: int) -> int:
    """Input channels of nearly equal blocks of about ``size``, a multiple of ``every``."""
    parts = -(-channels // size)
    return -(-channels // (parts * every)) * every
