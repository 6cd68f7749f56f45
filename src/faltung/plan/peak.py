"""The FMA peak: the most multiply-adds per second that this processor can do.

It is measured with a loop of independent multiply-adds in registers, without memory accesses, and
is the yardstick for all other figures: a good kernel comes close to it. Without FMA the
multiply and the add are two instructions, here as in kernels: the peak is that of the machine that
code is generated for.
"""

import time

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.runtime import team

# The loop is x <- x * 0.5 + 0.5, which converges to 1, far from denormals and infinities.
_FACTOR = 0.5
_CALIBRATION_ITERATIONS = 10_000
_RUN_SECONDS = 2e-3


def accumulators(machine: Machine) -> int:
    """Independent chains of multiply-adds: enough to hide latency, few enough for registers.

    An FMA takes four or five cycles, and two start per cycle: ten chains would do.
    """
    return 24 if machine.registers >= 32 else 12


@dataclass(frozen=True)
class PeakLoop:
    """The recipe of the loop.

    Its arguments are two 64-bit words: iterations of the loop, and the address of an array of
    elements: the factor, the addend, the first value of each chain, and one result per item.
    """

    dtype: str
    chains: int

    @property
    def symbol(self) -> str:
        return f"peak_{self.dtype}_{self.chains}"

    def emit(self, machine: Machine) -> str:
        """LLVM IR in which item i runs the loop and stores the sum at array[2 + chains + i]."""
        module = Module()
        arguments = [("ptr", "params"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        vectors = Vectors(f, machine, self.dtype)
        iterations, block = f.word("%params", 0), f.pointer("%params", 1)
        factor, addend = (vectors.broadcast(vectors.at(block, i)) for i in range(2))
        results = vectors.at(block, 2 + self.chains)
        with f.loop("%begin", "%end") as item:
            first = [vectors.broadcast(vectors.at(block, 2 + i)) for i in range(self.chains)]
            with f.loop(0, iterations, [(vectors.type, x) for x in first], runs=True) as loop:
                loop.carry([vectors.multiply_add(x, factor, addend) for x in loop.values])
            total, *others = loop.results
            for other in others:
                total = vectors.add(total, other)
            # LLVM drops what is not stored, so every chain must contribute.
            last = vectors.total(total)
            f.emit(f"store {vectors.element} {last}, ptr {vectors.at(results, item.index)}")
        return str(module)


def fma_peak(threads: int = 1, dtype: str = "float32", *, seconds: float = 0.1) -> float:
    """Measure the peak of ``threads`` threads on the current machine, in GFLOP/s.

    A multiply-add counts as two operations. The result is the best of many runs, which take about
    ``seconds`` together. ValueError: an unknown dtype.
    """
    machine = current()
    recipe = PeakLoop(dtype, accumulators(machine))
    lanes = machine.lanes(dtype)
    block = np.zeros(2 + recipe.chains + threads, dtype=dtype)
    block[:2] = _FACTOR, 1 - _FACTOR
    block[2 : 2 + recipe.chains] = np.arange(recipe.chains)
    params = np.array([_CALIBRATION_ITERATIONS, block.ctypes.data], dtype=np.int64)
    code = kernel(recipe, machine)
    steps = np.array([[code.address, params.ctypes.data, threads, 1]], dtype=np.int64)

    def run() -> float:
        start = time.perf_counter()
        team.run(steps, threads)
        return time.perf_counter() - start

    run()  # wakes the team
    params[0] = max(1, int(_CALIBRATION_ITERATIONS * _RUN_SECONDS / min(run() for _ in range(3))))
    best = min(run() for _ in range(max(5, round(seconds / _RUN_SECONDS))))
    return threads * int(params[0]) * 2 * recipe.chains * lanes / best / 1e9
