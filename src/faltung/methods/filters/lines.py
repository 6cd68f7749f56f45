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
from dataclasses import dataclass

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.methods.base.kernel import Arguments
from faltung.methods.filters.elements import Elements
from faltung.methods.filters.patch import Load, PatchKernel
from faltung.methods.filters.window import Track, Window, windows

# Taps up to which the code has all of them; more are a loop.
UNROLLED = 16
# Reads the vectors of row ``number`` of what a sum reads.
Read = Callable[[Index], list[str]]
# Broadcasts a weight.
Weight = Callable[[Index], str]
Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Taps:
    """The weights of a correlation: how many, and whether they are symmetric ("even"),
    antisymmetric ("odd"), which makes sums of pairs, or neither ("").
    """

    size: int
    parity: str = ""


@dataclass(frozen=True, kw_only=True)
class LinesKernel(PatchKernel):
    """first: along an axis before the last. second: along the last. constant: whether the borders
    of each are constants. rows, vectors: of a tile along the first axis; ``across``: vectors of one
    along the last. band, block: the most rows and columns of an item. turned: the second axis reads
    a transposed strip, so that no load crosses a cache line and each serves several sums.
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

    @property
    def _halo(self) -> int:
        """Columns that the second axis reads beyond a block."""
        return self.second.size - 1 if self.second else 0

    def pitch(self, lanes: int) -> int:
        """Of the strip; no power of two, and what the last tile reads beyond."""
        most = max(self.vectors, self.across) * lanes
        return -(-(self.block + self._halo) // most) * most + most + lanes

    def rooms(self, lanes: int) -> tuple[int, ...]:
        """The strip, the patch, a row of sums, the transposed strip and a tail."""
        pitch = self.pitch(lanes)
        taps = self.first.size if self.first else 1
        patch = (self.band + self.rows + taps) * self.vectors * lanes if self.first else 0
        sums = pitch if isinstance(self.second, Window) else 0
        return self.band * pitch, patch, sums, pitch * lanes * self.turned, 2 * lanes

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        strip, patch, sums, turned, tail = self.room(v, given)
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
            windows(self.first, track, place.rows, lambda row: v.at(strip, f.mul(row, pitch)), emit)
            return
        make = self._paired if self.first.parity else self._plain
        weight = self._weights(v, given["first_weights"])
        with f.loop(0, place.rows, step=self.rows) as row:
            patch = v.at(place.patch, f.mul(row.index, wide))

            def read(number: Index) -> list[str]:
                address = v.at(patch, f.mul(number, wide))
                return [v.load(v.at(address, q * v.lanes)) for q in range(self.vectors)]

            made = make(v, self.first, self.rows, self.vectors, read, weight)
            for q, sums in enumerate(made):
                emit(f.add(row.index, q), sums)

    # Along the last axis --------------------------------------------------------------------------

    def _second(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The output rows from the strip."""
        f, to = v.function, Elements(v, self.target)
        with f.loop(0, place.rows) as row:
            strip = v.at(place.strip, f.mul(row.index, self.pitch(v.lanes)))
            line = to.at(place.out, f.mul(f.add(place.row, row.index), given["out_row"]))
            line = to.at(line, place.column)
            if isinstance(self.second, Window):
                self._row_of_windows(v, self.second, place, strip, line)
            else:
                self._row_of_sums(v, given, place, strip, line)

    def _row_of_windows(
        self, v: Vectors, window: Window, place: "Place", strip: str, line: str
    ) -> None:
        def emit(at: Index, made: list[str]) -> None:
            self.store_tile(v, made, line, at, place.columns, place.tail)

        track = Track(v, strip, 1, self.across * v.lanes, self.across)
        windows(window, track, place.columns, lambda at: v.at(place.sums, at), emit)

    def _row_of_sums(
        self, v: Vectors, given: Arguments, place: "Place", strip: str, line: str
    ) -> None:
        f, lanes, to = v.function, v.lanes, Elements(v, self.target)
        many = self.across * lanes
        stop, last = f.multiple(place.columns, many), f.multiple(place.columns, lanes)
        for vectors, begin, end in ((self.across, "0", stop), (1, stop, last)):
            with f.loop(begin, end, step=vectors * lanes) as at:
                made = self._along(v, given, v.at(strip, at.index), vectors)
                for p, one in enumerate(made):
                    to.store(one, to.at(line, f.add(at.index, p * lanes)))
        with f.when(f.value(f"icmp slt i64 {last}, {place.columns}")):
            (one,) = self._along(v, given, v.at(strip, last), 1)
            left = f.sub(place.columns, last)
            self.store_some(v, one, place.tail, to.at(line, last), left)

    def _turned(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The same, as many rows at a time as a vector has lanes: a lane of each."""
        f, lanes, second = v.function, v.lanes, self.second
        assert isinstance(second, Taps)
        to, pitch = Elements(v, self.target), self.pitch(v.lanes)
        make = self._paired if second.parity else self._plain
        weight = self._weights(v, given["second_weights"])
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

                sums = make(v, second, lanes, 1, read, weight)
                made = v.transpose([one for (one,) in sums])
                left = f.sub(place.columns, at.index)
                for inside in f.branches(f.value(f"icmp sge i64 {left}, {lanes}")):
                    for q, one in enumerate(made):
                        with f.when(f.value(f"icmp sgt i64 {rows}, {q}")):
                            there = to.at(line, f.add(at.index, f.mul(given["out_row"], q)))
                            if inside:
                                to.store(one, there)
                            else:
                                self.store_some(v, one, place.tail, there, left)

    def _along(self, v: Vectors, given: Arguments, strip: str, vectors: int) -> list[str]:
        """Vectors of sums along the last axis."""

        def read(number: Index) -> list[str]:
            address = v.at(strip, number)
            return [v.load(v.at(address, q * v.lanes)) for q in range(vectors)]

        if not isinstance(self.second, Taps):
            return read(0)
        make = self._paired if self.second.parity else self._plain
        weight = self._weights(v, given["second_weights"])
        return make(v, self.second, 1, vectors, read, weight)[0]

    # Sums -----------------------------------------------------------------------------------------

    def _weights(self, v: Vectors, weights: str) -> Weight:
        return lambda number: v.broadcast(v.at(weights, number))

    def _plain(
        self, v: Vectors, taps: Taps, rows: int, vectors: int, read: Read, weight: Weight
    ) -> Rows:
        f, size = v.function, taps.size
        contracted = v.dtype == "float32"
        acc = [[None] * vectors for _ in range(rows)]

        def add(acc, q, t, found):
            w = weight(t)
            for p in range(vectors):
                acc[q][p] = self._product(v, found[p], w, acc[q][p])

        if not contracted:  # SciPy begins with the last tap
            last = [read(f.add(q, size - 1)) for q in range(rows)]
            for q in range(rows):
                add(acc, q, size - 1, last[q])
            size -= 1
        if size <= UNROLLED or size < rows:
            for s in range(size + rows - 1):
                found = read(s)
                for q in range(rows):
                    if 0 <= s - q < size:
                        add(acc, q, s - q, found)
            return acc
        for s in range(rows - 1):
            found = read(s)
            for q in range(s + 1):
                add(acc, q, s - q, found)
        # The rows from which all sums take: acc of the last row may be empty yet.
        found = read(rows - 1)
        for q in range(rows):
            add(acc, q, rows - 1 - q, found)
        flat = [one for row in acc for one in row]
        with f.loop(rows, size, v.carried(flat)) as s:
            now = [s.values[q * vectors : (q + 1) * vectors] for q in range(rows)]
            found = read(s.index)
            for q in range(rows):
                add(now, q, f.sub(s.index, q), found)
            s.carry([one for row in now for one in row])
        acc = [s.results[q * vectors : (q + 1) * vectors] for q in range(rows)]
        for s in range(size, size + rows - 1):
            found = read(s)
            for q in range(s - size + 1, rows):
                add(acc, q, s - q, found)
        return acc

    def _product(self, v, x, w, acc):
        if acc is None:
            return v.mul(x, w)
        if v.dtype == "float32":
            return v.multiply_add(x, w, acc)
        return v.add(acc, v.mul(x, w))

    def _paired(
        self, v: Vectors, taps: Taps, rows: int, vectors: int, read: Read, weight: Weight
    ) -> Rows:
        """From the centre, then pairs from outside in, each pair added before it is multiplied."""
        f, half = v.function, taps.size // 2
        join = v.add if taps.parity == "even" else v.sub
        w = weight(half)
        acc = []
        for q in range(rows):
            found = read(half + q)
            acc.append([v.mul(x, w) for x in found])

        def pair(acc, left, right, t):
            w = weight(t)
            return [
                [
                    self._product(v, join(left[q][p], right[q][p]), w, acc[q][p])
                    for p in range(vectors)
                ]
                for q in range(rows)
            ]

        if half <= UNROLLED // 2:
            left = [read(q) for q in range(rows)]
            right = [read(2 * half + q) for q in range(rows)]
            for t in range(half):
                acc = pair(acc, left, right, t)
                if t + 1 < half:
                    left = [*left[1:], read(t + rows)]
                    right = [read(2 * half - t - 1), *right[:-1]]
            return acc
        left = [read(q) for q in range(rows - 1)]
        right = [read(2 * half + 1 + q) for q in range(rows - 1)]
        n = vectors
        flat = [one for group in (acc, left, right) for row in group for one in row]
        with f.loop(0, half, v.carried(flat)) as t:
            groups = [t.values[i * n : (i + 1) * n] for i in range(len(t.values) // n)]
            acc, left, right = (
                groups[:rows],
                groups[rows : 2 * rows - 1],
                groups[2 * rows - 1 :],
            )
            left = [*left, read(f.add(t.index, rows - 1))]
            right = [read(f.sub(2 * half, t.index)), *right]
            acc = pair(acc, left, right, t.index)
            flat = [one for g in (acc, left[1:], right[:-1]) for row in g for one in row]
            t.carry(flat)
        return [t.results[i * n : (i + 1) * n] for i in range(rows)]


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
    column: str
    columns: str
    row: str
    rows: str
