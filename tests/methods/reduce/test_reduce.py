"""Reductions over any axes of strided arrays against NumPy: sizes, pitches, bands, threads."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given, settings
from hypothesis import strategies as st
from methods.maps import Arrays, anywhere

from faltung.geometry.expr import Expr, operand, unary
from faltung.jit.compile import object_code
from faltung.jit.target import host
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Step, Work
from faltung.methods.reduce.axes import Strided
from faltung.methods.reduce.kernel import ReduceKernel
from faltung.methods.reduce.narrow import NarrowKernel
from faltung.methods.reduce.reduce import reduction
from faltung.reference.expr import evaluate
from faltung.reference.reduce import reduced

A, B, C = map(operand, range(3))
KINDS = ("sum", "mean", "max", "min", "product")


def placed(array: np.ndarray, gap: int = 0) -> np.ndarray:
    """A copy whose last axis has ``gap`` elements more behind each row."""
    wide = np.full((*array.shape[:-1], array.shape[-1] + gap), np.nan, array.dtype)
    view = wide[..., : array.shape[-1]]
    view[...] = array
    return view


def run(
    x: list[np.ndarray],
    axes: tuple[int, ...],
    kind: str = "sum",
    exprs: tuple[Expr, ...] = (A,),
    finish: Expr | None = None,
    *,
    machine: Machine | None = None,
    threads: int = 2,
    samples: int = 1,
    gap: int = 0,
) -> tuple[list[np.ndarray], list[Step]]:
    """The results, and the steps. The arrays in ``x`` broadcast."""
    shape = np.broadcast_shapes(*(array.shape for array in x))
    short = tuple(1 if i in axes else n for i, n in enumerate(shape))
    arrays, work = Arrays(), Work()
    outs = [placed(np.full(short, np.nan, x[0].dtype), gap) for _ in exprs]

    def strided(array: np.ndarray, sizes: tuple[int, ...]) -> Strided:
        steps = (s // array.itemsize for s in array.strides)
        found = tuple(s if n > 1 else 0 for s, n in zip(steps, array.shape, strict=True))
        return Strided(arrays.operand(array), found)

    reduction(
        work,
        x[0].dtype.name,
        machine or host(),
        sizes=shape,
        reduced=[i in axes for i in range(len(shape))],
        inputs=[strided(array, shape) for array in x],
        outputs=[strided(out, short) for out in outs],
        kind=kind,
        exprs=exprs,
        finish=finish,
        samples=samples,
        title="test",
    )
    steps = arrays.run(work, machine or host(), threads, anywhere)
    return outs, steps


def drawn(*shape: int, dtype: str = "float32", whole: bool = False, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    made = rng.integers(-3, 4, shape) if whole else rng.normal(size=shape)
    return made.astype(dtype)


@grid(
    shape=[(1, 1), (5, 3, 7), (2, 9, 16), (3, 4, 5, 33), (2, 3, 70), (6, 130), (40, 3, 3)],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=2,
)
def test_every_choice_of_axes(shape: tuple[int, ...], dtype: str, machine: Machine) -> None:
    """Of whole numbers, so that sums are exact."""
    x = drawn(*shape, dtype=dtype, whole=True)
    for choice in range(1, 1 << len(shape)):
        axes = tuple(i for i in range(len(shape)) if choice >> i & 1)
        for kind in KINDS if choice % 3 == 0 else ("sum", "max"):
            for gap in (0, 3):
                source = placed(x, gap)
                (got,), _ = run([source], axes, kind, machine=machine, gap=gap)
                want = reduced(x, axes, kind)
                tolerance = {"mean": 1e-6, "product": 1e-6}.get(kind, 0)
                np.testing.assert_allclose(got, want, rtol=tolerance, err_msg=f"{axes} {kind}")
                np.testing.assert_array_equal(source, x)


@grid(
    rows=[1, 7, 8, 33, 5000],
    channels=[2, 3, 16, 21, 24],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=3,
)
def test_short_rows(rows: int, channels: int, dtype: str, machine: Machine) -> None:
    """Several at once; also of formulas of what a row has alone, and of what all rows have."""
    x = placed(drawn(rows, channels, dtype=dtype), 2)
    own, every = drawn(rows, 1, dtype=dtype, seed=1), drawn(1, channels, dtype=dtype, seed=2)
    exprs = (A * C - B, unary("abs", A - B))
    sizes = np.abs(x * every) + np.abs(own), np.abs(x) + np.abs(own)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for kind in ("sum", "mean", "max", "product"):
        got, steps = run([x, own, every], (1,), kind, exprs, A * 2 + 1, machine=machine)
        assert isinstance(steps[0].recipe, NarrowKernel) or rows == 1
        for made, expr, size in zip(got, exprs, sizes, strict=True):
            terms = evaluate(expr, [x, own, every])
            want = reduced(terms, (1,), kind) * 2 + 1
            # A term whose parts cancel has fewer digits, and so has a product of it.
            lost = (size / np.abs(terms)).max(1, keepdims=True) if kind == "product" else 1.0
            error = np.abs(made - want)
            assert (error <= tolerance * (20 + channels * lost * np.abs(want))).all(), kind


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_operands_that_are_spread(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    sizes[-1] = data.draw(st.sampled_from([1, 2, 8, 19, 64]))
    axes = tuple(i for i in range(len(sizes)) if data.draw(st.booleans())) or (0,)
    x = [drawn(*sizes)]
    for seed in (1, 2):
        shape = [n if data.draw(st.booleans()) else 1 for n in sizes]
        x.append(drawn(*shape, seed=seed))
    exprs = (A * B + C, unary("exp", A - C))
    kind = data.draw(st.sampled_from(["sum", "mean", "max", "min"]))
    got, _ = run(x, axes, kind, exprs, A * 2 + 1, threads=3)
    for made, expr in zip(got, exprs, strict=True):
        want = reduced(evaluate(expr, x), axes, kind) * 2 + 1
        scale = np.abs(evaluate(expr, x)).max() * 10
        np.testing.assert_allclose(made, want, rtol=1e-5, atol=1e-5 * scale)


LONG = [
    ((70_000,), (0,)),
    ((2, 9000, 3), (1,)),
    ((3, 400, 7, 600), (1, 3)),
    ((2, 160_000), (1,)),
]


@pytest.mark.parametrize(("shape", "axes"), LONG)
def test_bands_and_threads(shape: tuple[int, ...], axes: tuple[int, ...], machine: Machine) -> None:
    x = drawn(*shape) + np.float32(1)
    made = []
    for threads in (1, 2, 5):
        (got,), steps = run([x], axes, machine=machine, threads=threads)
        assert len(steps) > 1
        made.append(got.tobytes())
    assert len(set(made)) == 1
    want = x.sum(axes, np.float64, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.parametrize("axes", [(1,), (3,), (1, 2), (1, 3), (1, 2, 3)])
@pytest.mark.parametrize(
    "sizes", [(5, 7, 40), (30, 40, 64), (1, 1, 5000), (1, 1, 20), (3, 1, 7), (5, 2, 24)]
)
def test_a_sample_has_the_same_bits_in_any_batch(
    sizes: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    x = drawn(9, *sizes)
    (got,), _ = run([x], axes, samples=9)
    for n in (1, 4):
        (some,), _ = run([x[:n].copy()], axes, samples=n)
        assert some.tobytes() == got[:n].tobytes()


@pytest.mark.parametrize("kind", ["max", "min", "sum", "product"])
@pytest.mark.parametrize("shape", [(3, 50), (50, 3), (4, 1)])
def test_nan_and_infinity(kind: str, shape: tuple[int, int], machine: Machine) -> None:
    for place in range(0, shape[0], 7):
        x = drawn(*shape) + 4
        x[place, -1] = np.nan
        for axes in ((0,), (1,), (0, 1)):
            (got,), _ = run([x], axes, kind, machine=machine)
            assert np.isnan(got).tolist() == np.isnan(reduced(x, axes, kind)).tolist()
        x[place, -1] = np.inf if kind != "max" else -np.inf
        for axes in ((0,), (1,)):
            (got,), _ = run([x], axes, kind, machine=machine)
            np.testing.assert_allclose(got, reduced(x, axes, kind), rtol=1e-5)


def test_sums_of_what_is_far_from_zero() -> None:
    """Rounding does not grow with the number of terms."""
    x = drawn(1, 2_000_000) * np.float32(0.1) + np.float32(100)
    (got,), _ = run([x], (1,), "mean")
    assert abs(float(got[0, 0]) - x.mean(dtype=np.float64)) < 2e-5


@pytest.mark.parametrize("target", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("along", [False, True])
def test_compiles_where_it_cannot_run(target: Machine, along: bool) -> None:
    (_, steps) = run([drawn(3, 40), drawn(3, 1)], (int(along),), "max", (A - B,))
    kernel = steps[0].recipe
    assert isinstance(kernel, ReduceKernel) and kernel.along == along
    assert object_code(replace(kernel, tail=3), target)
