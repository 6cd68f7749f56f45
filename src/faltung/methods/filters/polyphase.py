"""Polyphase filters: a signal upsampled, filtered and downsampled, without its zeros.

What it is.  Output ``j`` is the sum over ``t`` of ``h[j * down - i * up]`` times input ``i``: about
  ``len(h) / up`` products. With ``up = down = 1`` it is a causal FIR filter.
When it applies.  Contiguous lines of float32 or float64.
What it costs.  Nearly a multiply-add a cycle and lane, and two transpositions in cache.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.filters.polyphase_kernel import COUNTS, PolyphaseKernel

# Items, each with scratch of its own.
MAX_ITEMS = 16
# Of the scratch of an item: it stays in the first-level cache, or nearly.
SEGMENT_BYTES = 40 << 10
# Outputs that a lane computes in a row, at the least, where there are enough.
LEAST_RUN = 64


@dataclass(frozen=True)
class Bank:
    """Kernels taken apart into phases: ``weights[k, place, t]`` in the order of the inputs, and by
    how many inputs the output at each place of a period is later than that at place 0.
    """

    weights: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    up: int
    down: int

    @property
    def taps(self) -> int:
        """Of each phase."""
        return int(self.weights.shape[2])


def bank(kernels: npt.NDArray[Any], up: int, down: int) -> Bank:
    """Phases of kernels (kernels, taps), in their dtype."""
    count, length = kernels.shape
    taps = -(-length // up)
    padded = np.zeros((count, taps * up), kernels.dtype)
    padded[:, :length] = kernels
    places = np.arange(up, dtype=np.int64) * down
    phases = padded.reshape(count, taps, up).transpose(0, 2, 1)[:, places % up, ::-1]
    return Bank(np.ascontiguousarray(phases), places // up, up, down)


def kernel_of(machine: Machine, dtype: str) -> PolyphaseKernel:
    """The code for a machine: as many sums as it has registers for."""
    return PolyphaseKernel(dtype=dtype, rows=4 if machine.registers >= 16 else 2)


def counts(
    up: int,
    down: int,
    taps: int,
    kernels: int,
    item_bytes: int,
    vectors: int,
    lanes: int,
    lines: int,
    size: int,
    outputs: int,
    place: int,
    at: int,
) -> npt.NDArray[np.int64]:
    """The array "counts" of a call. ``place``: of the first output in its period. ``at``: the
    number of the first input that is there, counted from the beginning of that period.
    """
    together = lanes * vectors
    budget = SEGMENT_BYTES // (item_bytes * together)
    wanted = min(max(LEAST_RUN, lanes), max(lanes, -(-outputs // together)))
    periods = max(1, -(-wanted // up))
    lane_outputs, lane_inputs = periods * up, periods * down
    # Inputs and outputs of a run, beside its taps.
    run = max(lanes, int((budget - taps) * up / (up + down)) // lanes * lanes)
    run = min(run, lane_outputs)
    reach = -(-(run * down // up + 2 + taps + lanes) // lanes) * lanes
    groups, parts = -(-outputs // (lane_outputs * together)), -(-lane_outputs // run)
    given = {
        **{"segments": lines * groups * parts, "groups": groups, "parts": parts, "run": run},
        **{"lane_outputs": lane_outputs, "lane_inputs": lane_inputs},
        **{"up": up, "down": down, "taps": taps, "kernels": kernels},
        **{"size": size, "outputs": outputs, "x_line": size},
        **{"out_line": outputs, "out_kernel": lines * outputs, "first": place},
        **{"input": 1 - taps - at},
        **{"scratch": (reach + run) * together, "results": reach * together},
    }
    return np.array([given[name] for name in COUNTS], np.int64)
