"""The FMA peak: the most multiply-adds per second that this processor can do.

A loop of independent multiply-adds that stay in registers and touch no memory. It is the yardstick
of every other figure: a kernel is good when it comes near. Without FMA the multiply and the add are
two instructions, and so they are here: the peak is what the machine chosen can do, not another one.
"""

import time
from dataclasses import dataclass

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.runtime import team

# The loop is x <- x * 0.5 + 0.5. It settles at 1, far from denormals and infinities.
_FACTOR = 0.5
_CALIBRATION_TURNS = 10_000
_RUN_SECONDS = 2e-3


def accumulators(machine: Machine) -> int:
    """Chains of multiply-adds side by side: enough to hide their latency, few enough for registers.

    An FMA takes four or five cycles and two start in each: ten chains would do, the rest is margin.
    """
    return 24 if machine.registers >= 32 else 12


@dataclass(frozen=True)
class PeakLoop:
    """The recipe of the loop.

    Its parameters are two 64-bit words: turns of the loop, and the address of a block of elements
    that holds the factor, the addend, the first value of each chain, and one result for each item.
    """

    dtype: str
    chains: int

    @property
    def symbol(self) -> str:
        return f"peak_{self.dtype}_{self.chains}"

    def emit(self, machine: Machine) -> str:
        """LLVM IR: item i runs the loop once and stores the sum at block[2 + chains + i]."""
        module = Module()
        arguments = [("ptr", "params"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        vectors = Vectors(f, machine, self.dtype)
        turns, block = f.word("%params", 0), f.pointer("%params", 1)
        factor, addend = (vectors.broadcast(vectors.at(block, i)) for i in range(2))
        results = vectors.at(block, 2 + self.chains)
        with f.loop("%begin", "%end") as item:
            first = [vectors.broadcast(vectors.at(block, 2 + i)) for i in range(self.chains)]
            with f.loop(0, turns, [(vectors.type, x) for x in first], runs=True) as loop:
                loop.carry([vectors.multiply_add(x, factor, addend) for x in loop.values])
            total, *others = loop.results
            for other in others:
                total = vectors.add(total, other)
            # Whatever is not stored, LLVM leaves out: every chain has to reach memory.
            last = vectors.total(total)
            f.emit(f"store {vectors.element} {last}, ptr {vectors.at(results, item.index)}")
        return str(module)


def fma_peak(threads: int = 1, dtype: str = "float32", *, seconds: float = 0.1) -> float:
    """GFLOP/s (two a multiply-add) of ``threads`` threads on the current machine.

    The best of many runs, which together take about ``seconds``. ValueError: an unknown dtype.
    """
    machine = current()
    recipe = PeakLoop(dtype, accumulators(machine))
    lanes = machine.lanes(dtype)
    block = np.zeros(2 + recipe.chains + threads, dtype=dtype)
    block[:2] = _FACTOR, 1 - _FACTOR
    block[2 : 2 + recipe.chains] = np.arange(recipe.chains)
    params = np.array([_CALIBRATION_TURNS, block.ctypes.data], dtype=np.int64)
    code = kernel(recipe, machine)
    steps = np.array([[code.address, params.ctypes.data, threads, 1]], dtype=np.int64)

    def run() -> float:
        start = time.perf_counter()
        team.run(steps, threads)
        return time.perf_counter() - start

    run()  # wakes the team
    params[0] = max(1, int(_CALIBRATION_TURNS * _RUN_SECONDS / min(run() for _ in range(3))))
    best = min(run() for _ in range(max(5, round(seconds / _RUN_SECONDS))))
    return threads * int(params[0]) * 2 * recipe.chains * lanes / best / 1e9
