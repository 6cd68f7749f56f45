"""The oracle of pooling by hand, by the definition and by PyTorch."""

import itertools
from typing import Any

import numpy as np
import pytest
from grid import grid
from pools import MAXIMA, MEANS, whole

from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.reference.pool import (
    average_pool,
    average_pool_grad,
    counts,
    max_pool,
    max_pool_grad,
)


def test_by_hand() -> None:
    x = [[[1.0, 5, 2, 2, 7]]]

    def row(**options: Any) -> list[float]:
        spec = pool_spec((1, 1, 5), **options)
        result = max_pool(x, spec)[0] if spec.kind == "max" else average_pool(x, spec)
        return list(result.ravel())

    mean: dict[str, Any] = {"kind": "average"}
    assert row(kernel=2) == [5, 2]
    assert row(kernel=2, ceil=True) == [5, 2, 7]
    assert row(kernel=3, stride=1, padding=1) == [5, 5, 5, 7, 7]
    assert row(kernel=2, stride=1, dilation=3) == [2, 7]
    assert row() == [7]
    assert row(kernel=2, **mean) == [3, 2]
    assert row(kernel=2, ceil=True, **mean) == [3, 2, 7]
    assert row(kernel=3, padding=1, **mean) == [2, 11 / 3]
    assert row(kernel=3, padding=1, count_padding=False, **mean) == [3, 11 / 3]
    assert row(kernel=3, padding=1, ceil=True, **mean) == [2, 11 / 3]
    assert row(kernel=4, padding=1, ceil=True, **mean) == [2, 9 / 3]  # the last window ends at 6
    assert row(**mean) == [17 / 5]


def test_indices_by_hand() -> None:
    spec = pool_spec((1, 1, 6), 3, stride=1, padding=1)
    nan, inf = np.nan, np.inf
    for x, want in (
        ([1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]),  # the first of equals; tap 0 may be padding
        ([-inf] * 6, [1, 0, 0, 0, 0, 0]),
        ([nan, 9, nan, 0, inf, nan], [1, 2, 1, 0, 2, 1]),  # the last NaN, as PyTorch
    ):
        values, index = max_pool([[x]], spec)
        assert index.ravel().tolist() == want
        np.testing.assert_array_equal(
            values.ravel(), [x[o - 1 + k] for o, k in enumerate(index.ravel())]
        )


def test_gradients_by_hand() -> None:
    spec = pool_spec((1, 1, 5), 3, stride=1, padding=1)
    _, index = max_pool([[[1, 5, 2, 2, 7]]], spec)
    assert max_pool_grad([[[1, 10, 100, 1000, 10000]]], index, spec).ravel().tolist() == [
        *(0, 111, 0, 0, 11000)
    ]
    spec = pool_spec((1, 1, 5), 2, kind="average")
    assert average_pool_grad([[[4, 6]]], spec).ravel().tolist() == [2, 2, 3, 3, 0]


def window(x: np.ndarray, spec: PoolSpec, output: tuple[int, ...]) -> list[float]:
    """The entries that an output reads, straight from the definition."""
    found = []
    for tap in np.ndindex(spec.kernel):
        where = [
            axis.source(o * axis.stride - axis.lo + k * axis.dilation)
            for axis, o, k in zip(spec.axes, output, tap, strict=True)
        ]
        if None not in where:
            found.append(float(x[tuple(where)]))  # type: ignore[arg-type]
    return found


@grid(spec=[s for s in MAXIMA + MEANS if s.batch], every=1)
def test_by_definition(spec: PoolSpec) -> None:
    x, _ = whole(spec)
    last = spec.channels - 1
    for output in itertools.islice(np.ndindex(spec.output), 200):
        read = window(x[-1, last], spec, output)
        if spec.kind == "max":
            assert max_pool(x, spec)[0][(-1, last, *output)] == max(read)
        else:
            count = np.prod([spec.counted(dim, o) for dim, o in enumerate(output)])
            assert count == counts(spec)[output]
            assert spec.count_padding or count == len(read)
            assert average_pool(x, spec)[(-1, last, *output)] == sum(read) / count


@grid(spec=MAXIMA + MEANS, every=1)
def test_gradients_are_adjoint(spec: PoolSpec) -> None:
    x, g = whole(spec)
    if spec.kind == "max":
        values, index = max_pool(x, spec)
        assert (values * g).sum() == (x * max_pool_grad(g, index, spec)).sum()
    else:
        forward, back = average_pool(x, spec), average_pool_grad(g, spec)
        assert (forward * g).sum() == pytest.approx((x * back).sum(), abs=1e-9)


def test_gradients_by_finite_differences() -> None:
    rng = np.random.default_rng(8)
    for kind in ("max", "average"):
        spec = pool_spec((2, 3, 5, 6), 3, stride=2, padding=1, kind=kind, count_padding=False)
        x, g = rng.standard_normal(spec.input_shape), rng.standard_normal(spec.output_shape)

        def loss(x: np.ndarray, spec: PoolSpec = spec, g: np.ndarray = g) -> float:
            pooled = max_pool(x, spec)[0] if spec.kind == "max" else average_pool(x, spec)
            return float((pooled * g).sum())

        if kind == "max":
            grad = max_pool_grad(g, max_pool(x, spec)[1], spec)
        else:
            grad = average_pool_grad(g, spec)
        for at in [(0, 0, 0, 0), (1, 2, 4, 5), (0, 1, 2, 3), (1, 0, 3, 2)]:
            step = np.zeros_like(x)
            step[at] = 1e-6
            slope = (loss(x + step) - loss(x - step)) / 2e-6
            assert slope == pytest.approx(grad[at], abs=1e-7)


RANKS = {1: (9,), 2: (7, 10), 3: (5, 6, 7)}


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("rank", RANKS)
def test_agrees_with_pytorch(rank: int, ceil: bool) -> None:
    torch = pytest.importorskip("torch")
    ops = torch.nn.functional
    pool_max, pool_mean = getattr(ops, f"max_pool{rank}d"), getattr(ops, f"avg_pool{rank}d")
    rng = np.random.default_rng(9)
    shape = (2, 3, *RANKS[rank])
    for kernel, stride, padding in itertools.product(range(1, 6), range(1, 5), range(3)):
        if 2 * padding > kernel or kernel - 2 * padding > min(shape):
            continue
        x = rng.integers(-2, 3, shape).astype(np.float64)  # many equal maxima
        x[rng.random(shape) < 0.02] = np.nan
        given: dict[str, Any] = {"stride": stride, "padding": padding, "ceil": ceil}
        leaf = torch.tensor(x, requires_grad=True)
        want = pool_max(leaf, kernel, stride, padding, ceil_mode=ceil)
        spec = pool_spec(shape, kernel, **given)
        values, index = max_pool(x, spec)
        g = rng.standard_normal(values.shape)
        np.testing.assert_array_equal(values, want.detach().numpy())
        (grad,) = torch.autograd.grad(want, leaf, torch.tensor(g))
        np.testing.assert_allclose(max_pool_grad(g, index, spec), grad.numpy(), atol=1e-12)
        for count in (True, False):
            spec = pool_spec(shape, kernel, **given, kind="average", count_padding=count)
            leaf = torch.tensor(np.nan_to_num(x), requires_grad=True)
            want = pool_mean(leaf, kernel, stride, padding, ceil, count)
            pooled = average_pool(np.nan_to_num(x), spec)
            np.testing.assert_allclose(pooled, want.detach().numpy(), atol=1e-12)
            (grad,) = torch.autograd.grad(want, leaf, torch.tensor(g))
            np.testing.assert_allclose(average_pool_grad(g, spec), grad.numpy(), atol=1e-12)


def test_shapes_are_checked() -> None:
    spec = pool_spec((2, 4, 7), 3)
    x, g = whole(spec)
    _, index = max_pool(x, spec)
    with pytest.raises(ValueError, match=r"^x: has shape \(2, 4, 6\), must have \(2, 4, 7\)$"):
        max_pool(x[..., 1:], spec)
    with pytest.raises(ValueError, match=r"^g: has shape"):
        max_pool_grad(g[1:], index, spec)
    with pytest.raises(ValueError, match=r"^index: has shape"):
        max_pool_grad(g, index[1:], spec)
