"""Correlations of any shape against their definition: kernels with gaps, borders, layouts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from grid import MACHINES, grid
from laws.fences import beside, between_fences
from ops.test_lines import DTYPES, MODES, numbers, threads

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError
from faltung.machine.table import Machine
from faltung.ops.stencil import correlate
from faltung.reference import filters as reference

# Kernels by rank: within the code, loops over short and over long rows, lists of taps.
KERNELS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((3,), (8,), (40,)),
    2: ((3, 3), (1, 5), (5, 1), (2, 5), (7, 7), (13, 11), (3, 40), (1, 1)),
    3: ((3, 3, 3), (2, 3, 4), (5, 1, 1), (3, 5, 4)),
    4: ((2, 3, 3, 2), (1, 3, 1, 3)),
}
SHAPES = ((1,), (70,), (1500,), (3, 5), (37, 61), (70, 900), (5, 9, 40), (2, 3, 4, 9))


def drawn(shape: Sequence[int], gaps: bool = False, count: int = 1) -> npt.NDArray[np.float64]:
    """Kernels; with gaps a third of the taps are not there."""
    rng = np.random.default_rng(len(shape))
    made = rng.random((count, *shape)) - 0.4
    if gaps:
        made[:, rng.random(shape) < 0.34] = 0
    return made


def middle(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size // 2 for size in shape)


def check(
    x: np.ndarray,
    kernels: npt.NDArray[np.float64],
    borders: Sequence[Border],
    before: Sequence[int] | None = None,
    outs: Sequence[np.ndarray] | None = None,
) -> None:
    """All bits are those of the definition, but for roundings of float32."""
    at = middle(kernels.shape[1:]) if before is None else before
    made = [np.empty_like(x) for _ in kernels] if outs is None else outs
    correlate(x, kernels, at, borders, made)
    want = [np.empty(x.shape, out.dtype) for out in made]
    reference.correlate(x, kernels, at, borders, want)
    for got, right, kernel in zip(made, want, kernels, strict=True):
        if got.dtype == x.dtype == np.float32:
            scale = 256 * max(1.0, np.abs(kernel).sum())
            np.testing.assert_allclose(got, right, rtol=0, atol=1e-6 * scale)
        else:
            np.testing.assert_array_equal(got, right)


@grid(dtype=DTYPES, mode=MODES, shape=SHAPES, gaps=[False, True], machine=MACHINES, every=96)
def test_sums(dtype: str, mode: str, shape: tuple[int, ...], gaps: bool, machine: Machine) -> None:
    for kernel in KERNELS[len(shape)]:
        borders = [Border(mode, 1.5)] * len(shape)
        check(numbers(shape, dtype), drawn(kernel, gaps, 2), borders)


@grid(modes=[("constant", "reflect"), ("circular", "constant"), ("constant", "constant")])
def test_borders_that_differ(modes: tuple[str, str]) -> None:
    """A constant along one axis does not stand beyond the ends of the other."""
    borders = [Border(mode, 3.0) for mode in modes]
    for kernel in ((3, 3), (1, 4), (4, 1), (13, 11)):
        for dtype in ("float64", "int16"):
            check(numbers((9, 14), dtype), drawn(kernel), borders)


def test_an_axis_without_reach_needs_no_border() -> None:
    borders = [Border("constant", 5.0), Border("constant", 2.0)]
    check(numbers((9, 14), "float64"), drawn((1, 4)), borders)
    with pytest.raises(FaltungError, match="the constants of all axes must be one"):
        check(numbers((9, 14), "float64"), drawn((3, 4)), borders)


def test_kernels_of_other_taps_in_one_call() -> None:
    """Some with gaps of their own, one a product of lines, one of nothing."""
    kernels = drawn((5, 5), count=5)
    kernels[1, ::2] = 0
    kernels[2] = np.outer([1, 2, 3, 2, 1], [1, 1, 2, 1, 1])
    kernels[3] = 0
    for dtype in ("float32", "float64", "uint8"):
        check(numbers((40, 70), dtype), kernels, [Border("symmetric")] * 2)


def test_layouts(machine: Machine) -> None:
    whole = numbers((12, 26, 28), "float64")
    kernel, borders = drawn((3, 3, 3)), [Border("symmetric")] * 3
    for x in (whole, whole.T, whole[::-1, ::2], whole[:, :, :1]):
        for out in (np.empty(x.shape), np.empty(x.shape[::-1]).T):
            check(x, kernel, borders, outs=[out])


@grid(before=[-9, -1, 0, 6, 30], mode=MODES, machine=MACHINES, every=4)
def test_windows_off_the_centre(before: int, mode: str, machine: Machine) -> None:
    for shape, kernel in (((9,), (4,)), ((5, 13), (3, 4)), ((2, 3, 7), (2, 2, 4))):
        for dtype in ("int16", "float64"):
            at = (before,) * len(shape)
            check(numbers(shape, dtype), drawn(kernel), [Border(mode, -2.0)] * len(shape), at)


def test_gaps_read_nothing() -> None:
    """A tap that is not there multiplies no infinity."""
    x = np.zeros((20, 20))
    x[10, 10] = np.inf
    for size in (3, 15):
        kernel = np.zeros((1, size, size))
        kernel[0, 0, 0] = kernel[0, -1, 1] = 1
        check(x, kernel, [Border("symmetric")] * 2)


@grid(dtype=["uint8", "float32", "float64"], kernel=[(3, 3), (15, 15), (5, 40)], machine=MACHINES)
def test_the_same_bits_alone_and_together(
    dtype: str, kernel: tuple[int, int], machine: Machine
) -> None:
    """By any number of threads, and in a part of the array with what it reads around it."""
    x, kernels = numbers((120, 515), dtype), drawn(kernel)
    borders = [Border("symmetric")] * 2
    found = []
    for count in (1, 2, 3):
        with threads(count):
            out = np.empty_like(x)
            correlate(x, kernels, middle(kernel), borders, [out])
            found.append(out)
    assert len({one.tobytes() for one in found}) == 1
    part = x[20:101, 37:400]
    made = np.empty_like(part)
    correlate(np.ascontiguousarray(part), kernels, middle(kernel), borders, [made])
    h, w = kernel
    inside = made[h : -h or None, w : -w or None]
    assert inside.tobytes() == found[0][20 + h : 101 - h, 37 + w : 400 - w].tobytes()


@between_fences(
    dtype=["uint8", "float32", "float64"],
    mode=["symmetric", "constant"],
    shape=[(77,), (9, 31), (70, 37), (3, 5, 450)],
)
def test_no_byte_outside(
    dtype: str, mode: str, shape: tuple[int, ...], machine: Machine, side: str
) -> None:
    x = beside(numbers(shape, dtype), side == "after", write=False)
    for kernel in KERNELS[len(shape)]:
        for gaps in (False, True):
            out = beside(np.zeros(shape, dtype), side == "after")
            check(x, drawn(kernel, gaps), [Border(mode, 2.0)] * len(shape), outs=[out])
