"""``python -m benchmarks elementary``: cycles of elementary functions for a vector, beside others.

One thread, an array in the second-level cache. A call's own time is not counted: each number is the
difference between a longer array and a shorter one. Cycles are measured beside every call, by a
chain of fused multiply-adds of a known latency. Every library has a process of its own, and those
take turns; each number is the least of all turns.

Ours and ONNX Runtime run the same model of one node; PyTorch writes to an array that is there. A
"vector" is one of this machine for everybody. ``--write`` updates ``docs/methods/elementary.md``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.accuracy import head, line, written
from benchmarks.processes import ROOT
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import Machine

Array = np.ndarray[Any, Any]

PAGE = Path(__file__).parent.parent / "docs" / "methods" / "elementary.md"
TABLE = "cycles"
LIBRARIES = ("faltung", "onnxruntime", "pytorch")
DTYPES = ("float32", "float64")
# Elements of the two arrays.
SIZES = (4096, 16384)
TURNS, REPEATS = 3, 40
LINKS, LATENCY = 8000, 4  # of the chain; cycles of a fused multiply-add


@dataclass(frozen=True)
class Row:
    """A function: the ONNX node of it (and its domain), and its name in ``torch.ops.aten``."""

    node: str
    torch: str
    domain: str = ""
    attributes: tuple[tuple[str, float], ...] = ()


ROWS = {
    "exp": Row("Exp", "exp"),
    "sigmoid": Row("Sigmoid", "sigmoid"),
    "tanh": Row("Tanh", "tanh"),
    "erf": Row("Erf", "erf"),
    "SiLU": Row("QuickGelu", "silu", "com.microsoft", (("alpha", 1.0),)),
    "GELU": Row("Gelu", "gelu", "com.microsoft"),
    "Softplus": Row("Softplus", "softplus"),
    "Mish": Row("Mish", "mish"),
    "ELU": Row("Elu", "elu"),
    "HardSwish": Row("HardSwish", "hardswish"),
    "log": Row("Log", "log"),
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
    from faltung.onnx.model import load
    from faltung.runtime.threads import set_threads

    set_threads(1)
    loaded, given = load(model(row, dtype, x.size)), {"x": x[np.newaxis]}
    return lambda: loaded.run(given)


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
    """The least of what each library needs, measured in processes that take turns."""
    best: dict[str, dict[str, float]] = {library: {} for library in libraries}
    for _ in range(TURNS):
        for library in libraries:
            command = [sys.executable, "-m", "benchmarks.cycles", library]
            given = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            for what, cycles in json.loads(given.stdout).items():
                best[library][what] = min(cycles, best[library].get(what, cycles))
    return best


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
