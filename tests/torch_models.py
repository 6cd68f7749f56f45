"""Small models for the tests of the doors, and what compares results."""

from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

import faltung.torch


@torch.library.custom_op("faltung_tests::odd", mutates_args=())
def odd(x: torch.Tensor) -> torch.Tensor:
    """An operator that no table will ever have."""
    return torch.sin(x) * x


@odd.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[0])


def _slope(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    (x,) = ctx.saved_tensors
    return grad * (torch.cos(x) * x + torch.sin(x))


odd.register_autograd(_slope, setup_context=_keep)


class Odd(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = odd(x)
        return found


def conv(inner: int = 3, outer: int = 4, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1, **options)


def pictures(batch: int = 2, size: int = 9, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, size, size, generator=generator)


def assert_near(found: Any, expected: Any, times: float = 3e-6) -> None:
    """The same tree; each tensor differs by less than so much of its largest number."""
    ours, tree = pytree.tree_flatten(found)
    theirs, other = pytree.tree_flatten(expected)
    assert tree == other
    for x, y in zip(ours, theirs, strict=True):
        if not isinstance(y, torch.Tensor):
            assert x == y and type(x) is type(y)
            continue
        assert x.shape == y.shape and x.dtype == y.dtype
        largest = float(y.detach().abs().max()) if y.numel() else 0.0
        apart = float((x - y).detach().abs().max()) if y.numel() else 0.0
        assert apart <= times * max(largest, 1e-3), f"{apart} of {largest}"


def gradients(call: Any, model: nn.Module, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Of the parameters and of the inputs, for a loss that weighs all results differently."""
    given = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    model.zero_grad()
    loss = torch.zeros(())
    for i, x in enumerate(pytree.tree_leaves(call(*given))):
        if isinstance(x, torch.Tensor) and x.requires_grad:
            weights = torch.linspace(-1, 1, x.numel()).reshape(x.shape)
            loss = loss + (i + 1) * (x.float() * weights).sum()
    loss.backward()
    found = [p.grad for p in model.parameters()] + [x.grad for x in given]
    return [torch.zeros(()) if x is None else x.clone() for x in found]


def engine(made: Any) -> Any:
    """What finds the programs of a compiled model."""
    return made._faltung_engine


def check(model: nn.Module, *inputs: Any, **options: Any) -> Any:
    """Results without and with gradients, and the gradients."""
    made = faltung.torch.compile(model, **options)
    with torch.no_grad():
        assert_near(made(*inputs), model(*inputs))
    assert_near(made(*inputs), model(*inputs))
    ours, theirs = gradients(made, model, *inputs), gradients(model, model, *inputs)
    assert_near(ours, theirs, 3e-5)
    assert len(theirs) > 1 or not list(model.parameters())
    return made
