"""Numbers of 16 bits: every one of them, and every rounding, on machines with and without the
instructions.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from faltung.codegen.ir import Module
from faltung.codegen.narrow import Narrow, memory
from faltung.codegen.vectors import Vectors
from faltung.codegen.whole import EXTEND, Whole
from faltung.jit import llvm
from faltung.jit.compile import kernel, object_code
from faltung.machine.table import AVX512, NEON, Machine


@dataclass(frozen=True)
class Convert:
    """As many elements as the words say, 16 bits to float32 or back."""

    source: str
    target: str

    @property
    def symbol(self) -> str:
        return f"convert_{self.source}_{self.target}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, "float32")
        read, write = memory(v, self.source), memory(v, self.target)
        src, dst = f.pointer("%words", 0), f.pointer("%words", 1)
        with f.loop("%begin", "%end", step=v.lanes) as i:
            mask = v.below(f.sub("%end", i.index))
            write.store(read.load(read.at(src, i.index), mask), write.at(dst, i.index), mask)
        return str(module)


def convert(given: np.ndarray, source: str, target: str, machine: Machine) -> np.ndarray:
    """The bits of ``given`` read as ``source``, those of ``target`` back, with a guard behind."""
    size = 4 if target == "float32" else 2
    made = np.full(len(given) + 1, 0x5A, f"u{size}")
    words = np.array([given.ctypes.data, made.ctypes.data], np.int64)
    kernel(Convert(source, target), machine)(words.ctypes.data, 0, len(given))
    assert made[-1] == 0x5A
    return made[:-1]


EVERY = np.arange(1 << 16, dtype=np.uint16)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_every_number_is_widened_exactly(stored: str, machine: Machine) -> None:
    got = convert(EVERY, stored, "float32", machine).view(np.float32)
    if stored == "float16":
        want = EVERY.view(np.float16).astype(np.float32)
    else:
        want = (EVERY.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_rounding_is_that_of_numpy(stored: str, machine: Machine) -> None:
    """All numbers of 16 bits, all midpoints between two of them, and what lies beside those."""
    widened = EVERY.view(np.float16).astype(np.float32)
    if stored == "bfloat16":
        widened = (EVERY.astype(np.uint32) << 16).view(np.float32)
    finite = np.sort(widened[np.isfinite(widened)])
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf)]
    large = np.float32([65519.996, 65520, 65536, 1e10, 3.4e38, np.inf, np.nan])
    given = np.concatenate([widened, middle, *beside, large, -large])
    got = convert(given.view(np.uint32), "float32", stored, machine)
    if stored == "float16":
        with np.errstate(over="ignore"):
            want = given.astype(np.float16)
        np.testing.assert_array_equal(got.view(np.float16), want)
        return
    bits = given.view(np.uint32).astype(np.uint64)
    want = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    nan = np.isnan(given)
    np.testing.assert_array_equal(got[~nan], want[~nan])
    assert np.isnan((got[nan].astype(np.uint32) << 16).view(np.float32)).all()


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_compiles_for(row: Machine, stored: str) -> None:
    for recipe in (Convert(stored, "float32"), Convert("float32", stored)):
        assert object_code(recipe, row)
        # No call of the C library: there may be none with conversions in it.
        assert "hf2" not in llvm.assembly(recipe.emit(row), row)


@dataclass(frozen=True)
class Spread:
    """One vector of every second number to every third place, and one number to a whole vector."""

    stored: str

    @property
    def symbol(self) -> str:
        return f"spread_{self.stored}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = memory(Vectors(f, machine, "float32"), self.stored)
        src, dst = f.pointer("%words", 0), f.pointer("%words", 1)
        v.scatter(v.gather(src, 2), dst, 3)
        v.store(v.broadcast(v.at(src, 1)), v.at(dst, 3 * v.lanes))
        return str(module)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_numbers_at_a_stride(stored: str, machine: Machine) -> None:
    lanes = machine.lanes("float32")
    given = EVERY[0x3C00 : 0x3C00 + 2 * lanes].copy()  # ordinary numbers in both
    made = np.full(4 * lanes + 1, 0x5A5A, np.uint16)
    words = np.array([given.ctypes.data, made.ctypes.data], np.int64)
    kernel(Spread(stored), machine)(words.ctypes.data, 0, 1)
    np.testing.assert_array_equal(made[: 3 * lanes : 3], given[::2])
    np.testing.assert_array_equal(made[3 * lanes : 4 * lanes], given[1])
    untouched = np.delete(made, [*range(0, 3 * lanes, 3), *range(3 * lanes, 4 * lanes)])
    assert (untouched == 0x5A5A).all()


@dataclass(frozen=True)
class StoreFirst:
    """The first lanes of one vector, as many as are known when the code is written."""

    stored: str
    count: int

    @property
    def symbol(self) -> str:
        return f"store_first_{self.stored}_{self.count}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, "float32")
        kind = Whole if self.stored in EXTEND else Narrow
        write = kind(f, machine, "float32", self.stored)
        one = v.broadcast(f.pointer("%words", 0))
        write.store_first(one, f.pointer("%words", 1), min(self.count, v.lanes))
        return str(module)


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "uint8", "int8"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_what_lies_behind_stays(stored: str, count: int, machine: Machine) -> None:
    """A masked store of one lane, of numbers that were truncated, was one of 32 bits."""
    given = np.array([3.0], np.float32)
    made = np.full(64, 0x5A, np.uint8 if "int8" in stored else np.uint16)
    words = np.array([given.ctypes.data, made.ctypes.data], np.int64)
    kernel(StoreFirst(stored, count), machine)(words.ctypes.data, 0, 1)
    lanes = min(count, machine.lanes("float32"))
    assert (made[:lanes] != 0x5A).all() and (made[lanes:] == 0x5A).all()
