"""Separable filters: correlations along one axis, and then along the last, in one go.

What it is.  An item makes a band of rows of a block of columns. For a few columns at a time, rows
  of the input are copied, through a table, to a patch of the first-level cache, and the products
  along the first axis are added, column by column, into a strip: the rows of the band with the
  columns beyond its block that the second axis reads. Then the products along the last axis are
  added from the strip. Neither the array between the two nor its borders are ever in memory.
When it applies.  Correlations of arrays whose last axis is contiguous. Either of the two may be
  missing. Sums are float32 for float32 arrays, else float64 without contraction, in the order of
  SciPy's: from the centre, then pairs from outside in, where the weights are symmetric.
What it costs.  A pass through memory, and a load and a product (or a sum) for each tap and vector.
  Columns of the border are gathered.
"""

from collections.abc import Callable

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.filters.elements import Elements
from faltung.methods.filters.patch import Load, PatchKernel
from faltung.methods.filters.sums import Read, Rows, Sums, Taps, near_whole
from faltung.methods.filters.window import Track, Window, means

# Taps from which sums that become whole numbers are made fast, and again where it may matter.
QUICK = 21
# Takes the vectors of the rows of a tile.
Emit = Callable[[Rows], None]


@dataclass(frozen=True, kw_only=True)
class LinesKernel(PatchKernel):
    """first: along an axis before the last. second: along the last. constant: whether the borders
    of each are constants. rows, vectors: of a tile along the first axis; ``across``: vectors of one
    along the last. band, block: the most rows and columns of an item. turned: the second axis reads
    a transposed strip, so that no load crosses a cache line and each serves several sums. quick:
    sums become whole numbers, and ``values`` has the bounds of their errors behind the constants.
    """

    name = "lines"
    pointers = (*PatchKernel.pointers, "first_weights", "second_weights")
    numbers = (*PatchKernel.numbers, "middle", "x_outer", "x_middle", "out_outer", "out_middle")

    first: Taps | Window | None
    second: Taps | Window | None
    constant: tuple[bool, bool]
    rows: int
    across: int
    band: int
    block: int
    turned: bool
    quick: bool

    @property
    def _halo(self) -> int:
        """Columns that the second axis reads beyond a block."""
        return self.second.size - 1 if self.second else 0

    def pitch(self, lanes: int) -> int:
        """Of the strip; no power of two, and what the last tile reads beyond."""
        most = max(self.vectors, self.across) * lanes
        return -(-(self.block + self._halo) // most) * most + most + lanes

    def rooms(self, lanes: int) -> tuple[int, ...]:
        """The strip, the patch, a row of sums, the transposed strip, a tail and a flag."""
        # Tiles of rows, and squares that are transposed, are whole ones.
        assert self.band % (lanes if self.turned else 1) == self.band % self.rows == 0
        pitch = self.pitch(lanes)
        taps = self.first.size if self.first else 1
        patch = (self.band + self.rows + taps) * self.vectors * lanes if self.first else 0
        sums = pitch if isinstance(self.second, Window) else 0
        return self.band * pitch, patch, sums, pitch * lanes * self.turned, 2 * lanes, 2 * lanes

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        strip, patch, sums, turned, tail, near = self.room(v, given)
        f.emit(f"store i64 0, ptr {near}, align 8")
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            plane, band = f.divmod(rest, given["bands"])
            outer, middle = f.divmod(plane, given["middle"])
            column, row = f.mul(block, self.block), f.mul(band, self.band)
            place = Place(
                x=self._plane(v, given, "x", self.source, outer, middle),
                out=self._plane(v, given, "out", self.target, outer, middle),
                strip=strip,
                patch=patch,
                sums=sums,
                turned=turned,
                tail=tail,
                near=near,
                column=column,
                columns=f.minimum(f.sub(given["width"], column), self.block),
                row=row,
                rows=f.minimum(f.sub(given["height"], row), self.band),
            )
            self._first(v, given, place)
            if self.turned:
                self._turned(v, given, place)
            else:
                self._second(v, given, place)

    def _plane(
        self, v: Vectors, given: Arguments, name: str, kind: str, outer: str, middle: str
    ) -> str:
        return Elements(v, kind).at(given[name], given.offset(name, outer=outer, middle=middle))

    # Along the first axis -------------------------------------------------------------------------

    def _first(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The strip. Its position i is column ``column + i - before``."""
        f = v.function
        start = f.sub(place.column, given["before"])
        stop = f.add(place.columns, self._halo)
        for inside, begin, end in self.spans(v, given, start, stop):
            with f.loop(begin, end, step=self.vectors * v.lanes) as at:
                load = self.loads(v, given, place.column, at.index, start, inside)
                self._tile(v, given, place, at.index, load)
        if self.constant[1]:
            self.outside(v, given, place.rows, start, stop, place.strip, 1)

    def _tile(
        self,
        v: Vectors,
        given: Arguments,
        place: "Place",
        at: str,
        load: Load,
    ) -> None:
        """Some columns of the strip, all rows."""
        f, pitch = v.function, self.pitch(v.lanes)
        strip = v.at(place.strip, at)
        table = f.at(given["rows"], place.row, "i64")
        value = v.broadcast(given["values"]) if self.constant[0] else ""
        if self.first is None:
            self.copy(v, place.x, table, load, place.rows, strip, pitch, value)
            return
        wide = self.vectors * v.lanes
        count = f.add(place.rows, self.first.size - 1)
        self.copy(v, place.x, table, load, count, place.patch, wide, value)
        to = Elements(v, self.target)

        def emit(row: Index, sums: list[str]) -> None:
            """A row of the tile. It is rounded here where another axis reads it."""
            target = v.at(strip, f.mul(row, pitch))
            for p, one in enumerate(sums):
                v.store(to.rounded(one) if self.second else one, v.at(target, p * v.lanes))

        if isinstance(self.first, Window):
            track = Track(v, place.patch, wide, 1, self.vectors)
            means(self.first, track, place.rows, lambda row: v.at(strip, f.mul(row, pitch)), emit)
            return
        with f.loop(0, place.rows, step=self.rows) as row:
            patch = v.at(place.patch, f.mul(row.index, wide))

            def read(number: Index) -> list[str]:
                address = v.at(patch, f.mul(number, wide))
                return [v.load(v.at(address, q * v.lanes)) for q in range(self.vectors)]

            def each(made: Rows, row: str = row.index) -> None:
                for q, one in enumerate(made):
                    emit(f.add(row, q), one)

            self._sums(v, given, place, "first", self.rows, self.vectors, read, each)

    # Along the last axis --------------------------------------------------------------------------

    def _second(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The output rows from the strip."""
        f, to = v.function, Elements(v, self.target)
        with f.loop(0, place.rows) as row:
            strip = v.at(place.strip, f.mul(row.index, self.pitch(v.lanes)))
            line = to.at(place.out, f.mul(f.add(place.row, row.index), given["out_row"]))
            line = to.at(line, place.column)
            if isinstance(self.second, Window):
                self._row_of_means(v, self.second, place, strip, line)
            else:
                self._row_of_sums(v, given, place, strip, line)

    def _row_of_means(
        self, v: Vectors, window: Window, place: "Place", strip: str, line: str
    ) -> None:
        def emit(at: Index, made: list[str]) -> None:
            self.store_tile(v, made, line, at, place.columns, place.tail)

        track = Track(v, strip, 1, self.across * v.lanes, self.across)
        means(window, track, place.columns, lambda at: v.at(place.sums, at), emit)

    def _row_of_sums(
        self, v: Vectors, given: Arguments, place: "Place", strip: str, line: str
    ) -> None:
        f, lanes, to = v.function, v.lanes, Elements(v, self.target)
        many = self.across * lanes
        stop, last = f.multiple(place.columns, many), f.multiple(place.columns, lanes)
        for vectors, begin, end in ((self.across, "0", stop), (1, stop, last)):
            with f.loop(begin, end, step=vectors * lanes) as at:

                def store(made: Rows, at: str = at.index) -> None:
                    for p, one in enumerate(made[0]):
                        to.store(one, to.at(line, f.add(at, p * lanes)))

                self._along(v, given, place, v.at(strip, at.index), vectors, store)
        with f.when(f.value(f"icmp slt i64 {last}, {place.columns}")):
            left = f.sub(place.columns, last)

            def some(made: Rows) -> None:
                self.store_some(v, made[0][0], place.tail, to.at(line, last), left)

            self._along(v, given, place, v.at(strip, last), 1, some)

    def _turned(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The same, as many rows at a time as a vector has lanes: a lane of each."""
        f, lanes = v.function, v.lanes
        to, pitch = Elements(v, self.target), self.pitch(v.lanes)
        every = range(lanes)
        with f.loop(0, place.rows, step=lanes) as row:
            strip = v.at(place.strip, f.mul(row.index, pitch))
            with f.loop(0, f.add(place.columns, self._halo), step=lanes) as at:
                square = [v.load(v.at(strip, f.add(at.index, q * pitch))) for q in every]
                target = v.at(place.turned, f.mul(at.index, lanes))
                for q, one in enumerate(v.transpose(square)):
                    v.store(one, v.at(target, q * lanes), align=v.bytes * lanes)
            line = to.at(place.out, f.mul(f.add(place.row, row.index), given["out_row"]))
            line = to.at(line, place.column)
            rows = f.sub(place.rows, row.index)
            with f.loop(0, place.columns, step=lanes) as at:
                source = v.at(place.turned, f.mul(at.index, lanes))

                def read(number: Index, source: str = source) -> list[str]:
                    address = v.at(source, f.mul(number, lanes))
                    return [v.load(address, align=v.bytes * lanes)]

                def emit(all_sums: Rows, at: str = at.index) -> None:
                    made = v.transpose([one for (one,) in all_sums])
                    left = f.sub(place.columns, at)
                    for inside in f.branches(f.value(f"icmp sge i64 {left}, {lanes}")):
                        for q, one in enumerate(made):
                            with f.when(f.value(f"icmp sgt i64 {rows}, {q}")):
                                there = to.at(line, f.add(at, f.mul(given["out_row"], q)))
                                if inside:
                                    to.store(one, there)
                                else:
                                    self.store_some(v, one, place.tail, there, left)

                self._sums(v, given, place, "second", lanes, 1, read, emit)

    def _along(
        self, v: Vectors, given: Arguments, place: "Place", strip: str, vectors: int, emit: Emit
    ) -> None:
        """Vectors of sums along the last axis."""

        def read(number: Index) -> list[str]:
            address = v.at(strip, number)
            return [v.load(v.at(address, q * v.lanes)) for q in range(vectors)]

        if self.second is None:
            emit([read(0)])
        else:
            self._sums(v, given, place, "second", 1, vectors, read, emit)

    # Sums -----------------------------------------------------------------------------------------

    def _quick(self, v: Vectors, taps: Taps) -> bool:
        return self.quick and v.machine.fma and taps.size >= QUICK

    def _sums(
        self,
        v: Vectors,
        given: Arguments,
        place: "Place",
        which: str,
        rows: int,
        vectors: int,
        read: Read,
        emit: Emit,
    ) -> None:
        """``emit`` sums along the "first" or "second" axis.

        Quick ones are exact where no whole number is near one. Where one is, the next ones are
        made exactly at once, for as long as one is near: much of a picture may be of one colour.
        """
        f = v.function
        taps = self.first if which == "first" else self.second
        assert isinstance(taps, Taps)

        def make(contracted: bool) -> Rows:
            weights = given[which + "_weights"]

            def weight(number: Index) -> str:
                return v.broadcast(v.at(weights, number))

            return Sums(v, taps, vectors, read, weight, contracted).make(rows)

        if not self._quick(v, taps):
            emit(make(v.dtype == "float32"))
            return
        bound = v.broadcast(v.at(given["values"], 2 if which == "first" else 3))
        for contracted in (True, False):
            flag = f.value(f"load i64, ptr {place.near}, align 8")
            with f.when(f.value(f"icmp {'eq' if contracted else 'ne'} i64 {flag}, 0")):
                made = make(contracted)
                near = near_whole(v, [one for row in made for one in row], bound)
                flag = f.value(f"zext i1 {near} to i64")
                f.emit(f"store i64 {flag}, ptr {place.near}, align 8")
                if contracted:
                    with f.when(f.value(f"xor i1 {near}, true")):
                        emit(made)
                else:
                    emit(made)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work of an item is: its arrays, its columns and its rows."""

    x: str
    out: str
    strip: str
    patch: str
    sums: str
    turned: str
    tail: str
    near: str
    column: str
    columns: str
    row: str
    rows: str
