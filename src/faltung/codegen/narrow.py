"""16-bit floats: float32 in vectors, 16 bits in memory.

Every load converts to float32, which is exact; every store rounds once, to nearest with ties to
even, as NumPy does: too large a number becomes infinite, a small one denormal or zero. bfloat16 is
the upper half of a float32, so shifts convert it on every machine. float16 is converted by
instructions where the machine has them (F16C, AVX-512, AArch64), and otherwise by integer
arithmetic with the same result. NaN stays NaN, but its payload depends on the machine.
"""

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

# The x86 feature with which the processor converts float16. AArch64 always can.
HALF_FEATURE = "f16c"


@dataclass(frozen=True)
class Narrow(Vectors):
    """``Vectors`` of float32 over memory of ``stored``: "float16" or "bfloat16". ``count``: lanes,
    where there are not as many as the machine has.
    """

    stored: str = "float16"
    count: int = 0

    @property
    def lanes(self) -> int:
        return self.count or super().lanes

    @property
    def _raw(self) -> Vectors:
        """The memory as 16-bit integers."""
        return Words(self.function, self.machine, self.dtype, self.count)

    def at(self, base: str, offset: Index) -> str:
        return self._raw.at(base, offset)

    def load(self, address: str, mask: str | None = None, align: int | None = None) -> str:
        raw, every = self._raw, self._all(mask)
        if every is None:
            return self._widened(raw.load(address, mask, align))
        # x86 before AVX-512 has no masks for 16 bits: LLVM writes a branch for every lane.
        return self._widened(
            self.function.either(
                every, raw.type, lambda: raw.load(address), lambda: raw.load(address, mask)
            )
        )

    def store(
        self, vector: str, address: str, mask: str | None = None, align: int | None = None
    ) -> None:
        raw, made, every = self._raw, self._narrowed(vector), self._all(mask)
        if every is None:
            raw.store(made, address, mask, align)
            return
        f = self.function
        with f.when(every):
            raw.store(made, address)
        with f.when(f.value(f"xor i1 {every}, 1")):
            raw.store(made, address, mask)

    def gather(self, address: str, stride: Index, mask: str | None = None) -> str:
        return self._widened(self._raw.gather(address, stride, mask))

    def scatter(self, vector: str, address: str, stride: Index, mask: str | None = None) -> None:
        self._raw.scatter(self._narrowed(vector), address, stride, mask)

    def gather_at(self, where: str, mask: str | None = None) -> str:
        return self._widened(self._raw.gather_at(where, mask))

    def scatter_at(self, vector: str, where: str, mask: str | None = None) -> None:
        self._raw.scatter_at(self._narrowed(vector), where, mask)

    def broadcast(self, address: str) -> str:
        raw = self._raw
        one = self.function.value(f"load i16, ptr {address}, align 2")
        if self.stored != "bfloat16":
            return self._widened(raw.spread(one))
        # Twice in each lane, of which the lower half is cleared: no shift, no conversion.
        count = 2 * self.lanes
        twice = self.function.value(f"insertelement <{count} x i16> poison, i16 {one}, i64 0")
        zeros = f"<{count} x i32> zeroinitializer"
        kind = f"<{count} x i16>"
        twice = self.function.value(f"shufflevector {kind} {twice}, {kind} poison, {zeros}")
        bits = self._cast(f"bitcast {kind} {twice} to", self._whole)
        return self._float(self._op("and", bits, -(1 << 16)))

    def store_first(self, vector: str, address: str, count: int) -> None:
        self.store(vector, address, self.first(count))

    def _all(self, mask: str | None) -> str | None:
        """Whether a mask known only at run time has all lanes set; None for other masks."""
        if mask is None or not mask.startswith("%"):
            return None
        name = f"llvm.vector.reduce.and.v{self.lanes}i1"
        callee = self.function.module.declare(name, "i1", self.flags)
        return self.function.value(f"call i1 {callee}({self.flags} {mask})")

    def rounded(self, vector: str) -> str:
        """The nearest numbers of 16 bits, in float32."""
        if self.stored == "bfloat16":
            return self._float(self._op("and", self._near(vector), -(1 << 16)))
        return self._widened(self._narrowed(vector))

    # Conversions ---------------------------------------------------------------------------------

    @property
    def _by_machine(self) -> bool:
        return HALF_FEATURE in self.machine.enabled or self.machine.arch == "aarch64"

    @property
    def _whole(self) -> str:
        return f"<{self.lanes} x i32>"

    def _widened(self, words: str) -> str:
        if self.stored == "float16" and self._by_machine:
            halves = self._cast(f"bitcast {self._raw.type} {words} to", f"<{self.lanes} x half>")
            return self._cast(f"fpext <{self.lanes} x half> {halves} to", self.type)
        bits = self._cast(f"zext {self._raw.type} {words} to", self._whole)
        if self.stored == "bfloat16":
            return self._float(self._op("shl", bits, 16))
        return self._from_half(bits)

    def _narrowed(self, vector: str) -> str:
        if self.stored == "float16" and self._by_machine:
            kind = f"<{self.lanes} x half>"
            halves = self._cast(f"fptrunc {self.type} {vector} to", kind)
            return self._cast(f"bitcast {kind} {halves} to", self._raw.type)
        bfloat = self.stored == "bfloat16"
        made = self._to_bfloat(vector) if bfloat else self._to_half(self._int(vector))
        return self._cast(f"trunc {self._whole} {made} to", self._raw.type)

    def _to_bfloat(self, vector: str) -> str:
        return self._op("lshr", self._near(vector), 16)

    def _near(self, vector: str) -> str:
        """The bits, of which the upper half is rounded by adding slightly less than half its last
        bit, and that bit. Of NaN all are set: the sum may be anything.
        """
        bits = self._int(vector)
        odd = self._op("and", self._op("lshr", bits, 16), 1)
        near = self._op("add", self._op("add", bits, 0x7FFF), odd)
        nan = self._cast(f"sext {self.flags} {self.compare('uno', vector, vector)} to", self._whole)
        return self._op("or", near, nan)

    def _from_half(self, bits: str) -> str:
        """Raise exponents by 112; convert denormals as integer multiples of 2 ** -24.

        This is right also on machines that flush denormals.
        """
        size = self._op("and", bits, 0x7FFF)
        sign = self._op("shl", self._op("xor", bits, size), 16)
        exponent = self._op("add", self._op("shl", size, 13), 112 << 23)
        large = self._op("add", exponent, 112 << 23)
        count = self._cast(f"sitofp {self._whole} {size} to", self.type)
        small = self._int(self.mul(count, self.constant(2.0**-24)))
        made = self._pick(self._is("ult", size, 0x400), small, exponent)
        made = self._pick(self._is("uge", size, 0x7C00), large, made)
        return self._float(self._op("or", made, sign))

    def _to_half(self, bits: str) -> str:
        """As for bfloat16, but infinite from 2 ** 16 on.

        Below the least normal number, adding 0.5 rounds: the last bit of the sum is 2 ** -24.
        """
        size = self._op("and", bits, 0x7FFFFFFF)
        sign = self._op("lshr", self._op("xor", bits, size), 16)
        odd = self._op("and", self._op("lshr", size, 13), 1)
        near = self._op("add", self._op("add", size, 0xFFF - (112 << 23)), odd)
        near = self._op("lshr", near, 13)
        half = self.constant(0.5)
        small = self._op("sub", self._int(self.add(self._float(size), half)), 0x3F000000)
        nan = self._pick(self._is("ugt", size, 0x7F800000), self._all_of(0x7E00),
                         self._all_of(0x7C00))  # fmt: skip
        made = self._pick(self._is("ult", size, 113 << 23), small, near)
        made = self._pick(self._is("uge", size, 143 << 23), nan, made)
        return self._op("or", made, sign)

    def _cast(self, text: str, kind: str) -> str:
        return self.function.value(f"{text} {kind}")

    def _float(self, bits: str) -> str:
        return self._cast(f"bitcast {self._whole} {bits} to", self.type)

    def _int(self, vector: str) -> str:
        return self._cast(f"bitcast {self.type} {vector} to", self._whole)

    def _all_of(self, number: int) -> str:
        return f"splat (i32 {number})"

    def _op(self, name: str, bits: str, other: str | int) -> str:
        given = self._all_of(other) if isinstance(other, int) else other
        return self.function.value(f"{name} {self._whole} {bits}, {given}")

    def _is(self, predicate: str, bits: str, number: int) -> str:
        return self.function.value(f"icmp {predicate} {self._whole} {bits}, {self._all_of(number)}")

    def _pick(self, flags: str, yes: str, no: str) -> str:
        kind = self._whole
        return self.function.value(f"select {self.flags} {flags}, {kind} {yes}, {kind} {no}")


@dataclass(frozen=True)
class Words(Vectors):
    """As many 16-bit integers as a vector has lanes, or ``count``."""

    count: int = 0

    @property
    def lanes(self) -> int:
        return self.count or super().lanes

    @property
    def element(self) -> str:
        return "i16"

    @property
    def bytes(self) -> int:
        return 2

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}i16"

    def store(
        self, vector: str, address: str, mask: str | None = None, align: int | None = None
    ) -> None:
        """Of one lane alone as a scalar: LLVM 22 makes a store of 32 bits of such a masked one on
        AVX-512 where the vector was truncated before, and overwrites what lies behind.
        """
        if mask is None or mask.startswith("%") or mask.count("i1 1") != 1:
            super().store(vector, address, mask, align)
            return
        lane = mask.strip("<>").split(", ").index("i1 1")
        one = self.function.value(f"extractelement {self.type} {vector}, i64 {lane}")
        where = self.at(address, lane)
        self.function.emit(f"store {self.element} {one}, ptr {where}, align {self.bytes}")


def memory(v: Vectors, stored: str) -> Vectors:
    """The operations on memory that holds ``stored``; ``v`` itself where that is its dtype."""
    if stored in ("", v.dtype):
        return v
    return Narrow(v.function, v.machine, v.dtype, stored)
