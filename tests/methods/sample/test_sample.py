"""The kernels of sampling at points against their definition."""

import numpy as np
from grid import MACHINES
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide
from samplings import numbers, specs

from faltung.geometry.axis import Axis
from faltung.geometry.sample import SampleSpec
from faltung.jit.target import named
from faltung.machine.table import Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.sample import sample as method
from faltung.reference import sample as definition

Array = np.ndarray
seeds = st.integers(0, 2**32 - 1)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


class Run:
    """One sampling and its gradients, by the kernels."""

    def __init__(
        self,
        spec: SampleSpec,
        own: dict[str, Array],
        dtype: str,
        machine: Machine,
        pitch: int = 0,
        threads: int = 2,
        allocate: Allocate = anywhere,
    ) -> None:
        self.spec, self.machine, self.dtype = spec, machine, np.dtype(dtype)
        self.pitch, self.threads, self.allocate = pitch, threads, allocate
        self.samples, self.channels = own["x"].shape[:2]
        self.own = own

    def given(self, *names: str) -> dict[str, Array]:
        found = {name: self.own[name].astype(self.dtype) for name in names if name in self.own}
        return {n: as_map(a, a.shape[1] + self.pitch, self.allocate) for n, a in found.items()}

    def matrix(self, name: str, channels: int) -> Matrix:
        return Matrix(Operand(name), channels + self.pitch)

    def made(self, arrays: dict[str, Array], name: str, channels: int, rows: int) -> Matrix:
        pitch = channels + self.pitch
        arrays[name] = blank(rows, channels, pitch, self.dtype, self.allocate)
        return self.matrix(name, channels)

    def finish(
        self, work: Work, arrays: dict[str, Array], names: dict[str, tuple[int, ...]]
    ) -> None:
        zeros = self.allocate(self.channels // self.spec.groups * self.dtype.itemsize)
        zeros[:] = 0
        run(work, self.machine, {**arrays, "zeros": zeros}, self.threads, self.allocate)
        for name in names:
            assert np.isnan(between(arrays[name])).all(), name
        self.found = {name: from_map(arrays[name], shape) for name, shape in names.items()}

    def results(self) -> dict[str, Array]:
        spec, rows = self.spec, self.samples * int(np.prod(self.spec.output))
        options = {"samples": self.samples, "channels": self.channels, "dtype": str(self.dtype)}
        points = self.matrix("points", spec.coordinates)
        mask = self.matrix("mask", spec.groups) if spec.masked else None
        x, grad = self.matrix("x", self.channels), self.matrix("grad", self.channels)
        zeros, found = Operand("zeros"), {}
        arrays, work = self.given("x", "points", "mask"), Work()
        y = self.made(arrays, "y", self.channels, rows)
        method.sample(spec, work, x, points, mask, y, zeros, **options)
        shape = (self.samples, self.channels, *spec.output)
        self.finish(work, arrays, {"y": shape})
        found |= self.found
        arrays, work = self.given("grad", "points", "mask"), Work()
        out = self.made(arrays, "x", self.channels, self.samples * int(np.prod(spec.size)))
        more = {**options, "machine": self.machine}
        method.sample_input_grad(spec, work, grad, points, mask, out, **more)
        self.finish(work, arrays, {"x": (self.samples, self.channels, *spec.size)})
        found |= self.found
        arrays, work = self.given("grad", "x", "points", "mask"), Work()
        shapes = {"points grad": (self.samples, spec.coordinates, *spec.output)}
        shapes |= {"mask grad": (self.samples, spec.groups, *spec.output)} if spec.masked else {}
        outs = [self.made(arrays, name, shape[1], rows) for name, shape in shapes.items()]
        outs += [] if spec.masked else [None]
        method.sample_points_grad(spec, work, grad, x, points, mask, *outs, zeros, **options)
        self.finish(work, arrays, shapes)
        return found | self.found


def check(
    spec: SampleSpec, samples: int, channels: int, seed: int, dtype: str, machine: Machine, **more
) -> None:
    drawn = numbers(spec, samples, channels * spec.groups, seed)
    own = {name: a.astype(dtype).astype(np.float64) for name, a in drawn.items()}
    got = Run(spec, own, dtype, machine, **more).results()
    points, mask, grad = own["points"], own.get("mask"), own["grad"]
    want = {"y": definition.sample(spec, own["x"], points, mask)}
    want["x"] = definition.sample_input_grad(spec, grad, points, mask)
    made = definition.sample_points_grad(spec, grad, own["x"], points, mask)
    want |= dict(zip(("points grad", "mask grad"), made, strict=True))
    for name, array in got.items():
        atol = TOLERANCE[dtype] * (1 + np.abs(want[name]).max(initial=0)) * (1 + channels) ** 0.5
        np.testing.assert_allclose(array, want[name], rtol=0, atol=atol, err_msg=name)


@given(
    specs(),
    st.integers(1, 3),
    st.sampled_from([1, 3, 8, 16, 17, 40, 70]),
    seeds,
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["wide", *MACHINES]),
    st.integers(0, 2),
)
def test_any_points(
    spec: SampleSpec,
    samples: int,
    channels: int,
    seed: int,
    dtype: str,
    machine: str,
    pitch: int,
) -> None:
    row = wide() if machine == "wide" else named(machine)
    check(spec, samples, channels, seed, dtype, row, pitch=pitch)


WINDOWS = (Axis(5, 3, 2, 1, 1, 1), Axis(4, 2, 1, 2, 1, 0))
SPECS = {
    "windows": SampleSpec((5, 4), (3, 3, 6), groups=2, windows=WINDOWS, masked=True),
    "cubic": SampleSpec((5, 4), (7, 2), "cubic", "reflect", backwards=True),
    "line": SampleSpec((6,), (11,), "nearest", "symmetric", masked=True),
    "volume": SampleSpec((2, 3, 4), (5, 2), outside="replicate"),
}


def test_bits_depend_on_nothing_else() -> None:
    """Neither on threads nor on other samples."""
    for spec in SPECS.values():
        own = numbers(spec, 3, 6, 1)
        every = [Run(spec, own, "float32", wide(), threads=n).results() for n in (1, 2, 3)]
        alone = Run(spec, {n: a[1:2] for n, a in own.items()}, "float32", wide()).results()
        for name, array in alone.items():
            assert {found[name][1].tobytes() for found in every} == {array[0].tobytes()}, name


def test_points_that_are_none() -> None:
    """NaN, infinities and numbers beyond all integers lead nowhere, and not out of the map."""
    for spec in SPECS.values():
        own = numbers(spec, 1, 3 * spec.groups, 1)
        flat = own["points"].reshape(-1)
        flat[: len(flat) // 2] = np.resize([np.nan, np.inf, -np.inf, 1e30, -1e30], len(flat) // 2)

        def allocate(n_bytes: int) -> Array:
            return fenced(n_bytes, True)

        Run(spec, own, "float32", wide(), allocate=allocate).results()


def test_what_lies_beside_is_not_read() -> None:
    """A NaN of the map does not come to points that are outside of it."""
    spec = SampleSpec((3,), (4,))
    own = {"x": np.full((1, 2, 3), np.nan), "points": np.array([[[-1.5, -7, 3.2, 9.0]]])}
    own["grad"] = np.ones((1, 2, 4))
    assert not Run(spec, own, "float64", wide()).results()["y"].any()


@between_fences(name=SPECS, dtype=["float32", "float64"], channels=[1, 19], every=6)
def test_between_fences(name: str, dtype: str, channels: int, side: str, machine: Machine) -> None:
    def allocate(n_bytes: int) -> Array:
        return fenced(n_bytes, side == "after")

    check(SPECS[name], 2, channels, 1, dtype, machine, pitch=1, allocate=allocate)
