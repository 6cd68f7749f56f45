"""The code of grouped gradients for the weight: the sums of a tile of taps stay in registers.

A partial sum is that of one block of channels (a few vectors, so that memory is read in long
pieces) over one band of positions; an item makes some of them. It is made in passes, which tables
list: rows of both arrays are copied so that positions are contiguous, or are read in place; then
every tile of taps is computed over them, for one vector after the other. Between two passes the
sums are in memory, so that there may be any number of taps.
"""

from functools import partial

from faltung.codegen.ir import parameters
from faltung.codegen.tile import Accumulators, accumulate
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import BLOCK, Arguments, Kernel, part
from faltung.methods.base.tiles import Kind
from faltung.methods.grouped.lanes import every_second, lane_order, load_column

# Columns of the tables: rows of a band (first pass, passes); a pass (first copy and copies of rows
# of the input, of the gradient, first call, calls); a copy (from, to); a call (function, first
# entry, entries, place of its first sum); a segment of a row (input from, positions, gradient from,
# positions); and a run of tiles in it (tiles, input, gradient).
ROWS, PASS, COPY, CALL, SEGMENT, RUN = 2, 6, 2, 4, 4, 3


@dataclass(frozen=True)
class Masked:
    """A tile of ``positions`` vectors whose lanes are neighbouring positions; for each tap those
    that read the array, None for all.
    """

    positions: int
    masks: tuple[tuple[bool, ...] | None, ...]


Tile = Kind | Masked


@dataclass(frozen=True)
class TapTile:
    """Taps whose sums are in registers together: ``rows`` rows of the taps ``offsets`` (input
    elements), in them the input channels ``inputs`` of a group; ``accumulators``: of each sum, for
    neighbouring positions; ``kinds``: the tiles of a row, in their order, whose runs are ``run``
    onwards in the table.
    """

    rows: int
    offsets: tuple[int, ...]
    inputs: tuple[int, ...]
    accumulators: int
    kinds: tuple[Tile, ...]
    run: int


@dataclass(frozen=True)
class RowLayout:
    """Elements between neighbouring positions of an array, and of its rows as they are read: the
    same unless these are ``copied``.
    """

    position: int
    pitch: int
    copied: bool


@dataclass(frozen=True)
class GroupedWeightGradKernel(Kernel):
    """``lanes``: for each input channel of a group the place that each lane reads, counted from its
    vector's first input; ``vectors``: of a block; ``taps``: sums of a row of taps and their input
    channels; ``runs``: of tiles in a segment; ``x``, ``g``: the input, and the output gradient.
    """

    name = "grouped_weight_grad"
    pointers = (
        *("x", "g", "sums", "x_rows", "g_rows"),
        *("band_rows", "passes", "x_copies", "g_copies", "calls", "entries", "segments", "runs"),
    )
    numbers = (
        *("item_count", "partials", "segment_count", "block_count", "rows_count"),
        *("samples", "batch"),
        *("x_batch", "x_block", "x_vector", "g_batch", "g_block", "g_vector"),
        # Elements of the copies of an item; of all sums of a band, between those of two blocks, to
        # the end of those of one, and between two of them.
        *("x_item", "g_item", "band", "block", "end", "width"),
    )

    dtype: str
    lanes: tuple[tuple[int, ...], ...]
    vectors: int
    tap_tiles: tuple[TapTile, ...]
    taps: int
    runs: int
    stride: int
    x: RowLayout
    g: RowLayout

    def functions(self, code: Functions) -> None:
        for number, tile in enumerate(self.tap_tiles):
            _sums(code, self, tile, f"sums{number}")
        _copy(code, self, "x", max(map(max, self.lanes)) + 1)
        _copy(code, self, "g", len(self.lanes[0]))
        _partial(code, self)

    def body(self, v: Vectors, given: Arguments) -> None:
        """All items of one call share the copies of the first, which are still in the second-level
        cache.
        """
        f = v.function
        share = part(f, given["partials"], given["item_count"], "%begin", "%end")
        with f.loop(*share) as partial:
            f.call("partial", [("ptr", BLOCK), ("i64", "%begin"), ("i64", partial.index)])


# Partial sums -------------------------------------------------------------------------------------


def _partial(code: Functions, kernel: GroupedWeightGradKernel) -> None:
    v = code.open("partial", parameters([BLOCK[1:]], ["item", "number"]))
    f, given = v.function, Arguments(v.function, kernel)
    band, block = f.divmod("%number", given["block_count"])
    outer, segment = f.divmod(band, given["segment_count"])
    samples, rows = f.divmod(outer, given["rows_count"])
    sums = f.add(f.mul(band, given["band"]), f.mul(block, given["block"]))
    sums = v.at(given["sums"], sums)
    with f.loop(0, given["end"], step=given["width"]) as at:
        for number in range(kernel.vectors):
            v.store(v.zero, v.at(sums, f.add(at.index, number * v.lanes)))
    first = f.mul(samples, given["samples"])
    stop = f.minimum(given["batch"], f.add(first, given["samples"]))
    here = {
        "sums": sums,
        "x_rows": v.at(given["x_rows"], f.mul("%item", given["x_item"])),
        "g_rows": v.at(given["g_rows"], f.mul("%item", given["g_item"])),
        "x": v.at(given["x"], f.mul(block, given["x_block"])),
        "g": v.at(given["g"], f.mul(block, given["g_block"])),
        "segment": f.at(given["segments"], f.mul(segment, SEGMENT), "i64"),
        "runs": f.at(given["runs"], f.mul(segment, RUN * kernel.runs), "i64"),
    }
    rows = f.at(given["band_rows"], f.mul(rows, ROWS), "i64")
    begin = f.word(rows, 0)
    end = f.add(begin, f.word(rows, 1))
    with f.loop(first, stop) as sample:
        x = v.at(here["x"], f.mul(sample.index, given["x_batch"]))
        g = v.at(here["g"], f.mul(sample.index, given["g_batch"]))
        here = {**here, "x": x, "g": g}
        with f.loop(begin, end) as one:
            entry = f.at(given["passes"], f.mul(one.index, PASS), "i64")
            _copies(v, kernel, given, here, entry)
            _calls(v, kernel, given, here, entry)


def _copies(
    v: Vectors, kernel: GroupedWeightGradKernel, given: Arguments, here: dict[str, str], entry: str
) -> None:
    """The rows that a pass finds in no place yet."""
    f = v.function
    for i, (name, layout) in enumerate((("x", kernel.x), ("g", kernel.g))):
        if not layout.copied:
            continue
        start = v.at(here[name], f.word(here["segment"], 2 * i))
        count = f.word(here["segment"], 2 * i + 1)
        first = f.word(entry, 2 * i)
        with f.loop(first, f.add(first, f.word(entry, 2 * i + 1))) as copy:
            row = f.at(given[f"{name}_copies"], f.mul(copy.index, COPY), "i64")
            ends = [v.at(start, f.word(row, 0)), v.at(here[f"{name}_rows"], f.word(row, 1))]
            numbers = [("i64", count), ("i64", given[f"{name}_vector"])]
            f.call(f"copy_{name}", [*(("ptr", at) for at in ends), *numbers])


def _calls(
    v: Vectors, kernel: GroupedWeightGradKernel, given: Arguments, here: dict[str, str], entry: str
) -> None:
    """The tiles of taps of a pass, for one vector after the other."""
    f = v.function
    x = here["x_rows" if kernel.x.copied else "x"]
    g = here["g_rows" if kernel.g.copied else "g"]
    first = f.word(entry, 4)
    stop = f.add(first, f.word(entry, 5))
    moving = [(x, given["x_vector"]), (g, given["g_vector"]), (here["sums"], str(v.lanes))]
    with v.walk(0, kernel.vectors, moving, runs=True) as vector:
        x_now, g_now, sums_now = vector.values
        with f.loop(first, stop) as number:
            call = f.at(given["calls"], f.mul(number.index, CALL), "i64")
            taken = [
                *(("ptr", at) for at in (x_now, g_now)),
                ("ptr", v.at(sums_now, f.mul(f.word(call, 3), given["width"]))),
                ("ptr", f.at(given["entries"], f.word(call, 1), "i64")),
                ("ptr", here["runs"]),
                ("i64", f.word(call, 2)),
                ("i64", given["width"]),
            ]
            names = [f"sums{n}" for n in range(len(kernel.tap_tiles))]
            f.call_one(f.word(call, 0), names, taken)


def _copy(code: Functions, kernel: GroupedWeightGradKernel, name: str, channels: int) -> None:
    """Copies positions of a row, each vector of a block to rows of its own."""
    layout = kernel.x if name == "x" else kernel.g
    v = code.open(f"copy_{name}", parameters(["from", "to"], ["count", "vector"]))
    f = v.function
    with v.walk(0, "%count", [("%from", layout.position), ("%to", layout.pitch)]) as position:
        from_, to = position.values
        for number in range(kernel.vectors):
            here = v.at(to, f.mul("%vector", number)) if number else to
            for first in range(0, channels, v.lanes):
                at = v.at(from_, number * channels + first)
                v.store(v.load(at, v.first(channels - first)), v.at(here, first))


# Sums of a tile of taps ---------------------------------------------------------------------------


def _sums(code: Functions, kernel: GroupedWeightGradKernel, taps: TapTile, name: str) -> None:
    """The sums of a tile of taps over some rows."""
    pointers = "x", "g", "sums", "entries", "runs"
    v = code.open(name, parameters(pointers, ["count", "width"]))
    f = v.function
    places = [
        v.at("%sums", f.mul("%width", r * kernel.taps + k * len(kernel.lanes) + number))
        for r in range(taps.rows)
        for k in range(len(taps.offsets))
        for number in range(len(taps.inputs))
    ]
    start = [("ptr", "%entries")]
    for place in places:
        start += [(v.type, v.load(place)), *[(v.type, v.zero)] * (taps.accumulators - 1)]
    with f.loop(0, "%count", start) as row:
        entry, *acc = row.values
        xs = [v.at("%x", f.word(entry, r)) for r in range(taps.rows)]
        g = v.at("%g", f.word(entry, taps.rows))
        for number, kind in enumerate(taps.kinds):
            run = f.at("%runs", RUN * (taps.run + number), "i64")
            step = kind.positions * kernel.stride * kernel.x.pitch
            moving = [(v.at(x, f.word(run, 1)), step) for x in xs]
            moving.append((v.at(g, f.word(run, 2)), kind.positions * kernel.g.pitch))
            tile = (
                partial(_lanes_are_positions, v, kernel.stride, taps, kind)
                if isinstance(kind, Masked)
                else partial(_lanes_are_channels, v, kernel, taps, kind)
            )
            _, (acc,) = accumulate(v, [acc], (0, f.word(run, 0)), moving, tile)
        row.carry([f.at(entry, taps.rows + 1, "i64"), *acc])
    acc = row.results[1:]
    for i, place in enumerate(places):
        total, *others = acc[i * taps.accumulators : (i + 1) * taps.accumulators]
        for other in others:
            total = v.add(total, other)
        v.store(total, place)


def _lanes_are_channels(
    v: Vectors,
    kernel: GroupedWeightGradKernel,
    taps: TapTile,
    tile: Kind,
    acc: Accumulators,
    _index: str,
    *rows: str,
) -> Accumulators:
    """The sums after one tile, from the sums before and rows of the input and the gradient: every
    column of the input meets the gradients of all positions that read it.
    """
    (*xs, g), made = rows, list(acc[0])
    mask = None if kernel.g.copied else v.first(len(kernel.lanes[0]))
    columns: dict[int, list[tuple[int, int]]] = {}
    for p in range(tile.positions):
        for k, offset in enumerate(taps.offsets):
            if p not in tile.outside[k]:
                column = p * kernel.stride * kernel.x.pitch + offset
                columns.setdefault(column, []).append((p, k))
    grads: dict[int, str] = {}
    for offset, products in sorted(columns.items()):
        for p, _ in products:
            if p not in grads:
                grads[p] = v.load(v.at(g, p * kernel.g.pitch), mask)
        for r, x in enumerate(xs):
            for i, number in enumerate(taps.inputs):
                read = load_column(v, kernel.lanes, v.at(x, offset), number)
                for p, k in products:
                    here = (r * len(taps.offsets) + k) * len(taps.inputs) + i
                    here = here * taps.accumulators + p % taps.accumulators
                    made[here] = v.multiply_add(read, grads[p], made[here])
    return [made]


def _lanes_are_positions(
    v: Vectors, stride: int, taps: TapTile, tile: Masked, acc: Accumulators, _index: str, *rows: str
) -> Accumulators:
    """The same: a lane outside a mask is zero in both arrays, whatever lies there. With a stride of
    two, lanes of both are in the order of ``lane_order``.
    """
    (*xs, g), made = rows, list(acc[0])
    for p in range(tile.positions):
        grads: dict[tuple[bool, ...] | None, str] = {}
        for k, (offset, lanes) in enumerate(zip(taps.offsets, tile.masks, strict=True)):
            if lanes is not None and not any(lanes):
                continue
            mask = None if lanes is None else v.mask(lanes)
            if lanes not in grads:
                grads[lanes] = v.load(v.at(g, p * v.lanes), mask)
                if stride == 2:
                    grads[lanes] = v.shuffle(grads[lanes], grads[lanes], lane_order(v))
            for r, x in enumerate(xs):
                here = (r * len(taps.offsets) + k) * taps.accumulators + p % taps.accumulators
                at = v.at(x, p * v.lanes * stride + offset)
                read = v.load(at, mask) if stride == 1 else every_second(v, at, lanes)
                made[here] = v.multiply_add(read, grads[lanes], made[here])
    return [made]
