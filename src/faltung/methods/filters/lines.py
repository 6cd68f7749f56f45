"""Separable filters: correlations along one axis, and then along the last, in one go.

What it is.  An item makes some rows of a block of columns. For a few rows at a time it adds the
  products along the first axis, reading the rows of the input through a table, into a strip of
  padded rows that stays in the first-level cache; then it adds the products along the last axis,
  reading the strip. Neither the array between the two nor its borders are ever in memory.
When it applies.  Correlations of arrays whose last axis is contiguous. Either of the two may be
  missing. Sums are float32 for float32 arrays, else float64 without contraction, in the order of
  SciPy's: from the centre, then pairs from outside in, where the weights are symmetric.
What it costs.  A pass through memory, and a load and a product (or a sum) for each tap and vector.
  Columns of the border are gathered.
"""

from dataclasses import dataclass

from faltung.codegen.vectors import Vectors
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.filters.elements import Elements

# Weights are symmetric ("even"), antisymmetric ("odd"), or neither.
Parity = str
# Taps up to which the code has all of them; more are a loop.
UNROLLED = 16


@dataclass(frozen=True, slots=True)
class Taps:
    """The weights of a correlation: how many, and whether sums pair them."""

    size: int
    parity: Parity = ""


@dataclass(frozen=True, kw_only=True)
class LinesKernel(Kernel):
    """``source``, ``target``: how x and out are stored. first: along an axis before the last.
    second: along the last. constant: whether the borders of each are constants. rows, vectors: made
    at once along the first axis; ``across``: vectors at once along the last. block: columns.
    """

    name = "lines"
    pointers = ("x", "out", "rows", "columns", "first_weights", "second_weights", "values")
    numbers = (
        *("outer", "middle", "height", "width", "bands", "band", "blocks"),
        *("x_outer", "x_middle", "out_outer", "out_middle", "out_row", "before", "after"),
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
    block: int

    @property
    def _halo(self) -> int:
        return self.second.size - 1 if self.second else 0

    def _pitch(self, v: Vectors) -> int:
        """Elements of a row of the strip: also what the last vectors reach beyond it."""
        beyond = max(self.vectors, self.across) * v.lanes
        return -(-(self.block + self._halo) // v.lanes) * v.lanes + 2 * beyond

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        room = self.rows * self._pitch(v)
        strip = f.value(f"alloca [{room} x {v.element}], align 64")
        tail = f.value(f"alloca [{8 * v.lanes} x i64], align 64")
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            plane, band = f.divmod(rest, given["bands"])
            outer, middle = f.divmod(plane, given["middle"])
            x = self._plane(v, given, "x", self.source, outer, middle)
            out = self._plane(v, given, "out", self.target, outer, middle)
            column = f.mul(block, self.block)
            count = f.minimum(f.sub(given["width"], column), self.block)
            begin = f.mul(band, given["band"])
            end = f.minimum(f.add(begin, given["band"]), given["height"])
            with f.loop(begin, end, step=self.rows) as row:
                place = Place(x, out, strip, tail, column, count, row.index, end)
                self._first(v, given, place)
                if self.second:
                    self._second(v, given, place)

    def _plane(
        self, v: Vectors, given: Arguments, name: str, kind: str, outer: str, middle: str
    ) -> str:
        f = v.function
        offset = f.add(f.mul(outer, given[f"{name}_outer"]), f.mul(middle, given[f"{name}_middle"]))
        return Elements(v, kind).at(given[name], offset)

    # Along the first axis -------------------------------------------------------------------------

    def _first(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """Some rows of the strip, or of the output if there is no second axis."""
        f, lanes = v.function, v.lanes
        if not self.second:
            self._columns(v, given, place, "0", place.count, place.column, True)
            return
        # Strip position i is column ``column + i - before``.
        start = f.sub(place.column, given["before"])
        stop = f.add(place.count, self._halo)
        inside = f.maximum(f.sub("0", start), "0")
        inside = f.multiple(f.add(inside, lanes - 1), lanes)
        inside = f.minimum(f.maximum(inside, "0"), stop)
        ends = f.sub(given["width"], start)  # the first position behind the last column
        ends = f.maximum(f.minimum(ends, stop), inside)
        whole = f.add(inside, f.multiple(f.sub(ends, inside), lanes))
        self._gathered(v, given, place, "0", inside, start)
        self._columns(v, given, place, inside, whole, start, False)
        self._gathered(v, given, place, whole, stop, start)

    def _columns(
        self,
        v: Vectors,
        given: Arguments,
        place: "Place",
        begin: str,
        end: str,
        start: str,
        direct: bool,
    ) -> None:
        """Contiguous columns: several vectors at a time, then one, then (direct) single ones."""
        f, lanes = v.function, v.lanes
        many = self.vectors * lanes
        stop = f.add(begin, f.multiple(f.sub(end, begin), many))
        elements = Elements(v, self.source)
        for vectors, first, last in (
            (self.vectors, begin, stop),
            (1, stop, f.add(stop, f.multiple(f.sub(end, stop), lanes))),
        ):
            with f.loop(first, last, step=vectors * lanes) as at:
                column = f.add(start, at.index)

                def load(row: str, q: int, column: str = column) -> str:
                    return elements.load(elements.at(row, f.add(column, q * lanes)))

                self._rows(v, given, place, at.index, column, vectors, load, direct)
        if direct:
            rest = f.add(stop, f.multiple(f.sub(end, stop), lanes))
            with f.when(f.value(f"icmp slt i64 {rest}, {end}")):
                column = f.add(start, rest)
                left = f.sub(end, rest)
                numbers = ", ".join(f"i32 {i}" for i in range(lanes))
                mask = v.below(left)

                def some(row: str, q: int) -> str:
                    return elements.gather(elements.at(row, column), f"<{numbers}>", mask)

                self._rows(v, given, place, rest, column, 1, some, True, left)

    def _gathered(
        self, v: Vectors, given: Arguments, place: "Place", begin: str, end: str, start: str
    ) -> None:
        """Columns of the border, and those beside it: by a table, a vector at a time."""
        f, lanes = v.function, v.lanes
        elements = Elements(v, self.source)
        with f.loop(begin, end, step=lanes) as at:
            position = f.add(f.add(start, at.index), given["before"])
            table = f.at(given["columns"], position, "i32")
            offsets = f.value(f"load <{lanes} x i32>, ptr {table}, align 4")
            there = f.value(f"icmp sge <{lanes} x i32> {offsets}, zeroinitializer")

            def load(row: str, q: int) -> str:
                return elements.gather(row, offsets, there)

            self._rows(v, given, place, at.index, "", 1, load, False, there=there)

    def _rows(
        self, v, given, place, position, column, vectors, load, direct, left=None, there=None
    ) -> None:
        f = v.function
        to = Elements(v, self.target)
        made = self._sums(v, given, place, vectors, load)
        if not direct and self.first:
            made = [[to.rounded(one) for one in row] for row in made]
        if self.constant[1] and there is not None:
            value = v.broadcast(v.at(given["values"], 1))
            made = [[v.select(there, one, value) for one in row] for row in made]
        for q, row in enumerate(made):
            for p, one in enumerate(row):
                if not direct:
                    at = f.add(f.add(position, p * v.lanes), q * self._pitch(v))
                    v.store(one, v.at(place.strip, at))
                    continue
                number = f.add(place.row, q)
                with f.when(f.value(f"icmp slt i64 {number}, {place.end}")):
                    line = to.at(place.out, f.mul(number, given["out_row"]))
                    address = to.at(line, f.add(column, p * v.lanes))
                    if left is None:
                        to.store(one, address)
                    else:
                        self._store_some(v, to, one, place.tail, address, left)

    def _store_some(self, v, to, one, tail, address, left) -> None:
        f = v.function
        to.store(one, tail)
        with f.loop("0", left) as at:
            to.copy_one(to.at(tail, at.index), to.at(address, at.index))

    def _sums(self, v, given, place, vectors, load):
        """Sums of ``rows`` rows by ``vectors`` vectors."""
        f, first = v.function, self.first
        table = f.at(given["rows"], place.row, "i64")
        value = v.broadcast(given["values"]) if self.constant[0] else ""
        elements = Elements(v, self.source)

        def read(number):
            """The vectors of an input row."""
            offset = f.word(table, number)
            if not self.constant[0]:
                row = elements.at(place.x, offset)
                return [load(row, q) for q in range(vectors)]
            outside = f.value(f"icmp slt i64 {offset}, 0")
            row = elements.at(place.x, f.maximum(offset, "0"))
            found = [load(row, q) for q in range(vectors)]
            kind = v.type
            return [
                f.value(f"select i1 {outside}, {kind} {value}, {kind} {one}") for one in found
            ]

        if first is None:
            return [read(q) for q in range(self.rows)]
        weight = lambda t: v.broadcast(v.at(given["first_weights"], t))
        if first.parity:
            return self._paired(v, first, vectors, read, weight)
        return self._plain(v, first, vectors, read, weight)

    def _plain(self, v, taps, vectors, read, weight):
        f, rows, size = v.function, self.rows, taps.size
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

    def _paired(self, v, taps, vectors, read, weight):
        """From the centre, then pairs from outside in, each pair added before it is multiplied."""
        f, rows, half = v.function, self.rows, taps.size // 2
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

    # Along the last axis --------------------------------------------------------------------------

    def _second(self, v: Vectors, given: Arguments, place: "Place") -> None:
        """The output rows from the strip."""
        f, lanes = v.function, v.lanes
        to = Elements(v, self.target)
        rows = f.minimum(f.sub(place.end, place.row), self.rows)
        with f.loop(0, rows) as q:
            strip = v.at(place.strip, f.mul(q.index, self._pitch(v)))
            line = to.at(place.out, f.mul(f.add(place.row, q.index), given["out_row"]))
            line = to.at(line, place.column)
            many = self.across * lanes
            stop = f.multiple(place.count, many)
            last = f.multiple(place.count, lanes)
            for vectors, begin, end in ((self.across, "0", stop), (1, stop, last)):
                with f.loop(begin, end, step=vectors * lanes) as at:
                    made = self._along(v, given, v.at(strip, at.index), vectors)
                    for p, one in enumerate(made):
                        to.store(one, to.at(line, f.add(at.index, p * lanes)))
            with f.when(f.value(f"icmp slt i64 {last}, {place.count}")):
                (one,) = self._along(v, given, v.at(strip, last), 1)
                left = f.sub(place.count, last)
                self._store_some(v, to, one, place.tail, to.at(line, last), left)

    def _along(self, v: Vectors, given: Arguments, strip: str, vectors: int) -> list[str]:
        """Sums along the last axis, as those along the first of a single row."""
        f = v.function

        def read(number):
            return [v.load(v.at(strip, f.add(number, q * v.lanes))) for q in range(vectors)]

        weight = lambda t: v.broadcast(v.at(given["second_weights"], t))
        single = self.single
        make = single._paired if self.second.parity else single._plain
        return make(v, self.second, vectors, read, weight)[0]

    @property
    def single(self):
        from dataclasses import replace

        return replace(self, rows=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work of an item is: its arrays, its columns, its row and where its rows end."""

    x: str
    out: str
    strip: str
    tail: str
    column: str
    count: str
    row: str
    end: str
