"""The promise: the same bits for any number of threads, and for a sample alone or in a batch."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from grid import MACHINES, grid
from laws.layouts import options, real, to
from laws.methods import made, pairs, row

import faltung
from cases import CASES
from faltung import plan_forward, plan_input_grad, plan_weight_grad
from faltung.geometry import ConvSpec, parse
from faltung.plan import plan as planning

PROBLEMS = [
    "n7 c64>64 28x28 k3 p1",
    "n7 c64>40 30x30 k1",
    "n7 c3>48 65x65 k7 s2 p3",
    "n7 c32>32 12x12x12 k3 p1",
    "n7 c16>16 5000 k31 p15 g16",
    "n7 c1>1 20000 k101",
    "n7 c20>24 40x40 k3 p1 m:reflect,circular",
    "n7 c32>64 33x33 k3 s2 p1 f64",
]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = faltung.get_threads()
    yield
    faltung.set_threads(before)


@grid(text=PROBLEMS, last=[False, True])
def test_any_number_of_threads(text: str, last: bool) -> None:
    spec = parse(text)
    x, w, bias, g = real(spec)
    x, g = to(x, last), to(g, last)
    given = {**options(spec), "channels_last": last}
    results = []
    for number in (1, 2, 3):
        faltung.set_threads(number)
        results.append(
            [
                faltung.conv(x, w, bias, **given),
                faltung.Conv(w, bias, **given)(x),
                faltung.conv_input_grad(g, w, x.shape, **given),
                faltung.conv_weight_grad(x, g, w.shape, **given),
            ]
        )
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert one.tobytes() == two.tobytes()


@grid(text=PROBLEMS, last=[False, True])
def test_alone_and_in_a_batch(text: str, last: bool) -> None:
    spec = parse(text)
    x, w, bias, g = real(spec)
    x, g = to(x, last), to(g, last)
    given = {**options(spec), "channels_last": last}
    layer = faltung.Conv(w, bias, **given)
    together = layer(x)
    back = faltung.conv_input_grad(g, w, x.shape, **given)
    for i in (0, 3, 6):
        assert layer(x[i]).tobytes() == together[i].tobytes()
        alone = faltung.conv_input_grad(g[i], w, x.shape[1:], **given)
        assert alone.tobytes() == back[i].tobytes()


@grid(pair=pairs(), machine=MACHINES)
def test_every_method(
    direction: str, method: str, machine: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forced by name, on its own problem and some of the table; the whole team takes part."""
    monkeypatch.setattr(planning, "MIN_PARALLEL_CYCLES", 0.0)
    tried = 0
    for spec, last in [row(method), *some(direction, method)]:
        spec = replace(spec, batch=3)
        x, w, bias, g = real(spec)
        found = []
        for number in (1, 2, 3):
            faltung.set_threads(number)
            found.append(made(direction, method, spec, (x, w, bias, g), last))
        first = found[0]
        assert first is not None, f"{method} does not apply to {spec}"
        assert all(first.tobytes() == other.tobytes() for other in found), spec
        tried += 1
        if direction != "weight_grad":
            for i in (0, 2):
                one = x[i : i + 1], w, bias, g[i : i + 1]
                alone = made(direction, method, replace(spec, batch=1), one, last)
                assert alone is not None and alone.tobytes() == first[i].tobytes(), spec
    assert tried > 1 or method in ("signal", "strassen")  # few rows of the table are theirs


def some(direction: str, method: str) -> Iterator[tuple[ConvSpec, bool]]:
    """Three cases of the table that the method can do, from all parts of it."""
    planner = {"forward": plan_forward, "input_grad": plan_input_grad}
    left = 3
    for number, case in enumerate(CASES[::11]):
        if left and case.spec.batch:
            last = number % 2 == 0
            plan: Any = planner.get(direction, plan_weight_grad)
            try:
                plan(case.spec, channels_last=last, method=method)
            except ValueError:
                continue
            left -= 1
            yield case.spec, last
