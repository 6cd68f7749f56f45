"""Extremes, running sums, sorting and scattering along an axis, on every machine, at any pitch."""

from collections.abc import Callable

import numpy as np
import pytest
from grid import MACHINES, grid
from methods.maps import Arrays, anywhere
from methods.reduce.test_reduce import placed

from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Step, Work
from faltung.methods.copies.whole import WholeKernel
from faltung.methods.reduce.arg import arg
from faltung.methods.reduce.axes import Strided
from faltung.methods.reduce.cumulative import cumulative
from faltung.methods.reduce.top_k import scattered, top_k
from faltung.reference import reduce as meant

SHAPES = [(1, 1), (3, 7), (2, 5, 16), (4, 3, 33), (70, 2, 3), (2, 300)]


class Call:
    """Arrays of one call; those of results are NaN at first, also between their rows."""

    def __init__(self, machine: Machine) -> None:
        self.arrays, self.work, self.machine = Arrays(), Work(), machine

    def given(self, array: np.ndarray, gap: int) -> tuple[np.ndarray, Strided]:
        made = placed(array, gap)
        steps = (s // made.itemsize for s in made.strides)
        found = tuple(s if n > 1 else 0 for s, n in zip(steps, made.shape, strict=True))
        return made, Strided(self.arrays.operand(made), found)

    def result(self, shape: tuple[int, ...], dtype: str, gap: int) -> tuple[np.ndarray, Strided]:
        return self.given(np.full(shape, np.nan, dtype), gap)

    def run(self, threads: int = 2) -> list[Step]:
        return self.arrays.run(self.work, self.machine, threads, anywhere)


def kept(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(list(shape))
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.05] = np.nan
    return x


@grid(shape=SHAPES, dtype=["float32", "float64"], machine=MACHINES, every=2)
def test_extremes(shape: tuple[int, ...], dtype: str, machine: Machine) -> None:
    for axis in range(len(shape)):
        for kind, last, gap in (("max", False, 0), ("min", True, 2), ("max", True, 3)):
            call = Call(machine)
            x, given = call.given(numbers(shape, dtype), gap)
            out, target = call.result(kept(shape, axis, 1), dtype, gap)
            named = {"sizes": shape, "axis": axis, "x": given, "out": target}
            arg(call.work, dtype, machine, **named, kind=kind, last=last, title="test")
            call.run()
            np.testing.assert_array_equal(out, meant.arg(x, axis, kind, last))


@grid(shape=SHAPES, dtype=["float32", "float64"], machine=MACHINES, every=2)
def test_running(shape: tuple[int, ...], dtype: str, machine: Machine) -> None:
    for axis in range(len(shape)):
        for kind, flags, gap in (("sum", (False, False), 2), ("product", (True, True), 0)):
            call = Call(machine)
            x, given = call.given(np.nan_to_num(numbers(shape, dtype), nan=1), gap)
            x /= 3
            out, target = call.result(shape, dtype, 2 * gap)
            named = {"sizes": shape, "axis": axis, "x": given, "out": target}
            flagged = dict(zip(("exclusive", "reverse"), flags, strict=True))
            cumulative(call.work, dtype, machine, **named, kind=kind, **flagged, title="test")
            call.run()
            want = meant.cumulative(x, axis, kind, *flags)
            np.testing.assert_allclose(out, want, rtol=3e-5, atol=1e-6)


@grid(shape=SHAPES, dtype=["float32", "float64"], machine=MACHINES, every=2)
def test_sorting_and_scattering(shape: tuple[int, ...], dtype: str, machine: Machine) -> None:
    for axis, size in enumerate(shape):
        for k in {1, min(size, 17), size}:
            call = Call(machine)
            x, given = call.given(numbers(shape, dtype), 1)
            some = kept(shape, axis, k)
            values, first = call.result(some, dtype, 2)
            places, second = call.result(some, dtype, 2)
            named = {"sizes": shape, "axis": axis, "title": "test"}
            targets = {"values": first, "numbers": second}
            top_k(call.work, dtype, machine, **named, k=k, x=given, **targets)
            call.run()
            want = meant.top_k(x, axis, k)
            np.testing.assert_array_equal(values, want[0])
            np.testing.assert_array_equal(places, want[1])
            call = Call(machine)
            _, grad = call.given(values, 1)
            _, numbered = call.given(places, 0)
            out, target = call.result(shape, dtype, 3)
            given_to = {"grad": grad, "places": numbered, "out": target}
            named["sizes"] = some
            scattered(call.work, dtype, machine, **named, size=size, **given_to)
            call.run()
            np.testing.assert_array_equal(out, meant.top_k_grad(values, places, axis, size))


def steps_of(call: Call, make: Callable[..., None], **more: object) -> list[Step]:
    _, x = call.given(np.zeros((3, 40), np.float32), 0)
    _, out = call.result((3, 40), "float32", 0)
    names = {top_k: ("x", "values", "numbers"), scattered: ("grad", "places", "out")}
    given = dict(zip(names.get(make, ("x", "out")), (x, out, out), strict=False))
    make(call.work, "float32", call.machine, sizes=(3, 40), **given, title="test", **more)
    return call.work.steps


@pytest.mark.parametrize("target", [AVX512, NEON], ids=lambda row: row.name)
def test_compiles_where_it_cannot_run(target: Machine) -> None:
    for axis in (0, 1):
        for make, more in (
            (arg, {"kind": "max"}),
            (cumulative, {}),
            (top_k, {"k": 3}),
            (top_k, {"k": 30 if axis else 3}),
            (scattered, {"size": 50}),
        ):
            (step,) = steps_of(Call(target), make, axis=axis, **more)
            assert object_code(step.recipe, target)
    assert object_code(WholeKernel("float64"), target)


def test_places_outside_the_line_are_left_out(machine: Machine) -> None:
    """Nothing is written where it must not be."""
    call = Call(machine)
    _, grad = call.given(np.ones((2, 3), np.float32), 0)
    _, places = call.given(np.array([[0, 9, -1], [np.nan, 2, 1e30]], np.float32), 0)
    out, target = call.result((2, 4), "float32", 2)
    named = {"sizes": (2, 3), "axis": 1, "size": 4, "title": "test"}
    scattered(call.work, "float32", machine, grad=grad, places=places, out=target, **named)
    call.run()
    np.testing.assert_array_equal(out[0], [1, 0, 0, 0])
    assert out[1, 2] == 1 and set(out[1]) <= {0, 1}
