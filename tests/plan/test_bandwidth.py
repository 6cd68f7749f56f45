"""The copy bandwidth: its loop copies, and times grow with sizes."""

import numpy as np
import pytest

from faltung.jit.compile import kernel
from faltung.machine.table import Machine
from faltung.plan.bandwidth import Bandwidth, CopyLoop, copy_bandwidth
from faltung.runtime import team

BLOCK = 4  # vectors


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_loop_copies_its_share(machine: Machine, threads: int) -> None:
    count = 5
    size = count * threads * BLOCK * machine.vector_bytes // 4
    x, y = np.arange(size + 64, dtype=np.float32), np.zeros(size + 64, np.float32)
    x, y = (array[-array.ctypes.data % 64 // 4 :] for array in (x, y))
    code = kernel(CopyLoop(), machine)
    params = np.array([count, x.ctypes.data, y.ctypes.data], dtype=np.int64)
    steps = np.array([[code.address, params.ctypes.data, threads, 0]], dtype=np.int64)
    team.Region(steps).run(threads)
    assert (y[:size] == x[:size]).all() and not y[size:].any()


def test_rates_between_sizes() -> None:
    copies = Bandwidth((100, 200, 400), (1.0, 1.5, 4.0))
    assert copies.start == copies.copy(0) == copies.copy(100) == 1.0
    assert copies.copy(150) == 1.25 and copies.copy(200) == 1.5
    assert copies.copy(800) == 8.0  # at the rate of the largest
    assert copies.rate(400) == 100 / 1e9


def test_measured() -> None:
    found = copy_bandwidth(2, (1 << 12, 1 << 16, 1 << 20), seconds=0.001)
    assert len(found.sizes) == 3 and found.sizes == tuple(sorted(found.sizes))
    assert all(seconds > 0 for seconds in found.seconds)
