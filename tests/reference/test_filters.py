"""The slow forms of filters: what they mean is SciPy's meaning."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from faltung.geometry.border import Border
from faltung.geometry.line import Line
from faltung.reference import filters


def test_what_a_dtype_holds_of_a_float() -> None:
    values = np.array([-1.5, 300.7, -70000.0, 3e9, -1e10, np.nan, np.inf, 1e19])
    assert filters.stored(values[:4], np.uint8).tolist() == [255, 44, 144, 0]
    assert filters.stored(values[:4], np.int16).tolist() == [-1, 300, -4464, 0]
    least = -(2**31)
    assert filters.stored(values, np.int32).tolist() == [-1, 300, -70000, *[least] * 5]
    assert filters.stored(values[:5], np.uint32).tolist()[-2:] == [3000000000, 2884901888]
    assert filters.stored(values[4:6], np.int64).tolist() == [-(10**10), -(2**63)]
    assert filters.stored(values[-1:], np.uint64).tolist() == [10**19]
    assert filters.stored(np.array([0.9, 2.0, 256.0]), bool).tolist() == [False, True, False]
    assert filters.stored(np.array([2**62 + 1]), np.int64).tolist() == [2**62 + 1]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("before", [-1, 0, 2, 5])
@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric", "replicate", "circular"])
def test_one_line(mode: str, before: int, size: int) -> None:
    """Loops over entries, without a thought."""
    x = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
    weights = tuple(np.arange(1.0, size + 1))
    border = Border(mode, 2.5)
    rows = [
        [2.5 if (at := border.source(o - before + k, 5)) is None else x[at] for k in range(size)]
        for o in range(5)
    ]
    for reduction, want in (
        ("sum", [np.dot(row, weights) for row in rows]),
        ("mean", [np.mean(row) for row in rows]),
        ("max", [max(row) for row in rows]),
        ("min", [min(row) for row in rows]),
    ):
        given = weights if reduction == "sum" else ()
        out = np.empty(5)
        line = Line(0, reduction, size, before, border, given)  # type: ignore[arg-type]
        filters.filter_lines(x, [line], out)
        np.testing.assert_allclose(out, want, rtol=1e-14)


def test_intermediate_results_are_stored() -> None:
    half = Line(0, "sum", 1, 0, Border("constant"), (0.5,))
    out = np.empty(1, np.int16)
    filters.filter_lines(np.array([3], np.int16), [half, half], out)
    assert out.tolist() == [0]  # 1.5 is cut, then 0.5


def test_kernels_and_footprints() -> None:
    x = np.arange(20, dtype=np.int32).reshape(4, 5)
    kernels = np.zeros((2, 1, 2))
    kernels[0, 0] = 1, 10
    kernels[1, 0] = 1e-17, 1  # the first is left out
    borders = (Border("constant", 7.0),) * 2
    outs = [np.empty_like(x), np.empty_like(x)]
    filters.correlate(x, kernels, (0, 1), borders, outs)
    assert outs[0][0].tolist() == [7, 10, 21, 32, 43]
    assert_array_equal(outs[1], x)
    out = np.empty_like(x)
    places = np.array([[True, False, True]])
    filters.filter_footprint(x, places, (0, 1), borders, out, "max")
    assert out[0].tolist() == [7, 2, 3, 4, 7]
