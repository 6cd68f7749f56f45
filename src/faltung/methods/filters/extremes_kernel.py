"""Maxima and minima over the places of a footprint, each dtype in lanes of its own.

What it is.  An item makes a band of rows of a block of columns. For each plane of the footprint it
  copies what it reads to a patch in the cache, also what stands beyond the ends. A patch becomes
  windows of two entries, of four and so on in place: entry i and entry i + shift make entry i. A
  run of n places is two windows of a power of two, which overlap, so a footprint costs as much as
  it has runs, and a box takes about log2 of its sizes. Shifts and runs are tables: there is one
  piece of code for all footprints.
When it applies.  Arrays whose last axis is contiguous, of dtypes of up to 64 bits. Floats become
  whole numbers in the same order, NaN the best one, so that a window with NaN has NaN.
What it costs.  A pass through memory, a load and a store for each shift, two loads for each run.

W. D. Hillis, G. L. Steele, "Data Parallel Algorithms", Communications of the ACM 29, 1986.
"""

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.filters.elements import KINDS
from faltung.methods.filters.patch import own_slice

# Words of a level in its table: the shift, and its runs from the first up to the last.
LEVEL = 3


@dataclass(frozen=True)
class Lanes(Vectors):
    """Vectors of a dtype of ``KINDS`` as whole numbers of its size."""

    @property
    def lanes(self) -> int:
        return self.machine.vector_bytes // self.bytes

    @property
    def bytes(self) -> int:
        return KINDS[self.dtype][1]

    @property
    def element(self) -> str:
        return self.integer

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}{self.integer}"

    @property
    def floats(self) -> bool:
        return KINDS[self.dtype][2] == "float"

    def better(self, reduction: str, a: str, b: str) -> str:
        sign = "u" if KINDS[self.dtype][2] == "unsigned" else "s"
        return self.intrinsic(f"{sign}{reduction}", a, b)

    def last(self, reduction: str) -> str:
        """The number that everything is better than."""
        bits = 8 * self.bytes
        if KINDS[self.dtype][2] == "unsigned":
            return self.splat(0 if reduction == "max" else (1 << bits) - 1)
        return self.splat(-(1 << bits - 1) if reduction == "max" else (1 << bits - 1) - 1)

    def flipped(self, vector: str) -> str:
        """Bits of floats as whole numbers in their order, and those as bits of floats."""
        f, bits = self.function, 8 * self.bytes
        sign = f.value(f"ashr {self.type} {vector}, {self.splat(bits - 1)}")
        all_but_sign = f.value(f"lshr {self.type} {sign}, {self.splat(1)}")
        return f.value(f"xor {self.type} {vector}, {all_but_sign}")

    def ordered(self, reduction: str, vector: str) -> str:
        """Bits of floats as whole numbers, and NaN as what is better than every number."""
        f, bits = self.function, 8 * self.bytes
        most = (1 << bits - 1) - 1
        infinite = 0x7F800000 if bits == 32 else 0x7FF0000000000000
        size = f.value(f"and {self.type} {vector}, {self.splat(most)}")
        nan = f.value(f"icmp sgt {self.type} {size}, {self.splat(infinite)}")
        first = self.splat(most if reduction == "max" else -most - 1)
        return self.select(nan, first, self.flipped(vector))


@dataclass(frozen=True, kw_only=True)
class ExtremesKernel(Kernel):
    """reduction: "max" or "min". vectors: of a tile. direct: there is one plane, and one window at
    its end, which is the result.
    """

    name = "extremes"
    # A slice of the scratch memory belongs to a call.
    one_call = True
    pointers = (
        *("x", "out", "value", "rows", "columns", "planes"),
        *("starts", "levels", "runs", "scratch", "slices"),
    )
    numbers = (
        *("items", "height", "width", "bands", "blocks", "band", "block"),
        *("pitch", "across", "patch", "room", "tall", "beyond", "before", "taps", "size"),
    )

    dtype: str
    reduction: str
    vectors: int
    direct: bool

    def body(self, v: Vectors, given: Arguments) -> None:
        v = Lanes(v.function, v.machine, self.dtype)
        f = v.function
        patch = own_slice(v, given, given["room"])
        best = v.at(patch, given["patch"])
        tail = f.value(f"alloca [{v.lanes} x {v.element}], align 64")
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            plane, band = f.divmod(rest, given["bands"])
            column, row = f.mul(block, given["block"]), f.mul(band, given["band"])
            columns = f.minimum(f.sub(given["width"], column), given["block"])
            rows = f.minimum(f.sub(given["height"], row), given["band"])
            place = Place(patch, best, tail, row, rows, column, columns)
            if not self.direct:
                whole = f.mul(rows, given["across"])
                with f.loop(0, whole, step=v.lanes) as at:
                    v.store(v.last(self.reduction), v.at(best, at.index))
            with f.loop(0, given["taps"]) as tap:
                entry = f.add(f.mul(plane, given["taps"]), tap.index)
                self._copy(v, given, place, f.word(given["planes"], entry))
                self._levels(v, given, place, tap.index)
            out = f.add(f.mul(plane, given["size"]), f.mul(row, given["width"]))
            self._store(v, given, place, v.at(given["out"], f.add(out, column)))

    # What is read ---------------------------------------------------------------------------------

    def _copy(self, v: Lanes, given: Arguments, place: "Place", plane: str) -> None:
        """The patch: rows and columns of a plane, which begins at ``plane``, or is the constant."""
        f = v.function
        start = f.sub(place.column, given["before"])
        stop = f.add(place.columns, given["beyond"])
        low = f.minimum(f.maximum(f.sub("0", start), "0"), stop)
        high = f.maximum(f.minimum(f.sub(given["width"], start), stop), low)
        count = f.add(place.rows, f.sub(given["tall"], 1))
        value = v.load_one(given["value"])
        every = v.spread(value)
        missing = f.value(f"icmp slt i64 {plane}, 0")
        with f.loop(0, count) as at:
            number = f.word(given["rows"], f.add(place.row, at.index))
            none = f.value(f"icmp slt i64 {number}, 0")
            none = f.value(f"or i1 {none}, {missing}")
            target = v.at(place.patch, f.mul(at.index, given["pitch"]))
            for constant in f.branches(none):
                if constant:
                    with f.loop(0, stop, step=v.lanes) as column:
                        v.store(every, v.at(target, column.index))
                    continue
                source = v.at(given["x"], f.add(plane, number))
                for begin, end in (("0", low), (high, stop)):
                    with f.loop(begin, end) as column:
                        entry = f.word(given["columns"], f.add(place.column, column.index))
                        outside = f.value(f"icmp slt i64 {entry}, 0")
                        one = v.load_one(v.at(source, f.maximum(entry, "0")))
                        kind = v.element
                        one = f.value(f"select i1 {outside}, {kind} {value}, {kind} {one}")
                        v.store_one(one, v.at(target, column.index))
                self._inside(
                    v, v.at(source, f.add(start, low)), v.at(target, low), f.sub(high, low)
                )
        if v.floats:
            with f.loop(0, f.mul(count, given["pitch"]), step=v.lanes) as at:
                here = v.at(place.patch, at.index)
                v.store(v.ordered(self.reduction, v.load(here)), here)

    def _inside(self, v: Lanes, source: str, target: str, count: str) -> None:
        """A row of ``count`` elements: the last vector is moved back."""
        f = v.function
        for wide in f.branches(f.value(f"icmp sge i64 {count}, {v.lanes}")):
            if wide:
                last = f.sub(count, v.lanes)
                with f.loop(0, last, step=v.lanes) as at:
                    v.store(v.load(v.at(source, at.index)), v.at(target, at.index))
                v.store(v.load(v.at(source, last)), v.at(target, last))
            else:
                with f.loop(0, count) as at:
                    v.store_one(v.load_one(v.at(source, at.index)), v.at(target, at.index))

    # Windows --------------------------------------------------------------------------------------

    def _levels(self, v: Lanes, given: Arguments, place: "Place", tap: str) -> None:
        f = v.function
        begin, end = (f.word(given["starts"], f.add(tap, k)) for k in (0, 1))
        count = f.add(place.rows, f.sub(given["tall"], 1))
        entries = f.mul(count, given["pitch"])
        with f.loop(begin, end) as level:
            table = f.at(given["levels"], f.mul(level.index, LEVEL), "i64")
            shift = f.word(table, 0)
            with f.when(f.value(f"icmp sgt i64 {shift}, 0")):
                self._shifted(v, place.patch, shift, f.sub(entries, shift))
            if not self.direct:
                self._runs(v, given, place, f.word(table, 1), f.word(table, 2))

    def _shifted(self, v: Lanes, patch: str, shift: str, stop: str) -> None:
        f = v.function
        with f.loop(0, stop, step=self.vectors * v.lanes) as at:
            here = v.at(patch, at.index)
            more = v.at(here, shift)
            places = [q * v.lanes for q in range(self.vectors)]
            found = [
                v.better(self.reduction, v.load(v.at(here, q)), v.load(v.at(more, q)))
                for q in places
            ]
            for q, one in zip(places, found, strict=True):
                v.store(one, v.at(here, q))

    def _runs(self, v: Lanes, given: Arguments, place: "Place", begin: str, end: str) -> None:
        """The best of what there is and of runs, each two windows."""
        f, every = v.function, range(self.vectors)
        with f.loop(0, f.value(f"select i1 {f.value(f'icmp slt i64 {begin}, {end}')}, "
                               f"i64 {place.rows}, i64 0")) as row:  # fmt: skip
            best = v.at(place.best, f.mul(row.index, given["across"]))
            patch = v.at(place.patch, f.mul(row.index, given["pitch"]))
            with f.loop(0, place.columns, step=self.vectors * v.lanes) as at:
                target, source = v.at(best, at.index), v.at(patch, at.index)
                first = [v.load(v.at(target, q * v.lanes)) for q in every]
                with f.loop(begin, end, v.carried(first), runs=True) as run:
                    a, b = v.pair(given["runs"], run.index, source, source)
                    now = [
                        v.better(
                            self.reduction,
                            v.better(
                                self.reduction,
                                v.load(v.at(a, q * v.lanes)),
                                v.load(v.at(b, q * v.lanes)),
                            ),
                            one,
                        )
                        for q, one in enumerate(run.values)
                    ]
                    run.carry(now)
                for q, one in enumerate(run.results):
                    v.store(one, v.at(target, q * v.lanes))

    def _store(self, v: Lanes, given: Arguments, place: "Place", out: str) -> None:
        f = v.function
        base = place.patch if self.direct else place.best
        pitch = given["pitch"] if self.direct else given["across"]

        def made(address: str) -> str:
            found = v.load(address)
            return v.flipped(found) if v.floats else found

        last = f.sub(place.columns, v.lanes)
        with f.loop(0, place.rows) as row:
            source = v.at(base, f.mul(row.index, pitch))
            target = v.at(out, f.mul(row.index, given["width"]))
            for wide in f.branches(f.value(f"icmp sge i64 {last}, 0")):
                if wide:
                    with f.loop(0, last, step=v.lanes) as at:
                        v.store(made(v.at(source, at.index)), v.at(target, at.index))
                    v.store(made(v.at(source, last)), v.at(target, last))
                else:
                    v.store(made(source), place.tail)
                    with f.loop(0, place.columns) as at:
                        one = v.load_one(v.at(place.tail, at.index))
                        v.store_one(one, v.at(target, at.index))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work of an item is: its memories, its rows and its columns."""

    patch: str
    best: str
    tail: str
    row: str
    rows: str
    column: Index
    columns: str
