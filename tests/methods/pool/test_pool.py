"""Pooling and its gradients against the reference: every machine, any pitch, the same bits."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from laws.fences import between_fences, fenced
from pools import MAXIMA, MEANS, POOLS, Map, Memory, filled, indices, ones, random_pools, run, whole

from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.jit.compile import object_code
from faltung.machine.table import Machine, row
from faltung.methods.base.step import Matrix, Operand, Step, Work
from faltung.methods.pool.pool import (
    MAX_WRITTEN_OUT,
    average_pool,
    average_pool_grad,
    max_pool,
    max_pool_grad,
)
from faltung.methods.pool.reductions import REDUCTIONS
from faltung.methods.pool.taps import TapsKernel
from faltung.reference import pool as reference

X, OUT, INDEX = Operand("x"), Operand("out"), Operand("w")


class Pooling:
    """The arrays of one pooling, its input and output gradient, each with a pitch of its own."""

    def __init__(
        self,
        spec: PoolSpec,
        machine: Machine,
        gap: int = 0,
        threads: int = 2,
        memory: Memory = ones,
    ) -> None:
        self.spec, self.machine, self.threads, self.memory = spec, machine, threads, memory
        self.x_pitch, self.out_pitch = spec.channels + gap, spec.channels + 2 * gap
        self.steps: list[Step] = []

    def forward(self, x: np.ndarray, index: Map | None = None) -> np.ndarray:
        spec, work = self.spec, Work()
        where = Matrix(X, self.x_pitch), Matrix(OUT, self.out_pitch)
        if spec.kind == "max":
            max_pool(spec, work, *where, index and INDEX, machine=self.machine)
        else:
            average_pool(spec, work, *where, machine=self.machine)
        return self._run(work, x, self.x_pitch, spec.output_shape, self.out_pitch, index)

    def backward(self, g: np.ndarray, index: Map | None = None) -> np.ndarray:
        spec, work = self.spec, Work()
        grad, out = Matrix(X, self.out_pitch), Matrix(OUT, self.x_pitch)
        if spec.kind == "max":
            max_pool_grad(spec, work, grad, INDEX, out, machine=self.machine)
        else:
            average_pool_grad(spec, work, grad, out, machine=self.machine)
        return self._run(work, g, self.out_pitch, spec.input_shape, self.x_pitch, index)

    def _run(
        self,
        work: Work,
        values: np.ndarray,
        pitch: int,
        shape: tuple[int, ...],
        out_pitch: int,
        index: Map | None,
    ) -> np.ndarray:
        self.steps += work.steps
        x = filled(values, pitch, self.memory)
        out = Map(shape, out_pitch, self.spec.dtype, self.memory)
        run(work, self.machine, self.threads, self.memory, x=x, out=out, w=index)
        assert out.untouched
        np.testing.assert_array_equal(x.view, values)
        return out.view


def equal(spec: PoolSpec, got: np.ndarray, want: np.ndarray) -> None:
    """Exactly for maxima, whose data are whole numbers; means are rounded."""
    scale = 0 if spec.kind == "max" else 4 * np.finfo(spec.dtype).eps
    np.testing.assert_allclose(got, want, rtol=scale, atol=4 * scale)


def check(spec: PoolSpec, machine: Machine, gap: int = 0, memory: Memory = ones) -> None:
    x, g = whole(spec)
    pooling = Pooling(spec, machine, gap, memory=memory)
    if spec.kind == "average":
        equal(spec, pooling.forward(x), reference.average_pool(x, spec))
        equal(spec, pooling.backward(g), reference.average_pool_grad(g, spec))
        return
    values, taps = reference.max_pool(x, spec)
    index = indices(spec, memory)
    equal(spec, pooling.forward(x), values)
    equal(spec, pooling.forward(x, index), values)
    np.testing.assert_array_equal(index.view, taps)
    equal(spec, pooling.backward(g, index), reference.max_pool_grad(g, taps, spec))


@grid(spec=POOLS, gap=[0, 5], machine=MACHINES)
def test_table(spec: PoolSpec, gap: int, machine: Machine) -> None:
    check(spec, machine, gap)


@grid(spec=POOLS, masks=[False, True], machine=MACHINES)
def test_vectors_of_another_width(spec: PoolSpec, masks: bool, machine: Machine) -> None:
    """Twice as wide as the processor's, which LLVM splits: more channels are narrow."""
    wide = replace(machine, vector_bytes=2 * machine.vector_bytes, masks=masks)
    check(spec, wide)


def test_random_problems(machine: Machine) -> None:
    @given(random_pools())
    def walk(spec: PoolSpec) -> None:
        check(spec, machine, gap=3)

    walk()


@grid(spec=MAXIMA, machine=MACHINES)
def test_what_is_not_finite(spec: PoolSpec, machine: Machine) -> None:
    """NaN wins wherever it stands, minus infinity is a number like any other."""
    rng = np.random.default_rng(4)
    x, g = whole(spec)
    odd = rng.choice([np.nan, np.inf, -np.inf, -np.inf, -0.0], x.shape)
    x = np.where(rng.random(x.shape) < 0.3, odd, x).astype(spec.dtype)
    x[:, ::2] = -np.inf
    g[g > 3] = np.nan
    values, taps = reference.max_pool(x, spec)
    pooling, index = Pooling(spec, machine), indices(spec)
    np.testing.assert_array_equal(pooling.forward(x), values)
    np.testing.assert_array_equal(pooling.forward(x, index), values)
    np.testing.assert_array_equal(index.view, taps)
    np.testing.assert_array_equal(
        pooling.backward(g, index), reference.max_pool_grad(g, taps, spec)
    )


@grid(spec=MEANS, machine=MACHINES)
def test_means_of_what_is_not_finite(spec: PoolSpec, machine: Machine) -> None:
    x, g = whole(spec)
    x[x == 4], x[x == -4], g[g == 2] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        equal(spec, Pooling(spec, machine).forward(x), reference.average_pool(x, spec))
        equal(spec, Pooling(spec, machine).backward(g), reference.average_pool_grad(g, spec))


def test_zeros_of_both_signs(machine: Machine) -> None:
    """The first of equal maxima, down to the sign of a zero, with the index and without it."""
    spec = pool_spec((1, 8, 4), 2)
    x = np.broadcast_to(np.float32([0.0, -0.0, -0.0, 0.0]), spec.input_shape).copy()
    for index in (None, indices(spec)):
        got = Pooling(spec, machine).forward(x, index)
        assert np.signbit(got).tolist() == [[[False, True]] * 8]


@grid(spec=POOLS, machine=MACHINES)
def test_the_gradient_is_the_adjoint(spec: PoolSpec, machine: Machine) -> None:
    """sum(pool(x) * g) = sum(x * grad(g)): a maximum is linear once its taps are chosen."""
    x, g = whole(spec, 1)
    pooling = Pooling(spec, machine)
    index = indices(spec) if spec.kind == "max" else None
    forward = (pooling.forward(x, index).astype(np.float64) * g).sum()
    backward = (pooling.backward(g, index).astype(np.float64) * x).sum()
    assert forward == pytest.approx(backward, rel=1e-5, abs=1e-5 * max(1, x.size))


@grid(spec=POOLS, machine=MACHINES)
def test_any_number_of_threads(spec: PoolSpec, machine: Machine) -> None:
    rng = np.random.default_rng(5)
    x, g = (rng.standard_normal(a.shape).astype(spec.dtype) for a in whole(spec))
    found = []
    for threads in (1, 2, 3, 7):
        pooling = Pooling(spec, machine, threads=threads)
        index = indices(spec) if spec.kind == "max" else None
        parts = [pooling.forward(x, index), pooling.backward(g, index)]
        found.append([part.tobytes() for part in parts] + [index and index.view.tobytes()])
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_alone_and_in_a_batch(kind: str, machine: Machine) -> None:
    """Batches cut channels differently, and give the same bits."""
    options = {"kernel": 3, "stride": 2, "padding": 1, "kind": kind, "count_padding": False}
    many, one = (pool_spec((n, 200, 9, 9), **options) for n in (80, 1))
    rng = np.random.default_rng(6)
    x, g = (rng.standard_normal(a.shape).astype(np.float32) for a in whole(many))
    together, alone = Pooling(many, machine), Pooling(one, machine)
    index = indices(many)
    forward, backward = together.forward(x, index), together.backward(g, index)
    for n in (0, 79):
        own = indices(one)
        assert alone.forward(x[n : n + 1], own).tobytes() == forward[n].tobytes()
        assert alone.backward(g[n : n + 1], own).tobytes() == backward[n].tobytes()


def test_one_kernel_serves_every_shape(machine: Machine) -> None:
    """Rank, size, stride, dilation, padding, pitch and batch are numbers, not code, and so are
    windows but for small ones, which are written out.
    """
    recipes = set()
    for spec in POOLS:
        if spec.dtype != "float32" or spec.channels < machine.lanes("float32"):
            continue
        pooling, (x, g) = Pooling(spec, machine, gap=1), whole(spec)
        index = indices(spec) if spec.kind == "max" else None
        if index:
            pooling.forward(x)
        pooling.forward(x, index)
        pooling.backward(g, index)
        recipes |= {step.recipe for step in pooling.steps if isinstance(step.recipe, TapsKernel)}
    assert all(max(made.rows, made.taps) <= MAX_WRITTEN_OUT for made in recipes)
    plain = {replace(made, rows=1, taps=1, fixed=False) for made in recipes}
    assert plain == {TapsKernel("float32", kind, False) for kind in REDUCTIONS}


def test_a_single_sample_is_shared_out(machine: Machine) -> None:
    """The mean of a whole map of one sample: threads have channels each."""
    for shape, kernel in (((1, 1024, 7, 7), None), ((1, 2048, 1), None)):
        spec = pool_spec(shape, kernel, kind="average")
        pooling = Pooling(spec, machine)
        pooling.forward(whole(spec)[0])
        assert pooling.steps[0].items >= 16


def test_a_mean_of_many_loses_little(machine: Machine) -> None:
    """Rows are summed first: the error grows with the sides of a window, not with its area."""
    spec = pool_spec((1, 8, 500, 500), kind="average")
    x = (1 + np.random.default_rng(7).random(spec.input_shape)).astype(np.float32)
    want = x.astype(np.float64).mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(Pooling(spec, machine).forward(x), want, rtol=3e-6)


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse", "neon"])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_code_for_every_machine(kind: str, name: str) -> None:
    for dtype in ("float32", "float64"):
        for narrow in (False, True):
            assert object_code(TapsKernel(dtype, kind, narrow), row(name))
        assert object_code(TapsKernel(dtype, kind, False, 3, 2, kind == "chosen"), row(name))


@between_fences(spec=POOLS, gap=[0, 3])
def test_nothing_outside_is_touched(spec: PoolSpec, gap: int, side: str, machine: Machine) -> None:
    check(spec, machine, gap, lambda n_bytes: fenced(n_bytes, side == "after"))
