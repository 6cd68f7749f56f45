"""Maxima and minima of windows against their definition: dtypes, borders, shapes, layouts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from grid import MACHINES, grid
from laws.fences import beside, between_fences
from scipy import ndimage

import faltung
from faltung.geometry.border import REPEATING, Border
from faltung.geometry.line import Line, Reduction
from faltung.machine.table import Machine
from faltung.ops.windows import filter_footprint, filter_windows
from faltung.reference import filters as reference

Array = npt.NDArray[np.generic]
DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)
MODES = (*REPEATING, "constant")
SHAPES = ((1,), (70,), (2500,), (3, 5), (37, 161), (70, 1), (20, 30, 3), (5, 9, 40), (2, 3, 4, 9))
SIZES = (1, 2, 3, 7, 25, 64, 131)
FOOTPRINTS = ((1, 1, 1, 1), (3, 3, 3, 3), (4, 5, 1, 2), (9, 11, 2, 1), (21, 2, 3, 1))


def numbers(shape: Sequence[int], dtype: str) -> Array:
    """All that a dtype holds: also digits that a double does not have, NaN and infinities."""
    rng, kind = np.random.default_rng(len(shape)), np.dtype(dtype)
    if kind == np.bool_:
        return rng.random(shape) < 0.5
    if kind.kind != "f":
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        return rng.integers(least, most, shape, kind, endpoint=True)
    x = rng.standard_normal(shape).astype(kind)
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42):
        x[rng.random(shape) < 0.02] = value
    return x


def extended(x: Array, axis: int, before: int, size: int, border: Border) -> Array:
    """In the dtype of the array, unlike the reference."""
    length = x.shape[axis]
    at = np.array(border.sources(range(-before, length - before + size - 1), length))
    taken = np.moveaxis(np.take(x, np.maximum(at, 0), axis), axis, 0)
    taken[at < 0] = x.dtype.type(border.value)
    return np.moveaxis(taken, 0, axis)


def expected(
    x: Array,
    footprint: npt.NDArray[np.bool_],
    before: Sequence[int],
    borders: Sequence[Border],
    reduction: Reduction,
) -> Array:
    taken = x
    for axis, (size, first, border) in enumerate(
        zip(footprint.shape, before, borders, strict=True)
    ):
        taken = extended(taken, axis, first, size, border)
    choose = np.maximum if reduction == "max" else np.minimum
    parts = [
        taken[tuple(slice(k, k + n) for k, n in zip(tap, x.shape, strict=True))]
        for tap in np.argwhere(footprint)
    ]
    made: Array = parts[0]
    for part in parts[1:]:
        made = choose(made, part)
    return made


def same(a: Array, b: Array) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def windows(x: Array, lines: Sequence[Line], out: Array | None = None) -> Array:
    made = np.empty_like(x) if out is None else out
    filter_windows(x, lines, made)
    return made


@grid(
    dtype=DTYPES,
    mode=MODES,
    shape=SHAPES,
    size=SIZES,
    reduction=["max", "min"],
    machine=MACHINES,
)
def test_boxes(
    dtype: str,
    mode: str,
    shape: tuple[int, ...],
    size: int,
    reduction: Reduction,
    machine: Machine,
) -> None:
    x, border = numbers(shape, dtype), Border(mode, 1.0)
    lines = [
        Line(axis, reduction, size, size // 2 - (axis % 2) * (size > 2), border)
        for axis in range(len(shape))
    ]
    wanted = x
    for line in lines:
        form = [1] * x.ndim
        form[line.axis] = size
        before = [line.before if axis == line.axis else 0 for axis in range(x.ndim)]
        wanted = expected(wanted, np.ones(form, bool), before, [border] * x.ndim, reduction)
    same(windows(x, lines), wanted)


@grid(
    dtype=DTYPES,
    mode=MODES,
    shape=SHAPES,
    sizes=FOOTPRINTS,
    reduction=["max", "min"],
    machine=MACHINES,
)
def test_footprints(
    dtype: str,
    mode: str,
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    reduction: Reduction,
    machine: Machine,
) -> None:
    x, rng = numbers(shape, dtype), np.random.default_rng(sum(sizes))
    footprint = rng.random(sizes[: len(shape)]) < 0.6
    footprint[(-1,) * len(shape)] = True
    before = [n // 2 + int(rng.integers(-2, 3)) for n in footprint.shape]
    borders = [Border(mode, 1.0)] * len(shape)
    out = np.empty_like(x)
    filter_footprint(x, footprint, before, borders, out, reduction)
    same(out, expected(x, footprint, before, borders, reduction))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_as_scipy(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((90, 130)) * 200).astype(dtype)
    disc = np.hypot(*np.mgrid[-9:10, -9:10]) <= 9.3
    names = {"symmetric": "reflect", "reflect": "mirror", "replicate": "nearest"}
    for ours, theirs in {**names, "circular": "wrap", "constant": "constant"}.items():
        borders, out = (Border(ours, 7.0),) * 2, np.empty_like(x)
        filter_footprint(x, disc, (9, 9), borders, out, "max")
        same(out, ndimage.maximum_filter(x, footprint=disc, mode=theirs, cval=7))
        filter_footprint(x, np.ones((5, 4), bool), (2, 2), borders, out, "min")
        same(out, ndimage.minimum_filter(x, (5, 4), mode=theirs, cval=7))


@pytest.mark.parametrize("source", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("target", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 1.7, -300.4, 1e30, float("nan")])
def test_other_results_and_constants_beyond_a_dtype(source: str, target: str, value: float) -> None:
    """What SciPy's numbers are in: doubles, stored as C does."""
    x = (np.random.default_rng(0).random((9, 14)) * 250).astype(source)
    footprint = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    out, wanted = np.empty(x.shape, target), np.empty(x.shape, target)
    with np.errstate(all="ignore"):
        given = footprint, (1, 1), (Border("constant", value),) * 2
        filter_footprint(x, *given, out, "max")
        reference.filter_footprint(x, *given, wanted, "max")
        same(out, wanted)
        lines = [Line(axis, "min", 3, 1, Border("constant", value)) for axis in (0, 1)]
        filter_windows(x, lines, out)
        reference.filter_windows(x, lines, wanted)
        same(out, wanted)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_sums_and_means_among_extremes(dtype: str) -> None:
    x = (np.random.default_rng(0).random((33, 61)) * 250).astype(dtype)
    border = Border("reflect")
    ends = (0.25, 0.5, 0.25)
    lines = [
        Line(1, "max", 5, 2, border),
        Line(0, "sum", 3, 1, border, ends),
        Line(1, "mean", 4, 1, border),
        Line(0, "min", 4, 1, border),
        Line(1, "min", 2, 0, border),
        Line(1, "sum", 3, 1, border, ends),
    ]
    for count in range(len(lines) + 1):
        wanted = np.empty_like(x)
        reference.filter_windows(x, lines[:count], wanted)
        if count:  # no line leaves nothing to do
            np.testing.assert_allclose(windows(x, lines[:count]), wanted, rtol=1e-6)


def test_digits_that_a_double_does_not_have() -> None:
    x = np.array([2**53, 2**53 + 1, 2**62 + 3, -(2**63)], np.int64)
    made = windows(x, [Line(0, "max", 2, 0, Border("replicate"))])
    assert made.tolist() == [2**53 + 1, 2**62 + 3, 2**62 + 3, -(2**63)]


def test_one_number_for_all_constants() -> None:
    x = np.zeros((3, 3), np.float32)
    borders = Border("constant", 1.0), Border("constant", 2.0)
    with pytest.raises(ValueError, match="the constants must be one number"):
        filter_footprint(x, np.eye(3, dtype=bool), (1, 1), borders, np.empty_like(x), "max")
    lines = [Line(axis, "max", 3, 1, border) for axis, border in enumerate(borders)]
    assert windows(x, lines).tolist() == [[2, 1, 2], [2, 0, 2], [2, 1, 2]]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_any_strides(dtype: str) -> None:
    x, disc = numbers((21, 34, 5), dtype), np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.3
    given = disc[:, :, None], (2, 1, 0), [Border("reflect")] * 3
    wanted = expected(x, *given, "max")
    for made in (x, np.asfortranarray(x), x.transpose(2, 0, 1).copy().transpose(1, 2, 0)):
        for out in (np.empty_like(x), np.empty_like(x, order="F"), np.empty((42, 34, 10), dtype)):
            where = out[::2, :, ::-2] if out.shape != x.shape else out
            filter_footprint(made, *given, where, "max")
            same(where, wanted)
    part = np.repeat(x, 2, axis=1)[:, ::2]
    out = np.empty_like(x)
    filter_footprint(part, *given, out, "max")
    same(out, wanted)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_threads_and_parts(dtype: str) -> None:
    """The same bits, also of zeros, however many threads, and of a part with what it reads."""
    x = numbers((300, 2100), dtype)
    disc = np.hypot(*np.mgrid[-6:7, -6:7]) <= 6.3
    borders = [Border("symmetric")] * 2

    def filtered(x: Array) -> Array:
        out = np.empty_like(x)
        filter_footprint(x, disc, (6, 6), borders, out, "max")
        return out

    before = faltung.get_threads()
    whole = []
    try:
        for threads in (1, 2):
            faltung.set_threads(threads)
            whole.append(filtered(x).tobytes())
    finally:
        faltung.set_threads(before)
    assert len(set(whole)) == 1
    part = filtered(x[40:199, 901:1500].copy())[6:-6, 6:-6]
    assert part.tobytes() == filtered(x)[46:193, 907:1494].tobytes()


@between_fences(
    dtype=["uint8", "int16", "float32", "float64"],
    mode=["symmetric", "constant"],
    shape=[(1,), (77,), (9, 31), (70, 37), (3, 5, 450), (40, 1100)],
    size=[1, 3, 17, 40],
)
def test_no_byte_outside(
    dtype: str, mode: str, shape: tuple[int, ...], size: int, machine: Machine, side: str
) -> None:
    after, x = side == "after", numbers(shape, dtype)
    footprint = np.random.default_rng(size).random((size,) * min(2, len(shape))) < 0.5
    footprint[(0,) * footprint.ndim] = True
    footprint = footprint.reshape((1,) * (len(shape) - footprint.ndim) + footprint.shape)
    before = [n // 2 for n in footprint.shape]
    borders = [Border(mode, 1.0)] * len(shape)
    for there in (footprint, np.ones(footprint.shape, bool)):
        out = beside(np.zeros_like(x), after)
        filter_footprint(beside(x, after, write=False), there, before, borders, out, "max")
        same(out, expected(x, there, before, borders, "max"))
