"""Elements of NumPy's dtypes in memory, numbers of a working type in vectors.

Loads convert to the working type, as C does: whole numbers of 64 bits to the nearest double. Stores
convert back, as C does on the machine: the fraction is dropped, and of numbers beyond the range of
the type the low bits stay. (In C that is undefined; this is what compilers make of it on x86-64,
and what SciPy's arrays hold.)
"""

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

# The type in memory, its bytes, and whether it is a float, unsigned or signed.
KINDS = {
    "bool": ("i8", 1, "unsigned"),
    "uint8": ("i8", 1, "unsigned"),
    "int8": ("i8", 1, "signed"),
    "uint16": ("i16", 2, "unsigned"),
    "int16": ("i16", 2, "signed"),
    "uint32": ("i32", 4, "unsigned"),
    "int32": ("i32", 4, "signed"),
    "uint64": ("i64", 8, "unsigned"),
    "int64": ("i64", 8, "signed"),
    "float32": ("float", 4, "float"),
    "float64": ("double", 8, "float"),
}


@dataclass(frozen=True)
class Elements:
    """Memory of ``kind``, a key of ``KINDS``, for vectors ``v`` of the working type."""

    v: Vectors
    kind: str

    @property
    def element(self) -> str:
        return KINDS[self.kind][0]

    @property
    def bytes(self) -> int:
        return KINDS[self.kind][1]

    @property
    def _sort(self) -> str:
        return KINDS[self.kind][2]

    def at(self, base: str, offset: Index) -> str:
        return self.v.function.at(base, offset, self.element)

    def load(self, address: str) -> str:
        """A vector of contiguous elements."""
        kind = f"<{self.v.lanes} x {self.element}>"
        found = self.v.function.value(f"load {kind}, ptr {address}, align {self.bytes}")
        return self._widened(found)

    def gather(self, base: str, offsets: str, mask: str) -> str:
        """Elements at a vector of 32-bit offsets; lanes outside ``mask`` are zero, and not read."""
        v, f = self.v, self.v.function
        lanes, kind = v.lanes, f"<{v.lanes} x {self.element}>"
        suffix = {"float": "f32", "double": "f64"}.get(self.element, self.element)
        where = f.value(f"getelementptr {self.element}, ptr {base}, <{lanes} x i32> {offsets}")
        callee = f.module.declare(
            f"llvm.masked.gather.v{lanes}{suffix}.v{lanes}p0",
            *(kind, f"<{lanes} x ptr>", "i32", v.flags, kind),
        )
        found = f.value(
            f"call {kind} {callee}(<{lanes} x ptr> {where}, i32 {self.bytes}, {v.flags} {mask}, "
            f"{kind} zeroinitializer)"
        )
        return self._widened(found)

    def store(self, vector: str, address: str) -> None:
        kind = f"<{self.v.lanes} x {self.element}>"
        made = self._narrowed(vector)
        self.v.function.emit(f"store {kind} {made}, ptr {address}, align {self.bytes}")

    def rounded(self, vector: str) -> str:
        """The numbers that a store and a load leave."""
        if self.kind == self.v.dtype:
            return vector
        return self._widened(self._narrowed(vector))

    def copy_one(self, source: str, target: str) -> None:
        """One element as it is."""
        f = self.v.function
        one = f.value(f"load {self.element}, ptr {source}, align {self.bytes}")
        f.emit(f"store {self.element} {one}, ptr {target}, align {self.bytes}")

    # Conversions ----------------------------------------------------------------------------------

    def _widened(self, found: str) -> str:
        v, kind = self.v, f"<{self.v.lanes} x {self.element}>"
        if self.kind == v.dtype:
            return found
        if self._sort == "float":
            name = "fpext" if self.kind == "float32" else "fptrunc"
        else:
            name = "uitofp" if self._sort == "unsigned" else "sitofp"
        return v.function.value(f"{name} {kind} {found} to {v.type}")

    def _narrowed(self, vector: str) -> str:
        v, f, kind = self.v, self.v.function, f"<{self.v.lanes} x {self.element}>"
        if self.kind == v.dtype:
            return vector
        if self._sort == "float":
            name = "fptrunc" if self.kind == "float32" else "fpext"
            return f.value(f"{name} {v.type} {vector} to {kind}")
        # Through 32 bits with a sign, or 64 for what may need them.
        middle = "i64" if self.kind in ("uint32", "uint64", "int64") else "i32"
        whole = f"<{v.lanes} x {middle}>"
        if self.kind == "uint64":
            return self._unsigned(vector)
        made = f.value(f"fptosi {v.type} {vector} to {whole}")
        return made if whole == kind else f.value(f"trunc {whole} {made} to {kind}")

    def _unsigned(self, vector: str) -> str:
        """Numbers as 64 bits without a sign: of the size what is below 2 ** 64, then the sign."""
        v, f, whole = self.v, self.v.function, f"<{self.v.lanes} x i64>"
        size = v.abs(vector)
        made = f.value(f"fptosi {v.type} {size} to {whole}")
        beyond = v.sub(size, v.constant(2.0**63))
        large = f.value(f"fptosi {v.type} {beyond} to {whole}")
        large = f.value(f"xor {whole} {large}, splat (i64 {-(2**63)})")
        above = v.compare("oge", size, v.constant(2.0**63))
        made = f.value(f"select {v.flags} {above}, {whole} {large}, {whole} {made}")
        below = f.value(f"sub {whole} zeroinitializer, {made}")
        negative = v.compare("olt", vector, v.zero)
        return f.value(f"select {v.flags} {negative}, {whole} {below}, {whole} {made}")
