"""Operands that are broadcast along any axes: against NumPy, in every kind of kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
import pytest
from grid import MACHINES, grid, rows
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import beside, between_fences
from methods.maps import Arrays, Place, anywhere

from faltung.geometry.expr import Expr, operand, random
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import AVX512, NEON, SSE, Machine
from faltung.methods.base.step import Step, Work
from faltung.methods.elementwise.elementwise import Input, Output, Sum, formulas
from faltung.methods.elementwise.kernel import FlatKernel
from faltung.methods.elementwise.narrow import NarrowKernel
from faltung.methods.elementwise.rows import RowsKernel
from faltung.methods.elementwise.spread import Axis, merged
from faltung.reference.expr import evaluate


@dataclass
class Problem:
    """sizes: (samples, *positions, channels). same: for each operand the axes along which it is the
    same. gap: what the rows of maps have behind their channels.
    """

    sizes: Sequence[int]
    same: Sequence[Sequence[int]]
    gap: int = 0
    sums: Sequence[str] = ()
    sample_axes: int = 1
    dtype: str = "float32"
    keyed: bool = False

    def run(self, machine: Machine, threads: int = 2, place: Place = anywhere) -> list[Step]:
        """Run it, and compare with NumPy, to the last bit: all numbers are whole."""
        rng = np.random.default_rng([*self.sizes, len(self.same), self.gap])
        *lead, channels = self.sizes
        samples, positions = lead[: self.sample_axes], lead[self.sample_axes :]
        arrays, work = Arrays(), Work()
        inputs, views = [], []
        for axes in self.same:
            base, view, strides = self._array(axes, rng, place)
            views.append(view)
            inputs.append(Input("spread", arrays.operand(base), 0, strides))
        expr: Expr = reduce(lambda a, b: a * 2 + b, map(operand, range(len(views))))
        given = list(views)
        if self.keyed:
            key = np.array([12345], np.int64)
            inputs.append(Input("key", arrays.operand(key)))
            given.append(key.reshape(()))
            expr = expr + random(operand(len(views)))
        base, out, _ = self._array((), rng, place)
        out[...] = -77
        outputs = [Output(expr, arrays.operand(base), channels + self.gap)]
        kinds = {"channel": channels, "sample": prod(samples) * channels, "scalar": 1}
        totals = {kind: place(np.full(kinds[kind], np.nan, self.dtype)) for kind in self.sums}
        formulas(
            work,
            self.dtype,
            machine,
            samples=prod(samples),
            positions=prod(positions),
            channels=channels,
            inputs=inputs,
            outputs=outputs,
            sums=[Sum(expr, kind, arrays.operand(a), channels) for kind, a in totals.items()],
            title="test",
            sample_axes=samples,
            axes=positions,
        )
        self.steps = arrays.run(work, machine, threads, place)
        with np.errstate(all="ignore"):
            want = np.broadcast_to(evaluate(expr, [*given, np.zeros(self.sizes)]), self.sizes)
        np.testing.assert_array_equal(out, want.astype(self.dtype))
        assert (np.delete(base.reshape(-1), self._inside()) == -77).all()
        for kind, array in totals.items():
            over = {"channel": range(len(lead)), "sample": range(self.sample_axes, len(lead))}
            axes = tuple(over.get(kind, range(len(self.sizes))))
            np.testing.assert_array_equal(array, want.sum(axis=axes).reshape(-1))
        self.out = out
        return self.steps

    def _array(
        self, same: Sequence[int], rng: np.random.Generator, place: Place
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """The memory of an operand, a view of all axes, with 1 where it is the same, and its
        strides.
        """
        own = [1 if i in same else size for i, size in enumerate(self.sizes)]
        pitch = own[-1] + (self.gap if own[-1] > 1 or not same else 0)
        strides = [pitch * prod(own[i + 1 : -1]) for i in range(len(own) - 1)] + [1]
        last = sum((n - 1) * step for n, step in zip(own, strides, strict=True))
        room = last + 1 if 0 not in own else 0
        base = place(rng.integers(-8, 9, room).astype(self.dtype))
        if not same:
            base[...] = -77
        step = base.itemsize
        view = np.lib.stride_tricks.as_strided(base, own, [step * s for s in strides])
        view[...] = rng.integers(-8, 9, own)
        kept = tuple(0 if own[i] == 1 and self.sizes[i] != 1 else s for i, s in enumerate(strides))
        return base, view, kept

    def _inside(self) -> np.ndarray:
        *lead, channels = self.sizes
        numbers = np.arange(prod(lead))[:, None] * (channels + self.gap) + np.arange(channels)
        return numbers.reshape(-1)


FULL: tuple[int, ...] = ()
CASES = [
    # (sizes, what is the same, kernel); axes 0: samples, then positions, the last one: channels.
    ((3, 4, 5, 6), [FULL, (3,)], RowsKernel),
    ((3, 4, 5, 24), [FULL, (3,), (0, 3)], RowsKernel),
    ((3, 4, 5, 24), [FULL, (0,)], RowsKernel),
    ((3, 4, 5, 24), [FULL, (1,), (2,), (1, 2)], RowsKernel),
    ((3, 4, 5, 24), [(1, 3), (0, 2)], RowsKernel),
    ((3, 4, 5, 24), [FULL, (0, 1, 2, 3)], FlatKernel),
    ((3, 4, 5, 24), [FULL, (1, 2, 3)], RowsKernel),
    ((1, 1, 1, 24), [FULL, (3,)], FlatKernel),
    ((1, 70, 90, 3), [FULL, (3,)], NarrowKernel),
    ((2, 70, 90, 3), [FULL, (0, 3), (0, 1, 2)], NarrowKernel),
    ((2, 9, 5, 2), [(1,), (2,), (0, 1, 2), (1, 2), (1, 2, 3)], NarrowKernel),
    ((2, 33, 9, 1), [FULL, (1,)], RowsKernel),
    ((2, 33, 9, 1), [FULL, (2,)], RowsKernel),
    ((5, 33, 9, 1), [FULL, (1, 2)], RowsKernel),
    ((1, 33, 9, 1), [FULL, (0,)], FlatKernel),
]


@grid(
    sizes_same_kind=rows("sizes same kind", CASES),
    gap=[0, 3],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_every_kind_of_operand(sizes, same, kind, gap: int, dtype: str, machine: Machine) -> None:
    problem = Problem(sizes, same, gap, dtype=dtype)
    (step,) = problem.run(machine)
    lanes = machine.lanes(dtype)
    if not gap and (kind is not NarrowKernel or sizes[-1] < lanes) and sizes[-1] not in (2, 3, 6):
        assert type(step.recipe) is kind
    if gap and sizes[-1] > 1 and prod(sizes[:-1]) > 1:
        assert type(step.recipe) is RowsKernel


def test_few_channels_fill_vectors() -> None:
    """Where all maps are contiguous and nothing is summed."""
    for sizes, same, kind in CASES:
        if kind is NarrowKernel and sizes[-1] < current().lanes("float32"):
            (step,) = Problem(sizes, same).run(current())
            assert type(step.recipe) is NarrowKernel
            (step,) = Problem(sizes, same, 1).run(current())
            assert type(step.recipe) is RowsKernel


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    rank = draw(st.integers(1, 4))
    lead = draw(st.lists(st.sampled_from([1, 2, 3, 5, 9]), min_size=rank, max_size=rank))
    channels = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 9, 21]))
    axes = st.sets(st.integers(0, rank))
    same = draw(st.lists(axes, min_size=1, max_size=4))
    sums = draw(st.sets(st.sampled_from(["channel", "sample", "scalar"])))
    return Problem(
        (*lead, channels),
        [sorted(each) for each in same],
        draw(st.sampled_from([0, 0, 2])),
        sorted(sums),
        draw(st.integers(0, rank)),
        draw(st.sampled_from(["float32", "float64"])),
    )


@given(problems(), st.integers(1, 3))
def test_any_axes(problem: Problem, threads: int) -> None:
    problem.run(current(), threads)


@pytest.mark.parametrize("kind", ["channel", "sample", "scalar"])
@pytest.mark.parametrize("same", [[FULL, (1,)], [FULL, (2, 3)], [FULL, (0, 1)]], ids=str)
def test_sums_of_many_bands(kind: str, same: Sequence[Sequence[int]], machine: Machine) -> None:
    steps = Problem((3, 40, 90, 20), same, 1, [kind]).run(machine)
    assert steps[0].items > 1


def test_random_numbers_are_those_of_the_element() -> None:
    """Whatever axes are made one, and however few channels there are."""
    for sizes in ((2, 5, 9, 3), (2, 5, 9, 1), (2, 5, 9, 24), (1, 5, 9, 24)):
        for same in ([FULL], [FULL, (3,)], [FULL, (1,)], [FULL, (0,), (0, 1, 2)]):
            Problem(sizes, same, keyed=True).run(current())


def test_the_number_of_threads_changes_no_bit(machine: Machine) -> None:
    for sizes, same, _ in CASES:
        made = set()
        for threads in (1, 2, 3, 7):
            problem = Problem(sizes, same, sums=["channel", "scalar"])
            problem.run(machine, threads)
            made.add(np.ascontiguousarray(problem.out).tobytes())
        assert len(made) == 1


@pytest.mark.parametrize("sizes", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 4, 0)], ids=str)
def test_nothing(sizes: Sequence[int], machine: Machine) -> None:
    Problem(sizes, [FULL, (3,), (0, 1)]).run(machine)


@between_fences(number=range(len(CASES)), dtype=["float32", "float64"], gap=[0, 3])
def test_nothing_outside_the_arrays_is_touched(
    number: int, dtype: str, gap: int, side: str, machine: Machine
) -> None:
    sizes, same, _ = CASES[number]
    problem = Problem(sizes, same, gap, dtype=dtype)
    problem.run(machine, 2, lambda array: beside(array, side == "after"))


@pytest.mark.parametrize("target", [AVX512, NEON, SSE], ids=lambda row: row.name)
def test_compiles_where_it_cannot_run(target: Machine) -> None:
    for sizes, same, _ in CASES[:10]:
        (step,) = Problem(sizes, same).run(current())
        assert object_code(step.recipe, target)


def test_axes_are_made_one_where_every_array_goes_on() -> None:
    axes = [Axis(2, (60, 0)), Axis(3, (20, 0)), Axis(1, (7, 7)), Axis(4, (5, 1)), Axis(5, (1, 0))]
    assert merged(axes) == [Axis(6, (20, 0)), Axis(4, (5, 1)), Axis(5, (1, 0))]
    assert merged([Axis(1, (3,)), Axis(1, (1,))]) == []
