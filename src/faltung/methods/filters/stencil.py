"""Correlations of any shape: sums of products over the taps of a kernel.

What it is.  An item copies what it reads to a patch in the cache: for each tap along the axes
  before the last two, rows of a block of columns, with what stands beyond the ends. A tile of some
  rows by some vectors stays in registers; every vector that is loaded serves all rows that have a
  tap there. Several kernels read one patch.
When it applies.  Arrays whose last axis is contiguous. Sums are float32 for float32 arrays, else
  float64 without contraction, tap after tap in C order, as SciPy adds them.
What it costs.  A product for each tap and vector, and the copy. Few taps are all in the code, which
  then knows which of them are there; more are loops, and with gaps a list.
"""

from collections.abc import Callable, Sequence

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.filters.elements import Elements
from faltung.methods.filters.patch import PatchKernel

# Taps along the last axis up to which the code has all of them.
UNROLLED = 16
Sums = list[list[str]]
# The vectors of a patch row at a tap along the last axis.
Read = Callable[[str, Index], list[str]]


@dataclass(frozen=True, kw_only=True)
class StencilKernel(PatchKernel):
    """shape: taps along all axes before the last two together, along the last but one, and along
    the last. taps: those that are there, by their numbers in C order, where the code has all of
    them; "dense" and "listed" are loops. constant: whether the
    border is a constant along the axes before the last, and along the last. rows: of a tile. band,
    block: the most rows and columns of an item.
    """

    name = "stencil"
    pointers = (*PatchKernel.pointers, "planes", "weights", "offsets")
    numbers = (*PatchKernel.numbers, "kernels", "taps", "out_kernel", "out_plane")

    shape: tuple[int, int, int]
    taps: tuple[int, ...] | str
    constant: tuple[bool, bool]
    rows: int
    band: int
    block: int

    def pitch(self, lanes: int) -> int:
        wide = self.vectors * lanes
        return -(-(self.block + self.shape[2] - 1) // wide) * wide + wide + lanes

    @property
    def patch_rows(self) -> int:
        """Rows of the patch for each tap along the axes before the last two."""
        return self.band + self.shape[1] - 1 + self.rows

    def rooms(self, lanes: int) -> tuple[int, ...]:
        """The patch and a tail."""
        return self.shape[0] * self.patch_rows * self.pitch(lanes), 2 * lanes

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        patch, tail = self.room(v, given)
        to = Elements(v, self.target)
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            plane, band = f.divmod(rest, given["bands"])
            column, row = f.mul(block, self.block), f.mul(band, self.band)
            columns = f.minimum(f.sub(given["width"], column), self.block)
            rows = f.minimum(f.sub(given["height"], row), self.band)
            self._copies(v, given, plane, row, rows, column, columns, patch)
            out = to.at(given["out"], f.mul(plane, given["out_plane"]))
            out = to.at(out, f.add(f.mul(row, given["out_row"]), column))
            with f.loop(0, given["kernels"]) as number:
                weights = v.at(given["weights"], f.mul(number.index, given["taps"]))
                line = to.at(out, f.mul(number.index, given["out_kernel"]))
                self._tiles(v, given, patch, tail, weights, line, rows, columns)

    def _copies(
        self,
        v: Vectors,
        given: Arguments,
        plane: str,
        row: str,
        rows: str,
        column: str,
        columns: str,
        patch: str,
    ) -> None:
        """The patch. A plane that lies beyond an end is the constant."""
        f, pitch = v.function, self.pitch(v.lanes)
        start = f.sub(column, given["before"])
        stop = f.add(columns, self.shape[2] - 1)
        count = f.add(rows, self.shape[1] - 1)
        table = f.at(given["rows"], row, "i64")
        value = v.broadcast(given["values"]) if self.constant[0] else ""
        with f.loop(0, self.shape[0]) as tap:
            at = f.add(f.mul(plane, self.shape[0]), tap.index)
            offset = f.word(given["planes"], at)
            x = Elements(v, self.source).at(given["x"], f.maximum(offset, "0"))
            target = v.at(patch, f.mul(tap.index, self.patch_rows * pitch))
            for inside, begin, end in self.spans(v, given, start, stop):
                with f.loop(begin, end, step=self.vectors * v.lanes) as position:
                    load = self.loads(v, given, column, position.index, start, inside)
                    to = v.at(target, position.index)
                    self.copy(v, x, table, load, count, to, pitch, value)
            if self.constant[1]:
                self.outside(v, given, count, start, stop, target, 0)
            if self.constant[0]:
                beyond = f.value(f"icmp slt i64 {offset}, 0")
                size = f.value(f"select i1 {beyond}, i64 {f.mul(count, pitch)}, i64 0")
                with f.loop(0, size, step=v.lanes) as every:
                    v.store(value, v.at(target, every.index))

    def _tiles(
        self,
        v: Vectors,
        given: Arguments,
        patch: str,
        tail: str,
        weights: str,
        line: str,
        rows: str,
        columns: str,
    ) -> None:
        f, pitch = v.function, self.pitch(v.lanes)
        to = Elements(v, self.target)
        with f.loop(0, rows, step=self.rows) as row:
            left = f.sub(rows, row.index)
            with f.loop(0, columns, step=self.vectors * v.lanes) as at:
                place = v.at(patch, f.add(f.mul(row.index, pitch), at.index))

                def read(row: str, offset: Index) -> list[str]:
                    address = v.at(row, offset)
                    return [v.load(v.at(address, p * v.lanes)) for p in range(self.vectors)]

                sums = self._sums(v, given, place, weights, read)
                for q, made in enumerate(sums):
                    with f.when(f.value(f"icmp sgt i64 {left}, {q}")):
                        there = to.at(line, f.mul(f.add(row.index, q), given["out_row"]))
                        self.store_tile(v, made, there, at.index, columns, tail)

    # Sums -----------------------------------------------------------------------------------------

    def _sums(self, v: Vectors, given: Arguments, place: str, weights: str, read: Read) -> Sums:
        if self.taps == "listed":
            return self._listed(v, given, place, weights)
        if self.taps == "dense":
            return self._dense(v, place, weights, read)
        return self._unrolled(v, place, weights, read)

    def _start(self, v: Vectors) -> Sums:
        return [[v.zero] * self.vectors for _ in range(self.rows)]

    def _add(self, v: Vectors, acc: Sums, q: int, found: Sequence[str], weight: str) -> None:
        """The products of a tap for row ``q`` of the tile."""
        for p, x in enumerate(found):
            if v.dtype == "float32":
                acc[q][p] = v.multiply_add(x, weight, acc[q][p])
            else:
                acc[q][p] = v.add(acc[q][p], v.mul(x, weight))

    def _weight(self, v: Vectors, weights: str, number: Index) -> str:
        return v.broadcast(v.at(weights, number))

    def _unrolled(self, v: Vectors, place: str, weights: str, read: Read) -> Sums:
        """Taps one after the other; rows of the patch serve every row of the tile."""
        planes, height, width = self.shape
        pitch, acc = self.pitch(v.lanes), self._start(v)
        there = set(self.taps)
        for plane in range(planes):
            for s in range(height + self.rows - 1):
                row = v.at(place, (plane * self.patch_rows + s) * pitch)
                for k in range(width):
                    taps = [
                        (q, number)
                        for q in range(self.rows)
                        if 0 <= s - q < height
                        and (number := (plane * height + s - q) * width + k) in there
                    ]
                    found = read(row, k) if taps else []
                    for q, number in taps:
                        self._add(v, acc, q, found, self._weight(v, weights, number))
        return acc

    def _dense(self, v: Vectors, place: str, weights: str, read: Read) -> Sums:
        """All taps, in loops: in the first and the last rows of the patch not all rows of the tile
        have a tap.
        """
        f, (planes, height, width) = v.function, self.shape
        pitch, most = self.pitch(v.lanes), self.rows - 1
        assert height >= self.rows

        def over(acc: Sums, row: str, begin: Index, these: Sequence[int]) -> Sums:
            """One patch row; ``begin``: the first weight for the first row of the tile."""
            if width <= UNROLLED:
                acc = [list(sums) for sums in acc]
                for k in range(width):
                    found = read(row, k)
                    for q in these:
                        at = f.add(f.sub(begin, q * width), k)
                        self._add(v, acc, q, found, self._weight(v, weights, at))
                return acc
            with f.loop(0, width, v.carried(_flat(acc)), runs=True) as tap:
                now = self._rowed(tap.values)
                found = read(row, tap.index)
                for q in these:
                    at = f.add(f.sub(begin, q * width), tap.index)
                    self._add(v, now, q, found, self._weight(v, weights, at))
                tap.carry(_flat(now))
            return self._rowed(tap.results)

        with f.loop(0, planes, v.carried(_flat(self._start(v))), runs=True) as plane:
            acc = self._rowed(plane.values)
            first = v.at(place, f.mul(plane.index, self.patch_rows * pitch))
            begin = f.mul(plane.index, height * width)
            for s in range(most):
                at = f.add(begin, s * width)
                acc = over(acc, v.at(first, s * pitch), at, range(s + 1))
            with f.loop(most, height, v.carried(_flat(acc)), runs=True) as inner:
                at = f.add(begin, f.mul(inner.index, width))
                row = v.at(first, f.mul(inner.index, pitch))
                inner.carry(_flat(over(self._rowed(inner.values), row, at, range(self.rows))))
            acc = self._rowed(inner.results)
            for s in range(height, height + most):
                at = f.add(begin, s * width)
                these = range(s - height + 1, self.rows)
                acc = over(acc, v.at(first, s * pitch), at, these)
            plane.carry(_flat(acc))
        return self._rowed(plane.results)

    def _listed(self, v: Vectors, given: Arguments, place: str, weights: str) -> Sums:
        """The taps of a list of offsets in the patch."""
        f, pitch = v.function, self.pitch(v.lanes)
        with f.loop(0, given["taps"], v.carried(_flat(self._start(v))), runs=True) as tap:
            acc = self._rowed(tap.values)
            at = v.at(place, f.word(given["offsets"], tap.index))
            weight = self._weight(v, weights, tap.index)
            for q in range(self.rows):
                row = v.at(at, q * pitch)
                found = [v.load(v.at(row, p * v.lanes)) for p in range(self.vectors)]
                self._add(v, acc, q, found, weight)
            tap.carry(_flat(acc))
        return self._rowed(tap.results)

    def _rowed(self, flat: Sequence[str]) -> Sums:
        n = self.vectors
        return [list(flat[q * n : (q + 1) * n]) for q in range(self.rows)]

    def offset(self, number: int, lanes: int) -> int:
        """Where in the patch a tap reads, in elements."""
        rest, k = divmod(number, self.shape[2])
        plane, row = divmod(rest, self.shape[1])
        return (plane * self.patch_rows + row) * self.pitch(lanes) + k


def _flat(sums: Sums) -> list[str]:
    return [one for row in sums for one in row]
