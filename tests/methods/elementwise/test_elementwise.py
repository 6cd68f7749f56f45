"""Element-wise steps and their sums: every kind of operand, any pitch, any split over threads."""

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import beside, between_fences
from methods.maps import (
    SIZES,
    A,
    B,
    C,
    D,
    Problem,
    Total,
    check,
    everything,
    laid,
)

from faltung.geometry.expr import (
    at_least,
    greater,
    maximum,
    random,
    select,
    unary,
)
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import AVX512, NEON, SSE, Machine
from faltung.methods.elementwise.kernel import FlatKernel
from faltung.methods.elementwise.rows import RowsKernel
from faltung.reference.expr import evaluate

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Sums of a few hundred numbers of size 1 that nearly cancel.
CLOSE = {"float32": {"rtol": 3e-6, "atol": 5e-5}, "float64": {"rtol": 1e-14, "atol": 1e-13}}
LONG = [(1, 30_000, 6), (3, 5000, 20), (2, 3, 6000), (60, 9, 70)]


def bits(problem: Problem) -> list[bytes]:
    made = [out for _, out in problem.outputs] + [total.out for total in problem.sums]
    return [np.ascontiguousarray(array).tobytes() for array in made]


# Results --------------------------------------------------------------------------------------


@grid(size=SIZES, gap=[0, 5], dtype=["float32", "float64"], machine=MACHINES)
def test_every_kind_of_operand_and_sum(
    size: tuple[int, int, int], gap: int, dtype: str, machine: Machine
) -> None:
    problem = everything(*size, dtype, gap)
    wants = problem.want()
    problem.run(machine)
    check(problem, wants, **CLOSE[dtype])
    exact = everything(*size, dtype, gap, whole=True)
    wants = exact.want()
    exact.run(machine)
    check(exact, wants)


@given(
    st.integers(0, 5), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3), st.integers(1, 3)
)
def test_any_size(samples: int, positions: int, channels: int, gap: int, threads: int) -> None:
    problem = everything(samples, positions, channels, "float32", gap, whole=True)
    wants = problem.want()
    problem.run(current(), threads)
    check(problem, wants)


@grid(length=[1, 3, 31, 32, 33, 1000, 70_001], dtype=["float32", "float64"], machine=MACHINES)
def test_flat(length: int, dtype: str, machine: Machine) -> None:
    rng = np.random.default_rng(length)
    x, y = rng.integers(-9, 10, (2, length, 1)).astype(dtype)
    out, total, factor = np.zeros((length, 1), dtype), np.zeros(1, dtype), np.full(1, 3, dtype)
    problem = Problem(
        1,
        length,
        1,
        [("full", x), ("full", y), ("scalar", factor)],
        [(select(greater(A, 0), B * C, 0), out)],
        [Total(A * B, "scalar", total)],
        dtype,
    )
    wants = problem.want()
    (first, *_) = problem.run(machine)
    assert isinstance(first.recipe, FlatKernel)
    check(problem, wants)


@grid(channels=[1, 3, 7, 8, 40, 129], machine=MACHINES)
def test_a_pitch_changes_no_bit(channels: int, machine: Machine) -> None:
    x = np.random.default_rng(1).normal(size=(50, channels)).astype(np.float32)
    gelu = A * (0.5 * (1 + unary("erf", A * 0.7)))
    made = []
    for pitch in (channels, channels + 3):
        source = laid(x, pitch)
        out = laid(np.zeros_like(x), pitch)
        steps = Problem(5, 10, channels, [("full", source)], [(gelu, out)]).run(machine)
        assert isinstance(steps[0].recipe, FlatKernel if pitch == channels else RowsKernel)
        made.append(np.ascontiguousarray(out).tobytes())
        if pitch > channels:
            between = np.lib.stride_tricks.as_strided(out, (49, pitch), out.strides)[:, channels:]
            assert (between == -77).all()
    assert made[0] == made[1]


# Bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [(1, 30_000, 6), (3, 5000, 20), (2, 3, 6000), (60, 9, 70)], ids=str
)
def test_same_bits_on_any_number_of_threads(size: tuple[int, int, int], machine: Machine) -> None:
    found = set()
    for threads in (1, 2, 3, 7):
        problem = everything(*size, gap=1)
        steps = problem.run(machine, threads)
        found.add(tuple(bits(problem)))
    assert len(found) == 1
    assert steps[0].items > 1


@pytest.mark.parametrize(("positions", "channels"), [(1, 9), (49, 12), (4000, 24), (30_000, 3)])
def test_sums_over_a_sample_do_not_know_the_batch(
    positions: int, channels: int, machine: Machine
) -> None:
    x = np.random.default_rng(2).normal(size=(17 * positions, channels)).astype(np.float32)
    scale = np.random.default_rng(3).normal(size=(17, channels)).astype(np.float32)
    made = []
    for samples in (17, 1):
        rows = x[: samples * positions]
        inputs = [("full", rows), ("sample", scale[:samples])]
        out = np.zeros((samples, channels), np.float32)
        totals = [Total(A * B, "sample", out, 1 / positions)]
        Problem(samples, positions, channels, inputs, (), totals).run(machine)
        made.append(out[0].tobytes())
    assert made[0] == made[1]


def test_long_sums_stay_exact(machine: Machine) -> None:
    rows = 1_000_000
    x = (1 + np.random.default_rng(4).random((rows, 3))).astype(np.float32)
    channel, scalar = np.zeros(3, np.float32), np.zeros(1, np.float32)
    one, square = np.zeros((1, 3), np.float32), np.zeros(3, np.float32)
    totals = [
        Total(A, "channel", channel),
        Total(A * A, "channel", square, 1 / rows),
        Total(A, "sample", one),
    ]
    Problem(1, rows, 3, [("full", x)], (), totals).run(machine)
    Problem(1, rows, 3, [("full", x)], (), [Total(A, "scalar", scalar)]).run(machine)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(channel, wide.sum(0), rtol=4e-7)
    np.testing.assert_allclose(one[0], wide.sum(0), rtol=4e-7)
    np.testing.assert_allclose(square, (wide**2).mean(0), rtol=4e-7)
    np.testing.assert_allclose(scalar[0], wide.sum(), rtol=4e-7)


# What goes wrong elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 4, 5), (3, 0, 5), (3, 4, 0)], ids=str)
def test_nothing_adds_up_to_zero(size: tuple[int, int, int], machine: Machine) -> None:
    problem = everything(*size)
    problem.sums[0].finish = A + 2
    problem.run(machine)
    for total in problem.sums:
        want = 2 if total.finish else 0
        assert (total.out == want).all()


def test_nan_and_infinity_stay_where_they_are(machine: Machine) -> None:
    x = np.ones((20, 11), np.float32)
    x[3, 4], x[7, 9], x[8, 10] = np.nan, np.inf, -np.inf
    out, sums, total = np.zeros_like(x), np.zeros(11, np.float32), np.zeros(1, np.float32)
    inverse = 1 / A  # infinite in lanes that do not exist
    problem = Problem(
        2,
        10,
        11,
        [("full", x), ("channel", np.ones(11, np.float32))],
        [(maximum(A, 0), out)],
        [Total(A, "channel", sums), Total(select(greater(2, inverse), B, B), "scalar", total)],
    )
    problem.run(machine)
    np.testing.assert_array_equal(out, np.where(np.isnan(x), np.nan, np.maximum(x, 0)))
    want = np.full(11, 20.0)
    want[[4, 9, 10]] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(sums, want)
    assert total[0] == 220
    clean = np.full((20, 11), 4, np.float32)
    Problem(2, 10, 11, [("full", clean)], (), [Total(inverse, "scalar", total)]).run(machine)
    assert total[0] == 55


@pytest.mark.parametrize("pitch", [13, 20])
def test_outputs_may_replace_inputs(pitch: int, machine: Machine) -> None:
    rng = np.random.default_rng(6)
    weight, grad, velocity = rng.normal(size=(3, 70, 13)).astype(np.float32)
    rate = np.full(1, 0.1, np.float32)
    following = 0.9 * C + B
    want_velocity = evaluate(following, [weight, grad, velocity])
    want = evaluate(A - D * following, [weight, grad, velocity, rate])
    w, g, v = (laid(array, pitch) for array in (weight, grad, velocity))
    inputs = [("full", w), ("full", g), ("full", v), ("scalar", rate)]
    Problem(7, 10, 13, inputs, [(A - D * following, w), (following, v)]).run(machine)
    np.testing.assert_allclose(w, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(v, want_velocity, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(g, grad)


@pytest.mark.parametrize("rows", [40, 20_000])
def test_statistics_of_a_batch_in_one_call(rows: int, machine: Machine) -> None:
    rng = np.random.default_rng(7)
    x = (3 + 2 * rng.normal(size=(rows, 21))).astype(np.float32)
    first, running = x[0].copy(), np.ones(21, np.float32)
    momentum = np.full(1, 0.25, np.float32)
    mean, rstd = np.zeros(21, np.float32), np.zeros(21, np.float32)
    away = A - B
    # Operands of a finish: its own total, what is given, then the totals of all of its kind.
    sums = [
        Total(away, "channel", mean, 1 / rows, A + B, [("channel", first)]),
        Total(away * away, "channel", rstd, 1 / rows, 1 / unary("sqrt", A - B * B + 1e-5)),
        Total(
            away,
            "channel",
            running,
            1 / rows,
            B + C * (A + D - B),
            [("channel", running), ("scalar", momentum), ("channel", first)],
        ),
    ]
    steps = Problem(1, rows, 21, [("full", x), ("channel", first)], (), sums).run(machine)
    assert len(steps) == (1 if rows == 40 else 2)
    assert len(steps[0].recipe.sums) == 2
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(wide.var(0) + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(running, 0.75 + 0.25 * wide.mean(0), rtol=1e-6)


@DTYPES
def test_dropout_is_the_reference_in_any_layout(dtype: str, machine: Machine) -> None:
    x = np.random.default_rng(8).normal(size=(60, 19)).astype(dtype)
    formula = select(at_least(random(B), 0.3), A / 0.7, 0)
    key = np.array([2**63 - 5], np.int64)
    want = evaluate(formula, [x, key[0]])
    assert 0.2 < (want == 0).mean() < 0.4
    for pitch in (19, 24):
        out = laid(np.zeros_like(x), pitch)
        Problem(6, 10, 19, [("full", x), ("key", key)], [(formula, out)], (), dtype).run(machine)
        np.testing.assert_allclose(out, want, rtol=1e-6)


# How it is made -------------------------------------------------------------------------------


def recipe(size: tuple[int, int, int], **options: int) -> RowsKernel | FlatKernel:
    made = everything(*size, **options).run(current())[0].recipe
    assert isinstance(made, RowsKernel | FlatKernel)
    return made


def test_sizes_are_no_part_of_a_kernel() -> None:
    assert recipe((2, 30_000, 64)) == recipe((4, 20_000, 128), gap=4)
    assert recipe((2, 30_000, 64)) != recipe((2, 30_000, 65))


def test_work_is_cut_into_items_worth_handing_out() -> None:
    def items(samples: int, positions: int, channels: int) -> int:
        x = np.zeros((samples * positions, channels), np.float32)
        inputs = [("full", x), ("channel", np.zeros(channels, np.float32))]
        out = np.zeros(channels, np.float32)
        totals = [Total(A * B, "channel", out)]
        return Problem(samples, positions, channels, inputs, (), totals).run(current())[0].items

    assert items(1, 50, 16) == 1
    assert items(1, 32, 20_000) > 4
    assert items(8, 40_000, 8) >= 16


@pytest.mark.parametrize("target", [AVX512, NEON, SSE], ids=lambda row: row.name)
def test_compiles_where_it_cannot_run(target: Machine) -> None:
    for dtype in ("float32", "float64"):
        for made in (recipe((3, 7, 13), dtype=dtype), recipe((1, 50_000, 8), dtype=dtype)):
            assert object_code(made, target)


@between_fences(size=SIZES, dtype=["float32", "float64"], gap=[0, 3])
def test_nothing_outside_the_arrays_is_touched(
    size: tuple[int, int, int], dtype: str, gap: int, side: str, machine: Machine
) -> None:
    def place(array: np.ndarray) -> np.ndarray:
        return beside(array, side == "after")

    problem = everything(*size, dtype, gap, place, whole=True)
    wants = problem.want()
    problem.run(machine, 2, place)
    check(problem, wants)


@between_fences(length=[1, 7, 64, 1003], dtype=["float32", "float64"])
def test_nothing_outside_a_vector_is_touched(
    length: int, dtype: str, side: str, machine: Machine
) -> None:
    def place(array: np.ndarray) -> np.ndarray:
        return beside(array, side == "after")

    x, out = (place(np.ones((length, 1), dtype)) for _ in range(2))
    total = place(np.zeros(1, dtype))
    flat = Problem(1, length, 1, [("full", x)], [(A + 1, out)], [Total(A, "scalar", total)])
    flat.dtype = dtype
    wants = flat.want()
    flat.run(machine, 2, place)
    check(flat, wants)
