"""Signals of one channel as sums: exact, and the bits of ``spatial``; ``test_every_method`` has the
table.
"""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import back, options, real, to

import faltung
from cases import integers
from faltung import reference
from faltung.geometry import parse
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.plain import signal

TEXTS = [
    "n2 c1>1 3000 k101 p50",
    "n1 c1>3 5000 k401 p(300,7)",
    "n3 c2>4 777 k19 psame g2 flip",
    "n1 c1>1 100 k90 p60 m:reflect",
    "n1 c1>1 4 k9 p40",
    "n1 c1>2 4500 k6",
]


@grid(dtype=["f32", "f64"], text=TEXTS, machine=MACHINES)
def test_sums(text: str, dtype: str, machine: Machine) -> None:
    spec = parse(f"{text} {dtype}")
    for last in (False, True):
        x, w, bias, _ = integers(spec)
        given = {**options(spec), "channels_last": last}
        got = faltung.conv(to(x, last), w, bias, **given, method="signal")
        np.testing.assert_array_equal(back(got, last), reference.conv(x, w, bias, spec))
        x, w, bias, _ = real(spec)
        mine, others = (
            faltung.conv(to(x, last), w, bias, **given, method=name)
            for name in ("signal", "spatial")
        )
        assert mine.tobytes() == others.tobytes()


def test_the_same_bits_for_any_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 1, 40_000)), rng.standard_normal((1, 1, 77))
    before, found = faltung.get_threads(), []
    try:
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            found.append(faltung.conv(x, w, method="signal"))
    finally:
        faltung.set_threads(before)
    assert all(found[0].tobytes() == other.tobytes() for other in found)
    assert faltung.conv(x[1], w, method="signal").tobytes() == found[0][1].tobytes()


def test_what_is_not_finite_stays_with_its_taps() -> None:
    x, w = np.ones((1, 1, 5000), np.float32), np.ones((1, 1, 101), np.float32)
    for value in (np.nan, np.inf, 1e30, 1e-42):
        x[0, 0, 2500] = value
        got = faltung.conv(x, w, padding=50, method="signal")
        want = faltung.conv(x, w, padding=50, method="spatial")
        np.testing.assert_array_equal(got, want)
        assert np.isfinite(got[0, 0, [2449, 2551]]).all()


def test_the_policy_takes_it_for_strict_sums() -> None:
    x, w = np.ones((1, 1, 100_000), np.float32), np.ones((1, 1, 301), np.float32)
    plan = faltung.Conv(w, precision="strict").plan(x)
    assert plan.reasons[0][1][0].name == "signal"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n1 c1>1 9x9 k4", "axis"),
        ("n1 c2>1 90 k9", "channel"),
        ("n1 c1>1 90 k9 s2", "stride"),
        ("n1 c1>1 90 k9 d2", "dilation"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    spec = parse(text)
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    c = forward(spec, *(contiguous(shape, False) for shape in shapes))
    assert why in (signal.SIGNAL.why_not(c, current()) or "")


@pytest.mark.parametrize("name", ["avx512", "neon", "sse"])
def test_compiles_for(name: str) -> None:
    for dtype in ("float32", "float64"):
        assert object_code(signal.SignalKernel(dtype, True, True, True), row(name))
