"""Where the addresses of a kernel point, and the same kernel over arrays of 16 bits."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from faltung.codegen.ir import Module
from faltung.codegen.storage import accesses, over
from faltung.codegen.vectors import Vectors
from faltung.geometry.conv import NARROW
from faltung.jit.compile import kernel
from faltung.machine.table import Machine
from faltung.runtime.halves import HELD, halved, whole


@dataclass(frozen=True)
class Winding:
    """Doubles x into y, by every way that addresses take: a loop, a branch, a call, local memory.

    ``how``: what it does besides. ``stored``: (word, kind) of arrays of 16 bits.
    """

    how: str = ""
    stored: tuple[tuple[int, str], ...] = field(default=())

    symbol = "winding"

    def emit(self, machine: Machine) -> str:
        text = self.text(machine)
        return over(text, self.symbol, dict(self.stored), machine) if self.stored else text

    def text(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, "float32")
        x, y, zeros = (f.pointer("%words", i) for i in range(3))
        table = f.value("alloca [2 x ptr], align 8")
        f.emit(f"store ptr {x}, ptr {f.at(table, 0, 'ptr')}, align 8")
        f.emit(f"store ptr {zeros}, ptr {f.at(table, 1, 'ptr')}, align 8")
        if self.how == "kept":
            f.emit(f"store ptr {x}, ptr {y}, align 8")
        if self.how == "words":
            f.value(f"load i32, ptr {x}, align 4")
        with v.walk("%begin", "%end", [(y, v.lanes)], step=v.lanes) as loop:
            left = f.sub("%end", loop.index)
            odd = f.value(f"and i64 {loop.index}, {v.lanes}")
            place = f.value(f"lshr i64 {odd}, {v.lanes.bit_length() - 1}")
            chosen = f.value(f"load ptr, ptr {f.at(table, place, 'ptr')}, align 8")
            source = v.at(chosen, loop.index)
            more = f.value(f"icmp sge i64 {left}, {v.lanes}")
            for full in f.branches(more):
                call = [("ptr", source), ("ptr", loop.values[0])]
                f.call("whole" if full else "some", [*call, ("i64", left)])
            if self.how == "adds":
                v.store(v.add(v.load(y), v.load(y)), y)
        for name in ("whole", "some"):
            inner = v.functions.open(name, [("ptr", "a"), ("ptr", "b"), ("i64", "left")])
            mask = None if name == "whole" else inner.below("%left")
            loaded = inner.load("%a", mask)
            first = inner.broadcast("%a")
            inner.store(inner.add(inner.add(loaded, loaded), inner.sub(first, first)), "%b", mask)
        return str(module)


def run(recipe: Winding, machine: Machine, x: np.ndarray, y: np.ndarray) -> None:
    zeros = np.zeros_like(x)
    words = np.array([a.ctypes.data for a in (x, y, zeros)], np.int64)
    kernel(recipe, machine)(words.ctypes.data, 0, len(x))


@pytest.mark.parametrize("stored", NARROW)
@pytest.mark.parametrize("count", [1, 5, 16, 43])
def test_the_same_code_over_16_bits(stored: str, count: int, machine: Machine) -> None:
    """Read, written, or both; nothing is written behind the end."""
    values = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    x = halved(values, stored)
    wide = np.full(count + 1, 7, np.float32)
    run(Winding(), machine, whole(x, stored), wide[:count])
    read, both = wide.copy(), np.full(count + 1, 7, HELD[stored])
    run(Winding(stored=((0, stored), (2, stored))), machine, x, read[:count])
    assert read.tobytes() == wide.tobytes()
    run(Winding(stored=tuple((i, stored) for i in range(3))), machine, x, both[:count])
    assert both.tobytes() == np.append(halved(wide[:count], stored), both[-1]).tobytes()
    assert both[-1] == 7


def test_what_is_done_with_arrays(machine: Machine) -> None:
    found = accesses(Winding().text(machine), "winding")
    assert [(a.reads, a.writes, a.fits) for _, a in sorted(found.items())] == [
        (True, False, True),
        (False, True, True),
        (True, False, True),
    ]
    # One instruction reads either of them.
    assert found[0].with_ == {2}
    assert found[2].with_ == {0}
    assert found[1].with_ == frozenset()


@pytest.mark.parametrize("how", ["kept", "words"])
def test_what_cannot_be_stored_otherwise(how: str, machine: Machine) -> None:
    """An array whose address is kept in another, or that is read as numbers of another kind; nor
    what must be stored alike.
    """
    found = accesses(Winding(how).text(machine), "winding")
    assert not found[0].fits
    assert not found[2].fits
    assert found[1].fits == (how == "words")


def test_sums_in_the_making(machine: Machine) -> None:
    found = accesses(Winding("adds").text(machine), "winding")
    assert found[1].reads
    assert found[1].writes
