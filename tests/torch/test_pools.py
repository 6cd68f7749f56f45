"""Poolings of ATen as operations of a graph, against PyTorch."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients
from torch_opinfo import check_samples

R = torch.randn
SPACE = {1: (9,), 2: (9, 7), 3: (6, 5, 7)}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
ADAPTIVE_MEAN = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def of_few_numbers(*shape: int) -> Any:
    """Many entries are equal."""
    return torch.randint(0, 2, shape).float()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"])
def test_samples(kind: str, rank: int) -> None:
    check_samples([f"nn.functional.{kind}{rank}d"], most=3)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_where_maxima_come_from(rank: int) -> None:
    """The first of equal ones, the last of those that are NaN, through all axes."""
    pool, adaptive, x = MAX[rank], ADAPTIVE_MAX[rank], of_few_numbers(2, 3, *SPACE[rank])
    x.view(-1)[5:9] = torch.nan
    x[1] = -torch.inf

    def function(x: Any) -> Any:
        yield pool(x, 3, 2, 1, 1, True, return_indices=True)
        yield pool(x, 2, 1, 1, 2, return_indices=True)
        yield adaptive(x, 4, return_indices=True)

    check(lambda x: list(function(x)), x)
    check(lambda x: pool(x, 2, return_indices=True), x[0])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_shapes(rank: int) -> None:
    mean, even, x = MEAN[rank], ADAPTIVE_MEAN[rank], R(2, 3, *SPACE[rank])

    def function(x: Any) -> Any:
        return mean(x, 3, 2, 1, True), mean(x, 3, 2, 1, True, False), even(x, 1), even(x, 11)

    check(function, x)
    check(lambda x: (mean(x, 3), even(x, 2), ADAPTIVE_MAX[rank](x, 11)), x[0])
    check(lambda x: (mean(x, 1), MAX[rank](x, 1), even(x, 1)), R(1, 2, *(1,) * rank))


@pytest.mark.parametrize("divisor", [5, -3])
def test_divisors(divisor: int) -> None:
    x = R(2, 3, 9, 7)
    check(lambda x: F.avg_pool2d(x, 3, 2, 1, True, True, divisor), x)
    check_gradients(lambda x: F.avg_pool2d(x, 3, 2, 1, True, True, divisor), [x])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients(rank: int) -> None:
    x = of_few_numbers(2, 3, *SPACE[rank])

    def function(x: Any) -> Any:
        yield MAX[rank](x, 3, 2, 1, 1, True)
        yield MAX[rank](x, 2, 1, 1, 2, return_indices=True)[0]
        yield ADAPTIVE_MAX[rank](x, 4)
        yield ADAPTIVE_MEAN[rank](x, 4)
        yield MEAN[rank](x, 3, 2, 1, True, False)

    check_gradients(lambda x: list(function(x)), [x])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_windows(p: int) -> None:
    check(lambda x: F.lp_pool2d(x, p, (3, 2), 2, ceil_mode=True), R(2, 3, 9, 7).abs())
