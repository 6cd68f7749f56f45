"""What an item of a filter reads: rows and columns of the input, also beyond its ends, copied.

Which row and which column stands where is in tables, so borders of every mode and width cost the
same. Columns inside the array are loaded as vectors, those of the border gathered. What lies beyond
an end is a constant where the tables have -1.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.filters.elements import Elements

# Bytes of a cache line, and tiles that are fetched ahead: the next ones of many rows are no stream
# that a processor would see.
LINE, AHEAD = 64, 2
# Loads the vectors of a tile from a row that begins at an address.
Load = Callable[[str], list[str]]


def own_slice(v: Vectors, given: Arguments, size: Index) -> str:
    """The address of the thread's slice of ``scratch``, of ``size`` elements each; how many slices
    there are is the number at ``slices``.
    """
    f = v.function
    # Thread t of T begins with item items * t // T: this rounds up to t, also where there are fewer
    # threads than slices.
    slices = f.word(given["slices"], 0)
    reached = f.add(f.mul("%begin", slices), f.sub(given["items"], 1))
    number = f.divmod(reached, given["items"])[0]
    return v.at(given["scratch"], f.mul(number, size))


@dataclass(frozen=True, kw_only=True)
class PatchKernel(Kernel):
    """``source``, ``target``: how x and out are stored. vectors: of a tile. heap: what an item
    needs is the thread's slice of ``scratch``, of as many as the number at ``slices`` says, since
    its stack is too small.
    """

    pointers: ClassVar[tuple[str, ...]] = (
        *("x", "out", "rows", "columns", "values", "scratch", "slices"),
    )
    numbers: ClassVar[tuple[str, ...]] = (
        *("items", "height", "width", "bands", "blocks", "out_row", "before"),
    )

    dtype: str
    source: str
    target: str
    vectors: int
    heap: bool = False

    @property
    def one_call(self) -> bool:  # type: ignore[override]
        """A slice of the scratch memory belongs to a call."""
        return self.heap

    @property
    def in_heap(self) -> Self:
        return replace(self, heap=True)

    def rooms(self, lanes: int) -> tuple[int, ...]:
        """Elements of each of the arrays that an item needs: multiples of a vector."""
        raise NotImplementedError

    def bytes(self, machine: Machine) -> int:
        """Bytes of all that an item needs."""
        return sum(self.rooms(machine.lanes(self.dtype))) * np.dtype(self.dtype).itemsize

    def room(self, v: Vectors, given: Arguments) -> list[str]:
        """The addresses of what an item needs."""
        f, rooms = v.function, self.rooms(v.lanes)
        if not self.heap:
            return [f.value(f"alloca [{room} x {v.element}], align 64") for room in rooms]
        at, found = own_slice(v, given, sum(rooms)), []
        for room in rooms:
            found.append(at)
            at = v.at(at, room)
        return found

    def spans(
        self, v: Vectors, given: Arguments, start: str, stop: str
    ) -> Iterator[tuple[bool, str, str]]:
        """Positions 0 .. ``stop`` of a row whose first is column ``start``, in parts of whole
        tiles: whether all of a part lies inside the array, where it begins and where it ends.
        """
        f, wide = v.function, self.vectors * v.lanes
        low = f.maximum(f.sub("0", start), "0")
        low = f.minimum(f.multiple(f.add(low, wide - 1), wide), stop)
        high = f.maximum(f.minimum(f.sub(given["width"], start), stop), low)
        high = f.add(low, f.multiple(f.sub(high, low), wide))
        yield False, "0", low
        yield True, low, high
        yield False, high, stop

    def loads(
        self, v: Vectors, given: Arguments, column: str, at: str, start: str, inside: bool
    ) -> Load:
        """What loads the tile at position ``at`` of a row whose first is column ``start``, which
        entry ``column`` of the table is for.
        """
        f, lanes = v.function, v.lanes
        elements = Elements(v, self.source)
        if inside:
            first = f.add(start, at)
            places = [f.add(first, q * lanes) for q in range(self.vectors)]
            line = max(1, LINE // (lanes * elements.bytes))
            ahead = [f.add(first, (self.vectors * AHEAD + q) * lanes) for q in range(self.vectors)]

            def load(row: str) -> list[str]:
                for place in ahead[::line]:
                    f.prefetch(elements.at(row, place))
                return [elements.load(elements.at(row, place)) for place in places]

            return load
        offsets, masks = [], []
        for q in range(self.vectors):
            table = f.at(given["columns"], f.add(f.add(column, at), q * lanes), "i32")
            offsets.append(f.value(f"load <{lanes} x i32>, ptr {table}, align 4"))
            masks.append(f.value(f"icmp sge <{lanes} x i32> {offsets[-1]}, zeroinitializer"))
        return lambda row: [
            elements.gather(row, where, mask) for where, mask in zip(offsets, masks, strict=True)
        ]

    def copy(
        self,
        v: Vectors,
        x: str,
        rows: str,
        load: Load,
        count: str,
        target: str,
        pitch: int,
        value: str,
    ) -> None:
        """The tile of ``count`` rows, which begin where the table ``rows`` says; ``value``, a
        vector or "", where it has -1.
        """
        f = v.function
        elements = Elements(v, self.source)
        with f.loop(0, count) as row:
            offset = f.word(rows, row.index)
            to = v.at(target, f.mul(row.index, pitch))
            if value:
                outside = f.value(f"icmp slt i64 {offset}, 0")
                found = [
                    f.value(f"select i1 {outside}, {v.type} {value}, {v.type} {one}")
                    for one in load(elements.at(x, f.maximum(offset, "0")))
                ]
            else:
                found = load(elements.at(x, offset))
            for q, one in enumerate(found):
                v.store(one, v.at(to, q * v.lanes))

    def outside(
        self, v: Vectors, given: Arguments, rows: str, start: str, stop: str, to: str, value: Index
    ) -> None:
        """Entry ``value`` of the constants where ``rows`` rows of ``pitch`` elements from ``to`` on
        lie beyond the ends of the last axis.
        """
        f = v.function
        one = v.load_one(v.at(given["values"], value))
        low = f.minimum(f.maximum(f.sub("0", start), "0"), stop)
        high = f.maximum(f.minimum(f.sub(given["width"], start), stop), "0")
        with f.loop(0, rows) as row:
            line = v.at(to, f.mul(row.index, self.pitch(v.lanes)))
            for begin, end in (("0", low), (high, stop)):
                with f.loop(begin, end) as at:
                    v.store_one(one, v.at(line, at.index))

    def pitch(self, lanes: int) -> int:
        """Elements from one row to the next."""
        raise NotImplementedError

    def store_some(self, v: Vectors, one: str, tail: str, there: str, count: str) -> None:
        """The first elements of a vector, through the memory at ``tail``."""
        to = Elements(v, self.target)
        to.store(one, tail)
        with v.function.loop("0", count) as at:
            to.copy_one(to.at(tail, at.index), to.at(there, at.index))

    def store_tile(
        self, v: Vectors, made: list[str], line: str, at: Index, columns: str, tail: str
    ) -> None:
        """Vectors from column ``at`` of a row of ``columns`` on, as far as there are columns."""
        f, lanes, to = v.function, v.lanes, Elements(v, self.target)
        for q, one in enumerate(made):
            begin = f.add(at, q * lanes)
            left = f.sub(columns, begin)
            for whole in f.branches(f.value(f"icmp sge i64 {left}, {lanes}")):
                if whole:
                    to.store(one, to.at(line, begin))
                else:  # in no iteration where nothing is left
                    self.store_some(v, one, tail, to.at(line, begin), left)
