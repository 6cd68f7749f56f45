"""Pooling functions on NumPy arrays of both layouts, and what they refuse."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import beside, between_fences
from laws.layouts import back, to
from pools import MAXIMA, MEANS, whole

import faltung
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.reference import pool as oracle

Place = Callable[[Any], Any]
# Means as arguments can say them.
SAID = [s for s in MEANS if not any(s.overhang) and set(s.dilation) == {1}]


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


def check_maxima(spec: PoolSpec, channels_last: bool, place: Place = np.asarray) -> None:
    x, g = whole(spec)
    given = {**options(spec), "channels_last": channels_last}
    want, taps = oracle.max_pool(x, spec)
    x_in = place(to(x, channels_last))
    got = faltung.max_pool(x_in, spec.kernel, **given)
    np.testing.assert_array_equal(back(got, channels_last), want)
    got, chosen = faltung.max_pool(x_in, spec.kernel, indices=True, **given)
    np.testing.assert_array_equal(back(got, channels_last), want)
    np.testing.assert_array_equal(back(chosen, channels_last), places(taps, spec))
    assert chosen.dtype == (np.int32 if spec.dtype == "float32" else np.int64)
    g_in, chosen = place(to(g, channels_last)), place(chosen)
    got = faltung.max_pool_grad(g_in, chosen, x_in.shape, spec.kernel, **given)
    np.testing.assert_array_equal(back(got, channels_last), oracle.max_pool_grad(g, taps, spec))


@grid(spec=MAXIMA, channels_last=[False, True], machine=MACHINES, every=4)
def test_maxima_exact(spec: PoolSpec, channels_last: bool, machine: object) -> None:
    check_maxima(spec, channels_last)


@between_fences(spec=MAXIMA, channels_last=[False, True], every=24)
def test_maxima_between_fences(
    spec: PoolSpec, channels_last: bool, side: str, machine: object
) -> None:
    check_maxima(spec, channels_last, lambda array: beside(array, side == "after", write=False))


def check_means(spec: PoolSpec, channels_last: bool, place: Place = np.asarray) -> None:
    x, g = whole(spec)
    given = {**options(spec), "channels_last": channels_last}
    eps = 4 * np.finfo(spec.dtype).eps
    x_in = place(to(x, channels_last))
    got = faltung.avg_pool(x_in, spec.kernel, **given)
    want = oracle.average_pool(x, spec)
    np.testing.assert_allclose(back(got, channels_last), want, rtol=eps, atol=4 * eps)
    got = faltung.avg_pool_grad(place(to(g, channels_last)), x_in.shape, spec.kernel, **given)
    want = oracle.average_pool_grad(g, spec)
    np.testing.assert_allclose(back(got, channels_last), want, rtol=eps, atol=4 * eps)


@grid(spec=SAID, channels_last=[False, True], machine=MACHINES, every=4)
def test_means(spec: PoolSpec, channels_last: bool, machine: object) -> None:
    check_means(spec, channels_last)


@between_fences(spec=SAID, channels_last=[False, True], every=24)
def test_means_between_fences(
    spec: PoolSpec, channels_last: bool, side: str, machine: object
) -> None:
    check_means(spec, channels_last, lambda array: beside(array, side == "after", write=False))


def test_windows_that_see_nothing_but_padding() -> None:
    x = np.arange(1, 11, dtype=np.float32).reshape(1, 1, 2, 5)
    spec = pool_spec(x.shape, 3, kind="average", stride=1, padding=9)
    got = faltung.avg_pool(x, 3, stride=1, padding=9)
    np.testing.assert_allclose(got, oracle.average_pool(x, spec), rtol=1e-6)
    g = np.ones(spec.output_shape, np.float32)
    got = faltung.avg_pool_grad(g, x.shape, 3, stride=1, padding=9)
    np.testing.assert_allclose(got, oracle.average_pool_grad(g, spec), rtol=1e-6)


LONG = [
    ((1, 2, 3, 3000), {"kernel": 3, "stride": 1, "padding": 1}),
    ((1, 2, 3, 3000), {"kernel": (2, 3), "stride": (1, 2), "padding": (0, 1)}),
    ((2, 1, 5000), {"kernel": (7,), "stride": 5, "padding": 3}),
    ((1, 1, 9000), {"kernel": (2000,), "stride": 1500, "padding": 400}),
]


@pytest.mark.parametrize(("shape", "given"), LONG, ids=str)
def test_rows_longer_than_a_buffer(shape: tuple[int, ...], given: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    x[..., ::97] = np.nan
    spec = pool_spec(shape, **given)
    want, taps = oracle.max_pool(x, spec)
    got, chosen = faltung.max_pool(x, indices=True, **given)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(chosen, places(taps, spec))
    np.testing.assert_array_equal(faltung.max_pool(x, **given), want)
    x = np.nan_to_num(x)
    spec = pool_spec(shape, kind="average", **given)
    got = faltung.avg_pool(x, **given)
    np.testing.assert_allclose(got, oracle.average_pool(x, spec), rtol=1e-4, atol=1e-5)
    g = rng.standard_normal(spec.output_shape).astype(np.float32)
    got = faltung.avg_pool_grad(g, shape, **given)
    np.testing.assert_allclose(got, oracle.average_pool_grad(g, spec), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_alone_and_together(threads: int, channels_last: bool) -> None:
    rng = np.random.default_rng(1)
    x = to(rng.standard_normal((5, 19, 13, 14)).astype(np.float32), channels_last)
    given = {"stride": 2, "padding": 1, "channels_last": channels_last}
    before = faltung.get_threads()
    try:
        faltung.set_threads(threads)
        y, index = faltung.max_pool(x, 3, indices=True, **given)
        made = [
            y,
            faltung.avg_pool(x, 3, **given),
            faltung.max_pool_grad(y, index, x.shape, 3, **given),
            faltung.avg_pool_grad(y, x.shape, 3, **given),
        ]
        faltung.set_threads(2)
        alone = [
            faltung.max_pool(x[3], (3, 3), **given),
            faltung.avg_pool(x[3], (3, 3), **given),
            faltung.max_pool_grad(y[3], index[3], x.shape[1:], (3, 3), **given),
            faltung.avg_pool_grad(y[3], x.shape[1:], (3, 3), **given),
        ]
    finally:
        faltung.set_threads(before)
    for one, two in zip(made, alone, strict=True):
        assert one[3].tobytes() == two.tobytes()


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
def test_nan_and_infinity(channels_last: bool) -> None:
    x = np.zeros((1, 3, 6, 9), np.float32)
    x[0, 0, 2, 3], x[0, 0, 2, 4], x[0, 1] = np.nan, np.inf, -np.inf
    spec = pool_spec(x.shape, 3, stride=2, padding=1)
    given = {"stride": 2, "padding": 1, "channels_last": channels_last}
    got, index = faltung.max_pool(to(x, channels_last), 3, indices=True, **given)
    want, taps = oracle.max_pool(x, spec)
    np.testing.assert_array_equal(back(got, channels_last), want)
    np.testing.assert_array_equal(back(index, channels_last), places(taps, spec))
    means = back(faltung.avg_pool(to(x, channels_last), 3, **given), channels_last)
    mean = pool_spec(x.shape, 3, kind="average", stride=2, padding=1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(means), np.isnan(oracle.average_pool(x, mean)))


def test_global_pools() -> None:
    x = np.random.default_rng(2).integers(-9, 9, (2, 19, 7, 5)).astype(np.float32)
    np.testing.assert_array_equal(faltung.global_max_pool(x), x.max((2, 3)))
    np.testing.assert_allclose(faltung.global_avg_pool(x), x.mean((2, 3)), rtol=1e-5, atol=1e-6)
    last = to(x, True)
    np.testing.assert_array_equal(faltung.global_max_pool(last, channels_last=True), x.max((2, 3)))


def test_strides_out_and_indices_of_people() -> None:
    x = np.random.default_rng(3).integers(-9, 9, (2, 6, 8, 10)).astype(np.float32)
    want, index = faltung.max_pool(x, 2, indices=True)
    view = np.ascontiguousarray(x[:, ::-1, :, ::-1])[:, ::-1, :, ::-1]
    out = np.full((2, 6, 4, 10), np.nan, np.float32)[..., ::2]
    assert faltung.max_pool(view, 2, out=out) is out
    np.testing.assert_array_equal(out, want)
    grad = faltung.max_pool_grad(want, index, x.shape, 2)
    wide = index.astype(np.int64)[:, ::-1][:, ::-1]
    np.testing.assert_array_equal(faltung.max_pool_grad(want, wide, x.shape, 2), grad)
    wide[0, 0, 0, 0] = 10**6  # outside the plane: it goes nowhere
    assert faltung.max_pool_grad(want, wide, x.shape, 2)[0, 0, :2, :2].any() == 0


X = np.ones((2, 3, 6, 7), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: faltung.max_pool(X.astype(int), 2), TypeError, "x.dtype=int64: must be float"),
        (lambda: faltung.max_pool(X[0, 0], 2), ValueError, "x.shape=(6, 7): must be (N, C, *space"),
        (
            lambda: faltung.max_pool(X, (2, 2, 2, 2)),
            ValueError,
            "x.shape=(2, 3, 6, 7): must have 6 dimensions (batch, channels and one for each entry",
        ),
        (lambda: faltung.max_pool(X, 9), ValueError, "kernel"),
        (lambda: faltung.max_pool(X, 2, padding=2), ValueError, "would see nothing but padding"),
        (lambda: faltung.avg_pool(X, 2, stride=0), ValueError, "stride=0: every stride must be at"),
        (
            lambda: faltung.avg_pool_grad(X, X.shape, 2),
            ValueError,
            "grad.shape=(2, 3, 6, 7) as (N, C, *space): must be that of the output, (2, 3, 3, 3)",
        ),
        (
            lambda: faltung.max_pool_grad(X, X, (2, 3, 6, 7), 1),
            TypeError,
            "indices.dtype=float32: must be whole numbers",
        ),
        (lambda: faltung.max_pool(X, 2, out=np.ones(3)), TypeError, "out.dtype=float64: must be"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        call()


TORCH = [
    ((2, 5, 11, 14), 3, {"stride": 2, "padding": 1, "dilation": 2, "ceil": True}),
    ((2, 5, 11, 14), (2, 3), {"stride": (3, 1), "padding": (1, 0)}),
    ((1, 9, 40), (5,), {"stride": 3, "padding": 2, "ceil": True}),
    ((2, 3, 6, 7, 8), 2, {"stride": None}),
    ((2, 3, 6, 7, 8), 3, {"stride": 1, "padding": 1}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "kernel", "given"), TORCH, ids=str)
def test_as_pytorch(shape: tuple[int, ...], kernel: Any, given: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng, rank = np.random.default_rng(4), len(shape) - 2
    x = rng.standard_normal(shape).astype(dtype)
    theirs = dict(given)
    theirs["ceil_mode"] = theirs.pop("ceil", False)
    t = torch.from_numpy(x).requires_grad_()
    function = getattr(torch.nn.functional, f"max_pool{rank}d")
    want, where = function(t, kernel, return_indices=True, **theirs)
    got, index = faltung.max_pool(x, kernel, indices=True, **given)
    np.testing.assert_array_equal(got, want.detach().numpy())
    np.testing.assert_array_equal(index, where.numpy())
    g = rng.standard_normal(got.shape).astype(dtype)
    (by_x,) = torch.autograd.grad(want, t, torch.from_numpy(g))
    mine = faltung.max_pool_grad(g, index, shape, kernel, **given)
    np.testing.assert_allclose(mine, by_x.numpy(), rtol=1e-5, atol=1e-6)
    if given.get("dilation", 1) != 1:
        theirs.pop("dilation")
        given = {name: value for name, value in given.items() if name != "dilation"}
    for count in (True, False):
        function = getattr(torch.nn.functional, f"avg_pool{rank}d")
        want = function(t, kernel, count_include_pad=count, **theirs)
        got = faltung.avg_pool(x, kernel, count_padding=count, **given)
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5, atol=1e-6)
        g = rng.standard_normal(got.shape).astype(dtype)
        (by_x,) = torch.autograd.grad(want, t, torch.from_numpy(g))
        mine = faltung.avg_pool_grad(g, shape, kernel, count_padding=count, **given)
        np.testing.assert_allclose(mine, by_x.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [7, None, "1369", (1, 3, 6.0, 9), [1, 3, [6], 9]], ids=str)
def test_shapes_that_are_none(shape: Any) -> None:
    grad = np.ones((1, 3, 3, 4), np.float32)
    for call in (
        lambda: faltung.max_pool_grad(grad, np.zeros(grad.shape, np.int32), shape, 2),
        lambda: faltung.avg_pool_grad(grad, shape, 2),
    ):
        with pytest.raises(TypeError, match=r"^input_shape=.*: must be a sequence of ints$"):
            call()
