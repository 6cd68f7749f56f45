"""Pooling functions on NumPy arrays of both layouts, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from laws.layouts import back, to
from pools import MAXIMA, MEANS, whole

import faltung
from faltung.geometry.pool import PoolSpec
from faltung.reference import pool as oracle


def options(spec: PoolSpec) -> dict[str, Any]:
    """The keyword arguments that mean `spec`. What `ceil` added is padding that never counts."""
    given: dict[str, Any] = {"stride": spec.stride, "padding": spec.padding}
    if spec.kind == "max":
        return given | {"dilation": spec.dilation}
    return given | {"count_padding": spec.count_padding}


def places(index: np.ndarray, spec: PoolSpec) -> np.ndarray:
    """From the number of a tap in its window to that of its place in the plane."""
    taps = np.unravel_index(index, spec.kernel)
    outputs = np.indices(spec.output)
    where = [
        tap * axis.dilation - axis.lo + at * axis.stride
        for tap, at, axis in zip(taps, outputs, spec.axes, strict=True)
    ]
    return np.ravel_multi_index(where, spec.size) if index.size else index


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("spec", MAXIMA, ids=str)
def test_maxima_exact(spec: PoolSpec, channels_last: bool, machine: object) -> None:
    x, g = whole(spec)
    given = {**options(spec), "channels_last": channels_last}
    want, taps = oracle.max_pool(x, spec)
    x_in = to(x, channels_last)
    got = faltung.max_pool(x_in, spec.kernel, **given)
    np.testing.assert_array_equal(back(got, channels_last), want)
    got, chosen = faltung.max_pool(x_in, spec.kernel, indices=True, **given)
    np.testing.assert_array_equal(back(got, channels_last), want)
    np.testing.assert_array_equal(back(chosen, channels_last), places(taps, spec))
    assert chosen.dtype == (np.int32 if spec.dtype == "float32" else np.int64)
    got = faltung.max_pool_grad(to(g, channels_last), chosen, x_in.shape, spec.kernel, **given)
    np.testing.assert_array_equal(back(got, channels_last), oracle.max_pool_grad(g, taps, spec))


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(
    "spec", [s for s in MEANS if not any(s.overhang) and set(s.dilation) == {1}], ids=str
)
def test_means(spec: PoolSpec, channels_last: bool, machine: object) -> None:
    x, g = whole(spec)
    given = {**options(spec), "channels_last": channels_last}
    eps = 4 * np.finfo(spec.dtype).eps
    x_in = to(x, channels_last)
    got = faltung.avg_pool(x_in, spec.kernel, **given)
    want = oracle.average_pool(x, spec)
    np.testing.assert_allclose(back(got, channels_last), want, rtol=eps, atol=4 * eps)
    got = faltung.avg_pool_grad(to(g, channels_last), x_in.shape, spec.kernel, **given)
    want = oracle.average_pool_grad(g, spec)
    np.testing.assert_allclose(back(got, channels_last), want, rtol=eps, atol=4 * eps)
