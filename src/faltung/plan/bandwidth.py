"""The copy bandwidth: how fast threads move bytes from one array to another.

It is the yardstick of what computes little for each byte. It depends on the cache that the arrays
lie in, so copies of many sizes are measured, each again and again: small ones come from the
second-level cache, larger ones from the third, the largest from memory. A byte that is copied
counts twice, as it is read and written; that memory may be read once more before it is written does
not count.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.runtime import team
from faltung.runtime.buffers import aligned

# Bytes read and written together: from a copy that is all hand-over to one beyond every cache.
SIZES = tuple(1 << k for k in range(12, 29))
_VECTORS = 4  # moved in an iteration
# Bytes between the arrays: at a multiple of 4096 from a store, processors make loads wait for it.
_APART = 2048 + 128


@dataclass(frozen=True)
class CopyLoop:
    """The recipe of the loop; its arguments: blocks of each item, the source, the destination. A
    block is ``_VECTORS`` vectors of float32.
    """

    @property
    def symbol(self) -> str:
        return f"bandwidth_{_VECTORS}"

    def emit(self, machine: Machine) -> str:
        """LLVM IR in which an item copies its blocks."""
        module = Module()
        arguments = [("ptr", "params"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        vectors = Vectors(f, machine, "float32")
        blocks = f.word("%params", 0)
        source, target = f.pointer("%params", 1), f.pointer("%params", 2)
        first, last = (f.value(f"mul i64 {item}, {blocks}") for item in ("%begin", "%end"))
        with f.loop(first, last) as loop:
            at = f.value(f"mul i64 {loop.index}, {_VECTORS * vectors.lanes}")
            places = [f.value(f"add i64 {at}, {i * vectors.lanes}") for i in range(_VECTORS)]
            values = [vectors.load(vectors.at(source, place)) for place in places]
            for place, value in zip(places, values, strict=True):
                vectors.store(value, vectors.at(target, place))
        return str(module)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Seconds of a copy that reads and writes so many ``sizes`` bytes together, ascending."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def start(self) -> float:
        """Seconds of the smallest copy: little but the hand-over to the threads."""
        return self.seconds[0]

    def copy(self, size: float) -> float:
        """Seconds to move ``size`` bytes: along a line between two sizes, at the rate of the
        largest beyond that.
        """
        at = bisect_left(self.sizes, size)
        if at == 0:
            return self.seconds[0]
        if at == len(self.sizes):
            return self.seconds[-1] * size / self.sizes[-1]
        (a, b), (s, t) = self.sizes[at - 1 : at + 1], self.seconds[at - 1 : at + 1]
        return s + (t - s) * (size - a) / (b - a)

    def rate(self, size: float) -> float:
        """GB/s of a copy of this size."""
        return size / self.copy(size) / 1e9


def copy_bandwidth(
    threads: int = 1, sizes: Sequence[int] = SIZES, *, seconds: float = 0.02
) -> Bandwidth:
    """Measure copies of these sizes, about ``seconds`` each, the best of many."""
    machine = current()
    code = kernel(CopyLoop(), machine)
    block = _VECTORS * machine.vector_bytes
    each = [max(1, size // (2 * block * threads)) for size in sizes]
    length = max(each) * block * threads
    memory = aligned(2 * length + _APART)
    memory[:] = 1  # so that the pages are there
    found: dict[int, float] = {}
    for count in each:
        here = count * block * threads
        source, target = memory[:here], memory[here + _APART :]
        params = np.array([count, source.ctypes.data, target.ctypes.data], dtype=np.int64)
        steps = np.array([[code.address, params.ctypes.data, threads, 0]], dtype=np.int64)
        found[2 * here] = min(found.get(2 * here, 1e9), _least(steps, threads, seconds))
    ordered = sorted(found)
    return Bandwidth(tuple(ordered), tuple(found[size] for size in ordered))


def _least(steps: team.Steps, threads: int, seconds: float) -> float:
    """The least time of a run."""
    region = team.Region(steps)
    times: list[float] = []
    end = time.perf_counter() + seconds
    region.run(threads)
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        region.run(threads)
        times.append(time.perf_counter() - start)
    return min(times)
