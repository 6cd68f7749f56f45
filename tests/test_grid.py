"""The machines on which grids are walked follow the processor."""

import pytest
from grid import MACHINES, machines

from faltung.jit.target import host, named
from faltung.machine.detect import describe
from faltung.machine.table import AVX2, AVX512, SSE, Machine


@pytest.mark.parametrize(
    ("triple", "cpu", "features", "names"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64-v4", AVX512.features, "avx512 avx2 sse"),
        ("x86_64-unknown-linux-gnu", "x86-64-v3", AVX2.features, "avx2 sse"),
        ("x86_64-unknown-linux-gnu", "x86-64", SSE.features, "sse generic"),
        ("arm64-apple-darwin23.1.0", "apple-m1", "", "neon generic"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+aes", "neon generic"),
        ("aarch64-pc-windows-msvc", "generic", "", "neon generic"),
        ("riscv64-unknown-linux-gnu", "generic", "+m,+a", "generic"),
    ],
)
def test_rows_of_the_architecture(triple: str, cpu: str, features: str, names: str) -> None:
    assert machines(describe(triple, cpu, features)) == tuple(names.split())


def test_this_processor_runs_all_of_them(machine: Machine) -> None:
    assert machine == named(machine.name) and machine.arch == host().arch


def test_there_is_more_than_one() -> None:
    """Else tests of every machine would skip themselves, or compare one with itself."""
    assert host().name in MACHINES and len(MACHINES) >= 2 - (host().name == "generic")
