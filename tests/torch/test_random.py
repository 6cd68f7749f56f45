"""Dropout and random numbers, from ATen: how they are spread, that they are repeatable, and that a
gradient meets the same ones.
"""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch.nn import functional as F
from torch_aten import check, part_of, region_of, traced

X = torch.linspace(0.5, 2, 8 * 6 * 40 * 10).reshape(8, 6, 40, 10)


def drawn(function: Callable[..., Any], *inputs: torch.Tensor, seed: int = 1) -> torch.Tensor:
    region = region_of(function, *inputs)
    torch.manual_seed(seed)
    return region(list(inputs), [])[0]


@pytest.mark.parametrize("shape", [(8, 6, 40, 10), (8, 6, 400)])
def test_dropout(shape: tuple[int, ...]) -> None:
    x = X.reshape(shape)
    y = drawn(lambda x: F.dropout(x, 0.25, True), x)
    assert torch.equal(y, drawn(lambda x: F.dropout(x, 0.25, True), x))
    assert not torch.equal(y, drawn(lambda x: F.dropout(x, 0.25, True), x, seed=2))
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert abs(kept.float().mean().item() - 0.75) < 0.02


def test_two_dropouts_differ() -> None:
    y = drawn(lambda x: F.dropout(x, 0.5, True) - F.dropout(x, 0.5, True), X)
    assert y.any()


def test_channels_are_dropped_as_a_whole() -> None:
    y = drawn(lambda x: F.dropout2d(x, 0.5, True), X)
    kept = (y != 0).flatten(2)
    assert torch.equal(kept.all(2), kept.any(2))
    assert 8 < kept.all(2).sum() < 40
    torch.testing.assert_close(y[y != 0], (2 * X)[y != 0])


@pytest.mark.parametrize("dropout", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(dropout: Callable[..., torch.Tensor]) -> None:
    x = torch.randn(64, 64, 4, generator=torch.Generator().manual_seed(0))
    y = drawn(lambda x: dropout(x, 0.2, True), x)
    assert abs(y.mean().item()) < 0.05
    assert abs(y.var().item() - 1) < 0.05
    a = ((1.7580993408473766**2 * 0.2 + 1) * 0.8) ** -0.5
    low = -1.7580993408473766 * a * 0.8
    share = torch.isclose(y, torch.tensor(low)).float().mean().item()
    assert abs(share - 0.2) < 0.03


def test_in_evaluation_nothing_is_dropped() -> None:
    check(lambda x: F.dropout(x, 0.5, False) + F.alpha_dropout(x, 0.5, False), X[0])
    check(lambda x: F.dropout(x, 0.0, True) + F.dropout2d(x, 1.0, True), X)
    check(lambda x: F.rrelu(x - 1, 0.1, 0.3), X[0])


@pytest.mark.parametrize(
    ("function", "mean", "std"),
    [
        (torch.rand_like, 0.5, 12**-0.5),
        (torch.randn_like, 0.0, 1.0),
        (lambda x: torch.empty_like(x).uniform_(-1, 3), 1.0, 4 / 12**0.5),
        (lambda x: torch.empty_like(x).normal_(2, 3), 2.0, 3.0),
        (lambda x: torch.empty_like(x).exponential_(2.0), 0.5, 0.5),
        (lambda x: torch.empty_like(x).bernoulli_(0.3), 0.3, 0.21**0.5),
        (lambda x: torch.bernoulli(x * 0 + 0.7), 0.7, 0.21**0.5),
        (lambda x: F.rrelu(x * 0 - 1, 0.1, 0.5, training=True), -0.3, 0.4 / 12**0.5),
    ],
)
def test_how_random_numbers_are_spread(
    function: Callable[..., torch.Tensor], mean: float, std: float
) -> None:
    y = drawn(lambda x: function(x) + x * 0, X)
    assert torch.equal(y, drawn(lambda x: function(x) + x * 0, X))
    assert abs(y.mean().item() - mean) < 0.02 * max(std, 1)
    assert abs(y.std().item() - std) < 0.02 * max(std, 1)
    assert y.isfinite().all()
    assert len(y.unique()) > 1


def test_stochastic_depth() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return x * torch.empty(8, 1, 1, 1).bernoulli_(0.5).div_(0.5)

    y = drawn(function, X)
    kept = (y != 0).flatten(1)
    assert torch.equal(kept.all(1), kept.any(1))


def test_a_gradient_meets_the_same_numbers() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return F.dropout2d(F.dropout(x, 0.5, True), 0.5, True) + F.alpha_dropout(x, 0.5, True)

    x = X.double().requires_grad_()
    region = region_of(function, x)
    torch.manual_seed(3)
    (y,) = region([x], [])
    y.sum().backward()
    torch.manual_seed(3)
    (z,) = region([(x + 1e-3).detach().requires_grad_()], [])
    torch.testing.assert_close((z - y) / 1e-3, x.grad, rtol=1e-6, atol=1e-6)


def test_numbers_of_pytorch_where_they_are_asked_for() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = F.dropout(x, 0.5, True) + F.dropout2d(x, 0.5, True)
        return y + F.alpha_dropout(x, 0.5, True) + torch.rand_like(x)

    part = part_of(traced(function, X), [X], their_random=True)
    assert not part.gaps
    assert len(part.draws) == 4
    torch.manual_seed(5)
    ours = [draw.draw() for draw in part.draws]
    torch.manual_seed(5)
    first = F.dropout(torch.ones_like(X), 0.5, True)
    second = F.dropout2d(torch.ones_like(X), 0.5, True)
    assert torch.equal(ours[0], first)
    assert torch.equal(ours[1].expand_as(X), second)
    F.alpha_dropout(X, 0.5, True)
    assert torch.equal(ours[3], torch.rand_like(X))
