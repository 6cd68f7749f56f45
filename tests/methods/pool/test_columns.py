"""Windows out of columns: every size of window, blocks of channels, and machines not here."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from methods.pool.test_pool import Pooling, check
from pools import whole

from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.jit.compile import object_code
from faltung.machine.table import Machine, row
from faltung.methods.pool.columns import MAX_ROWS, MAX_TAPS, ColumnsKernel


def recipe(spec: PoolSpec, machine: Machine) -> ColumnsKernel:
    pooling = Pooling(spec, machine)
    pooling.forward(whole(spec)[0])
    (step,) = pooling.steps
    assert isinstance(step.recipe, ColumnsKernel)
    return step.recipe


@grid(kernel=range(1, MAX_TAPS + 1), kind=["max", "average"], machine=MACHINES)
def test_taps_and_strides(kernel: int, kind: str, machine: Machine) -> None:
    for stride, rows in product(range(1, 7), (1, 2, MAX_ROWS + 1)):
        given: dict[str, Any] = {
            "kernel": (rows, kernel),
            "stride": (1, stride),
            "padding": (0, kernel // 2),
        }
        spec = pool_spec((2, 19, 6, 17), **given, kind=kind, count_padding=False)
        made = recipe(spec, machine)
        assert (made.taps, made.stride) == (kernel, stride)
        assert made.rows == (rows if rows <= MAX_ROWS else 0)
        check(spec, machine, gap=1)


@grid(channels=[479, 480, 481, 1003, 2050], kind=["max", "average"], machine=MACHINES)
def test_channels_of_many_blocks(channels: int, kind: str, machine: Machine) -> None:
    """More than columns can wait of: blocks, the last of which is moved back."""
    for dtype in ("float32", "float64"):
        given: dict[str, Any] = {
            "kernel": 3,
            "stride": 1,
            "padding": 1,
            "kind": kind,
            "dtype": dtype,
        }
        spec = pool_spec((1, channels, 3, 5), **given)
        assert recipe(spec, machine).kept == 2
        check(spec, machine)


def test_volumes(machine: Machine) -> None:
    for kind in ("max", "average"):
        spec = pool_spec((1, 20, 5, 6, 7), 3, stride=1, padding=1, kind=kind)
        assert recipe(spec, machine).rows == 0
        check(spec, machine)


def test_what_divides_without_a_division(machine: Machine) -> None:
    """A product with the reciprocal of a power of two is the quotient, to the last bit."""
    for kernel, divide in ((2, False), (4, False), (3, True), (5, True)):
        spec = pool_spec((1, 16, 20), kernel, kind="average")
        assert recipe(spec, machine).divide == divide
        x = np.random.default_rng(0).standard_normal(spec.input_shape).astype(np.float32)
        windows = x.reshape(1, 16, -1, kernel) if 20 % kernel == 0 else None
        if windows is None:
            continue
        total = windows[..., 0].copy()
        for tap in range(1, kernel):
            total += windows[..., tap]
        got = Pooling(spec, machine).forward(x)
        assert got.tobytes() == (total / np.float32(kernel)).tobytes()


def test_bits_follow_the_window_alone(machine: Machine) -> None:
    """Wherever it stands: at an end of the axis, in whole windows, in the last vector."""
    rng = np.random.default_rng(1)
    part = rng.standard_normal((1, 1, 3, 3)).astype(np.float32)
    x = np.tile(part, (1, 21, 3, 5))
    spec = pool_spec(x.shape, 3, kind="average")
    got = Pooling(spec, machine).forward(x)
    assert len(set(got.ravel().tolist())) == 1


def test_signs_of_zeros_and_nothing_but_padding(machine: Machine) -> None:
    x = np.full((1, 16, 4, 6), -0.0, np.float32)
    spec = pool_spec(x.shape, 3, stride=1, padding=9, kind="average")
    got = Pooling(spec, machine).forward(x)
    assert not got.any() and not np.signbit(got).any()


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse", "neon"])
def test_code_for_every_machine(name: str) -> None:
    for dtype, kind in product(("float32", "float64"), ("max", "mean")):
        for taps, stride, rows in ((3, 1, 3), (3, 2, 0), (2, 2, 4), (1, 1, 1)):
            made = ColumnsKernel(dtype, kind, taps, stride, rows)
            assert object_code(made, row(name))
            assert made.room is None or made.room >= 2 * row(name).lanes(dtype)
