"""The weights, transformed: once for a `Conv`, once a step in training.

In the order (block of output channels, point, input channel, output channel of the block), as the
products read them.

Output channels are neighbours in a vector. Where they are none in memory, but the taps of a filter
are, as in an array (C_out, C_in, *kernel), filters are turned in registers on their way: the taps
of as many filters as a vector has lanes are loaded side by side, and rows become columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from faltung.codegen.ir import Function, Index, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words
from faltung.methods.winograd.input_transform import Sizes, count, matrices_of
from faltung.methods.winograd.matrix_lines import nested, scratch, straight
from faltung.methods.winograd.points import Matrix

WORDS = (
    *("w", "to", "taps", "w_block", "w_channel", "w_lane"),
    *("channels_in", "channels_out", "point", "block"),
)
# Of the function that transforms.
ARGUMENTS = (
    *(("ptr", name) for name in ("w", "to", "taps")),
    *(("i64", name) for name in ("left", "channels", "channel", "lane", "point")),
)
# Input channels of an item: enough to hide its bookkeeping, few enough to share.
PIECE = 32
# Input channels whose vectors are all written before the next, and channels between asking for
# filters and using them: where these lie far apart, nothing else foresees it.
FEW, AHEAD = 8, 8
# Points that are written out without loops.
STRAIGHT = 64


@dataclass(frozen=True)
class TransformWeight:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels in a block.

    ``order``: the taps are neighbours in memory, and this is the place of each; empty where output
    channels are neighbours.
    """

    dtype: str
    sizes: Sizes
    vectors: int
    order: tuple[int, ...] = ()

    @property
    def symbol(self) -> str:
        return f"winograd_weight_{self.dtype}"

    def items(self, blocks: int, channels: int) -> int:
        """Items of ``emit``: (block, piece of the input channels)."""
        return blocks * -(-channels // PIECE)

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        word = Words(f, WORDS)
        v = Vectors(f, machine, self.dtype)
        width = self.vectors * v.lanes
        channels = word.number("channels_in")
        pieces = f.value(f"udiv i64 {f.add(channels, PIECE - 1)}, {PIECE}")
        with f.loop("%begin", "%end") as item:
            block, piece = f.divmod(item.index, pieces)
            first = f.mul(piece, PIECE)
            source = f.add(
                f.mul(block, word.number("w_block")), f.mul(first, word.number("w_channel"))
            )
            target = f.add(f.mul(block, word.number("block")), f.mul(first, width))
            self.call(
                f,
                word,
                w=v.at(word.pointer("w"), source),
                to=v.at(word.pointer("to"), target),
                left=f.sub(word.number("channels_out"), f.mul(block, width)),
                channels=f.minimum(f.sub(channels, first), PIECE),
                point=word.number("point"),
            )
        self.function(module, machine)
        return str(module)

    def call(self, f: Function, word: Words, **given: Index) -> None:
        """Call what ``function`` writes; ``word``: has "taps", "w_channel" and "w_lane"."""
        found = {"taps": word.pointer("taps")} | given
        found |= {name: word.number(f"w_{name}") for name in ("channel", "lane")}
        f.call("weights", [(kind, found[name]) for kind, name in ARGUMENTS])

    def function(self, module: Module, machine: Machine) -> None:
        """The function "weights": some input channels of a block.

        ``left``: output channels from the first of the block on; ``point``: elements from one point
        to the next at ``to``, where a channel is as wide as the block.
        """
        f = module.function("weights", list(ARGUMENTS))
        v = Vectors(f, machine, self.dtype)
        rows = f.value(f"alloca [{self.vectors * v.lanes} x ptr], align 8")
        if self.order:
            self._rows(v, rows)
        blocks = [
            f.value(f"alloca [{size} x {v.type}], align {machine.vector_bytes}")
            for size in (prod(r for _, r in self.sizes), max(1, scratch(self.matrices)))
        ]
        # All vectors of a few channels before the next: their lines are written as a whole.
        with (
            f.loop(0, "%channels", step=FEW, runs=True) as few,
            f.loop(0, self.vectors, runs=True) as vector,
        ):
            first = f.mul(vector.index, v.lanes)
            stop = f.minimum(f.add(few.index, FEW), "%channels")
            read = self._turning(v, rows, first) if self.order else self._loading(v, first)
            with f.loop(few.index, stop, runs=True) as turn:
                values = read(turn.index)
                to = f.add(f.mul(turn.index, self.vectors * v.lanes), first)
                self._transform(v, values, v.at("%to", to), blocks)

    @property
    def matrices(self) -> list[Matrix]:
        return matrices_of(self.sizes, "g")

    def _transform(self, v: Vectors, values: Sequence[str], to: str, blocks: Sequence[str]) -> None:
        """A vector for each tap -> one for each point."""

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for place, value in results:
                v.store(value, v.at(to, v.function.mul("%point", place)))

        if count(matrices_of(self.sizes, "bt")) <= STRAIGHT:
            store(list(enumerate(straight(v, self.matrices, values))))
            return
        given, between = blocks
        for place, value in enumerate(values):
            v.store(value, v.at(given, place * v.lanes))
        nested(v, self.matrices, lambda p: v.load(v.at(given, _lanes(v, p))), store, between)

    def _loading(self, v: Vectors, first: str) -> Callable[[str], list[str]]:
        """Reads the vectors of a channel, whose lanes are neighbours."""
        f, mask = v.function, v.below(v.function.sub("%left", first))

        def read(channel: str) -> list[str]:
            w = v.at(v.at("%w", f.mul(channel, "%channel")), first)
            taps = range(prod(r for _, r in self.sizes))
            return [v.load(v.at(w, f.word("%taps", tap)), mask) for tap in taps]

        return read

    def _turning(self, v: Vectors, rows: str, first: str) -> Callable[[str], list[str]]:
        """Reads those of a channel, whose taps are neighbours; ``rows``: as ``_rows`` wrote it."""
        f = v.function
        here = [f.pointer(rows, f.add(first, i)) for i in range(v.lanes)]

        def read(channel: str) -> list[str]:
            offset = f.mul(channel, "%channel")
            further = f.add(offset, f.mul("%channel", AHEAD))
            for row in here:
                f.prefetch(v.at(row, further))
            values = _turned(v, [v.at(row, offset) for row in here], len(self.order))
            return [values[place] for place in self.order]

        return read

    def _rows(self, v: Vectors, to: str) -> None:
        """Write where the filters of the lanes of a block begin; those that are missing are the
        last one again: nobody looks at what becomes of them.
        """
        f = v.function
        last = f.sub("%left", 1)
        with f.loop(0, self.vectors * v.lanes, runs=True) as lane:
            row = v.at("%w", f.mul(f.minimum(lane.index, last), "%lane"))
            f.emit(f"store ptr {row}, ptr {f.at(to, lane.index, 'ptr')}, align 8")


def _turned(v: Vectors, rows: Sequence[str], taps: int) -> list[str]:
    """``taps`` neighbours at each of ``lanes`` addresses -> a vector for each tap.

    No element beyond them is read: the last vectors overlap those before them, or are masked.
    """
    found: list[str] = []
    for start in range(0, taps, v.lanes):
        at = max(0, min(start, taps - v.lanes))
        loaded = [v.load(v.at(row, at), v.first(taps - at)) for row in rows]
        found += v.transpose(loaded)[start - at :]
    return found[:taps]


def _lanes(v: Vectors, place: Index) -> Index:
    return place * v.lanes if isinstance(place, int) else v.function.mul(place, v.lanes)
