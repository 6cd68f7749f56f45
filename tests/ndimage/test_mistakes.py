"""What is refused: with SciPy's class of error, in one line, with the remedy."""

from typing import Any

import numpy as np
import pytest

from faltung import FaltungError, ndimage

X = np.ones((4, 5))


class Quantity:
    """As pint's and astropy's: numbers with units."""

    def __init__(self, names: tuple[str, str]) -> None:
        setattr(self, names[0], "m/s")
        setattr(self, names[1], X)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "kind", "words"),
    [
        ("gaussian_filter", (1,), {"mode": "edge"}, RuntimeError, "mode='nearest'"),
        ("gaussian_filter", (1,), {"mode": "symmetric"}, RuntimeError, "mode='reflect'"),
        ("gaussian_filter", (1,), {"mode": "replicate"}, RuntimeError, "padding_mode='replicate'"),
        ("sobel", (), {"mode": "zeros"}, RuntimeError, "mode='constant', with cval=0,"),
        ("correlate", ([[1]],), {"mode": "SAME"}, RuntimeError, "mode='constant'"),
        ("correlate", ([[1]],), {"mode": "valid"}, RuntimeError, "faltung.signal.convolve"),
        ("laplace", (), {"mode": 4}, RuntimeError, "must be one of reflect, constant"),
        ("correlate1d", ([],), {}, RuntimeError, "no filter weights given"),
        ("correlate1d", ([1, 2],), {"origin": 3}, ValueError, "invalid origin"),
        ("correlate1d", ([1, 2],), {"axis": 2}, IndexError, "out of bounds"),
        ("correlate1d", ([1, 2],), {"axis": 2}, ValueError, "out of bounds"),
        ("correlate1d", (["a"],), {}, ValueError, "weights: must be numbers"),
        ("correlate", (np.ones(3),), {}, RuntimeError, "weights.ndim (1) must match"),
        ("correlate", (np.ones((0, 3)),), {}, RuntimeError, "at least one number"),
        ("correlate", ([[1]],), {"cval": 1j}, TypeError, "must be a real number"),
        ("correlate", ([[1]],), {"cval": "a"}, TypeError, "must be a real number"),
        ("correlate", ([[1j]],), {"cval": 1j}, ValueError, "must be a real number"),
        ("gaussian_filter", ([1],), {}, RuntimeError, "length equal to input rank"),
        ("gaussian_filter", (1,), {"axes": (0, 0)}, ValueError, "axes must be unique"),
        ("gaussian_filter", (1,), {"axes": 5}, ValueError, "out of range"),
        ("gaussian_filter", (1,), {"axes": (1.5,)}, TypeError, "as an integer"),
        ("gaussian_filter", (1,), {"order": -1}, ValueError, "non-negative"),
        ("gaussian_filter", (1,), {"radius": 1.5}, ValueError, "nonnegative integer"),
        ("gaussian_filter1d", (0,), {}, ValueError, "sigma=0: must not be 0"),
        ("gaussian_filter1d", (-1,), {}, ValueError, "nonnegative integer"),
        ("gaussian_laplace", (1,), {"order": 2}, TypeError, "order=2: not an argument"),
        ("uniform_filter1d", (0,), {}, RuntimeError, "incorrect filter size"),
        ("maximum_filter", (), {}, RuntimeError, "no footprint provided"),
        ("maximum_filter", (), {"footprint": [[0, 0]]}, ValueError, "All-zero footprint"),
        ("maximum_filter", (), {"footprint": [0, 1]}, RuntimeError, "footprint.ndim (1)"),
        ("grey_dilation", (), {}, ValueError, "must be specified"),
        ("sobel", (), {"output": np.ones(3)}, RuntimeError, "output shape not correct"),
        ("sobel", (), {"output": np.complex64}, RuntimeError, "not supported"),
        ("sobel", (), {"output": np.float16}, RuntimeError, "not supported"),
        ("sobel", (), {"output": "bool"}, RuntimeError, "numeric dtype"),
    ],
)
def test_arguments(name: str, args: Any, kwargs: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as found:
        getattr(ndimage, name)(X, *args, **kwargs)
    assert isinstance(found.value, FaltungError)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        (X.astype(np.float16), RuntimeError, "input.astype(np.float32)"),
        (X.astype(np.longdouble), RuntimeError, "input.astype(np.float64)"),
        (X.astype(np.clongdouble), RuntimeError, "input.astype(np.complex128)"),
        (X.astype(object), RuntimeError, "np.array(input, dtype=float)"),
        (np.array([["a"]]), RuntimeError, "not an array of numbers"),
        (np.array(["2020-01-01"], "M8[D]"), RuntimeError, "input.astype(np.int64)"),
        (np.ma.masked_array(X, X > 0), TypeError, "input.filled"),
        (Quantity(("units", "magnitude")), TypeError, "filter input.magnitude"),
        (Quantity(("unit", "value")), TypeError, "filter input.value"),
    ],
    ids=lambda one: str(one.dtype) if isinstance(one, np.ndarray) else None,
)
def test_inputs(x: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as found:
        ndimage.gaussian_filter(x, 1)
    assert isinstance(found.value, FaltungError)
    assert words in str(found.value)


def test_complex_numbers_have_no_order() -> None:
    with pytest.raises(TypeError, match="Complex type not supported"):
        ndimage.maximum_filter(X + 1j, 3)


def test_outputs_that_may_not_be_written() -> None:
    out = np.zeros_like(X)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        ndimage.sobel(X, output=out)
    with pytest.raises(TypeError, match="output: is a masked array"):
        ndimage.sobel(X, output=np.ma.masked_array(X))


def test_warnings() -> None:
    with pytest.warns(UserWarning, match="ignoring size because footprint is set"):
        ndimage.maximum_filter(X, 3, footprint=[[1]])
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):
        ndimage.correlate(X + 1j, [[1]], output=np.float32)
