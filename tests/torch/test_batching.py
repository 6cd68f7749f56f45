"""``torch.vmap`` over inputs, weights, biases, and two at once, against PyTorch's own rules."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

import faltung.torch as ft

SIZE = 3
DIMS = [(0, None, None), (1, None, 0), (None, 0, None), (None, 1, 0), (0, 0, 0), (2, 1, 1)]


def rand(*shape: int) -> Any:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))
    )


def stacked(shape: tuple[int, ...], dim: int | None, seed: int) -> Any:
    full = shape if dim is None else (*shape[:dim], SIZE, *shape[dim:])
    return torch.randn(*full, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dims", DIMS, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(dims: tuple[int | None, ...], groups: int) -> None:
    shapes = (2, 4, 5, 6), (6, 4 // groups, 3, 2), (6,)
    args = [stacked(s, d, n) for n, (s, d) in enumerate(zip(shapes, dims, strict=True))]
    mine = torch.vmap(lambda x, w, b: ft.conv2d(x, w, b, (2, 1), 1, 1, groups), dims)(*args)
    theirs = torch.vmap(lambda x, w, b: F.conv2d(x, w, b, (2, 1), 1, 1, groups), dims)(*args)
    assert torch.allclose(mine, theirs)


@pytest.mark.parametrize("dims", DIMS, ids=str)
def test_transposed_convolutions(dims: tuple[int | None, ...]) -> None:
    shapes = (2, 4, 3, 4), (4, 3, 3, 2), (6,)
    args = [stacked(s, d, n) for n, (s, d) in enumerate(zip(shapes, dims, strict=True))]

    def each(conv: Any) -> Any:
        return torch.vmap(lambda x, w, b: conv(x, w, b, 2, 1, 1, 2), dims)(*args)

    assert torch.allclose(each(ft.conv_transpose2d), each(F.conv_transpose2d))


@pytest.mark.parametrize("dims", DIMS, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_local_layers(dims: tuple[int | None, ...], transposed: bool) -> None:
    """As a loop over the entries."""
    shapes = ((2, 4, 5), (5, 4, 1, 2), (6, 2)) if transposed else ((2, 4, 5), (4, 6, 2, 2), (4, 6))
    args = [stacked(s, d, n) for n, (s, d) in enumerate(zip(shapes, dims, strict=True))]

    def one(x: Any, w: Any, b: Any) -> Any:
        if transposed:
            return ft.conv_local_transpose(x, w, b, groups=2)
        return ft.conv_local(x, w, b, groups=2)

    split = [[a] * SIZE if d is None else a.unbind(d) for a, d in zip(args, dims, strict=True)]
    want = torch.stack([one(*each) for each in zip(*split, strict=True)])
    assert torch.allclose(torch.vmap(one, dims)(*args), want)


def test_poolings() -> None:
    x = rand(SIZE, 2, 4, 7, 6)
    for pool in ("max_pool2d", "avg_pool2d"):
        mine, theirs = getattr(ft, pool), getattr(F, pool)
        assert torch.allclose(
            torch.vmap(lambda x, f=mine: f(x, 3, 2, 1), 2)(x),
            torch.vmap(lambda x, f=theirs: f(x, 3, 2, 1), 2)(x),
        )
    mine = torch.vmap(lambda x: ft.max_pool2d(x, 2, return_indices=True))(x)
    theirs = torch.vmap(lambda x: F.max_pool2d(x, 2, return_indices=True))(x)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_inputs_without_a_batch() -> None:
    x, w, b = rand(5, 4, 6, 6), rand(3, 4, 2, 2), rand(3)
    assert torch.allclose(torch.vmap(lambda x: ft.conv2d(x, w, b))(x), F.conv2d(x, w, b))


def test_two_levels() -> None:
    x, w = rand(2, SIZE, 1, 4, 5), rand(2, 6, 4, 2)

    def both(conv: Any) -> Any:
        return torch.vmap(torch.vmap(conv, (0, None)), (0, 0))(x, w)

    assert torch.allclose(both(ft.conv1d), both(F.conv1d))


def test_gradients_with_kernels_of_their_own() -> None:
    """The gradients for input and weight of operators that are stacked along the weight."""
    x, w = rand(2, 3, 6), rand(SIZE, 4, 3, 2)

    def losses(conv: Any) -> Any:
        x_, w_ = x.clone().requires_grad_(), w.clone().requires_grad_()
        y = torch.vmap(lambda w: conv(x_, w, None, 2))(w_)
        return torch.autograd.grad(y.sin().sum(), (x_, w_))

    for mine, theirs in zip(losses(ft.conv1d), losses(F.conv1d), strict=True):
        assert torch.allclose(mine, theirs)
