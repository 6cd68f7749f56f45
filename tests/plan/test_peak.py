"""The FMA peak: its loop stays in registers, and the figure is plausible."""

import pytest
from grid import MACHINES, grid

from faltung.jit.compile import kernel
from faltung.machine.table import Machine
from faltung.plan.peak import PeakLoop, accumulators, fma_peak


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loop_stays_in_registers(machine: Machine, dtype: str) -> None:
    text = kernel(PeakLoop(dtype, accumulators(machine)), machine).assembly()
    assert "rsp" not in text, "accumulators went to the stack"
    assert "call" not in text
    multiply = "vfmadd" if machine.fma else "mulp"
    assert text.count(multiply) == accumulators(machine)


@grid(threads=[1, 2, 3], dtype=["float32", "float64"], machine=MACHINES, every=1)
def test_peak_is_a_rate(machine: Machine, dtype: str, threads: int) -> None:
    # Even a slow processor starts a vector multiply-add every few cycles; but where others have its
    # cores, all runs of one measurement may wait for a thread.
    tries = (fma_peak(threads, dtype, seconds=0.01) for _ in range(20))
    assert 0.1 < next((rate for rate in tries if rate > 0.1), 0.0) < 100_000


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="float16"):
        fma_peak(1, "float16")
