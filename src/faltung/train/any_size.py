"""Pictures of any size through a network: at once where they fit, else tile by tile."""

from collections.abc import Callable, Iterator, Sequence
from math import lcm, prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faltung.data.boxes import Boxes
from faltung.data.layout import Layout
from faltung.data.prefetch import prefetch
from faltung.data.units import Units
from faltung.geometry.check import PerAxis, per_axis
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.part import Span
from faltung.geometry.record import dataclass
from faltung.graph.value import Graph
from faltung.graph.windows import Window
from faltung.nn import Layer, build
from faltung.program.tiles import Tiles
from faltung.runtime.memory import available, require

Array = npt.NDArray[Any]

# What the program of a tile may take: at most so many bytes, and this part of the memory that is
# left. Larger tiles compute less of what their neighbours compute too.
MOST_BYTES, MEMORY_PART = 8 << 30, 3
# Multiples that sizes are rounded up to for a message, until a network can be built.
ROUNDS = (2, 4, 8, 16, 32, 64, 128)


class Predicts(Protocol):
    """What is needed of a network (``train/predicting.py``)."""

    graph: Graph
    tokens: bool
    units: Units | None
    layout: Layout

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    def sized(self, space: Sequence[int], softmax: bool) -> Tiles: ...

    def divisor(self, seen: Units | None) -> float: ...

    def part(
        self, x: Array, space: tuple[int, ...], window: Window | None, softmax: bool
    ) -> Array: ...

    def part_in(self, x: Array, divisor: float) -> Array: ...


def graph_for(net: Layer, known: Graph, space: Sequence[int]) -> Graph:
    """The graph of a network for samples of another size, with the parameters that it has.

    ValueError: it cannot be built for that size, or has weights that are made for one size.
    """
    shape = (known.input.channels, *space)
    try:
        graph = build(net, shape, dtype=known.dtype)
    except FaltungError as error:
        fits = _fitting(net, known, space)
        remedy = f"; it can be of {_by(fits)}, if x is padded" if fits else ""
        raise FaltungError(f"x: pictures of {_by(space)} do not suit it: {error}{remedy}") from None
    wanted = {p.name: p.shape for p in known.parameters}
    for p in graph.parameters:
        if wanted.get(p.name) != p.shape:
            layer = p.name.rpartition(".")[0]
            raise FaltungError(
                f"x: pictures of {_by(space)} do not suit the network: the weights of layer "
                f"{layer!r} are made for {_by(known.input.space)}; Model.dense makes convolutions "
                "of such layers"
            )
    return graph


def _fitting(net: Layer, known: Graph, space: Sequence[int]) -> tuple[int, ...] | None:
    """The next larger size that the network can be built for, if any is near."""
    for step in ROUNDS:
        sizes = tuple(-(-size // step) * step for size in space)
        try:
            build(net, (known.input.channels, *sizes), dtype=known.dtype)
        except FaltungError:
            continue
        return sizes
    return None


def _by(space: Sequence[int]) -> str:
    return "x".join(map(str, space))


@dataclass(frozen=True)
class Piece:
    """A tile of a sample. at: where in the result."""

    sample: int
    window: Window

    def at(self, single: bool) -> tuple[Any, ...]:
        """Its place in the result, (n, C, *space) or without n."""
        where = (slice(None), *(slice(*span) for span in self.window))
        return where if single else (self.sample, *where)


class Tiled:
    """Samples of any size, and the tiles in which their outputs are computed.

    tile: of the output, by default as large as memory allows. out: in whose chunks tiles begin and
    end, if it has such. divisor: of the stored numbers; by default it follows from them.

    ValueError: samples that do not suit the network; tiles that do not suit ``out``.
    """

    def __init__(
        self,
        network: Predicts,
        boxes: Boxes,
        *,
        softmax: bool,
        tile: PerAxis | None = None,
        out: Any = None,
        chunks: Sequence[int] | None = None,
        divisor: float | None = None,
    ) -> None:
        if network.tokens:
            raise FaltungError("x: text has one length; give its tokens as an array")
        self.network, self.boxes, self.softmax = network, boxes, softmax
        self.divisor = divisor
        self._own = boxes.space == network.input_shape[1:]
        self.tiles = network.sized(boxes.space, softmax)
        self.sample_shape = self.tiles.output.shape
        self.shape = self.sample_shape if boxes.single else (boxes.count, *self.sample_shape)
        self.dtype = np.dtype(network.graph.dtype)
        if out is not None:
            chunks = chunks or self._chunks(out)
        self.tile = self._tile(tile, chunks)
        self.arrangement = self.tiles.arranged(self.tile)

    # Tiles ---------------------------------------------------------------------------------------

    def _chunks(self, out: Any) -> tuple[int, ...] | None:
        """The chunks, or shards, of an output along its space. ValueError, TypeError: an output
        that cannot hold the result.
        """
        if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
            raise FaltungTypeError("out: must be an array that can be written, with a shape")
        if tuple(out.shape) != self.shape:
            raise FaltungError(f"out.shape={tuple(out.shape)}: must be {self.shape}")
        if not np.can_cast(self.dtype, out.dtype, "same_kind"):
            raise FaltungTypeError(f"out.dtype={out.dtype}: must be {self.dtype}, or a kind of it")
        found = getattr(out, "shards", None) or getattr(out, "chunks", None)
        rank = len(self.sample_shape) - 1
        return tuple(found[len(found) - rank :]) if found else None

    def _tile(self, tile: PerAxis | None, chunks: Sequence[int] | None) -> tuple[int, ...]:
        """The size of tiles, whole chunks."""
        tiles, space = self.tiles, self.tiles.output.space
        if tiles.why_not:
            if tile is not None or (chunks is not None and self._several(chunks)):
                raise FaltungError(
                    f"x: {tiles.why_not}, so no part of a picture can be computed by itself; "
                    "predict it at once, without tile, or take Model.dense"
                )
            return space
        if tile is not None:
            sides = per_axis("tile", tile, len(space), 1)
            for side, chunk, size in zip(sides, chunks or sides, space, strict=True):
                if side % chunk and side < size:
                    raise FaltungError(
                        f"tile={side}: must be a multiple of the chunks of out, {chunk}, or two "
                        "tiles would write one chunk"
                    )
            return tuple(map(min, sides, space))
        free = (available() or MOST_BYTES * MEMORY_PART) + tiles.memory.bytes
        most = min(MOST_BYTES, free // MEMORY_PART)
        if self._own:  # as it was trained: its own program, if there is any hope of memory
            most = free // 2
        chosen = tiles.chosen(most)
        if chunks is None or chosen == space:
            return chosen
        whole = []
        for side, chunk, step, size in zip(chosen, chunks, tiles.period, space, strict=True):
            both = lcm(chunk, step)
            unit = both if both <= side else chunk
            whole.append(min(size, max(1, side // unit) * unit))
        return tuple(whole)

    def _several(self, chunks: Sequence[int]) -> bool:
        return any(c < n for c, n in zip(chunks, self.tiles.output.space, strict=True))

    @property
    def at_once(self) -> bool:
        """Whether a sample is one tile."""
        return self.arrangement.count == 1

    def pieces(self) -> list[Piece]:
        """All tiles of all samples, those that are alike one after another, the largest first: the
        others then have room in its memory.
        """
        windows = list(self.arrangement)
        if not self.at_once:
            windows.sort(key=lambda w: (-self._size(w), self.tiles.kind(w), w))
        return [Piece(n, window) for window in windows for n in range(self.boxes.count)]

    def _size(self, window: Window) -> int:
        return prod(stop - first for first, stop in self.tiles.reads(window))

    def reads(self, window: Window) -> tuple[Span, ...]:
        """What a tile reads of its sample."""
        if self.at_once:
            return tuple((0, size) for size in self.boxes.space)
        return self.tiles.reads(window)

    # Running -------------------------------------------------------------------------------------

    def prepared(self, part: Array) -> Array:
        """A box of a sample as the network takes it."""
        if self.divisor is None:
            self.divisor = self.network.divisor(self.boxes.seen(self.network.units))
        return self.network.part_in(part, self.divisor)

    def run(self, window: Window, x: Array) -> Array:
        """The outputs of a tile (C, *sizes), of what it reads, prepared."""
        where = None if self.at_once else window
        return self.network.part(x, self.boxes.space, where, self.softmax)

    def results(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Array]]:
        """The outputs of some tiles. The next one is read while one is computed."""

        def read() -> Iterator[tuple[Piece, Array]]:
            for piece in pieces:
                part = self.boxes.read(piece.sample, self.reads(piece.window))
                yield piece, self.prepared(part)

        for piece, x in prefetch(read, 1):
            yield piece, self.run(piece.window, x)

    def into(self, out: Any, finish: Callable[[Array], Array] = lambda made: made) -> Any:
        """``out`` with all outputs, each after ``finish``; one is written while the next one is
        computed.
        """
        for piece, made in prefetch(lambda: self.results(self.pieces()), 1):
            out[piece.at(self.boxes.single)] = finish(made)
        return out

    def whole(self) -> Array:
        """All outputs in memory. MemoryError."""
        size = prod(self.shape) * self.dtype.itemsize
        require(size, f"x.shape={tuple(self.boxes.source.shape)}: the result", "give out=")
        made: Array = self.into(np.empty(self.shape, self.dtype))
        return made
