"""The processors that kernels are written for: one row each, data only.

A row says how wide a vector is, how many vectors the registers hold, and whether there are fused
multiply-adds and lane masks. The code generator reads nothing else, so a new processor is a new
row. Cache sizes and cores are those of a typical processor of its kind; ``detect.describe``
replaces them by what this computer reports.
"""

from dataclasses import replace
from functools import cache

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.machine import speed
from faltung.machine.speed import Speed

# Bytes of one element of a vector. 16-bit floats are float32 in a vector.
_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}
_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"
# Linux, macOS and Windows name the same architectures differently; so do their variants on macOS.
_SPELLINGS = {"amd64": "x86_64", "x86_64h": "x86_64", "arm64": "aarch64", "arm64e": "aarch64"}


@dataclass(frozen=True, slots=True)
class Machine:
    """One processor, as data.

    Parameters
    ----------
    name
        What users and messages call it.
    triple, cpu, features
        As LLVM names them; ``features`` looks like "+a,-b".
    vector_bytes
        Bytes of one vector.
    registers
        How many vectors the registers hold.
    fma
        Whether there is a fused multiply-add.
    masks
        Whether there are lane masks in hardware.
    l1, l2
        Bytes of the first-level data cache and of the second-level cache of one core.
    cores
        Processors that this process may use.
    speed
        Nominal speed, for prices.

    Examples
    --------
    >>> AVX2.lanes("float32")
    8
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool
    masks: bool
    l1: int
    l2: int
    cores: int
    speed: Speed = speed.GENERIC

    def lanes(self, dtype: str) -> int:
        """Elements of ``dtype`` ("float32", "float64", "int32", "int64") in one vector."""
        if dtype not in _BYTES:
            raise FaltungError(f"dtype={dtype!r}: must be one of {', '.join(_BYTES)}")
        return self.vector_bytes // _BYTES[dtype]

    @property
    def arch(self) -> str:
        """The architecture: the first word of the triple, in one spelling."""
        word = self.triple.split("-", 1)[0].lower()
        return _SPELLINGS.get(word, word)

    @property
    def enabled(self) -> frozenset[str]:
        """The features that ``features`` switches on."""
        return frozenset(f[1:] for f in self.features.split(",") if f.startswith("+"))

    @property
    def code_key(self) -> str:
        """Everything that can change the code of a kernel, so not the number of cores."""
        return _code_key(self)

    def __str__(self) -> str:
        has = [word for word, yes in (("fma", self.fma), ("masks", self.masks)) if yes]
        return (
            f"{self.name}: {self.arch} {self.cpu}, {self.registers} vectors of "
            f"{self.vector_bytes} bytes{''.join(', ' + word for word in has)}, "
            f"L1 {self.l1 // 1024} KiB, L2 {self.l2 // 1024} KiB, {self.cores} cores"
        )


@cache
def _code_key(machine: Machine) -> str:
    return repr(replace(machine, cores=1))


# Features are written out, both on and off: under a hypervisor LLVM may mistake the processor for
# another one, and what counts is what it can do, not its name. The cpu names are the levels of the
# x86-64 psABI; they only choose a schedule.
_SSE_ON = "+cx8,+fxsr,+mmx,+sse,+sse2"
_AVX2_ON = _SSE_ON + (
    ",+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
)
_AVX512_ON = _AVX2_ON + ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

_KIB = 1024
AVX512 = Machine(
    "avx512",
    _X86,
    "x86-64-v4",
    _AVX512_ON,
    64,
    32,
    True,
    True,
    32 * _KIB,
    1024 * _KIB,
    1,
    speed.AVX512,
)
AVX2 = Machine(
    "avx2",
    _X86,
    "x86-64-v3",
    _AVX2_ON + ",-avx512f",
    32,
    16,
    True,
    False,
    32 * _KIB,
    256 * _KIB,
    1,
    speed.AVX2,
)
SSE = Machine(
    "sse",
    _X86,
    "x86-64",
    _SSE_ON + ",-sse3,-avx",
    16,
    16,
    False,
    False,
    32 * _KIB,
    256 * _KIB,
    1,
    speed.SSE,
)
NEON = Machine(
    "neon", _ARM, "generic", "+neon", 16, 32, True, False, 32 * _KIB, 512 * _KIB, 1, speed.NEON
)
# ``detect.describe`` fills in the triple of ``generic``.
GENERIC = Machine("generic", "", "generic", "", 16, 16, False, False, 32 * _KIB, 256 * _KIB, 1)

# What every processor of an architecture has, whatever it reports: both are part of the ABI.
BASELINES: dict[str, Machine] = {SSE.arch: SSE, NEON.arch: NEON}

# Widest first: a computer is described by the first row whose features it has.
ROWS: tuple[Machine, ...] = (AVX512, AVX2, SSE, NEON, GENERIC)
NAMES: tuple[str, ...] = tuple(row.name for row in ROWS)


def row(name: str) -> Machine:
    """The row called ``name``. ValueError: there is none."""
    for machine in ROWS:
        if machine.name == name:
            return machine
    raise FaltungError(f"machine={name!r}: must be one of {', '.join(NAMES)}")
