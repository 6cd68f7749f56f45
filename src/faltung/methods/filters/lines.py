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
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.filters.elements import Elements

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
class LinesKernel(Kernel):
    """``source``, ``target``: how x and out are stored. first: along an axis before the last.
    second: along the last. constant: whether the borders of each are constants. rows, vectors: of a
    tile along the first axis; ``across``: vectors of one along the last. band, block: the most rows
    and columns of an item.
    """

    name = "lines"
    pointers = ("x", "out", "rows", "columns", "first_weights", "second_weights", "values")
    numbers = (
        *("middle", "height", "width", "bands", "blocks"),
        *("x_outer", "x_middle", "out_outer", "out_middle", "out_row", "before"),
    )

    dtype: str
    source: str
    target: str
    first: Taps | None
    second: Taps | None
    constant: tuple[bool, bool]
    rows: int
    vectors: int
    across: int
    band: int
    block: int

    @property
    def _halo(self) -> int:
        """Columns that the second axis reads beyond a block."""
        return self.second.size - 1 if self.second else 0

    def _pitch(self, v: Vectors) -> int:
        """Elements of a row of the strip; no power of two, and what the last tile reads beyond."""
        most = max(self.vectors, self.across) * v.lanes
        return -(-(self.block + self._halo) // most) * most + most + v.lanes

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        taps = self.first.size if self.first else 1
        strip = f.value(f"alloca [{self.band * self._pitch(v)} x {v.element}], align 64")
        patch = (self.band + self.rows + taps) * self.vectors * v.lanes
        patch = f.value(f"alloca [{patch} x {v.element}], align 64")
        tail = f.value(f"alloca [{v.lanes} x i64], align 64")
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
                tail=tail,
                column=column,
                columns=f.minimum(f.sub(given["width"], column), self.block),
                row=row,
                rows=f.minimum(f.sub(given["height"], row), self.band),
            )
            self._first(v, given, place)
            self._second(v, given, place)

    def _plane(
        self, v: Vectors, given: Arguments, name: str, kind: str, outer: str, middle: str
    ) -> str:
        return Elements(v, kind).at(given[name], given.offset(name, outer=outer, middle=middle))

    # Along the first axis -------------------------------------------------------------------------

    def _first(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The strip. Its position i is column ``column + i - before``."""
        f, lanes = v.function, v.lanes
        wide = self.vectors * lanes
        start = f.sub(place.column, given["before"])
        stop = f.add(place.columns, self._halo)
        low = f.maximum(f.sub("0", start), "0")
        low = f.minimum(f.multiple(f.add(low, wide - 1), wide), stop)
        high = f.maximum(f.minimum(f.sub(given["width"], start), stop), low)
        high = f.add(low, f.multiple(f.sub(high, low), wide))
        for inside, begin, end in ((False, "0", low), (True, low, high), (False, high, stop)):
            with f.loop(begin, end, step=wide) as at:
                load = self._loads(v, given, place, at.index, start, inside)
                self._tile(v, given, place, at.index, load)
        if self.constant[1]:
            self._outside(v, given, place, start, stop)

    def _loads(
        self, v: Vectors, given: Arguments, place: "Place", at: str, start: str, inside: bool
    ) -> Callable[[str], list[str]]:
        """What loads the columns of a tile from a row that begins at an address."""
        f, lanes = v.function, v.lanes
        elements = Elements(v, self.source)
        if inside:
            column = f.add(start, at)
            return lambda row: [
                elements.load(elements.at(row, f.add(column, q * lanes)))
                for q in range(self.vectors)
            ]
        offsets, masks = [], []
        for q in range(self.vectors):
            entry = f.add(f.add(place.column, at), q * lanes)
            table = f.at(given["columns"], entry, "i32")
            offsets.append(f.value(f"load <{lanes} x i32>, ptr {table}, align 4"))
            masks.append(f.value(f"icmp sge <{lanes} x i32> {offsets[-1]}, zeroinitializer"))
        return lambda row: [
            elements.gather(row, where, mask) for where, mask in zip(offsets, masks, strict=True)
        ]

    def _tile(
        self,
        v: Vectors,
        given: Arguments,
        place: "Place",
        at: str,
        load: Callable[[str], list[str]],
    ) -> None:
        """Some columns of the strip, all rows."""
        f, pitch = v.function, self._pitch(v)
        strip = v.at(place.strip, at)
        if self.first is None:
            self._copy(v, given, place, load, place.rows, strip, pitch)
            return
        wide = self.vectors * v.lanes
        count = f.add(place.rows, self.first.size - 1)
        self._copy(v, given, place, load, count, place.patch, wide)
        to = Elements(v, self.target)
        make = self._paired if self.first.parity else self._plain
        weight = self._weights(v, given["first_weights"])
        with f.loop(0, place.rows, step=self.rows) as row:
            patch = v.at(place.patch, f.mul(row.index, wide))

            def read(number: Index) -> list[str]:
                address = v.at(patch, f.mul(number, wide))
                return [v.load(v.at(address, q * v.lanes)) for q in range(self.vectors)]

            made = make(v, self.first, self.rows, self.vectors, read, weight)
            for q, sums in enumerate(made):
                target = v.at(strip, f.mul(f.add(row.index, q), pitch))
                for p, one in enumerate(sums):
                    made_one = to.rounded(one) if self.second else one  # else as it is stored
                    v.store(made_one, v.at(target, p * v.lanes))

    def _copy(
        self,
        v: Vectors,
        given: Arguments,
        place: "Place",
        load: Callable[[str], list[str]],
        count: str,
        target: str,
        pitch: int,
    ) -> None:
        """The columns of ``count`` input rows, as the table of rows says."""
        f = v.function
        elements = Elements(v, self.source)
        table = f.at(given["rows"], place.row, "i64")
        value = v.broadcast(given["values"]) if self.constant[0] else ""
        with f.loop(0, count) as row:
            offset = f.word(table, row.index)
            to = v.at(target, f.mul(row.index, pitch))
            if self.constant[0]:
                outside = f.value(f"icmp slt i64 {offset}, 0")
                found = load(elements.at(place.x, f.maximum(offset, "0")))
                found = [
                    f.value(f"select i1 {outside}, {v.type} {value}, {v.type} {one}")
                    for one in found
                ]
            else:
                found = load(elements.at(place.x, offset))
            for q, one in enumerate(found):
                v.store(one, v.at(to, q * v.lanes))

    def _outside(self, v: Vectors, given: Arguments, place: "Place", start: str, stop: str) -> None:
        """The constant where the strip lies beyond the ends of the last axis."""
        f = v.function
        value = f.value(f"load {v.element}, ptr {v.at(given['values'], 1)}, align {v.bytes}")
        low = f.minimum(f.maximum(f.sub("0", start), "0"), stop)
        high = f.maximum(f.minimum(f.sub(given["width"], start), stop), "0")
        with f.loop(0, place.rows) as row:
            strip = v.at(place.strip, f.mul(row.index, self._pitch(v)))
            for begin, end in (("0", low), (high, stop)):
                with f.loop(begin, end) as at:
                    v.store_one(value, v.at(strip, at.index))

    # Along the last axis --------------------------------------------------------------------------

    def _second(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The output rows from the strip."""
        f, lanes = v.function, v.lanes
        to = Elements(v, self.target)
        many = self.across * lanes
        stop, last = f.multiple(place.columns, many), f.multiple(place.columns, lanes)
        with f.loop(0, place.rows) as row:
            strip = v.at(place.strip, f.mul(row.index, self._pitch(v)))
            line = to.at(place.out, f.mul(f.add(place.row, row.index), given["out_row"]))
            line = to.at(line, place.column)
            for vectors, begin, end in ((self.across, "0", stop), (1, stop, last)):
                with f.loop(begin, end, step=vectors * lanes) as at:
                    made = self._along(v, given, v.at(strip, at.index), vectors)
                    for p, one in enumerate(made):
                        to.store(one, to.at(line, f.add(at.index, p * lanes)))
            with f.when(f.value(f"icmp slt i64 {last}, {place.columns}")):
                (one,) = self._along(v, given, v.at(strip, last), 1)
                to.store(one, place.tail)
                with f.loop("0", f.sub(place.columns, last)) as at:
                    there = to.at(line, f.add(last, at.index))
                    to.copy_one(to.at(place.tail, at.index), there)

    def _along(self, v: Vectors, given: Arguments, strip: str, vectors: int) -> list[str]:
        """Vectors of sums along the last axis."""
        f = v.function

        def read(number: Index) -> list[str]:
            address = v.at(strip, number)
            return [v.load(v.at(address, q * v.lanes)) for q in range(vectors)]

        if self.second is None:
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
    tail: str
    column: str
    columns: str
    row: str
    rows: str
