"""Functions called again: what was remembered is what would be found, and nothing else is taken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import faltung
from faltung.jit.target import use
from faltung.ops import directions, functional, pool
from faltung.ops.call_cache import Calls, same
from faltung.ops.options import hashable

X = np.random.default_rng(0).standard_normal((2, 6, 9, 8)).astype(np.float32)
Y, INDEX = faltung.max_pool(X, 3, stride=2, indices=True)
CALLS: list[Callable[[np.ndarray], Any]] = [
    lambda x: faltung.max_pool(x, 3, stride=2),
    lambda x: faltung.max_pool(x, 3, stride=2, indices=True),
    lambda x: faltung.max_pool(x[0], (3, 3), stride=2, padding=((1, 0), (1, 1))),
    lambda x: faltung.avg_pool(x, 3, padding=1, count_padding=False),
    lambda x: faltung.max_pool_grad(x[..., :4, :3], INDEX, X.shape, 3, stride=2),
    lambda x: faltung.avg_pool_grad(x[..., :4, :3], X.shape, [3, 3], stride=2),
    lambda x: faltung.global_max_pool(x),
    lambda x: faltung.global_avg_pool(x, channels_last=True),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_again_on_other_numbers(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    call, inputs = CALLS[number], [X, -X, X + 1]
    got = [call(x) for x in inputs]
    for found, x in zip(got, inputs, strict=True):
        monkeypatch.setattr(pool, "_calls", Calls())
        want = call(x)
        for one, other in zip(np.atleast_1d(found), np.atleast_1d(want), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert not np.shares_memory(call(X)[0], call(X)[0])


@pytest.mark.parametrize(
    "given", [{"stride": 2.0}, {"padding": True}, {"dilation": 1.0}, {"ceil": 0}], ids=str
)
def test_what_equals_a_legal_argument_is_refused_again(given: dict[str, Any]) -> None:
    legal: dict[str, Any] = {"stride": 2, "padding": 1}
    for _ in range(2):
        faltung.max_pool(X, 3, **legal)
        with pytest.raises((TypeError, ValueError)):
            faltung.max_pool(X, 3, **legal | given)


def test_results_are_checked_again() -> None:
    x = X.copy()
    out = np.empty_like(faltung.max_pool(x, 2))
    for _ in range(2):
        assert faltung.max_pool(x, 2, out=out) is out
        np.testing.assert_array_equal(out, faltung.max_pool(x, 2))
    inside = x[:, :, :4, :4]
    with pytest.raises(ValueError, match="out: must not overlap x"):
        faltung.max_pool(x, 2, out=inside)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: must be writable"):
        faltung.max_pool(x, 2, out=out)


def test_indices_of_another_dtype_and_layout() -> None:
    want = faltung.max_pool_grad(Y, INDEX, X.shape, 3, stride=2)
    others = [INDEX.astype(np.int64), np.asfortranarray(INDEX), INDEX.astype(">i4")]
    for index in [*others, INDEX, *others]:
        got = faltung.max_pool_grad(Y, index, X.shape, 3, stride=2)
        np.testing.assert_array_equal(got, want)


def test_another_machine_in_between() -> None:
    want = faltung.avg_pool(X, 2)
    with use("generic"):
        np.testing.assert_array_equal(faltung.avg_pool(X, 2), want)
    np.testing.assert_array_equal(faltung.avg_pool(X, 2), want)


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(3)
    monkeypatch.setattr(pool, "_calls", calls)
    for size in range(4, 12):
        faltung.max_pool(X[..., :size], 2)
    assert len(calls._found) == 3
    # An array is nothing to remember by.
    faltung.max_pool(X, np.array([2, 2]))  # type: ignore[arg-type]
    assert len(calls._found) == 3


def test_options_keep_their_types() -> None:
    each = [1, 1.0, True, None, "1", (1,), (1.0,), ((1, True),), np.int64(1)]
    assert len({hashable(value) for value in each}) == len(each)
    assert same((1, (2, True)), (1, (2, True)))
    assert not same((1, (2, True)), (1, (2, 1)))


# Convolutions -------------------------------------------------------------------------------------

W = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(4, dtype=np.float32)
GRAD = np.random.default_rng(2).standard_normal((2, 4, 9, 8)).astype(np.float32)
CONVOLUTIONS: list[Callable[[np.ndarray], Any]] = [
    lambda x: faltung.conv(x, W, padding=1, groups=2),
    lambda x: faltung.conv(x[0], W, BIAS, padding=((1, 0), (1, 1)), groups=2),
    lambda x: faltung.conv(x, np.ones((4, 6, 1, 1), np.float32), stride=(2, 1)),
    lambda x: faltung.conv(x, W, groups=2, padding="same", padding_mode=("zeros", "circular")),
    lambda x: faltung.conv_input_grad(x[:, :4], W, X.shape, padding=1, groups=2),
    lambda x: faltung.conv_weight_grad(x, GRAD, W.shape, padding=1, groups=2),
    lambda x: faltung.conv_weight_grad(x, GRAD, W.shape, padding=1, groups=2, method="direct"),
    lambda x: faltung.conv(x.astype(np.float16), W.astype(np.float16), BIAS, groups=2),
    lambda x: faltung.conv(x + 1j * x, W + 0j, groups=2, padding=1),
]


@pytest.mark.parametrize("number", range(len(CONVOLUTIONS)))
def test_convolutions_again_on_other_numbers(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    call, inputs = CONVOLUTIONS[number], [X, -X, X + 1]
    got = [call(x) for x in inputs]
    for found, x in zip(got, inputs, strict=True):
        monkeypatch.setattr(functional, "_calls", Calls())
        want = call(x)
        assert found.dtype == want.dtype
        np.testing.assert_array_equal(found, want)
    assert not np.shares_memory(call(X), call(X))


def test_convolutions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [CONVOLUTIONS[0], CONVOLUTIONS[4], CONVOLUTIONS[5]]
    want = [call(X) for call in calls]
    monkeypatch.setattr(directions, "array", None)  # so that nothing can be found out again
    for call, expected in zip(calls, want, strict=True):
        np.testing.assert_array_equal(call(X), expected)


@pytest.mark.parametrize(
    "given", [{"stride": 2.0}, {"padding": True}, {"groups": 2.0}, {"flip": 0}], ids=str
)
def test_what_equals_a_legal_option_is_refused_again(given: dict[str, Any]) -> None:
    legal: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2, "flip": False}
    for _ in range(2):
        faltung.conv(X, W, **legal)
        with pytest.raises((TypeError, ValueError)):
            faltung.conv(X, W, **legal | given)


def test_arrays_that_are_copied_first_are_copied_again() -> None:
    """Parts of wider entries, whose strides are no whole number of them: kernels read copies."""
    packed = np.zeros(X.shape, np.dtype([("flag", np.uint8, 4), ("value", np.complex64)]))
    x, w = packed["value"], W.astype(np.complex64)
    for number in (1, 2):
        x[...] = number * X
        want = faltung.conv(np.ascontiguousarray(x), w, groups=2)
        np.testing.assert_array_equal(faltung.conv(x, w, groups=2), want)


def test_results_of_convolutions_are_checked_again() -> None:
    x = X.copy()
    options: dict[str, Any] = {"groups": 2, "padding": 1}
    calls: list[tuple[Callable[[Any], Any], Any]] = [
        (lambda out: faltung.conv(x, W, out=out, **options), np.empty_like(GRAD)),
        (
            lambda out: faltung.conv_input_grad(GRAD, W, X.shape, out=out, **options),
            np.empty_like(X),
        ),
        (
            lambda out: faltung.conv_weight_grad(x, GRAD, W.shape, out=out, **options),
            np.empty_like(W),
        ),
    ]
    for call, out in calls:
        for _ in range(2):
            assert call(out) is out
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out: must be writable"):
            call(out)
    inside = x[:, :4]
    with pytest.raises(ValueError, match="out: must not overlap x"):
        faltung.conv(x, W, out=inside, **options)
