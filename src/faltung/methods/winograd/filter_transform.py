"""The code that transforms the weights: once for a `Conv`, once for each step of training.

In the order (block of output channels, point, input channel, output channel of the block), as the
products read them.

The lanes of a vector are output channels. Where these are not contiguous in memory but the taps of
a filter are, as in an array (C_out, C_in, *kernel), filters are transposed in registers: the taps
of as many filters as a vector has lanes are loaded, a filter to a vector, and rows become columns.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from faltung.codegen.copies import load_columns
from faltung.codegen.ir import Index, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import PREFETCH_DISTANCE_FILTER_CHANNELS
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.winograd.tiles import inputs_of
from faltung.methods.winograd.transforms import (
    Matrix,
    Sizes,
    matrices_of,
    nested,
    reader,
    scratch,
    stacked,
    unrolled,
)

# Of the inner function that transforms.
_PARAMETERS = parameters(["w", "to", "taps"], ["left", "channels", "w_channel", "w_lane", "point"])
# Input channels of an item: enough to hide its bookkeeping, few enough to balance the threads.
ITEM_CHANNELS = 32
# Input channels of which all vectors are written before the next ones: whole cache lines.
LINE_CHANNELS = 8
# Points that are computed without loops.
MOST_UNROLLED_POINTS = 64


@dataclass(frozen=True)
class TransformFilters(Kernel):
    """Items are (block of output channels, ``ITEM_CHANNELS`` input channels). ``sizes``: (m, r) of
    each axis; ``vectors`` of output channels in a block.

    ``order``: the taps are contiguous in memory, and this is the place of each; empty where output
    channels are contiguous.
    """

    name = "winograd_weight"
    pointers = ("w", "to", "taps")
    numbers = (
        *("w_block", "w_channel", "w_lane"),
        *("channels_in", "channels_out", "point", "block"),
    )

    dtype: str
    sizes: Sizes
    vectors: int
    order: tuple[int, ...] = ()

    def items(self, blocks: int, channels: int) -> int:
        """Items for ``blocks`` blocks of output channels and ``channels`` input channels."""
        return blocks * -(-channels // ITEM_CHANNELS)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, width, channels = v.function, self.vectors * v.lanes, given["channels_in"]
        items = f.value(f"udiv i64 {f.add(channels, ITEM_CHANNELS - 1)}, {ITEM_CHANNELS}")
        with f.loop("%begin", "%end") as item:
            block, number = f.divmod(item.index, items)
            first = f.mul(number, ITEM_CHANNELS)
            source = f.add(f.mul(block, given["w_block"]), f.mul(first, given["w_channel"]))
            target = f.add(f.mul(block, given["block"]), f.mul(first, width))
            here: dict[str, Index] = {
                "w": v.at(given["w"], source),
                "to": v.at(given["to"], target),
                "left": f.sub(given["channels_out"], f.mul(block, width)),
                "channels": f.minimum(f.sub(channels, first), ITEM_CHANNELS),
            }
            self.call(v, given | here)
        self.write(v.functions)

    def call(self, v: Vectors, given: Mapping[str, Index]) -> None:
        """Call what ``write`` writes."""
        v.function.call_with("filters", _PARAMETERS, given)

    def write(self, code: Functions) -> None:
        """Write the function "filters": some input channels of a block.

        ``left``: output channels from the first of the block on; ``point``: elements from one point
        to the next at ``to``, where a channel is as wide as the block.
        """
        v = code.open("filters", _PARAMETERS)
        f = v.function
        rows = f.value(f"alloca [{self.vectors * v.lanes} x ptr], align 8")
        if self.order:
            self._rows(v, rows)
        taps = prod(r for _, r in self.sizes)
        memory = stacked(v, taps), stacked(v, scratch(self.matrices))
        # All vectors of a few channels before the next, so that cache lines are written whole.
        with (
            f.loop(0, "%channels", step=LINE_CHANNELS, runs=True) as start,
            f.loop(0, self.vectors, runs=True) as vector,
        ):
            first = f.mul(vector.index, v.lanes)
            stop = f.minimum(f.add(start.index, LINE_CHANNELS), "%channels")
            read = self._transposing(v, rows, first) if self.order else self._loading(v, first)
            with f.loop(start.index, stop, runs=True) as channel:
                values = read(channel.index)
                to = f.add(f.mul(channel.index, self.vectors * v.lanes), first)
                self._transform(v, values, v.at("%to", to), memory)

    @property
    def matrices(self) -> list[Matrix]:
        return matrices_of(self.sizes, "g")

    def _transform(
        self, v: Vectors, values: Sequence[str], to: str, memory: tuple[str, str]
    ) -> None:
        """A vector for each tap -> one for each point."""

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for place, value in results:
                v.store(value, v.at(to, v.function.mul("%point", place)))

        if prod(inputs_of(self.sizes)) <= MOST_UNROLLED_POINTS:
            store(list(enumerate(unrolled(v, self.matrices, values))))
            return
        taps, between = memory
        for place, value in enumerate(values):
            v.store(value, v.at(taps, place * v.lanes))
        nested(v, self.matrices, reader(v, taps), store, between)

    def _loading(self, v: Vectors, first: str) -> Callable[[str], list[str]]:
        """Reads the vectors of an input channel whose output channels are contiguous."""
        f, mask = v.function, v.below(v.function.sub("%left", first))

        def read(channel: str) -> list[str]:
            w = v.at(v.at("%w", f.mul(channel, "%w_channel")), first)
            taps = range(prod(r for _, r in self.sizes))
            return [v.load(v.at(w, f.word("%taps", tap)), mask) for tap in taps]

        return read

    def _transposing(self, v: Vectors, rows: str, first: str) -> Callable[[str], list[str]]:
        """Reads those of one whose taps are contiguous; ``rows``: as ``_rows`` wrote it."""
        f = v.function
        here = [f.pointer(rows, f.add(first, i)) for i in range(v.lanes)]

        def read(channel: str) -> list[str]:
            offset = f.mul(channel, "%w_channel")
            ahead = f.add(offset, f.mul("%w_channel", PREFETCH_DISTANCE_FILTER_CHANNELS))
            for row in here:
                f.prefetch(v.at(row, ahead))
            values = load_columns(
                v, [v.at(row, offset) for row in here], len(self.order), overlapping=True
            )
            return [values[place] for place in self.order]

        return read

    def _rows(self, v: Vectors, to: str) -> None:
        """Write where the filters of the lanes of a block begin; instead of those that are missing
        the last one again: what becomes of them is not used.
        """
        f = v.function
        last = f.sub("%left", 1)
        with f.loop(0, self.vectors * v.lanes, runs=True) as lane:
            row = v.at("%w", f.mul(f.minimum(lane.index, last), "%w_lane"))
            f.emit(f"store ptr {row}, ptr {f.at(to, lane.index, 'ptr')}, align 8")
