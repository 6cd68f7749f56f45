"""Polyphase filters on NumPy arrays: what resampling, FIR filters and streams run."""

from functools import lru_cache
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungMemoryError
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand
from faltung.methods.filters.polyphase import MAX_ITEMS, Bank, bank, counts, kernel_of
from faltung.methods.filters.polyphase_kernel import COUNTS
from faltung.ops.arguments import Array, address
from faltung.plan.binding import Region
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

__all__ = ["Bank", "bank", "filter_phases"]

SCRATCH = COUNTS.index("scratch")
# Names of dtypes by their letters, which are found faster.
DTYPES = {"f": "float32", "d": "float64"}
NAMES = ("x", "weights", "offsets", "out", "scratch", "counts")


_kernel = lru_cache(maxsize=16)(kernel_of)
_counts = lru_cache(maxsize=1024)(counts)


@lru_cache(maxsize=16)
def _region(machine: Machine, dtype: str) -> Region:
    given: dict[str, Any] = {name: Operand(name) for name in NAMES}
    step = _kernel(machine, dtype).step(MAX_ITEMS, "polyphase", items=MAX_ITEMS, **given)
    return Region([step], {name: (i, 0) for i, name in enumerate(NAMES)}, machine, len(NAMES))


def filter_phases(x: Array, kernels: Bank, outputs: int, *, first: int = 0, at: int = 0) -> Array:
    """Outputs ``first``, ``first + 1``, ... of all lines by all kernels.

    Parameters
    ----------
    x : ndarray, ``(lines, samples)``, contiguous
        float32 or float64; zeros stand before and after. Its first sample has the number ``at`` in
        the signal whose outputs are counted.
    kernels : Bank
        Of the dtype of ``x``.
    outputs : int

    Returns
    -------
    ndarray, ``(kernels, lines, outputs)``

    Raises
    ------
    MemoryError
        The result cannot be allocated.
    """
    lines, size = x.shape
    count = kernels.weights.shape[0]
    try:
        out = np.empty((count, lines, outputs), x.dtype)
    except (ValueError, OverflowError):
        raise FaltungMemoryError(f"out: {(count, lines, outputs)} cannot be allocated") from None
    if not out.size:
        return out
    machine, dtype = current(), DTYPES[x.dtype.char]
    lanes = machine.lanes(dtype)
    kernel, periods = _kernel(machine, dtype), first // kernels.up
    numbers = _counts(
        *(kernels.up, kernels.down, kernels.taps, count, x.dtype.itemsize),
        *(kernel.vectors, lanes, lines, size, outputs),
        *(first - periods * kernels.up, at - periods * kernels.down),
    )
    parallel = out.size * kernels.taps / lanes > MIN_PARALLEL_CYCLES
    with workspace.borrow(MAX_ITEMS * int(numbers[SCRATCH]) * x.itemsize) as block:
        arrays = x, kernels.weights, kernels.offsets, out
        _region(machine, dtype).run(
            (*(address(a) for a in arrays), block.address, address(numbers)),
            threads_to_use() if parallel else 1,
        )
    return out
