"""Vectors of one machine and one dtype: loads, stores, masks, arithmetic, transposition."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from struct import pack

import numpy as np

from faltung.codegen.ir import Function, Index, Loop, Module
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine

ELEMENTS = {
    "float32": ("float", 4, "f32"),
    "float64": ("double", 8, "f64"),
    "int32": ("i32", 4, "i32"),
    "int64": ("i64", 8, "i64"),
}
# Sums, differences and products of these are modulo 2 ** 32 and 2 ** 64. They have no formulas.
INTEGERS = ("int32", "int64")


@dataclass(frozen=True)
class Functions:
    """The functions of one module, whose vectors are those of one machine and one dtype."""

    module: Module
    machine: Machine
    dtype: str

    def open(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        *,
        public: bool = False,
        returns: str = "void",
    ) -> "Vectors":
        """The vectors of a new function."""
        function = self.module.function(name, parameters, public=public, returns=returns)
        return Vectors(function, self.machine, self.dtype)


@dataclass(frozen=True)
class Vectors:
    """The vector operations of one function: a value holds ``lanes`` elements of ``element``."""

    function: Function
    machine: Machine
    dtype: str

    @property
    def functions(self) -> Functions:
        """Those of the same module."""
        return Functions(self.function.module, self.machine, self.dtype)

    @property
    def lanes(self) -> int:
        return self.machine.lanes(self.dtype)

    @property
    def element(self) -> str:
        return ELEMENTS[self.dtype][0]

    @property
    def bytes(self) -> int:
        return ELEMENTS[self.dtype][1]

    @property
    def type(self) -> str:
        return f"<{self.lanes} x {self.element}>"

    @property
    def flags(self) -> str:
        """The type of a mask."""
        return f"<{self.lanes} x i1>"

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}{ELEMENTS[self.dtype][2]}"

    @property
    def prefix(self) -> str:
        """The prefix of add, sub and mul: "f" for floating point."""
        return "" if self.dtype in INTEGERS else "f"

    @property
    def zero(self) -> str:
        return "zeroinitializer"

    # Masks ---------------------------------------------------------------------------------------

    def mask(self, lanes: Sequence[bool]) -> str:
        """A constant mask, from one flag per lane."""
        return f"<{', '.join(f'i1 {int(flag)}' for flag in lanes)}>"

    def first(self, count: int) -> str | None:
        """A constant mask of the first ``count`` lanes; None if that is all of them."""
        return None if count >= self.lanes else self.mask([i < count for i in range(self.lanes)])

    def below(self, count: str) -> str:
        """A mask of the first ``count`` lanes; ``count`` is an ``i64`` known only at run time."""
        capped = self.function.minimum(count, self.lanes)
        narrow = self.function.value(f"trunc i64 {capped} to i32")
        every = self.spread(narrow, "i32")
        numbers = ", ".join(f"i32 {i}" for i in range(self.lanes))
        return self.function.value(f"icmp sgt <{self.lanes} x i32> {every}, <{numbers}>")

    def kept(self, inside: str, mask: str) -> str:
        """``mask`` where ``inside`` (an ``i1``) holds, otherwise the mask of no lanes."""
        kind = self.flags
        return self.function.value(f"select i1 {inside}, {kind} {mask}, {kind} zeroinitializer")

    # Memory --------------------------------------------------------------------------------------

    def at(self, base: str, offset: Index) -> str:
        return self.function.at(base, offset, self.element)

    def load(self, address: str, mask: str | None = None, align: int | None = None) -> str:
        """Contiguous elements; lanes outside ``mask`` are zero, and their memory is not touched."""
        align = align or self.bytes
        if mask is None:
            return self.function.value(f"load {self.type}, ptr {address}, align {align}")
        callee = self.function.module.declare(
            f"llvm.masked.load.{self._suffix}.p0", self.type, "ptr", "i32", self.flags, self.type
        )
        return self.function.value(
            f"call {self.type} {callee}(ptr {address}, i32 {align}, {self.flags} {mask}, "
            f"{self.type} zeroinitializer)"
        )

    def store(
        self, vector: str, address: str, mask: str | None = None, align: int | None = None
    ) -> None:
        """Store to contiguous elements; lanes outside ``mask`` leave memory as it is."""
        align = align or self.bytes
        if mask is None:
            self.function.emit(f"store {self.type} {vector}, ptr {address}, align {align}")
            return
        callee = self.function.module.declare(
            f"llvm.masked.store.{self._suffix}.p0", "void", self.type, "ptr", "i32", self.flags
        )
        self.function.emit(
            f"call void {callee}({self.type} {vector}, ptr {address}, i32 {align}, "
            f"{self.flags} {mask})"
        )

    def store_first(self, vector: str, address: str, count: int) -> None:
        """Store the first ``count`` lanes; where there are no masks, in parts of 2 ** n."""
        if self.machine.masks or count >= self.lanes:
            self.store(vector, address, self.first(count))
            return
        start, size = 0, self.lanes // 2
        while start < count:
            if start + size <= count:
                numbers = ", ".join(f"i32 {start + i}" for i in range(size))
                part = self.function.value(
                    f"shufflevector {self.type} {vector}, {self.type} poison, "
                    f"<{size} x i32> <{numbers}>"
                )
                self.store_short(part, self.at(address, start), size)
                start += size
            size //= 2

    def store_below(self, vector: str, address: str, count: str) -> None:
        """As ``store_first``, but ``count`` is known only at run time, and is less than ``lanes``.

        Where there are no masks, a masked store takes as long as ten of these.
        """
        if self.machine.masks:
            self.store(vector, address, self.below(count))
            return

        def some(number: int) -> None:
            for size in (1 << bit for bit in reversed(range(number.bit_length()))):
                if number & size:
                    done = number & -2 * size
                    lanes = ", ".join(f"i32 {done + lane}" for lane in range(size))
                    values = self.function.value(
                        f"shufflevector {self.type} {vector}, {self.type} {vector}, "
                        f"<{size} x i32> <{lanes}>"
                    )
                    self.store_short(values, self.at(address, done), size)

        cases = [partial(some, number) for number in range(1, self.lanes)]
        self.function.switch(self.function.sub(count, 1), cases)

    def short(self, count: int) -> str:
        """The type of ``count`` elements; the processor has those of a power of two."""
        return f"<{count} x {self.element}>"

    def load_short(self, address: str, count: int) -> str:
        """``count`` contiguous elements, a power of two, as a vector of their number."""
        return self.function.value(f"load {self.short(count)}, ptr {address}, align {self.bytes}")

    def store_short(self, vector: str, address: str, count: int) -> None:
        """Store a vector of ``count`` elements, a power of two."""
        kind = self.short(count)
        self.function.emit(f"store {kind} {vector}, ptr {address}, align {self.bytes}")

    def load_exact(self, address: str, count: int) -> str:
        """``count`` contiguous elements, at most ``lanes``, for ``store_exact``: a short vector, or
        masked where the processor has none of that size.
        """
        if count & (count - 1):
            return self.load(address, self.first(count))
        return self.load_short(address, count)

    def store_exact(self, vector: str, address: str, count: int) -> None:
        """Store what ``load_exact`` loaded."""
        if count & (count - 1):
            self.store_first(vector, address, count)
        else:
            self.store_short(vector, address, count)

    def load_one(self, address: str) -> str:
        return self.function.value(f"load {self.element}, ptr {address}, align {self.bytes}")

    def store_one(self, scalar: str, address: str) -> None:
        self.function.emit(f"store {self.element} {scalar}, ptr {address}, align {self.bytes}")

    @contextmanager
    def walk(
        self,
        start: Index,
        stop: Index,
        moving: Sequence[tuple[str, Index]],
        *,
        step: Index = 1,
        runs: bool = False,
    ) -> Iterator[Loop]:
        """A loop; ``moving``: the addresses it carries, with the elements to the next iteration."""
        carried = [("ptr", address) for address, _ in moving]
        with self.function.loop(start, stop, carried, step=step, runs=runs) as loop:
            yield loop
            steps = (onward for _, onward in moving)
            loop.carry(list(map(self.at, loop.values, steps)))

    def carried(self, values: Sequence[str]) -> list[tuple[str, str]]:
        """Vectors as a loop carries them."""
        return [(self.type, value) for value in values]

    def pair(self, table: str, number: Index, a: str, b: str) -> tuple[str, str]:
        """Two addresses, moved on by the two numbers of an entry of ``table``."""
        f = self.function
        entry = f.at(table, f.mul(number, 2), "i64")
        return self.at(a, f.word(entry, 0)), self.at(b, f.word(entry, 1))

    def whole(self, count: Index, vectors: int = 1) -> str:
        """How many of ``count`` elements fill iterations of so many ``vectors``."""
        return self.function.multiple(count, vectors * self.lanes)

    def _strided(self, address: str, stride: Index) -> str:
        """The addresses of ``lanes`` elements, ``stride`` elements apart."""
        numbers = ", ".join(f"i64 {i}" for i in range(self.lanes))
        every = self.spread(str(stride), "i64")
        offsets = self.function.value(f"mul <{self.lanes} x i64> {every}, <{numbers}>")
        return self.function.value(
            f"getelementptr {self.element}, ptr {address}, <{self.lanes} x i64> {offsets}"
        )

    def gather(self, address: str, stride: Index, mask: str | None = None) -> str:
        """Elements ``stride`` apart; lanes outside ``mask`` are zero and not read."""
        return self.gather_at(self._strided(address, stride), mask)

    def gather_at(self, where: str, mask: str | None = None) -> str:
        """Elements at a vector of addresses."""
        callee = self._gather()
        return self.function.value(
            f"call {self.type} {callee}(<{self.lanes} x ptr> {where}, i32 {self.bytes}, "
            f"{self.flags} {mask or self.mask([True] * self.lanes)}, {self.type} zeroinitializer)"
        )

    def gathered(self, address: str, table: str, mask: str | None = None) -> tuple[str, str]:
        """Elements at offsets from a table of 32-bit numbers, one for each lane, and which lanes
        have one: where it is below 0 nothing is read, and the lane is zero.
        """
        f, kind = self.function, f"<{self.lanes} x i32>"
        if mask is None:
            offsets = f.value(f"load {kind}, ptr {table}, align 4")
        else:
            callee = f.module.declare(
                f"llvm.masked.load.v{self.lanes}i32.p0", kind, "ptr", "i32", self.flags, kind
            )
            none = f"{kind} splat (i32 -1)"
            offsets = f.value(
                f"call {kind} {callee}(ptr {table}, i32 4, {self.flags} {mask}, {none})"
            )
        here = f.value(f"icmp sge {kind} {offsets}, zeroinitializer")
        where = f.value(f"getelementptr {self.element}, ptr {address}, {kind} {offsets}")
        callee = self._gather()
        return f.value(
            f"call {self.type} {callee}(<{self.lanes} x ptr> {where}, i32 {self.bytes}, "
            f"{self.flags} {here}, {self.type} zeroinitializer)"
        ), here

    def _gather(self) -> str:
        return self.function.module.declare(
            f"llvm.masked.gather.{self._suffix}.v{self.lanes}p0",
            self.type,
            f"<{self.lanes} x ptr>",
            "i32",
            self.flags,
            self.type,
        )

    def scatter(self, vector: str, address: str, stride: Index, mask: str | None = None) -> None:
        """Store to elements ``stride`` apart; lanes outside ``mask`` leave memory as it is."""
        self.scatter_at(vector, self._strided(address, stride), mask)

    def scatter_at(self, vector: str, where: str, mask: str | None = None) -> None:
        """Store to a vector of addresses."""
        callee = self.function.module.declare(
            f"llvm.masked.scatter.{self._suffix}.v{self.lanes}p0",
            "void",
            self.type,
            f"<{self.lanes} x ptr>",
            "i32",
            self.flags,
        )
        self.function.emit(
            f"call void {callee}({self.type} {vector}, <{self.lanes} x ptr> {where}, "
            f"i32 {self.bytes}, {self.flags} {mask or self.mask([True] * self.lanes)})"
        )

    # Integers as wide as the elements -------------------------------------------------------------

    @property
    def integer(self) -> str:
        return f"i{8 * self.bytes}"

    @property
    def integers(self) -> str:
        return f"<{self.lanes} x {self.integer}>"

    def bits(self, vector: str) -> str:
        """The bits of a vector as integers."""
        return self.function.value(f"bitcast {self.type} {vector} to {self.integers}")

    def every(self, number: str) -> str:
        """An ``i64``, known only at run time, in every lane."""
        if self.bytes < 8:
            number = self.function.value(f"trunc i64 {number} to {self.integer}")
        kind = f"bitcast {self.integer} {number} to {self.element}"
        return self.bits(self.spread(self.function.value(kind)))

    def splat(self, number: int) -> str:
        """A constant integer in every lane."""
        return f"splat ({self.integer} {number})"

    # Arithmetic ----------------------------------------------------------------------------------

    def spread(self, scalar: str, kind: str = "") -> str:
        """A scalar value, an element or of another ``kind`` ("i32"), in every lane."""
        kind = kind or self.element
        one = self.function.value(
            f"insertelement <{self.lanes} x {kind}> poison, {kind} {scalar}, i64 0"
        )
        return self.function.value(
            f"shufflevector <{self.lanes} x {kind}> {one}, <{self.lanes} x {kind}> poison, "
            f"<{self.lanes} x i32> zeroinitializer"
        )

    def broadcast(self, address: str) -> str:
        """One element of memory in every lane."""
        return self.spread(self.load_one(address))

    def constant(self, value: float) -> str:
        """A number, rounded to the dtype, in every lane."""
        with np.errstate(over="ignore"):
            narrow = float(np.dtype(self.dtype).type(value))
        # As a hexadecimal double whatever the dtype: the only exact notation.
        return f"splat ({self.element} 0x{pack('>d', narrow).hex().upper()})"

    def add(self, a: str, b: str) -> str:
        return self.function.value(f"{self.prefix}add {self.type} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.function.value(f"{self.prefix}sub {self.type} {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.function.value(f"{self.prefix}mul {self.type} {a}, {b}")

    def div(self, a: str, b: str) -> str:
        return self.function.value(f"fdiv {self.type} {a}, {b}")

    def neg(self, a: str) -> str:
        return self.function.value(f"fneg {self.type} {a}")

    def abs(self, a: str) -> str:
        return self.intrinsic("fabs", a)

    def sqrt(self, a: str) -> str:
        return self.intrinsic("sqrt", a)

    def copysign(self, size: str, sign: str) -> str:
        """The magnitude of one and the sign of the other."""
        return self.intrinsic("copysign", size, sign)

    def intrinsic(self, name: str, *arguments: str) -> str:
        """A function of LLVM that processors have an instruction for, of vectors."""
        types = [self.type] * len(arguments)
        callee = self.function.module.declare(f"llvm.{name}.{self._suffix}", self.type, *types)
        given = ", ".join(f"{self.type} {argument}" for argument in arguments)
        return self.function.value(f"call {self.type} {callee}({given})")

    def compare(self, predicate: str, a: str, b: str) -> str:
        """The mask of a comparison, "ogt", "oge", ... as in LLVM; "o": false if one is NaN."""
        return self.function.value(f"fcmp {predicate} {self.type} {a}, {b}")

    def select(self, flags: str, a: str, b: str) -> str:
        """``a`` in the lanes whose flag is set, ``b`` in the others."""
        return self.function.value(f"select {self.flags} {flags}, {self.type} {a}, {self.type} {b}")

    def max(self, a: str, b: str) -> str:
        """The larger one; ``a`` where they are equal or one is NaN."""
        return self.select(self.compare("olt", a, b), b, a)

    def min(self, a: str, b: str) -> str:
        """The smaller one; ``a`` where they are equal or one is NaN."""
        return self.select(self.compare("ogt", a, b), b, a)

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """``a * b + c``: rounded once where the machine has FMA, otherwise twice."""
        if not self.machine.fma or self.dtype in INTEGERS:
            # llvm.fma would call the C library for every lane here.
            return self.add(self.mul(a, b), c)
        return self.intrinsic("fma", a, b, c)

    def total(self, vector: str) -> str:
        """The sum of the lanes, in a fixed order: halves are added first."""
        width = self.lanes
        current = vector
        while width > 1:
            half = width // 2
            parts = []
            for base in (0, half):
                numbers = ", ".join(f"i32 {base + i}" for i in range(half))
                parts.append(
                    self.function.value(
                        f"shufflevector <{width} x {self.element}> {current}, "
                        f"<{width} x {self.element}> poison, <{half} x i32> <{numbers}>"
                    )
                )
            kind = f"{self.prefix}add <{half} x {self.element}>"
            current = self.function.value(f"{kind} {parts[0]}, {parts[1]}")
            width = half
        return self.function.value(f"extractelement <1 x {self.element}> {current}, i64 0")

    def shuffle(self, a: str, b: str, lanes: Sequence[int]) -> str:
        numbers = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.function.value(
            f"shufflevector {self.type} {a}, {self.type} {b}, <{self.lanes} x i32> <{numbers}>"
        )

    def transpose(self, rows: Sequence[str]) -> list[str]:
        """Transpose ``lanes`` vectors, with ``lanes * log2(lanes)`` shuffles; fewer are padded.

        Each stage swaps off-diagonal blocks, of half the size of those of the stage before
        (J. O. Eklundh, "A Fast Computer Method for Matrix Transposing", IEEE Trans. Computers
        C-21, 1972).
        """
        n = self.lanes
        # Zeros, not poison: LLVM 22 aborts on some shuffles of equal rows with poison ones.
        rows = [*rows, *[self.zero] * (n - len(rows))]
        half = n // 2
        while half:
            low = [i if not i & half else i - half + n for i in range(n)]
            high = [i + half if not i & half else i + n for i in range(n)]
            for i in range(n):
                if not i & half:
                    a, b = rows[i], rows[i + half]
                    rows[i], rows[i + half] = self.shuffle(a, b, low), self.shuffle(a, b, high)
            half //= 2
        return rows
