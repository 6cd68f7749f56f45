"""Sampling at places against its reference: modes, ranks, pitches, places that are none."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide

from faltung.geometry.grid import MODES, PADDINGS, Sampling
from faltung.jit.compile import object_code
from faltung.jit.target import host
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.resample.grid import Problem, grid_grad, map_grad, sample
from faltung.reference.grid import grid_sample, grid_sample_grid_grad, grid_sample_input_grad

# samples, channels, space, output
CASES = [
    (2, 16, (5, 7), (3, 4)),
    (1, 1, (1, 3), (2, 2)),
    (2, 3, (4, 3, 5), (2, 3, 2)),
    (3, 70, (6,), (9,)),
    (2, 5, (2, 2), (4,)),
]
HOW = [Sampling(*words) for words in product(MODES, PADDINGS, (False, True))]
HOW += [Sampling(mode, padding, positions=True) for mode, padding in product(MODES, PADDINGS)]


def data(case: tuple, dtype: str) -> tuple[np.ndarray, ...]:
    """A map, places, a gradient; all representable, so that both sides see the same places."""
    samples, channels, space, output = case
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, channels, *space)).astype(dtype)
    places = rng.uniform(-3.2, 6.2, size=(samples, len(space), *output)).astype(dtype)
    return x, places, rng.normal(size=(samples, channels, *output)).astype(dtype)


def results(
    case: tuple,
    how: Sampling,
    arrays: tuple[np.ndarray, ...],
    machine: Machine,
    extra: int = 0,
    threads: int = 2,
    allocate: Allocate = anywhere,
    alone: bool = False,
) -> tuple[np.ndarray, ...]:
    """The result, and the gradients for the map and for the grid. alone: one grid for all."""
    samples, channels, space, output = case
    x, places, g = arrays
    dtype, rank = str(x.dtype), len(space)
    rows = samples * int(np.prod(output))
    pitches = {"x": channels, "grid": rank, "g": channels, "y": channels}
    pitches |= {"map": channels, "slopes": rank}
    pitches = {name: pitch + extra for name, pitch in pitches.items()}
    memory = {
        "x": as_map(x, pitches["x"], allocate),
        "grid": as_map(places[:1] if alone else places, pitches["grid"], allocate),
        "g": as_map(g, pitches["g"], allocate),
        "y": blank(rows, channels, pitches["y"], dtype, allocate),
        "map": blank(samples * int(np.prod(space)), channels, pitches["map"], dtype, allocate),
        "slopes": blank(rows, rank, pitches["slopes"], dtype, allocate),
    }
    m = {name: Matrix(Operand(name), pitch) for name, pitch in pitches.items()}
    p = Problem(how, dtype, samples, channels, space, output, grid_alone=alone)
    work = Work()
    sample(p, work, m["x"], m["grid"], m["y"], machine)
    map_grad(p, work, m["g"], m["grid"], m["map"], machine)
    grid_grad(p, work, m["x"], m["grid"], m["g"], m["slopes"], machine)
    run(work, machine, memory, threads, allocate)
    for name in ("y", "map", "slopes"):
        assert np.isnan(between(memory[name])).all(), "written between the rows"
    return (
        from_map(memory["y"], g.shape),
        from_map(memory["map"], x.shape),
        from_map(memory["slopes"], (samples, rank, *output)),
    )


def compare(case: tuple, how: Sampling, dtype: str, machine: Machine, **more: object) -> None:
    if how.mode == "cubic" and len(case[2]) == 3:
        return
    arrays = data(case, dtype)
    got = results(case, how, arrays, machine, **more)  # type: ignore[arg-type]
    x, places, g = (array.astype(np.float64) for array in arrays)
    if more.get("alone"):
        places = np.repeat(places[:1], len(x), 0)
    want = (
        grid_sample(x, places, how),
        grid_sample_input_grad(g, places, how, case[2]),
        grid_sample_grid_grad(x, places, g, how),
    )
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    for one, other in zip(got, want, strict=True):
        scale = max(1.0, np.abs(other).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)
    for threads in (1, 3):
        again = results(case, how, arrays, machine, **(more | {"threads": threads}))  # type: ignore[arg-type]
        assert [a.tobytes() for a in again] == [a.tobytes() for a in got]
    if case[0] > 1:
        alone = (1, *case[1:])
        first = results(alone, how, tuple(a[:1] for a in arrays), machine, **more)  # type: ignore[arg-type]
        assert [a.tobytes() for a in first] == [a[:1].tobytes() for a in got]


@grid(case=CASES, how=HOW, dtype=["float32", "float64"], machine=MACHINES, every=12)
def test_cases(case: tuple, how: Sampling, dtype: str, machine: Machine) -> None:
    compare(case, how, dtype, machine)
    compare(case, how, dtype, machine, extra=3)
    compare(case, how, dtype, machine, alone=True)


@grid(case=CASES, how=HOW, every=6)
def test_wide_vectors(case: tuple, how: Sampling) -> None:
    compare(case, how, "float32", wide(), extra=1)


@grid(how=HOW, dtype=["float32", "float64"], every=1)
def test_places_that_are_none_read_nothing_outside(how: Sampling, dtype: str) -> None:
    """NaN, infinities, numbers that no integer holds, between fences."""
    case = (1, 3, (4, 5), (4, 2))
    x, places, g = data(case, dtype)
    places[0, 0] = [[np.nan, np.inf], [-np.inf, 1e30], [-1e30, 3e9], [1e-30, -0.0]]
    for side in (False, True):
        got = results(case, how, (x, places, g), host(), allocate=partial(fenced, after=side))
        assert np.isfinite(got[0]).all()
        if how.padding == "zeros":
            assert (got[0][0, :, :3] == 0).all()


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("how", HOW[::3], ids=str)
def test_compiles_elsewhere(row: Machine, how: Sampling) -> None:
    work, m = Work(), Matrix(Operand("x"), 20)
    p = Problem(how, "float32", 2, 17, (4, 5), (3, 3))
    sample(p, work, m, m, m, row)
    map_grad(p, work, m, m, m, row)
    grid_grad(p, work, m, m, m, m, row)
    for step in work.steps:
        assert object_code(step.recipe, row)


@between_fences(case=CASES, how=HOW, extra=[0, 3])
def test_between_fences(
    case: tuple, how: Sampling, extra: int, side: str, machine: Machine
) -> None:
    compare(
        case, how, "float32", machine, extra=extra, allocate=lambda n: fenced(n, side == "after")
    )
