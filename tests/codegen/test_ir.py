"""Functions of a module that are written when they are needed, and instructions in turns."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.jit.compile import kernel
from faltung.machine.table import Machine


def _lines(module: Module) -> list[str]:
    return [line.strip() for line in str(module).splitlines()]


def test_instructions_of_independent_parts_alternate() -> None:
    module = Module()
    f = module.function("here", [("i64", "a"), ("i64", "b")])

    def chain(start: str, length: int) -> str:
        for _ in range(length):
            start = f.mul(start, start)
        return start

    found = f.woven([partial(chain, "%a", 2), partial(chain, "%b", 3)])
    assert found == ["%v2", "%v5"]
    assert _lines(module)[2:7] == [
        "%v1 = mul i64 %a, %a",
        "%v3 = mul i64 %b, %b",
        "%v2 = mul i64 %v1, %v1",
        "%v4 = mul i64 %v3, %v3",
        "%v5 = mul i64 %v4, %v4",
    ]


def test_parts_with_branches_follow_one_another() -> None:
    module = Module()
    f = module.function("here", [("i64", "a"), ("i1", "flag")])

    def part() -> str:
        return f.either("%flag", "i64", lambda: f.mul("%a", 2), lambda: f.mul("%a", 3))

    f.woven([part, part])
    lines = _lines(module)
    assert [line for line in lines if line.endswith(":")] == [
        *("entry:", "yes1:", "no2:", "after3:", "yes7:", "no8:", "after9:")
    ]


@dataclass(frozen=True)
class Shared:
    """out[i] = 2 x[i] + 1, twice by the same function, which returns a vector."""

    symbol = "shared_twice"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(self.symbol, [("ptr", "w"), ("i64", "a"), ("i64", "b")], public=True)
        v = Vectors(f, machine, "float32")

        def write(name: str) -> None:
            inner = v.functions.open(name, [(v.type, "x")], returns=v.type)
            one, two = inner.constant(1.0), inner.constant(2.0)
            inner.function.result = inner.multiply_add("%x", two, one)

        x = v.load("%w")
        for _ in range(2):
            name = module.shared("twice and one", write)
            x = f.value(f"call {v.type} @{name}({v.type} {x})")
        v.store(x, "%w")
        return str(module)


def test_a_shared_function_is_written_once(machine: Machine) -> None:
    x = np.arange(machine.lanes("float32"), dtype=np.float32)
    want = 2 * (2 * x + 1) + 1
    made = kernel(Shared())
    made(x.ctypes.data, 0, 1)
    np.testing.assert_array_equal(x, want)
    assert made.llvm().count("define internal <") == 1
