"""Calls that are remembered, and outputs of every kind."""

import sys
import types
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from faltung import ndimage
from faltung.ndimage import calls

X = np.arange(24, dtype=np.float32).reshape(4, 6)


def test_a_call_is_resolved_once() -> None:
    calls._found.clear()
    kernel = np.ones((3, 3))
    for _ in range(3):
        ndimage.correlate(X, kernel)
    assert len(calls._found) == 1
    kernel[0, 0] = 2  # the same array with other numbers is another call
    assert (
        ndimage.correlate(X, kernel)[1, 1] == ndimage.correlate(X, np.ones((3, 3)))[1, 1] + X[0, 0]
    )
    assert len(calls._found) == 2


def test_equal_arguments_of_other_types_are_other_calls() -> None:
    assert ndimage.uniform_filter1d(X, 3).shape == X.shape
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        ndimage.uniform_filter1d(X, 3.0)  # type: ignore[arg-type]


def test_no_more_are_kept_than_said() -> None:
    for sigma in np.linspace(1, 2, calls.KEPT + 20):
        ndimage.gaussian_filter(X, float(sigma))
    assert len(calls._found) <= calls.KEPT


def test_large_kernels_are_not_kept() -> None:
    calls._found.clear()
    side = 1 + int((calls.KEPT_BYTES // 8) ** 0.5)
    ndimage.convolve(np.ones((2, 2)), np.zeros((side, side)))
    assert not calls._found


@pytest.mark.parametrize("name", ["gaussian_filter", "sobel", "laplace", "uniform_filter"])
def test_output_may_be_the_input(name: str) -> None:
    rest = {"gaussian_filter": (1.0,), "uniform_filter": (3,)}.get(name, ())
    x = np.random.default_rng(1).standard_normal((9, 8))
    want = getattr(ndimage, name)(x, *rest)
    assert getattr(ndimage, name)(x, *rest, output=x) is x
    assert_array_equal(x, want)


def test_output_may_overlap() -> None:
    data = np.random.default_rng(1).standard_normal(50)
    want = ndimage.maximum_filter(data[:40], 5)
    ndimage.maximum_filter(data[:40], 5, output=data[10:])
    assert_array_equal(data[10:], want)


def test_output_in_the_other_order_of_bytes() -> None:
    other = np.dtype(np.float32).newbyteorder()
    want = ndimage.gaussian_filter(X, 1.0)
    assert_array_equal(ndimage.gaussian_filter(X.astype(other), 1.0), want)
    made = ndimage.gaussian_filter(X, 1.0, output=other)
    assert made.dtype == other
    assert_array_equal(made, want)


def test_output_that_is_not_aligned() -> None:
    place = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(X.shape)
    ndimage.gaussian_filter(X, 1.0, output=place)
    assert_array_equal(place, ndimage.gaussian_filter(X, 1.0))


def test_bool_holds_nothing_but_0_and_1() -> None:
    made = ndimage.correlate1d(np.ones(4, bool), [2, 255])
    assert made.view(np.uint8).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("name", ["gaussian_filter", "uniform_filter", "maximum_filter", "laplace"])
def test_empty_arrays(name: str, shape: tuple[int, ...]) -> None:
    rest: tuple[Any, ...] = () if name == "laplace" else (3,)
    assert getattr(ndimage, name)(np.zeros(shape, np.int16), *rest).shape == shape


def test_an_array_without_axes() -> None:
    assert ndimage.correlate(3.0, 2.0).shape == ()
    assert ndimage.correlate(3.0, 2.0) == 6.0
    assert ndimage.gaussian_filter(3.0, 1.0) == 3.0
    assert ndimage.maximum_filter(3.0, footprint=True) == 3.0


def test_several_kernels_are_one_call() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((7, 9))
    kernels = [rng.standard_normal(shape) for shape in ((3, 3), (2, 5), (3, 3))]
    for function in (ndimage.correlate, ndimage.convolve):
        made = function(x, kernels, mode="wrap")
        assert made.shape == (3, 7, 9)
        for one, kernel in zip(made, kernels, strict=True):
            np.testing.assert_allclose(one, function(x, kernel, mode="wrap"), rtol=1e-13)
    mixed = [kernels[0], kernels[2] + 1j]
    assert_array_equal(ndimage.correlate(x, mixed)[0].imag, np.zeros((7, 9)))


def test_what_is_several_kernels_and_what_is_one() -> None:
    row = np.ones(3)
    assert ndimage.correlate(np.ones((4, 4)), [row, row, row]).shape == (4, 4)
    assert ndimage.correlate(np.ones(4), [[row], [row]][0]).shape == (1, 4)
    assert ndimage.correlate(np.ones((4, 4)), [[1, 2], [3, 4]]).shape == (4, 4)
    with pytest.raises(RuntimeError, match=r"weights.ndim \(3\) must match len\(axes\) \(2\)"):
        ndimage.correlate(np.ones((4, 4)), np.ones((2, 3, 3)))


def test_a_dask_array_is_left_to_the_part_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Lazy:
        """Like one of Dask's."""

    Lazy.__module__ = "dask.array.core"
    part = types.ModuleType("faltung.dask")
    part.gaussian_laplace = lambda x, **named: seen.update(named, x=x) or x  # type: ignore
    monkeypatch.setitem(sys.modules, "faltung.dask", part)
    x: Any = Lazy()
    assert ndimage.gaussian_laplace(x, 2.0, mode="wrap", truncate=3.0) is x
    want = {"sigma": 2.0, "mode": "wrap", "cval": 0.0, "axes": None, "truncate": 3.0}
    assert seen == {**want, "output": None, "x": x}
    with pytest.raises(TypeError, match=r"weights: is a Dask array, .* weights.compute()"):
        ndimage.correlate(X, x)
    with pytest.raises(TypeError, match="input: is a Dask array"):
        ndimage.generic_laplace(x, ndimage.sobel)


@pytest.mark.parametrize("options", [{"size": 3}, {"footprint": [1, 1, 0]}])
def test_a_nan_is_the_maximum_and_the_minimum_of_its_windows(options: Any) -> None:
    x = np.array([1.0, np.nan, 0.0, 5.0, 4.0])
    last = 3 if "size" in options else 2
    for function in (ndimage.maximum_filter, ndimage.minimum_filter):
        lost = np.isnan(function(x, **options))
        assert np.nonzero(lost)[0].tolist() == ([0, 1, 2] if last == 3 else [1, 2])


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 30), (150, 160)])
def test_passes_are_joined_in_the_dtype_of_the_output(shape: Any, dtype: Any) -> None:
    """As by NumPy, bit by bit, which small arrays are joined by, and arrays with gaps."""
    x = (100 * np.random.default_rng(3).standard_normal(shape)).astype(dtype)
    if dtype == np.int16:
        x //= 10  # as squares wrap
    first, second = (ndimage.gaussian_filter(x, 1.0, order) for order in ((1, 0), (0, 1)))
    want = first * first + second * second
    np.sqrt(want, out=want, casting="unsafe")
    made = ndimage.gaussian_gradient_magnitude(x, 1.0)
    assert_array_equal(made, want)
    gaps = np.zeros((2 * shape[0], shape[1]), dtype)[::2]
    assert_array_equal(ndimage.gaussian_gradient_magnitude(x, 1.0, output=gaps), made)
    assert_array_equal(
        ndimage.gaussian_laplace(x, 1.0),
        sum(ndimage.gaussian_filter(x, 1.0, order) for order in ((2, 0), (0, 2))),
    )


@pytest.mark.parametrize("modes", [("constant", "mirror"), ("nearest", "constant")])
@pytest.mark.parametrize("shape", [(1, 17), (5, 6), (9, 1)])
def test_one_axis_ends_in_a_constant_and_another_does_not(shape: Any, modes: Any) -> None:
    """A kernel along both: what np.pad says, one axis after the other."""
    x = np.random.default_rng(4).integers(0, 99, shape).astype(np.float32)
    kernel = np.array([[1.0, 2, 0], [0, 3, 4], [5, 0, 6]])
    padded = x
    for axis, mode in enumerate(modes):
        width = [(1, 1) if other == axis else (0, 0) for other in (0, 1)]
        named: dict[str, Any] = {"mode": {"nearest": "edge", "mirror": "reflect"}.get(mode, mode)}
        if mode == "constant":
            named["constant_values"] = 7.0
        padded = np.pad(padded, width, **named)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    want = (windows * kernel).sum((-1, -2))
    np.testing.assert_allclose(ndimage.correlate(x, kernel, mode=modes, cval=7.0), want, rtol=1e-6)
