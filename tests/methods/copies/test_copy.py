"""Copies in every mode against NumPy, and the arrays that they rearrange."""

import itertools

import numpy as np
import pytest
from grid import MACHINES, grid

from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.base.step import MISSING, Operand, Step, Work
from faltung.methods.copies.copy import copy
from faltung.methods.copies.fold import fold
from faltung.methods.copies.kernel import Copy
from faltung.methods.copies.stage import rearrange
from faltung.plan.binding import Region, places

SRC, DST = Operand("x"), Operand("out")


def run(step: Step, machine: Machine, src: np.ndarray, dst: np.ndarray) -> None:
    addresses = src.ctypes.data, 0, dst.ctypes.data, 0, 0, 0
    Region([step], places(Work()), machine).run(addresses, 2)


def mode(step: Step) -> str:
    assert isinstance(step.recipe, Copy)
    return step.recipe.mode


@grid(
    dtype=["float32", "float64"],
    shape=[(1, 1), (5, 3), (16, 16), (33, 70), (4, 129)],
    machine=MACHINES,
)
def test_transposing_both_ways(shape: tuple[int, int], dtype: str, machine: Machine) -> None:
    rows, columns = shape
    src = np.arange(rows * columns, dtype=dtype).reshape(shape)
    runs = [(j, j * rows, rows) for j in range(columns)]
    step = copy(dtype, SRC, DST, [(0, 0)], runs, stride=columns, title="")
    dst = np.full((columns, rows), np.nan, dtype)
    run(step, machine, src, dst)
    np.testing.assert_array_equal(dst, src.T)
    runs = [(i * columns, i, columns) for i in range(rows)]
    step = copy(dtype, SRC, DST, [(0, 0)], runs, stride=rows, title="", back=True)
    dst[:] = np.nan
    run(step, machine, src, dst)
    np.testing.assert_array_equal(dst, src.T)


def test_modes_are_found() -> None:
    wide = [(j, 32 * j, 30) for j in range(8)]
    assert mode(copy("float32", SRC, DST, [(0, 0)], wide, stride=9, title="")) == "transpose"
    assert mode(copy("float32", SRC, DST, [(0, 0)], wide, stride=1, title="")) == "runs"
    odd = [(j * j, 32 * j, 30) for j in range(8)]
    assert mode(copy("float32", SRC, DST, [(0, 0)], odd, stride=9, title="")) == "gather"


@grid(
    dtype=["float32", "float64"],
    rows=[2, 3, 4, 5, 7, 8, 9],
    columns=[1, 2, 3, 4, 7, 8, 9, 16, 58, 129],
    machine=MACHINES,
)
def test_few_rows_become_one_and_back(
    rows: int, columns: int, dtype: str, machine: Machine
) -> None:
    """As in a shuffle of channels; for several maps, apart from what lies beside them."""
    src = np.arange(3 * rows * (columns + 1), dtype=dtype).reshape(3, rows, columns + 1)
    shape, source = (3, rows, columns), (rows * (columns + 1), columns + 1, 1)
    target = (rows * columns + 5, 1, rows)
    dst = np.full((3, rows * columns + 5), -1, dtype)
    step = rearrange(dtype, shape, SRC, source, DST, target, "")
    if rows <= 7 and columns >= 4:
        assert mode(step) == "interleave"
    run(step, machine, src, dst)
    want = src[..., :columns].transpose(0, 2, 1).reshape(3, -1)
    np.testing.assert_array_equal(dst[:, :-5], want)
    assert (dst[:, -5:] == -1).all()
    back = np.full_like(src, -1)
    step = rearrange(dtype, shape, SRC, target, DST, source, "")
    if rows <= 7 and columns > rows:
        assert mode(step) == "part"
    run(step, machine, dst, back)
    np.testing.assert_array_equal(back[..., :columns], src[..., :columns])
    assert (back[..., columns] == -1).all()


def test_what_is_missing_and_what_is_filled(machine: Machine) -> None:
    src = np.arange(100, dtype=np.float32)
    dst = np.full(60, -1, np.float32)
    runs = [(10, 0, 5), (MISSING, 20, 7), (50, 40, 17)]
    run(copy("float32", SRC, DST, [(2, 0)], runs, fill=10, title=""), machine, src, dst)
    want = np.full(60, -1, np.float32)
    want[:5], want[5:10] = src[12:17], 0
    want[20:30] = 0
    want[40:57] = src[52:69]
    np.testing.assert_array_equal(dst, want)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 5, 1), (3, 17, 33), (1, 1, 1), (2, 16, 4)])
def test_rearrange_any_order(shape: tuple[int, ...], machine: Machine) -> None:
    src = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    orders = list(itertools.permutations(range(3)))
    for one, two in itertools.product(orders, orders[:3]):
        x = np.ascontiguousarray(src.transpose(one)).transpose(np.argsort(one))
        out = np.full(shape, np.nan, np.float32).transpose(two).copy().transpose(np.argsort(two))
        strides = [tuple(s // 4 for s in array.strides) for array in (x, out)]
        run(rearrange("float32", shape, SRC, strides[0], DST, strides[1], ""), machine, x, out)
        np.testing.assert_array_equal(out, src)


@pytest.mark.parametrize("kind", ["reflect", "symmetric", "replicate", "circular"])
def test_fold_is_the_transpose_of_padding(kind: str, machine: Machine) -> None:
    axis = Axis(5, 1, 1, 1, 3, 4, kind)
    array = np.random.default_rng(0).integers(-9, 9, (3, axis.padded, 21)).astype(np.float32)
    want = np.zeros((3, 5, 21), np.float32)
    for i in range(-3, 9):
        source = axis.source(i)
        assert source is not None
        want[:, source] += array[:, i + 3]
    run(fold("float32", DST, axis, 3, 21), machine, array, array)
    np.testing.assert_array_equal(array[:, 3:8], want)
