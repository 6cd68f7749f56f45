"""The code of the weight gradient: sums over tiles at every point, and their way back to taps.

An item is a block of output channels by a group of input channels. At each point a register tile,
``rows`` input channels by some vectors of output channels, takes the products of all tiles; the
register tiles of the group follow each other while the gradient's vectors stay in the first-level
cache. After the last pass the sums of all points become taps.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from math import prod

from faltung.codegen.ir import Index, parameters
from faltung.codegen.tile import Accumulators, accumulate, outer_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES
from faltung.methods.base.band_sums import store_sum
from faltung.methods.base.kernel import BLOCK, Arguments, Kernel
from faltung.methods.winograd.transforms import Matrix, nested, scratch, stacked

_ITEM = parameters([BLOCK[1:], "x", "grad", "w", "sums"], ["start", "count"])
_BACK = parameters(["sums", "taps", "places"], ["point", "width"])


@dataclass(frozen=True)
class WeightGradSums(Kernel):
    """``inverse``: the matrix of each axis, taps by points. ``rows``: input channels of a register
    tile; ``tiles``: how many such tiles an item has. ``kinds``: blocks of output channels, as
    vectors and lanes of the last one. ``whole``: all tiles in one pass, so that sums stay on the
    stack. ``transposed``: in the weight all taps and input channels of an output channel are
    contiguous, and not output channels.

    Arguments: ``x_blocks``, ``grad_blocks``: blocks of channels in a group; ``x_block``,
    ``x_point``, ...: elements between blocks and between points; ``w_group``, ``w_out``, ``w_in``:
    of the weight between groups, output and input channels; ``item_sums``: elements of the sums of
    an item; ``before``: tiles that the sums have already; ``last``: whether these are the last.
    """

    name = "winograd_weight_grad_sums"
    pointers = ("x", "grad", "w", "sums", "blocks", "places")
    numbers = (
        *("block_count", "channel_groups", "tiles", "register_tiles", "channels_in"),
        *("x_blocks", "x_block", "x_point", "grad_blocks", "grad_block", "grad_point"),
        *("w_group", "w_out", "w_in", "item_sums", "before", "last"),
    )

    dtype: str
    inverse: tuple[Matrix, ...]
    rows: int
    tiles: int
    kinds: tuple[tuple[int, int], ...]
    whole: bool
    transposed: bool

    @property
    def points(self) -> int:
        return prod(len(matrix[0]) for matrix in self.inverse)

    @property
    def taps(self) -> int:
        return prod(len(matrix) for matrix in self.inverse)

    def functions(self, code: Functions) -> None:
        self._back(code.open("back", _BACK))
        for number, kind in enumerate(self.kinds):
            v = code.open(f"item{number}", _ITEM)
            self._item(v, Arguments(v.function, self), kind)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            pair, channels = f.divmod(item.index, given["channel_groups"])
            group, block = f.divmod(pair, given["block_count"])
            entry = f.at(given["blocks"], f.mul(block, 2), "i64")
            vector, start = f.word(entry, 1), f.mul(channels, self.tiles)
            count = f.minimum(f.sub(given["register_tiles"], start), self.tiles)
            x = f.mul(f.mul(group, given["x_blocks"]), given["x_block"])
            grad = f.mul(f.add(f.mul(group, given["grad_blocks"]), vector), given["grad_block"])
            w = f.add(f.mul(group, given["w_group"]), f.mul(f.mul(vector, v.lanes), given["w_out"]))
            w = f.add(w, f.mul(f.mul(start, self.rows), given["w_in"]))
            arguments: list[tuple[str, Index]] = [
                ("ptr", BLOCK),
                ("ptr", v.at(given["x"], x)),
                ("ptr", v.at(given["grad"], grad)),
                ("ptr", v.at(given["w"], w)),
                ("ptr", v.at(given["sums"], f.mul(item.index, given["item_sums"]))),
                ("i64", start),
                ("i64", count),
            ]
            names = [f"item{n}" for n in range(len(self.kinds))]
            f.call_one(f.word(entry, 0), names, arguments)

    # Sums

    def _item(self, v: Vectors, given: Arguments, kind: tuple[int, int]) -> None:
        """``count`` register tiles from ``start`` on; in memory (tile, point, row, vector)."""
        f, columns = v.function, kind[0]
        each = self.rows * columns * v.lanes
        sums, added = "%sums", ""
        if self.whole:
            room = self.tiles * self.points * each
            sums = f.value(f"alloca [{room} x {v.element}], align {LINE_BYTES}")
        else:
            added = f.value(f"icmp ne i64 {given['before']}, 0")
        channels = self.rows * self.tiles if self.transposed else 1
        # Vectors that are transposed may begin in the last row.
        room = (channels * self.taps + v.lanes) * columns * v.lanes
        taps = f.value(f"alloca [{room} x {v.element}], align {LINE_BYTES}")
        end = f.mul(given["tiles"], v.lanes)
        with f.loop(0, self.points) as point:
            x = v.at("%x", f.mul(point.index, given["x_point"]))
            grad = v.at("%grad", f.mul(point.index, given["grad_point"]))
            vectors = [v.at(grad, f.mul(given["grad_block"], q)) for q in range(columns)]
            to = v.at(sums, f.mul(point.index, each))
            with f.loop(0, "%count") as tile:
                block, row = f.divmod(f.mul(f.add("%start", tile.index), self.rows), v.lanes)
                start = v.at(x, f.add(f.mul(block, given["x_block"]), row))
                target = v.at(to, f.mul(tile.index, self.points * each))
                for i, value in enumerate(_products(v, self.rows, start, vectors, end)):
                    at = v.at(target, i * v.lanes)
                    if self.whole:
                        v.store(value, at)
                    else:
                        store_sum(v, added, value, at)
        last = "" if self.whole else f.value(f"icmp ne i64 {given['last']}, 0")
        with f.when(last) if last else nullcontext():
            self._taps(v, given, sums, taps, kind)

    # Taps

    def _back(self, v: Vectors) -> None:
        """The sums of all points for one input channel and one vector -> a vector for each tap."""
        f = v.function
        between = stacked(v, scratch(self.inverse))

        def load(point: Index) -> str:
            return v.load(v.at("%sums", f.mul(point, "%point")))

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for tap, value in results:
                where = f.word("%places", tap) if self.transposed else tap
                v.store(value, v.at("%taps", f.mul(where, "%width")))

        nested(v, self.inverse, load, store, between)

    def _taps(
        self, v: Vectors, given: Arguments, sums: str, memory: str, kind: tuple[int, int]
    ) -> None:
        """All sums of an item become taps, in memory (channel, tap, vector), and are stored: one
        input channel after another, or all at once where they have to be transposed.
        """
        f, columns = v.function, kind[0]
        width = columns * v.lanes
        each = self.rows * width
        left = f.sub(given["channels_in"], f.mul("%start", self.rows))
        count = f.minimum(left, f.mul("%count", self.rows))
        with f.loop(0, count) as channel:
            tile, row = f.divmod(channel.index, self.rows)
            source = v.at(sums, f.add(f.mul(tile, self.points * each), f.mul(row, width)))
            taps = memory
            if self.transposed:
                taps = v.at(memory, f.mul(channel.index, self.taps * width))
            with f.loop(0, columns) as q:
                at = f.mul(q.index, v.lanes)
                here = v.at(source, at), v.at(taps, at), given["places"]
                numbers = [("i64", str(each)), ("i64", str(width))]
                f.call("back", [*(("ptr", address) for address in here), *numbers])
            if not self.transposed:
                target = v.at("%w", f.mul(channel.index, given["w_in"]))
                _store_taps(v, self.taps, memory, target, given["places"], kind)
        if self.transposed:
            _store_transposed(v, memory, f.mul(count, self.taps), given["w_out"], kind)


def _products(v: Vectors, rows: int, x: str, vectors: list[str], end: str) -> list[str]:
    """The sums over all tiles, ``rows`` by as many vectors as there are, in row order."""

    def add(acc: Accumulators, tile: str) -> Accumulators:
        here = v.at(x, tile)
        return outer_product(
            v,
            acc,
            lambda p: v.broadcast(v.at(here, p)),
            lambda q: v.load(v.at(vectors[q], tile)),
        )

    start = zeros(v, rows, len(vectors))
    _, acc = accumulate(v, start, (0, end), [], add, step=v.lanes, runs=True)
    return [value for row in acc for value in row]


def _store_taps(
    v: Vectors, taps: int, memory: str, target: str, places: str, kind: tuple[int, int]
) -> None:
    """Output channels are contiguous in the weight: a row for each tap."""
    f = v.function
    columns, exist = kind
    with f.loop(0, taps) as tap:
        row = v.at(memory, f.mul(tap.index, columns * v.lanes))
        to = v.at(target, f.word(places, tap.index))
        for q in range(columns):
            lanes = exist if q == columns - 1 else v.lanes
            v.store_first(v.load(v.at(row, q * v.lanes)), v.at(to, q * v.lanes), lanes)


def _store_transposed(v: Vectors, memory: str, rows: str, step: str, kind: tuple[int, int]) -> None:
    """Each output channel gets ``rows`` contiguous elements, transposed in registers."""
    f = v.function
    columns, exist = kind
    whole = v.whole(rows)
    for q in range(columns):
        lanes = exist if q == columns - 1 else v.lanes
        for masked in (False, True):
            bounds = (whole, rows) if masked else ("0", whole)
            with f.loop(*bounds, step=v.lanes) as row:
                first = v.at(memory, f.add(f.mul(row.index, columns * v.lanes), q * v.lanes))
                # Rows behind the last one are memory that nobody has written; they go nowhere.
                vectors = [v.load(v.at(first, i * columns * v.lanes)) for i in range(v.lanes)]
                mask = v.below(f.sub(rows, row.index)) if masked else None
                for i, value in enumerate(v.transpose(vectors)[:lanes]):
                    to = f.add(f.mul(step, q * v.lanes + i), row.index)
                    v.store(value, v.at("%w", to), mask)
