"""``python -m benchmarks elementary``: cycles of elementary functions for a vector, beside others.

One thread, an array in the second-level cache. A call's own time is not counted: each number is the
difference between a longer array and a shorter one. Cycles are measured beside every call, by a
chain of fused multiply-adds of a known latency. Every library has a process of its own, and those
take turns; each number is the median of its turns.

Ours is the kernel of an elementwise step, ONNX Runtime's a model of one node with bound arrays,
PyTorch's an operator with an array for its result. A "vector" is one of this machine for all.
``--write`` updates ``docs/methods/elementary.md``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.accuracy import head, line, written
from benchmarks.processes import ROOT
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr, operand, unary
from faltung.graph import activations
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.elementwise.kernel import FlatKernel

Array = np.ndarray[Any, Any]

PAGE = Path(__file__).parent.parent / "docs" / "methods" / "elementary.md"
TABLE = "cycles"
LIBRARIES = ("faltung", "onnxruntime", "pytorch")
DTYPES = ("float32", "float64")
# Elements of the two arrays.
SIZES = (4096, 16384)
TURNS, REPEATS = 5, 40
X = operand(0)
LINKS, LATENCY = 8000, 4  # of the chain; cycles of a fused multiply-add


@dataclass(frozen=True)
class Row:
    """A function: our formula, the ONNX node (and its domain), the name in ``torch.ops.aten``."""

    ours: Expr
    node: str
    torch: str
    domain: str = ""
    attributes: tuple[tuple[str, float], ...] = ()


ROWS = {
    "exp": Row(unary("exp", X), "Exp", "exp"),
    "sigmoid": Row(activations.sigmoid(), "Sigmoid", "sigmoid"),
    "tanh": Row(activations.tanh(), "Tanh", "tanh"),
    "erf": Row(unary("erf", X), "Erf", "erf"),
    "SiLU": Row(activations.silu(), "QuickGelu", "silu", "com.microsoft", (("alpha", 1.0),)),
    "GELU": Row(activations.gelu(), "Gelu", "gelu", "com.microsoft"),
    "softplus": Row(activations.softplus(), "Softplus", "softplus"),
    "mish": Row(activations.mish(), "Mish", "mish"),
    "ELU": Row(activations.elu(), "Elu", "elu"),
    "hard swish": Row(activations.hard_swish(), "HardSwish", "hardswish"),
    "log": Row(unary("log", X), "Log", "log"),
}


# In the process of a library ----------------------------------------------------------------------


def numbers(name: str, dtype: str, size: int) -> Array:
    x = np.random.default_rng(0).uniform(-6, 6, size).astype(dtype)
    return np.abs(x) if name == "log" else x


def model(row: Row, dtype: str, size: int) -> bytes:
    """The bytes of a model of one node. It needs the package ``onnx``."""
    from onnx import TensorProto, helper

    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    x, y = (helper.make_tensor_value_info(name, kind, [1, size]) for name in "xy")
    node = helper.make_node(row.node, ["x"], ["y"], domain=row.domain, **dict(row.attributes))
    graph = helper.make_graph([node], "one", [x], [y])
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=domains, ir_version=9)
    return bytes(made.SerializeToString())


def faltung_call(row: Row, dtype: str, x: Array) -> Callable[[], object]:
    made, out = kernel(FlatKernel(dtype, ("full",), (row.ours,), ())), np.empty_like(x)
    words = np.array([x.size, x.size, x.ctypes.data, out.ctypes.data], np.int64)
    return lambda given=x, out=out: made(words.ctypes.data, 0, 1)


def onnxruntime_call(row: Row, dtype: str, x: Array) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    given = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model(row, dtype, x.size), options, given)
    binding, out = session.io_binding(), np.empty_like(x)[np.newaxis]
    binding.bind_cpu_input("x", x[np.newaxis])
    shape, kind = [1, x.size], x.dtype.type
    binding.bind_output("y", "cpu", 0, kind, shape, out.ctypes.data)
    return lambda out=out: session.run_with_iobinding(binding)


def pytorch_call(row: Row, dtype: str, x: Array) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)
    given, out = torch.from_numpy(x), torch.from_numpy(np.empty_like(x))
    function = getattr(torch.ops.aten, row.torch).out
    return lambda: function(given, out=out)


CALLS = {"faltung": faltung_call, "onnxruntime": onnxruntime_call, "pytorch": pytorch_call}


@dataclass(frozen=True)
class Chain:
    """``end`` times eight multiply-adds, each of the result of the one before."""

    symbol = "chain"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, "float32")
        first = v.load("%words")
        with f.loop("%begin", "%end", [(v.type, first)]) as i:
            (x,) = i.values
            for _ in range(8):
                x = v.multiply_add(x, first, first)
            i.carry([x])
        v.store(i.results[0], "%words")
        return str(module)


def least(calls: Sequence[Callable[[], object]]) -> list[float]:
    """The least time of each, all in turns."""
    found = [float("inf")] * len(calls)
    for _ in range(REPEATS):
        for i, call in enumerate(calls):
            start = perf_counter()
            call()
            found[i] = min(found[i], perf_counter() - start)
    return found


def measured(library: str) -> dict[str, float]:
    """Cycles for a vector by "function dtype"; what the library lacks is left out."""
    made, words = kernel(Chain()), np.zeros(64, np.float32)
    chains = [partial(made, words.ctypes.data, 0, count) for count in (LINKS // 8, LINKS // 4)]
    found: dict[str, float] = {}
    for name, row in ROWS.items():
        for dtype in DTYPES:
            try:
                calls = [CALLS[library](row, dtype, numbers(name, dtype, size)) for size in SIZES]
                calls[0]()
            except Exception:
                continue
            short, long, one, two = least([*calls, *chains])
            vectors = (SIZES[1] - SIZES[0]) / current().lanes(dtype)
            found[f"{name} {dtype}"] = (long - short) / (two - one) * LINKS * LATENCY / vectors
    return found


# All of them --------------------------------------------------------------------------------------


def turns(libraries: Sequence[str]) -> dict[str, dict[str, float]]:
    """The medians of what each library needs, measured in processes that take turns."""
    every: dict[str, list[dict[str, float]]] = {library: [] for library in libraries}
    for _ in range(TURNS):
        for library, found in every.items():
            command = [sys.executable, "-m", "benchmarks.cycles", library]
            given = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            found.append(json.loads(given.stdout))
    return {
        library: {what: median(turn[what] for turn in found) for what in found[0]}
        for library, found in every.items()
    }


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """A row for each function."""
    columns = [(library, dtype) for dtype in DTYPES for library in found]
    lines = head("function", *(f"{library}, {dtype}" for library, dtype in columns))
    for name in ROWS:
        cells = [found[library].get(f"{name} {dtype}") for library, dtype in columns]
        lines.append(line(name, *("" if cell is None else f"{cell:.1f}" for cell in cells)))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks elementary", description=__doc__)
    parser.add_argument("--only", metavar="LIBRARY", choices=LIBRARIES, help="(all)")
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.name}")
    options = parser.parse_args(arguments)
    lines = table(turns([options.only] if options.only else LIBRARIES))
    print(*lines, sep="\n")
    if options.write:
        PAGE.write_text(written(PAGE.read_text("utf-8"), TABLE, lines), "utf-8")
    return 0


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
