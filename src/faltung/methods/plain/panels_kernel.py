"""The code of ``panels``: both arrays laid into panels, and tiles of sums over two of them.

A panel of vectors has one block of channels, ``width`` a position, position after position. The
panel of broadcasts has a row of positions for each channel, rows ``pitch`` apart. Either array may
have channels or positions contiguous; what does not lie as the panel is transposed in registers.
"""

from collections.abc import Callable
from functools import partial

from faltung.codegen.copies import RowMask, transpose_square
from faltung.codegen.ir import parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.update import Update

# Columns of the tables: of bands (first segment, segments, positions); of segments (offsets in both
# arrays, first position in the band, positions); of blocks of rows (first row, rows, tiles of each
# height); of ranges of blocks of columns (the first, the one behind the last).
BAND, SEGMENT, ROWS, RANGE = 3, 4, 4, 2
TILE_NUMBERS = ("length", "row", "band", "final", "a_step", "b_step")
# Functions that lay out a segment. ``step``: elements from position to position where channels are
# contiguous, else from channel to channel.
VECTORS_FUNCTION = parameters(["array", "panel"], ["count", "step"])
BROADCASTS_FUNCTION = [*VECTORS_FUNCTION, ("i64", "channels")]


@dataclass(frozen=True)
class Source:
    """How an array lies: ``channels_first``, positions are ``apart`` elements from each other and
    channels anywhere; else channels are contiguous and positions anywhere.
    """

    channels_first: bool
    apart: int


@dataclass(frozen=True)
class PanelsKernel(Kernel):
    """For each band: items -> (group, block of rows, range of blocks of columns).

    Panels belong to the call: they lie where its first item says. A block of rows is laid out once
    for all columns, a block of columns for all tiles of the rows, which follow at once.

    heights: rows of the tiles, one or two kinds. vectors: of a block of columns; ``rest``: channels
    of a last one that is smaller, 0 where there is none. sources: the broadcast array and that of
    the vectors. pitch: positions from row to row of the panel of broadcasts. placed: which of the
    two are read where they lie. prefetch: the vectors of the next band, where those of this one are
    read. update: what is done with the sums of all bands, instead of storing them.
    """

    name = "weight_panels"
    one_call = True
    pointers = ("a", "b", "sums", "panels", "bands", "segments", "row_blocks", "ranges")
    numbers = (
        *("band_count", "row_block_count", "range_count", "blocks"),
        # Elements between groups, and the steps of the copies.
        *("a_group", "a_step", "b_group", "b_step", "sums_group", "row"),
        # Elements of the panels of one call, and of the first of them.
        *("panels_size", "a_size"),
    )

    dtype: str
    heights: tuple[int, ...]
    vectors: int
    rest: int
    sources: tuple[Source, Source]
    pitch: int
    placed: tuple[bool, bool]
    prefetch: bool
    update: Update | None = None

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        if self.update is None:
            return pointers, numbers
        return (*pointers, *self.update.arrays, *self.update.numbers), numbers

    @property
    def stored(self) -> tuple[str, ...]:
        """Arrays in the order of the weight: the sums, and what an update changes."""
        return ("sums", *(() if self.update is None else self.update.arrays))

    @property
    def tile_function(self) -> list[tuple[str, str]]:
        """What the function of a tile takes."""
        scalars = () if self.update is None else self.update.numbers
        return parameters(["a", "b", *self.stored, *scalars], list(TILE_NUMBERS))

    @property
    def row_step(self) -> int:
        """Elements from row to row of what is broadcast."""
        return 1 if self.placed[0] else self.pitch

    def widths(self, machine: Machine) -> list[int]:
        """Channels of the kinds of blocks of columns."""
        whole = self.vectors * machine.lanes(self.dtype)
        return [whole, self.rest] if self.rest else [whole]

    def functions(self, code: Functions) -> None:
        if not self.placed[0]:
            _broadcasts(code.open("broadcasts", BROADCASTS_FUNCTION), self.sources[0], self.pitch)
        for number, channels in enumerate(self.widths(code.machine)):
            if not self.placed[1]:
                made = code.open(f"vectors{number}", VECTORS_FUNCTION)
                _vectors(made, self.sources[1], channels)
            for kind, rows in enumerate(self.heights):
                self._tile(code.open(f"tile{kind}{number}", self.tile_function), rows, channels)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function

        def entry(table: str, number: str, columns: int) -> str:
            return f.at(given[table], f.mul(number, columns), "i64")

        panels = v.at(given["panels"], f.mul("%begin", given["panels_size"]))
        with f.loop(0, given["band_count"]) as band:
            here = entry("bands", band.index, BAND)
            length, count = f.word(here, 2), f.word(here, 1)
            segments = entry("segments", f.word(here, 0), SEGMENT)
            walk = _Band(self, v, given, panels, band.index, length, count, segments)
            with f.loop("%begin", "%end", [("i64", "-1")]) as item:
                rows, columns = f.divmod(item.index, given["range_count"])
                group, row_block = f.divmod(rows, given["row_block_count"])
                block = entry("row_blocks", row_block, ROWS)
                if not self.placed[0]:
                    with f.when(f.value(f"icmp ne i64 {rows}, {item.values[0]}")):
                        walk.lay_rows(group, block)
                item.carry([rows])
                walk.columns(group, block, entry("ranges", columns, RANGE))

    def _tile(self, v: Vectors, rows: int, channels: int) -> None:
        f, vectors = v.function, -(-channels // v.lanes)
        moving = [
            ("%a", "%a_step" if self.placed[0] else 1),
            ("%b", "%b_step" if self.placed[1] else vectors * v.lanes),
        ]
        offsets = [p * self.row_step for p in range(rows)]
        # Of a panel whole vectors exist.
        masks = [v.first(channels - q * v.lanes) for q in range(vectors)]

        ahead = f.mul("%b_step", "%length")

        def add(acc: Accumulators, _: str, a: str, b: str) -> Accumulators:
            if self.prefetch:
                f.prefetch(v.at(b, ahead))
            return broadcast_product(v, acc, a, offsets, b, masks if self.placed[1] else None)

        start = zeros(v, rows, vectors)
        _, acc = accumulate(v, start, (0, "%length"), moving, add, runs=True)
        if self.update is None:
            self._store_sums(v, acc, channels)
            return
        for final in f.branches(f.value("icmp ne i64 %final, 0")):
            self._store_sums(v, acc, channels, final)

    def _store_sums(
        self, v: Vectors, acc: Accumulators, channels: int, final: bool = False
    ) -> None:
        """The first band stores, later ones add; ``final``: the last one updates."""
        for later in v.function.branches(v.function.value("icmp ne i64 %band, 0")):
            _store(v, acc, channels, add=later, update=self.update if final else None)


def _store(
    v: Vectors, acc: Accumulators, channels: int, *, add: bool, update: Update | None
) -> None:
    names = ("sums", *(() if update is None else update.arrays))
    lines = {name: f"%{name}" for name in names}
    scalars = [] if update is None else update.load(v)
    for row in acc:
        for q, value in enumerate(row):
            at = {name: v.at(line, q * v.lanes) for name, line in lines.items()}
            lanes = min(v.lanes, channels - q * v.lanes)
            total = v.add(v.load(at["sums"], v.first(lanes)), value) if add else value
            if update is None:
                v.store_first(total, at["sums"], lanes)
            else:
                update.store(v, total, at, scalars, lanes)
        lines = {name: v.at(line, "%row") for name, line in lines.items()}


@dataclass(frozen=True)
class _Band:
    """The work of one band: its number, positions and segments, as values in the code."""

    kernel: PanelsKernel
    v: Vectors
    given: Arguments
    panels: str
    number: str
    length: str
    count: str
    segments: str

    def lay_rows(self, group: str, rows: str) -> None:
        """Lay out the panel of broadcasts of a block of rows."""
        more = [("i64", self.v.function.word(rows, 1))]
        self._lay("broadcasts", self._rows(group, rows), 0, self.panels, 1, more)

    def _rows(self, group: str, rows: str) -> str:
        """Where a block of rows begins."""
        f, given = self.v.function, self.given
        step = given["a_step"] if self.kernel.sources[0].channels_first else 1
        row = f.mul(f.word(rows, 0), step)
        return self.v.at(given["a"], f.add(f.mul(group, given["a_group"]), row))

    def _lay(
        self,
        name: str,
        array: str,
        side: int,
        panel: str,
        width: int,
        more: list[tuple[str, str]],
    ) -> None:
        """A panel, segment by segment; ``width``: its elements from one position to the next."""
        f, v = self.v.function, self.v
        with f.loop(0, self.count) as segment:
            entry = f.at(self.segments, f.mul(segment.index, SEGMENT), "i64")
            call = [
                ("ptr", v.at(array, f.word(entry, side))),
                ("ptr", v.at(panel, f.mul(f.word(entry, 2), width))),
                ("i64", f.word(entry, 3)),
                ("i64", self.given["ab"[side] + "_step"]),
            ]
            f.call(name, [*call, *more])

    def columns(self, group: str, rows: str, blocks: str) -> None:
        """For each of a range of blocks of columns: its panel, and all tiles of the rows."""
        f, v, given = self.v.function, self.v, self.given
        widths = self.kernel.widths(v.machine)
        panel = v.at(self.panels, given["a_size"])
        array = v.at(given["b"], f.mul(group, given["b_group"]))
        sums = f.add(f.mul(group, given["sums_group"]), f.mul(f.word(rows, 0), given["row"]))
        last = f.sub(given["blocks"], 1)
        step = given["b_step"] if self.kernel.sources[1].channels_first else 1
        with f.loop(f.word(blocks, 0), f.word(blocks, 1)) as block:
            first = f.mul(block.index, widths[0])
            source, out = v.at(array, f.mul(first, step)), f.add(sums, first)
            is_last = f.value(f"icmp eq i64 {block.index}, {last}")
            kinds = [
                partial(self._block, number, channels, source, panel, out, group, rows)
                for number, channels in enumerate(widths)
            ]
            f.switch(f.value(f"zext i1 {is_last} to i64"), kinds)

    def _block(
        self,
        number: int,
        channels: int,
        source: str,
        panel: str,
        out: str,
        group: str,
        rows: str,
    ) -> None:
        f, v = self.v.function, self.v
        a, b, row = self.panels, panel, self.given["row"]
        if self.kernel.placed[0]:
            a = self._placed(self._rows(group, rows), 0)
        if self.kernel.placed[1]:
            b = self._placed(source, 1)
        else:
            self._lay(f"vectors{number}", source, 1, panel, -(-channels // v.lanes) * v.lanes, [])
        given, update = self.given, self.kernel.update
        scalars = [] if update is None else [given[name] for name in update.numbers]
        last = f.value(f"icmp eq i64 {self.number}, {f.sub(given['band_count'], 1)}")
        final = f.value(f"zext i1 {last} to i64")
        numbers = (self.length, row, self.number, final, given["a_step"], given["b_step"])
        for kind, height in enumerate(self.kernel.heights):
            with f.loop(0, f.word(rows, 2 + kind), [("ptr", a), ("i64", out)]) as tile:
                a, out = tile.values
                stored = (v.at(given[name], out) for name in self.kernel.stored)
                call = [("ptr", at) for at in (a, b, *stored, *scalars)]
                f.call(f"tile{kind}{number}", [*call, *(("i64", value) for value in numbers)])
                next_a = v.at(a, height * self.kernel.row_step)
                tile.carry([next_a, f.add(out, f.mul(row, height))])
            a, out = tile.results

    def _placed(self, array: str, side: int) -> str:
        """Where the band begins in an array that is read where it lies: it is one segment."""
        return self.v.at(array, self.v.function.word(self.segments, side))


# The copies ---------------------------------------------------------------------------------------


def _vectors(v: Vectors, source: Source, channels: int) -> None:
    """Lay ``channels`` of a segment into a panel as wide as their vectors."""
    f, width = v.function, -(-channels // v.lanes) * v.lanes
    if not source.channels_first:
        _copy_channels(v, channels, width)
        return
    for start in range(0, channels, v.lanes):
        here = min(v.lanes, channels - start)
        corner, panel = v.at("%array", f.mul("%step", start)), v.at("%panel", start)
        with f.loop(0, "%count", step=v.lanes) as at:
            left = f.sub("%count", at.index)
            first = v.at(corner, f.mul(at.index, source.apart))
            target = v.at(panel, f.mul(at.index, width))
            _transpose(
                v,
                (left, left, ""),
                (first, here, partial(_read, v, source.apart)),
                (target, width),
            )


def _broadcasts(v: Vectors, source: Source, pitch: int) -> None:
    """Lay any number of channels of a segment into rows.

    What stands behind the last position of a segment is overwritten by the next one, or unused.
    """
    f = v.function
    if source.channels_first:
        _copy_positions(v, source.apart, pitch)
        return
    with f.loop(0, "%channels", step=v.lanes) as row:
        left = f.sub("%channels", row.index)
        column, panel = v.at("%array", row.index), v.at("%panel", f.mul(row.index, pitch))
        with f.loop(0, "%count", [("ptr", column)], step=v.lanes) as at:
            positions, target = f.sub("%count", at.index), v.at(panel, at.index)
            _transpose(
                v,
                (f.minimum(left, positions), left, positions),
                (at.values[0], v.lanes, v.load),
                (target, pitch),
            )
            at.carry([v.at(at.values[0], f.mul("%step", v.lanes))])


def _transpose(
    v: Vectors,
    counts: tuple[str, str, str],
    source: tuple[str, int, Callable[[str, str | None], str]],
    target: tuple[str, int],
) -> None:
    """Transpose a square. ``counts``: the smaller one of, columns and rows, "" for all of them.
    ``source``: where its rows begin, how many are read, and how. ``target``: where it goes, and
    from one row to the next.
    """

    def read(mask: RowMask) -> list[str]:
        rows, at = [], source[0]
        for i in range(source[1]):
            rows.append(source[2](at, mask(i)))
            at = v.at(at, "%step")
        return rows

    def store(i: int, row: str, mask: str | None) -> None:
        v.store(row, v.at(target[0], i * target[1]))

    least, columns, rows = counts
    transpose_square(v, least, columns, read, store, rows=rows)


def _read(v: Vectors, apart: int, at: str, mask: str | None) -> str:
    """Positions of a channel."""
    return v.load(at, mask) if apart == 1 else v.gather(at, apart, mask)


def _copy_channels(v: Vectors, channels: int, width: int) -> None:
    """Contiguous on both sides: in pieces of a power of two, as masks are slow where the machine
    has none.
    """
    with v.walk(0, "%count", [("%array", "%step"), ("%panel", width)]) as position:
        array, panel = position.values
        if channels < width:
            v.store(v.zero, v.at(panel, width - v.lanes))
        start, size = 0, v.lanes
        while start < channels:
            while size > channels - start:
                size //= 2
            got = v.load_short(v.at(array, start), size)
            v.store_short(got, v.at(panel, start), size)
            start += size


def _copy_positions(v: Vectors, apart: int, pitch: int) -> None:
    """Contiguous in the panel, and ``apart`` in the array."""
    f = v.function
    whole = v.whole("%count")
    with v.walk(0, "%channels", [("%array", "%step"), ("%panel", pitch)]) as row:
        array, panel = row.values

        def read(at: str, mask: str | None) -> str:
            return _read(v, apart, v.at(array, f.mul(at, apart)), mask)

        with f.loop(0, whole, step=v.lanes) as at:
            v.store(read(at.index, None), v.at(panel, at.index))
        with f.loop(whole, "%count", step=v.lanes) as at:
            v.store(read(at.index, v.below(f.sub("%count", whole))), v.at(panel, at.index))
