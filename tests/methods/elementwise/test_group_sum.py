"""Sums over groups of channels against NumPy: any length, any pitch, in place."""

import numpy as np
import pytest
from grid import MACHINES, grid, rows
from methods.maps import A, Arrays, anywhere, laid, pitch

from faltung.geometry.expr import Expr, unary
from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Work
from faltung.methods.elementwise.group_sum import GroupSumKernel, group_sum


def run(
    source: np.ndarray,
    target: np.ndarray,
    groups: int,
    machine: Machine,
    scale: float = 1.0,
    finish: Expr | None = None,
    threads: int = 2,
) -> int:
    """Run the step; how many items it has."""
    arrays, work = Arrays(), Work()
    group_sum(
        work,
        source.dtype.name,
        machine,
        rows=len(source),
        channels=source.shape[1],
        groups=groups,
        source=Matrix(arrays.operand(source), pitch(source)),
        target=Matrix(arrays.operand(target), pitch(target)),
        scale=scale,
        finish=finish,
        title="test",
    )
    return arrays.run(work, machine, threads, anywhere)[0].items


@grid(
    channels_groups=rows(
        "channels groups", [(1, 1), (12, 4), (6, 6), (40, 1), (64, 2), (300, 3), (129, 1)]
    ),
    dtype=["float32", "float64"],
    machine=MACHINES,
)
def test_sums(channels: int, groups: int, dtype: str, machine: Machine) -> None:
    x = np.random.default_rng(channels).integers(-9, 10, (7, channels)).astype(dtype)
    want = x.reshape(7, groups, -1).sum(-1, keepdims=True).repeat(channels // groups, -1)
    want = want.reshape(7, channels) / 2
    for gap in (0, 3):
        source, out = laid(x, channels + gap), laid(np.zeros_like(x), channels + 2 * gap)
        run(source, out, groups, machine, scale=0.5)
        np.testing.assert_array_equal(out, want)
        np.testing.assert_array_equal(source, x)
        run(source, source, groups, machine, scale=0.5)
        np.testing.assert_array_equal(source, want)
        between = np.lib.stride_tricks.as_strided(out, (6, channels + 2 * gap), out.strides)
        assert (between[:, channels:] == -77).all()


def test_a_finish_and_threads(machine: Machine) -> None:
    x = np.random.default_rng(1).normal(size=(3000, 96)).astype(np.float32)
    finish = 1 / unary("sqrt", A + 1e-5)
    made = []
    for threads in (1, 2, 5):
        out = np.zeros_like(x)
        assert run(x * x, out, 4, machine, 1 / 24, finish, threads) > 4
        made.append(out)
    mean = (x.astype(np.float64) ** 2).reshape(3000, 4, 24).mean(-1, keepdims=True)
    want = np.broadcast_to(1 / np.sqrt(mean + 1e-5), (3000, 4, 24)).reshape(3000, 96)
    np.testing.assert_allclose(made[0], want, rtol=1e-6)
    assert made[0].tobytes() == made[1].tobytes() == made[2].tobytes()


def test_no_rows_and_no_channels(machine: Machine) -> None:
    assert run(np.zeros((0, 8), np.float32), np.zeros((0, 8), np.float32), 2, machine) == 0
    run(np.zeros((4, 0), np.float32), np.zeros((4, 0), np.float32), 1, machine)


@pytest.mark.parametrize("target", [AVX512, NEON], ids=lambda row: row.name)
def test_compiles_where_it_cannot_run(target: Machine) -> None:
    assert object_code(GroupSumKernel("float32", A), target)
