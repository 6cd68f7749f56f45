"""Resampling against its reference: any axes, pitches, taps, holes and machines."""

from collections.abc import Sequence

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide

from faltung.geometry.expr import operand
from faltung.geometry.interpolate import Resizing, interpolated, resized
from faltung.geometry.resample import (
    Table,
    averaged,
    filtered,
    flipped,
    padded,
    rolled,
    selected,
    table,
)
from faltung.jit.compile import object_code
from faltung.jit.target import host
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.resample.resample import Aux, Finish, resample
from faltung.reference.resample import resample as reference

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
Tables = Sequence[Table | None]


def result(
    x: np.ndarray,
    tables: Tables,
    machine: Machine,
    *,
    fill: float = 0.0,
    extra: tuple[int, int] = (0, 0),
    threads: int = 2,
    allocate: Allocate = anywhere,
    finish: Finish | None = None,
    beside: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """(N, C, *space), by the kernel; ``extra``: elements between the rows of source and result."""
    shape = tuple(n if t is None else t.output for t, n in zip(tables, x.shape[1:], strict=True))
    dtype, work = str(x.dtype), Work()
    pitches = x.shape[1] + extra[0], shape[0] + extra[1]
    rows = len(x) * int(np.prod(shape[1:]))
    arrays = {
        "x": as_map(x, pitches[0], allocate),
        "out": blank(rows, shape[0], pitches[1], dtype, allocate),
    }
    source, target = (Matrix(Operand(n), p) for n, p in zip(arrays, pitches, strict=True))
    sizes = {"samples": len(x), "shape": x.shape[1:], "tables": tables}
    how = {"source": source, "target": target, "fill": fill, "finish": finish}
    resample(work, dtype, machine, **sizes, **how)
    run(work, machine, arrays | (beside or {}), threads, allocate)
    assert np.isnan(between(arrays["out"])).all(), "written between the rows"
    return from_map(arrays["out"], (len(x), *shape))


def compare(
    shape: tuple[int, ...], tables: Tables, machine: Machine, dtype: str = "float32", **how: object
) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    got = result(x, tables, machine, **how)  # type: ignore[arg-type]
    fill = float(how.get("fill", 0.0))  # type: ignore[arg-type]
    want = reference(x, tables, fill)
    weights = max((sum(map(abs, t.weights)) / max(1, t.output) for t in tables if t), default=1)
    size = np.abs(x).max(initial=1) * max(1, weights) ** len(tables)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=0, atol=16 * eps * size)
    for threads in (1, 3):
        again = result(x, tables, machine, **(how | {"threads": threads}))  # type: ignore[arg-type]
        assert again.tobytes() == got.tobytes()
    if len(x) > 1:
        alone = result(x[1:2], tables, machine, **how)  # type: ignore[arg-type]
        assert alone.tobytes() == got[1:2].tobytes()


TWICE = interpolated("linear", 5, 10)
CASES: dict[str, tuple[tuple[int, ...], Tables]] = {
    "bilinear twice": ((2, 16, 5, 5), (None, TWICE, TWICE)),
    "bilinear of one channel": ((2, 1, 5, 5), (None, TWICE, TWICE)),
    "bilinear of three channels": ((2, 3, 5, 7), (None, TWICE, interpolated("linear", 7, 3))),
    "bicubic": ((1, 9, 5, 6), (None, interpolated("cubic", 5, 8), interpolated("cubic", 6, 13))),
    "nearest": ((3, 8, 5, 6), (None, interpolated("nearest", 5, 8), interpolated("nearest", 6, 3))),
    "antialiased": (
        (2, 5, 40, 30),
        (
            None,
            interpolated("cubic", 40, 7, antialias=True),
            interpolated("linear", 30, 4, antialias=True),
        ),
    ),
    "antialiased, one channel": (
        (2, 1, 4, 40),
        (None, None, interpolated("cubic", 40, 7, antialias=True)),
    ),
    "trilinear": (
        (2, 4, 3, 2, 5),
        (None, interpolated("linear", 3, 6), interpolated("linear", 2, 5), TWICE),
    ),
    "depth and width": ((2, 3, 3, 4, 5), (None, flipped(3), None, TWICE)),
    "height alone": ((2, 3, 5, 4), (None, TWICE, None)),
    "width alone": ((2, 19, 4, 5), (None, None, TWICE)),
    "channels": ((2, 6, 4), (rolled(6, 2), None)),
    "blocks of channels": ((2, 96, 4), (rolled(96, 32), None)),
    "blocks of channels that begin elsewhere": (
        (2, 70, 3),
        (selected(70, [*range(5, 37), *range(0, 32)]), None),
    ),
    "blocks of channels and holes": ((2, 32, 3), (padded(32, 32, 16), flipped(3))),
    "channels with weights": ((2, 20, 3), (averaged(20, 7), None)),
    "channels with many weights": ((3, 40, 3), (averaged(40, 3), averaged(3, 2))),
    "all axes": ((2, 5, 3, 5), (padded(5, 1, 2), flipped(3), TWICE)),
    "holes": ((2, 20, 4, 5), (None, padded(4, 2, 1), padded(5, -1, 2))),
    "holes of one channel": ((2, 1, 4, 5), (None, padded(4, 2, 1), padded(5, 1, 3))),
    "holes among weights": (
        (2, 3, 4),
        (None, table(4, [[], [(0, 0.5), (1, 0.5)], [(2, 3.0)], [(0, 1), (1, 2), (3, -1)]])),
    ),
    "holes among many weights": (
        (2, 9, 9),
        (None, table(9, [[], [(i, 0.5 + i) for i in range(9)], [(2, 3.0)], []])),
    ),
    "nothing but holes": ((2, 3, 4), (None, table(4, [[], []]))),
    "adjoint of nearest": (
        (2, 5, 12, 9),
        (None, *(interpolated("nearest", n, 3 * n).transposed for n in (4, 3))),
    ),
    "adjoint of the mean": (
        (2, 33, 1, 1),
        (None, averaged(7, 1).transposed, averaged(5, 1).transposed),
    ),
    "mean": ((2, 33, 7, 5), (None, averaged(7, 1), averaged(5, 1))),
    "blur": (
        (2, 8, 7),
        (
            None,
            filtered(
                7, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16], stride=2, lo=2, hi=2, mode="reflect"
            ),
        ),
    ),
    "nothing to do": ((2, 8, 7), (None, flipped(1).after(averaged(7, 1)))),
    "one element": ((1, 1, 1), (None, interpolated("linear", 1, 1))),
    "one element to many": ((1, 1, 1), (None, interpolated("linear", 1, 50))),
    "a vector": ((2, 17), (flipped(17),)),
    "no sample": ((0, 3, 4), (None, flipped(4))),
    "four axes": (
        (1, 2, 2, 3, 2, 3),
        (flipped(2), flipped(2), averaged(3, 2), flipped(2), averaged(3, 2)),
    ),
}


@grid(machine=MACHINES, name=CASES, dtype=["float32", "float64"], every=3)
def test_cases(machine: Machine, name: str, dtype: str) -> None:
    shape, tables = CASES[name]
    for extra in ((0, 0), (3, 0), (0, 5), (1, 2)):
        compare(shape, tables, machine, dtype, extra=extra)


@pytest.mark.parametrize("name", CASES)
def test_wide_vectors(name: str) -> None:
    compare(*CASES[name], wide(), extra=(1, 2))


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, ...], Tables, float, tuple[int, int]]:
    """Any table on any axes: rows of no taps, of one, of many."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    shape += tuple(draw(st.lists(st.integers(1, 6), max_size=3)))
    tables: list[Table | None] = []
    for size in shape[1:]:
        kind = draw(st.sampled_from(["none", "copies", "pairs", "any"]))
        count = draw(st.integers(1, 12))
        taps = {"none": (0, 0), "copies": (0, 1), "pairs": (2, 2), "any": (0, 7)}[kind]
        tap = st.tuples(st.integers(0, size - 1), st.sampled_from([1.0, 0.5, -2.0, 0.25]))
        if kind == "copies":
            tap = st.tuples(st.integers(0, size - 1), st.just(1.0))
        row = st.lists(tap, min_size=taps[0], max_size=taps[1])
        rows = draw(st.lists(row, min_size=count, max_size=count))
        tables.append(None if kind == "none" else table(size, rows))
    extra = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    fill = draw(st.sampled_from([0.0, 1.5])) if sum(t is not None for t in tables) == 1 else 0.0
    return shape, tables, fill, extra


@given(problems())
def test_any_table_on_any_axes(problem: tuple) -> None:

    shape, tables, fill, extra = problem
    compare(shape, tables, host(), fill=fill, extra=extra)


@grid(machine=MACHINES, channels=[1, 3, 16])
def test_copies_keep_every_bit(machine: Machine, channels: int) -> None:
    """NaN with its payload, infinities and zeros of either sign."""
    bits = np.random.default_rng(1).integers(0, 1 << 32, (2, channels, 5, 4), np.uint32)
    x = bits.view(np.float32)
    got = result(x, (None, rolled(5, 2), flipped(4)), machine)
    want = np.roll(x, 2, 2)[..., ::-1]
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(want).tobytes()


@grid(machine=MACHINES, channels=[1, 3, 16])
def test_an_infinity_stays_where_it_is_read(machine: Machine, channels: int) -> None:
    """A row with fewer taps than others reads nothing else, and nothing times zero."""
    x = np.full((1, channels, 4), np.inf, np.float32)
    rows = table(4, [[(0, 1.0)], [(1, 0.5), (2, 0.25)], [(3, 2.0)], []])
    got = result(x, (None, rows), machine, fill=-np.inf)
    assert (got[..., :3] == np.inf).all() and (got[..., 3] == -np.inf).all()


@grid(machine=MACHINES, channels=[1, 2, 40])
def test_what_is_filled_is_filled_on_all_axes(machine: Machine, channels: int) -> None:
    x = np.random.default_rng(1).normal(size=(2, channels, 5, 4)).astype(np.float32)
    got = result(x, (None, padded(5, 1, 2), padded(4, 3, 1)), machine, fill=0.1)
    want = np.pad(x, [(0, 0), (0, 0), (1, 2), (3, 1)], constant_values=np.float32(0.1))
    np.testing.assert_array_equal(got, want)
    how = Resizing("linear", "tf_crop_and_resize")
    tables = (None, resized(how, 5, 7, roi=(-0.3, 0.9)), resized(how, 4, 3, roi=(0.2, 1.4)))
    compare(x.shape, tables, machine, fill=0.1)


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("name", list(CASES)[::3])
def test_compiles_elsewhere(row: Machine, name: str) -> None:
    shape, tables = CASES[name]
    work, x = Work(), Matrix(Operand("x"), 200)
    sizes = {"samples": shape[0], "shape": shape[1:], "tables": tables}
    resample(work, "float32", row, **sizes, source=x, target=x)
    for step in work.steps:
        assert object_code(step.recipe, row)


@between_fences(name=list(CASES), dtype=["float32", "float64"], extra=[0, 3])
def test_between_fences(name: str, dtype: str, extra: int, side: str, machine: Machine) -> None:
    shape, tables = CASES[name]
    how = {"extra": (extra, extra), "allocate": lambda n: fenced(n, side == "after")}
    compare(shape, tables, machine, dtype, **how)


@grid(
    machine=MACHINES,
    name=[name for name, (_, tables) in CASES.items() if tables[0] is None],
    dtype=["float32", "float64"],
    every=3,
)
def test_epilogues(machine: Machine, name: str, dtype: str) -> None:
    """A formula of the result, of a map, of vectors for each sample and for all, and a number."""
    shape, tables = CASES[name]
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape).astype(dtype)
    plain = result(x, tables, machine, fill=0.5)
    like = rng.normal(size=plain.shape).astype(dtype)
    own = rng.normal(size=plain.shape[:2]).astype(dtype)
    every, number = own[:1].copy() if len(own) else own, np.array([1.5], dtype)
    if not len(own):
        return
    rank = like.ndim - 2
    a, b, c, d, e = map(operand, range(5))
    arrays = {"map": as_map(like, plain.shape[1] + 2), "own": as_map(own, plain.shape[1] + 1)}
    arrays |= {"every": every, "number": number}
    finish = Finish(
        a * b + c * d - e,
        (
            Aux("map", Matrix(Operand("map"), plain.shape[1] + 2)),
            Aux("channels", Matrix(Operand("own"), plain.shape[1] + 1)),
            Aux("channels", Matrix(Operand("every"), plain.shape[1]), alone=True),
            Aux("number", Matrix(Operand("number"), 1), alone=True),
        ),
    )
    got = result(x, tables, machine, fill=0.5, extra=(1, 3), finish=finish, beside=arrays)
    wide = (*own.shape, *(1,) * rank)
    want = plain * like + own.reshape(wide) * every.reshape(1, -1, *(1,) * rank) - 1.5
    np.testing.assert_allclose(
        got, want, rtol=0, atol=32 * np.finfo(dtype).eps * np.abs(want).max()
    )


LONG: dict[str, tuple[tuple[int, ...], Tables]] = {
    "one axis alone": ((1, 1, 100_003), (None, rolled(100_003, 777))),
    "one axis with weights": ((2, 1, 40_001), (None, interpolated("linear", 40_001, 60_005))),
    "channels": ((1, 70_000), (flipped(70_000),)),
    "rows of many elements": ((1, 32, 3, 12_000), (None, flipped(3), None)),
    "few rows of many taps": ((1, 64, 9, 500), (None, averaged(9, 1), None)),
}


@grid(machine=MACHINES, name=LONG, every=2)
def test_long_runs_are_shared(machine: Machine, name: str) -> None:
    """Threads have parts of a row each."""
    shape, tables = LONG[name]
    work, x = Work(), Matrix(Operand("x"), shape[1])
    sizes = {"samples": shape[0], "shape": shape[1:], "tables": tables}
    resample(work, "float32", machine, **sizes, source=x, target=x)
    assert work.steps[0].items > 3
    compare(shape, tables, machine)
