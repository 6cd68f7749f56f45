"""The code that copies a chunk's levels into its patch.

A patch holds x - s, in the type of the inner product: 8 bits in its range, or 16 with s = zero.
"""

from collections.abc import Callable

from faltung.codegen.ir import Function, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.step import MISSING
from faltung.methods.integer.inner import Inner

ROW = parameters(["x", "row", "runs"], ["count", "step"])
# Columns of the tables of rows and of runs.
ROW_COLUMNS, RUN_COLUMNS = 2, 3


@dataclass(frozen=True, slots=True)
class Form:
    """How levels lie in a patch. signed: whether those that are read are; zero: of their grid.
    contiguous: whether their channels are.
    """

    inner: Inner
    signed: bool
    zero: int
    contiguous: bool

    @property
    def shift(self) -> int:
        """What is taken from a level."""
        if self.inner.stored in ("int16", "float32"):
            return self.zero
        return 128 * ((self.inner.stored == "int8") - self.signed)

    @property
    def kind(self) -> str:
        """The LLVM type of an element."""
        return "float" if self.inner.stored == "float32" else f"i{8 * self.inner.bytes}"

    def functions(self, code: Functions) -> None:
        """The function that copies the ``count`` runs of a row; ``missing`` fills them."""
        for name, copies in (("patch_row", True), ("patch_blank", False)):
            v = code.open(name, ROW)
            f = v.function
            with f.loop(0, "%count") as run:
                entry = f.at("%runs", f.mul(run.index, RUN_COLUMNS), "i64")
                source, size = f.word(entry, 0), f.word(entry, 2)
                to = f.at("%row", f.word(entry, 1), self.kind)
                if not copies:
                    self._fill(v, to, size)
                    continue
                missing = f.value(f"icmp eq i64 {source}, {MISSING}")
                for blank in f.branches(missing):
                    if blank:
                        self._fill(v, to, size)
                    else:
                        self._copy(v, f.at("%x", source, "i8"), to, size)

    def _parts(self, v: Vectors, size: str, do: Callable[[str, int], None]) -> None:
        """``do`` for pieces of falling sizes, which together are all."""
        f, most = v.function, v.machine.vector_bytes // self.inner.bytes
        start = "0"
        for many in dict.fromkeys((most, 8, 4, 1)):
            if many > most:
                continue
            stop = f.mul(f.value(f"lshr i64 {size}, {many.bit_length() - 1}"), many)
            with f.loop(start, stop, step=many) as at:
                do(at.index, many)
            start = stop

    def _fill(self, v: Vectors, to: str, size: str) -> None:
        f, number = v.function, self.zero - self.shift

        def do(at: str, many: int) -> None:
            kind = f"<{many} x {self.kind}>"
            if self.kind == "float":  # number is zero
                f.emit(f"store {kind} zeroinitializer, ptr {f.at(to, at, self.kind)}, align 1")
                return
            blank = f"splat ({self.kind} {number - 256 * (self.kind == 'i8' and number > 127)})"
            f.emit(f"store {kind} {blank}, ptr {f.at(to, at, self.kind)}, align 1")

        self._parts(v, size, do)

    def _copy(self, v: Vectors, x: str, to: str, size: str) -> None:
        f = v.function
        if not self.contiguous:
            with f.loop(0, size) as at:
                source = f.at(x, f.mul(at.index, "%step"), "i8")
                level = f.value(f"load <1 x i8>, ptr {source}, align 1")
                self._put(f, level, f.at(to, at.index, self.kind), 1)
            return

        def do(at: str, many: int) -> None:
            levels = f.value(f"load <{many} x i8>, ptr {f.at(x, at, 'i8')}, align 1")
            self._put(f, levels, f.at(to, at, self.kind), many)

        self._parts(v, size, do)

    def _put(self, f: Function, levels: str, to: str, many: int) -> None:
        """Store levels as they are in a patch."""
        kind = f"<{many} x {self.kind}>"
        if self.kind in ("i16", "float"):
            wide = "i16" if self.kind == "i16" else "i32"
            extend = "sext" if self.signed else "zext"
            levels = f.value(f"{extend} <{many} x i8> {levels} to <{many} x {wide}>")
            if self.shift:
                levels = f.value(f"sub <{many} x {wide}> {levels}, splat ({wide} {self.shift})")
            if self.kind == "float":
                levels = f.value(f"sitofp <{many} x i32> {levels} to {kind}")
        elif self.shift:
            levels = f.value(f"xor {kind} {levels}, splat (i8 -128)")
        f.emit(f"store {kind} {levels}, ptr {to}, align 1")
