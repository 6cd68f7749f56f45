"""Inner products of short runs of 8-bit numbers, one in each lane: what a machine offers.

A lane of the sums is an int32; a lane of either operand holds, in its 32 bits, ``group`` numbers
that follow each other in the sum. All of these are exact, whatever the numbers are:

``vpdpbusd``  four levels from 0 to 255 times four weights (AVX-512 VNNI, AVX-VNNI);
``sdot``      four levels from -128 to 127 times four weights (NEON with the dot product);
``pmaddwd``   two levels times two weights, both widened to 16 bits (SSE2, AVX2, AVX-512; elsewhere
              LLVM writes products of 16 bits and a pairwise sum);
``pmaddubsw`` four levels times four weights, in two instructions (AVX2, AVX-512). The first adds
              two products in 16 bits and saturates, from 255 * 129 on: where weights are so
              large, their step is done by ``pmaddwd``, with even and odd levels apart.
"""

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine


@dataclass(frozen=True, slots=True)
class Inner:
    """One inner product. stored: the type of the levels; those of another range are moved into its
    range by a constant. features: of machines, any of which has it; none: all machines have it.
    """

    name: str
    group: int
    stored: str
    features: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of a level."""
        return 4 // self.group

    def here(self, machine: Machine) -> bool:
        """Whether the machine has an instruction for it."""
        return not self.features or not machine.enabled.isdisjoint(self.features)


VNNI = Inner("vpdpbusd", 4, "uint8", ("avx512vnni", "avxvnni"))
SDOT = Inner("sdot", 4, "int8", ("dotprod",))
PAIRS = Inner("pmaddwd", 2, "int16")
# Two neighbouring weights are small enough where their sizes are no more than this together.
BYTES = Inner("pmaddubsw", 4, "uint8", ("avx2",))
SMALL = 32767 // 255
# What sums without channels are made of: numbers of 32 bits, not an inner product.
SINGLE = Inner("float32", 1, "float32")
INNERS = {inner.name: inner for inner in (VNNI, SDOT, BYTES, PAIRS)}
EVERY = INNERS | {SINGLE.name: SINGLE}


def inner_of(machine: Machine) -> Inner:
    """The widest that the machine has an instruction for."""
    return next(inner for inner in INNERS.values() if inner.here(machine))


def dot(v: Vectors, inner: Inner, total: str, levels: str, weights: str) -> str:
    """``total`` with the products of one group in each lane added; all are vectors of int32.

    Where the machine has no instruction for it, the same in many.
    """
    if inner.features and inner.here(v.machine):
        return _by_instruction(v, inner, total, levels, weights)
    signs = ("zext" if inner.stored == "uint8" else "sext"), "sext"
    f, count, kind = v.function, v.lanes * inner.group, f"i{8 * inner.bytes}"
    wide = []
    for value, sign in zip((levels, weights), signs, strict=True):
        parts = f.value(f"bitcast {v.type} {value} to <{count} x {kind}>")
        wide.append(f.value(f"{sign} <{count} x {kind}> {parts} to <{count} x i32>"))
    products = f.value(f"mul <{count} x i32> {wide[0]}, {wide[1]}")
    return v.add(total, _grouped(v, products, count))


def _grouped(v: Vectors, products: str, count: int) -> str:
    """The sums of neighbours, until there is one for each lane."""
    f = v.function
    while count > v.lanes:
        halves = []
        for first in (0, 1):
            lanes = ", ".join(f"i32 {i}" for i in range(first, count, 2))
            text = f"shufflevector <{count} x i32> {products}, <{count} x i32> poison"
            halves.append(f.value(f"{text}, <{count // 2} x i32> <{lanes}>"))
        count //= 2
        products = f.value(f"add <{count} x i32> {halves[0]}, {halves[1]}")
    return products


def split_levels(v: Vectors, levels: str) -> tuple[str, str]:
    """The even and the odd ones of four levels from 0 to 255, each as two of 16 bits."""
    f, kind = v.function, f"<{2 * v.lanes} x i16>"
    even = f.value(f"and {v.type} {levels}, {v.splat(0x00FF00FF)}")
    odd = f.value(f"lshr {kind} {f.value(f'bitcast {v.type} {levels} to {kind}')}, splat (i16 8)")
    return even, f.value(f"bitcast {kind} {odd} to {v.type}")


def _by_instruction(v: Vectors, inner: Inner, total: str, levels: str, weights: str) -> str:
    f, parts = v.function, f"<{4 * v.lanes} x i8>"
    if inner is BYTES:
        return _by_bytes(v, total, levels, weights)
    name = {
        VNNI.name: f"llvm.x86.avx512.vpdpbusd.{32 * v.lanes}",
        SDOT.name: f"llvm.aarch64.neon.sdot.v{v.lanes}i32.v{4 * v.lanes}i8",
    }[inner.name]
    callee = f.module.declare(name, v.type, v.type, parts, parts)
    a, b = (f.value(f"bitcast {v.type} {value} to {parts}") for value in (levels, weights))
    return f.value(f"call {v.type} {callee}({v.type} {total}, {parts} {a}, {parts} {b})")


def _by_bytes(v: Vectors, total: str, levels: str, weights: str) -> str:
    f, parts, words = v.function, f"<{4 * v.lanes} x i8>", f"<{2 * v.lanes} x i16>"
    wide = v.machine.vector_bytes == 64
    name = "llvm.x86.avx512.pmaddubs.w.512" if wide else "llvm.x86.avx2.pmadd.ub.sw"
    callee = f.module.declare(name, words, parts, parts)
    a, b = (f.value(f"bitcast {v.type} {value} to {parts}") for value in (levels, weights))
    pairs = f.value(f"call {words} {callee}({parts} {a}, {parts} {b})")
    name = "llvm.x86.avx512.pmaddw.d.512" if wide else "llvm.x86.avx2.pmadd.wd"
    callee = f.module.declare(name, v.type, words, words)
    return v.add(total, f.value(f"call {v.type} {callee}({words} {pairs}, {words} splat (i16 1))"))
