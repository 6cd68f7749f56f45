"""Gradients: against finite differences, of first and second order, forwards and backwards."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

import faltung.torch as ft

rng = torch.Generator().manual_seed(7)


def rand(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, generator=rng).requires_grad_()


CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "conv1d": (lambda x, w, b: ft.conv1d(x, w, b, 2, 1, 2), ((2, 2, 7), (3, 2, 2), (3,))),
    "conv2d in groups": (
        lambda x, w, b: ft.conv2d(x, w, b, (2, 1), 1, 1, 2),
        ((2, 4, 4, 3), (4, 2, 3, 2), (4,)),
    ),
    "conv3d": (lambda x, w, b: ft.conv3d(x, w, b), ((1, 1, 2, 3, 3), (2, 1, 2, 2, 2), (2,))),
    "rank 4": (lambda x, w: ft.conv(x, w), ((1, 1, 2, 2, 3, 2), (1, 1, 2, 1, 2, 2))),
    "modes": (
        lambda x, w: ft.conv2d(x, w, None, 1, ((1, 0), 2), 1, 1, ("reflect", "circular")),
        ((1, 2, 3, 3), (2, 2, 2, 3)),
    ),
    "flip, same with a stride": (
        lambda x, w, b: ft.conv2d(x, w, b, 2, "same", flip=True),
        ((1, 1, 4, 5), (2, 1, 3, 3), (2,)),
    ),
    "no batch, channels last": (
        lambda x, w: ft.conv1d(x, w, padding="causal", channels_last=True),
        ((5, 2), (2, 2, 3)),
    ),
    "conv_transpose1d": (
        lambda x, w, b: ft.conv_transpose1d(x, w, b, 2, 1, 1),
        ((2, 2, 3), (2, 2, 3), (2,)),
    ),
    "transposed, more output padding than stride": (
        lambda x, w, b: ft.conv_transpose1d(x, w, b, 2, 1, 2, 1, 3),
        ((1, 2, 4), (2, 2, 2), (2,)),
    ),
    "transposed in groups": (
        lambda x, w: ft.conv_transpose2d(x, w, None, (2, 1), (0, 1), (1, 0), 2),
        ((1, 4, 2, 3), (4, 1, 2, 2)),
    ),
    "transposed with a mode": (
        lambda x, w, b: ft.conv_transpose1d(x, w, b, padding=1, padding_mode="replicate"),
        ((1, 2, 4), (2, 1, 3), (1,)),
    ),
    "transposed same_upper": (
        lambda x, w: ft.conv_transpose1d(x, w, None, 3, "same_upper"),
        ((1, 1, 4), (1, 2, 4)),
    ),
    "local": (
        lambda x, w, b: ft.conv_local(x, w, b, padding=1, stride=2),
        ((2, 2, 5), (3, 2, 2, 3), (3, 2)),
    ),
    "local, flip": (
        lambda x, w: ft.conv_local(x, w, flip=True),
        ((1, 1, 3, 3), (2, 2, 1, 1, 2, 2)),
    ),
    "local transposed": (
        lambda x, w, b: ft.conv_local_transpose(x, w, b, 2),
        ((2, 2, 3), (3, 2, 1, 2), (6, 1)),
    ),
    "max_pool": (lambda x: ft.max_pool2d(x, 3, 2, 1), ((2, 2, 5, 4),)),
    "max_pool with indices": (
        lambda x: ft.max_pool1d(x, 3, 1, ceil=True, return_indices=True)[0],
        ((1, 2, 6),),
    ),
    "avg_pool": (lambda x: ft.avg_pool2d(x, 3, 2, 1, True, False), ((1, 2, 5, 4),)),
    "avg_pool, divisor": (lambda x: ft.avg_pool1d(x, 3, 2, 1, True), ((1, 2, 6),)),
    "global": (lambda x: ft.global_avg_pool(x) * ft.global_max_pool(x), ((2, 2, 3, 2),)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name: str) -> None:
    function, shapes = CASES[name]
    inputs = [rand(*shape) for shape in shapes]
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert gradcheck(function, inputs, check_batched_grad=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("wanted", range(1, 7))
def test_some_of_the_inputs_want_a_gradient(wanted: int) -> None:
    inputs = [rand(1, 2, 4), rand(3, 2, 2), rand(3)]
    for number, each in enumerate(inputs):
        each.requires_grad_(bool(wanted >> number & 1))
    assert gradcheck(ft.conv1d, inputs)
    kept = [each for each in inputs if each.requires_grad]
    saved = ft.conv1d(*inputs).grad_fn.saved_tensors
    # Only what a gradient reads is kept.
    assert [t is not None for t in saved] == [bool(wanted & 2), bool(wanted & 1)]
    assert len(torch.autograd.grad(ft.conv1d(*inputs).sum(), kept)) == len(kept)


@pytest.mark.parametrize("layout", ["last", "steps", "stretched"])
def test_layouts(layout: str) -> None:
    """The gradients of tensors that lie otherwise; gradients that are stretched themselves."""
    x, w, b = rand(2, 3, 4, 4).detach(), rand(4, 3, 2, 2), rand(4)
    if layout == "last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "steps":
        x = torch.cat([x, x], 3)[..., ::2]
    else:
        x = x[:1].expand(2, 3, 4, 4).clone(memory_format=torch.preserve_format)
    x.requires_grad_()
    ft.conv2d(x, w, b).sum().backward()  # ones, all in one place
    want = torch.autograd.grad(F.conv2d(x, w, b).sum(), (x, w, b))
    for mine, theirs in zip((x.grad, w.grad, b.grad), want, strict=True):
        assert torch.allclose(mine, theirs)
    assert x.grad.stride() == x.stride() or layout == "steps"


@pytest.mark.parametrize("transposed", [False, True])
def test_complex_numbers(transposed: bool) -> None:
    x, w, b = (rand(*s, dtype=torch.complex128) for s in ((1, 2, 4), (2, 2, 2), (2,)))
    function = ft.conv_transpose1d if transposed else ft.conv1d
    assert gradcheck(function, (x, w, b), check_forward_ad=True)
    assert gradgradcheck(function, (x, w, b))


def test_an_empty_batch_has_gradients_of_zero() -> None:
    x, w, b = rand(0, 2, 5), rand(3, 2, 2), rand(3)
    ft.max_pool1d(ft.conv1d(x, w, b), 2).sum().backward()
    assert x.grad.shape == x.shape and not w.grad.any() and not b.grad.any()


def test_what_changed_in_between_is_noticed() -> None:
    x, w = rand(1, 2, 5), rand(3, 2, 2)
    y = ft.conv1d(x, w)
    with torch.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_gradient_of_a_layer_lies_as_its_weight() -> None:
    """So that PyTorch keeps it as it is, without a copy."""
    x, w = rand(2, 3, 6, 6), rand(4, 3, 3, 3).detach().to(memory_format=torch.channels_last)
    w.requires_grad_()
    (found,) = torch.autograd.grad(ft.conv2d(x, w).sum(), w)
    assert found.stride() == w.stride()
    packed = ft.pack_local(rand(4, 4, 2, 3, 3, 3).detach()).requires_grad_()
    (found,) = torch.autograd.grad(ft.conv_local(x, packed).sum(), packed)
    assert found.stride() == packed.stride()


def test_transforms_of_torch_func() -> None:
    """Each of them alone, and on top of each other."""
    func = torch.func
    x, w, v = rand(1, 1, 4, 4).detach(), rand(1, 1, 2, 2).detach(), rand(1, 1, 2, 2).detach()

    def mine(w: Any) -> Any:
        return ft.conv2d(x, w).sin().sum()

    def theirs(w: Any) -> Any:
        return F.conv2d(x, w).sin().sum()

    transforms: list[Callable[[Any], Any]] = [
        lambda f: func.grad(f)(w),
        lambda f: func.jvp(f, (w,), (v,))[1],
        lambda f: func.hessian(f)(w),
        lambda f: func.jacrev(func.jacrev(f))(w),
        lambda f: func.jacfwd(func.jacfwd(f))(w),
        lambda f: func.grad(lambda w: (func.grad(f)(w) * v).sum())(w),
        lambda f: func.grad(lambda w: func.grad(lambda u: func.grad(f)(u).sum())(w).sum())(w),
        lambda f: func.vmap(func.vjp(func.grad(f), w)[1])(torch.stack([v, w]))[0],
    ]
    for transform in transforms:
        assert torch.allclose(transform(mine), transform(theirs))


def test_gradients_of_each_sample() -> None:
    func = torch.func
    w, b = rand(4, 2, 3, 3).detach(), rand(4).detach()
    samples = rand(5, 1, 2, 6, 6).detach()

    def loss(conv: Any) -> Callable[..., Any]:
        return lambda w, b, x: conv(x, w, b, 1, 1).tanh().sum()

    mine, theirs = (
        func.vmap(func.grad(loss(conv), (0, 1)), (None, None, 0))(w, b, samples)
        for conv in (ft.conv2d, F.conv2d)
    )
    assert all(torch.allclose(a, b) for a, b in zip(mine, theirs, strict=True))


def test_checkpointing_and_hooks() -> None:
    from torch.utils.checkpoint import checkpoint

    x, w = rand(2, 3, 6, 6), rand(3, 3, 3, 3)
    want = torch.autograd.grad(F.conv2d(x, w).relu().square().sum(), w)[0]
    seen: list[Any] = []
    w.register_hook(seen.append)
    y = checkpoint(lambda x: ft.conv2d(x, w).relu(), x, use_reentrant=False)
    y.square().sum().backward()
    assert len(seen) == 1 and torch.allclose(w.grad, want)
