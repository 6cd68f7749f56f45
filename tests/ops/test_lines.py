"""Filters along axes against their definition: dtypes, borders, layouts, roundings, threads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import beside, between_fences

import faltung
from faltung.geometry.border import REPEATING, Border
from faltung.geometry.line import Line
from faltung.machine.table import Machine
from faltung.ops.lines import filter_lines, parity
from faltung.reference import filters as reference

DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)
MODES = (*REPEATING, "constant")
SHAPES = ((1,), (70,), (2500,), (3, 5), (37, 61), (70, 1), (1, 130), (5, 9, 40), (2, 3, 4, 9))


def gaussian(size: int) -> tuple[float, ...]:
    at = np.arange(size) - size // 2
    made = np.exp(-0.5 * (8 * at / size) ** 2)
    return tuple((made / made.sum()).tolist())


def drawn(size: int) -> tuple[float, ...]:
    return tuple((np.random.default_rng(size).random(size) - 0.3).tolist())


def odd(size: int) -> tuple[float, ...]:
    """Antisymmetric."""
    half = drawn(size // 2)
    return (*half, 0.0, *(-w for w in reversed(half)))


WEIGHTS = {
    "one": (2.0,),
    "sobel": (-1.0, 0.0, 1.0),
    "even 3": (0.25, 0.5, 0.25),
    "four": drawn(4),
    "plain 33": drawn(33),
    "plain 18": drawn(18),
    "even 17": gaussian(17),
    "even 65": gaussian(65),
    "odd 9": odd(9),
    "odd 35": odd(35),
}


def every_axis(
    rank: int, weights: Sequence[float], border: Border, before: int | None = None
) -> list[Line]:
    size = len(weights)
    at = size // 2 if before is None else before
    return [Line(axis, "sum", size, at, border, tuple(weights)) for axis in range(rank)]


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(shape) * 200
    return (drawn if dtype[0] in "ub" else drawn - 100).astype(dtype)


def check(x: np.ndarray, lines: Sequence[Line], out: np.ndarray) -> None:
    """``out`` is what the definition says: all bits, but roundings of float32."""
    filter_lines(x, lines, out)
    want = np.empty(out.shape, out.dtype)
    reference.filter_lines(x, lines, want)
    if out.dtype == x.dtype == np.float32:
        scale = 1.0
        for line in lines:
            scale *= max(1.0, sum(map(abs, line.weights)))
        np.testing.assert_allclose(out, want, rtol=0, atol=1e-6 * 256 * scale)
    else:
        np.testing.assert_array_equal(out, want)


@grid(dtype=DTYPES, mode=MODES, shape=SHAPES, weights=WEIGHTS, machine=MACHINES, every=96)
def test_sums(
    dtype: str, mode: str, shape: tuple[int, ...], weights: str, machine: Machine
) -> None:
    taps = WEIGHTS[weights]
    lines = every_axis(len(shape), taps, Border(mode, 1.5))
    if dtype == "bool" and len(shape) > 1:
        return  # bytes between two axes
    check(numbers(shape, dtype), lines, np.empty(shape, dtype))


@grid(source=DTYPES[1:], target=DTYPES[1:], weights=("four", "even 17", "odd 35"), machine=MACHINES)
def test_other_results(source: str, target: str, weights: str, machine: Machine) -> None:
    """Also out of the range of what is stored."""
    x = numbers((23, 45), source)
    lines = every_axis(2, tuple(3 * w for w in WEIGHTS[weights]), Border("reflect"))
    check(x, lines, np.empty(x.shape, target))


@grid(before=[-9, -1, 0, 1, 6, 7, 30], shape=[(9,), (11, 13), (3, 70)], machine=MACHINES, every=4)
def test_windows_off_the_centre(before: int, shape: tuple[int, ...], machine: Machine) -> None:
    for mode, dtype in (("symmetric", "int16"), ("constant", "float64"), ("circular", "float32")):
        lines = every_axis(len(shape), WEIGHTS["four"], Border(mode, -2.0), before)
        check(numbers(shape, dtype), lines, np.empty(shape, dtype))


@grid(size=[3, 17, 65, 201], mode=MODES, machine=MACHINES, every=4)
def test_borders_wider_than_the_array(size: int, mode: str, machine: Machine) -> None:
    for shape in ((1, 1), (2, 3), (5, 1)):
        for dtype in ("uint8", "float64", "float32"):
            lines = every_axis(2, gaussian(size), Border(mode, 7.0))
            check(numbers(shape, dtype), lines, np.empty(shape, dtype))


@grid(size=[200, 701], dtype=["uint8", "float32", "float64"], machine=MACHINES, every=6)
def test_long_kernels(size: int, dtype: str, machine: Machine) -> None:
    """Each axis has a pass of its own, with bands as long as the kernel."""
    x = numbers((150, 1100), dtype)
    check(x, every_axis(2, gaussian(size), Border("symmetric")), np.empty_like(x))


# Layouts ------------------------------------------------------------------------------------------


def test_layouts(machine: Machine) -> None:
    """Any strides, of the array and of the result."""
    whole = numbers((24, 26, 28), "float64")
    lines = every_axis(3, WEIGHTS["even 17"], Border("symmetric"))
    for x in (whole, whole.T, whole.transpose(1, 0, 2), whole[::-1, ::2], whole[:, :, :1]):
        for out in (
            np.empty(x.shape),
            np.empty(x.shape[::-1]).T,
            np.empty((*x.shape[:-1], 2 * x.shape[-1]))[..., ::2],
        ):
            check(x, lines, out)


def test_neighbours_are_left_alone() -> None:
    room = np.full((12, 40), 9, np.uint8)
    check(
        numbers((10, 30), "uint8"),
        every_axis(2, gaussian(9), Border("symmetric")),
        room[1:11, 5:35],
    )
    room[1:11, 5:35] = 9
    assert (room == 9).all()


def test_lines_in_any_order_and_twice() -> None:
    x = numbers((31, 47), "int16")
    for axes in ((1, 0), (0, 0, 1), (1, 1), (1, 0, 1)):
        border = Border("constant", 3.25)
        lines = [Line(axis, "sum", 4, 2, border, WEIGHTS["four"]) for axis in axes]
        for dtype in ("int16", "float64"):
            check(x, lines, np.empty(x.shape, dtype))


@grid(dtype=["uint8", "float64", "int32"], machine=MACHINES, every=2)
def test_sums_among_means(dtype: str, machine: Machine) -> None:
    x = numbers((33, 61), dtype)
    border = Border("reflect")
    lines = [
        Line(0, "sum", 17, 8, border, gaussian(17)),
        Line(1, "mean", 5, 2, border),
        Line(0, "mean", 4, 1, border),
        Line(1, "sum", 3, 1, border, (0.25, 0.5, 0.25)),
    ]
    made, want = np.empty_like(x), np.empty_like(x)
    filter_lines(x, lines, made)
    reference.filter_lines(x, lines, want)
    np.testing.assert_allclose(made, want, rtol=1e-13 if dtype == "float64" else 0)


# Roundings ----------------------------------------------------------------------------------------


@grid(dtype=["uint8", "int16", "uint16", "int32"], size=[23, 64, 65], machine=MACHINES, every=2)
def test_sums_at_whole_numbers(dtype: str, size: int, machine: Machine) -> None:
    """In pictures of one colour every sum is a whole number but for its roundings, which decide."""
    flat = np.full((40, 90), 100, dtype)
    half = numbers(flat.shape, dtype)
    half[:, 30:] = 77
    half[20:, :60] = 0
    border = Border("constant", 100.0)
    jumps = 0
    for x in (flat, half):
        for weights in (gaussian(size), (1 / size,) * size, drawn(size)):
            made = np.empty_like(x)
            check(x, every_axis(2, weights, border), made)
            jumps += int((made == 99).sum())
    assert jumps  # a sum that should be 100 was a little less


def test_bounds_of_roundings_hold_numbers_without_end() -> None:
    x = numbers((9, 200), "uint8")
    for value in (np.inf, np.nan, 1e300):
        check(x, every_axis(2, gaussian(33), Border("constant", value)), np.empty_like(x))
        weights = (*gaussian(33)[:-1], value)
        check(x, every_axis(1, weights, Border("reflect")), np.empty_like(x))


def test_whole_weights_are_exact_in_narrow_numbers() -> None:
    for dtype in ("uint8", "int16", "uint16"):
        x = numbers((50, 70), dtype)
        lines = [
            Line(0, "sum", 3, 1, Border("symmetric"), (-1.0, 0.0, 1.0)),
            Line(1, "sum", 3, 1, Border("symmetric"), (1.0, 2.0, 1.0)),
        ]
        for target in (dtype, "int16", "float32", "float64"):
            check(x, lines, np.empty(x.shape, target))


def test_parity() -> None:
    assert parity((1.0, 2.0, 1.0)) == "even" == parity((3.0,))
    assert parity((1.0, 5.0, -1.0)) == "odd"
    assert parity((1.0, 1.0)) == "" == parity((1.0, 2.0, 3.0))
    assert parity((1.0, 2.0, 1.0 + 2**-53)) == "even"


def test_scipys_bits() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    names = {"symmetric": "reflect", "reflect": "mirror", "replicate": "nearest"}
    for dtype in ("uint8", "int32", "int64", "float64"):
        x = numbers((60, 83), dtype)
        for weights in WEIGHTS.values():
            for mode, theirs in names.items():
                made, want = np.empty_like(x), x
                filter_lines(x, every_axis(2, weights, Border(mode)), made)
                for axis in (0, 1):
                    want = ndimage.correlate1d(want, weights, axis, mode=theirs)
                np.testing.assert_array_equal(made, want)


# Bits ---------------------------------------------------------------------------------------------


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = faltung.get_threads()
    try:
        faltung.set_threads(count)
        yield
    finally:
        faltung.set_threads(before)


@grid(dtype=["uint8", "float32", "float64"], size=[4, 17, 65, 201], machine=MACHINES, every=2)
def test_the_same_bits_alone_and_together(dtype: str, size: int, machine: Machine) -> None:
    x = numbers((301, 515), dtype)
    lines = every_axis(2, gaussian(size), Border("symmetric"))
    found = []
    for count in (1, 2, 3):
        with threads(count):
            out = np.empty_like(x)
            filter_lines(x, lines, out)
            found.append(out.tobytes())
    assert len(set(found)) == 1


@grid(dtype=["uint8", "float32", "float64"], size=[3, 4, 17, 65, 201], machine=MACHINES, every=2)
def test_the_same_bits_anywhere(dtype: str, size: int, machine: Machine) -> None:
    """A part of an array with what it reads around it: the bits of the whole."""
    x = numbers((470, 530), dtype)
    lines = every_axis(2, gaussian(size), Border("symmetric"))
    whole = np.empty_like(x)
    filter_lines(x, lines, whole)
    before, after = lines[0].before, lines[0].after
    for top, left, height, width in ((201, 203, 1, 7), (203, 209, 37, 101), (230, 201, 30, 119)):
        rows = slice(top - before, top + height + after)
        part = np.ascontiguousarray(x[rows, left - before : left + width + after])
        made = np.empty_like(part)
        filter_lines(part, lines, made)
        inner = made[before : before + height, before : before + width]
        assert inner.tobytes() == whole[top : top + height, left : left + width].tobytes()


def test_a_call_again_with_other_weights() -> None:
    x = numbers((20, 30), "float64")
    for weights in ((1.0, 2.0, 1.0), (1.0, 3.0, 1.0), (1.0, 2.0, 1.0)):
        for value in (0.0, 1.0):
            for _ in range(2):
                lines = every_axis(2, weights, Border("constant", value))
                check(x, lines, np.empty_like(x))


@between_fences(
    dtype=["uint8", "float32", "float64"],
    mode=["symmetric", "constant"],
    shape=[(77,), (9, 31), (70, 37), (3, 5, 450)],
    size=[1, 3, 17, 40, 65, 201],
)
def test_no_byte_outside(
    dtype: str, mode: str, shape: tuple[int, ...], size: int, machine: Machine, side: str
) -> None:
    x = numbers(shape, dtype)
    out = beside(np.zeros_like(x), side == "after")
    lines = every_axis(len(shape), gaussian(size), Border(mode, 2.0))
    check(beside(x, side == "after", write=False), lines, out)
