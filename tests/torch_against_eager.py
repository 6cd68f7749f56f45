"""A network through ``faltung.torch.compile``, and in eager in float32 and float64."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from onnx_against_torch import settled
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

import faltung.torch

# Errors below this share of the largest number are not told apart: float32 has no more digits.
LEAST = 6e-8
# The same for a gradient, beside the largest of all: some are sums that cancel.
LEAST_GRAD = 3e-7
# How much larger than PyTorch's an error may be.
RATIO = 6.0


@dataclass(frozen=True)
class Run:
    """At inference. ours, torch: largest errors against float64, relative to the largest number of
    a result. last: as ours, of a channels-last input. alone: whether the first sample alone has the
    bits that it has in the batch. strides: whether results lie in memory as in eager, for both
    formats of the input.
    """

    ours: float
    torch: float
    last: float
    alone: bool
    strides: bool

    @property
    def ratio(self) -> float:
        return max(self.ours, self.last) / max(self.torch, LEAST)


@dataclass(frozen=True)
class Step:
    """In training. ours, torch: largest errors of the gradients against float64, relative to the
    largest number of each. ratio: the largest of the ratios of both; worst: of which parameter.
    buffers: the same ratio, of running statistics; whole: whether whole numbers are equal.
    """

    ours: float
    torch: float
    ratio: float
    worst: str
    buffers: float
    whole: bool
    missing: list[str] = field(default_factory=list)
    # Where the ratio is large, the largest error of ours in float64: if that is nothing, one of
    # both has fallen on the other side of a kink.
    double: float | None = None


def inputs_of(shapes: Sequence[Any], batch: int, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for shape in shapes:
        if shape and shape[0] == "tokens":
            _, bound, sizes = shape
            found.append(torch.randint(bound, (batch, *sizes), generator=generator))
        else:
            found.append(torch.randn(batch, *shape, generator=generator))
    return found


def prepared(module: nn.Module) -> nn.Module:
    """Random numbers where a network starts with equal ones; without dropout."""
    settled(module)
    for each in module.modules():
        if isinstance(each, nn.modules.dropout._DropoutNd):
            each.p = 0.0
        for name in ("drop_prob", "p"):
            if type(each).__name__ in ("DropPath", "StochasticDepth") and hasattr(each, name):
                setattr(each, name, 0.0)
    return module


def inference(module: nn.Module, shapes: Sequence[Any]) -> Run:
    """The network at batch 2 and 1, and with the channels last; it is an error if it has gaps."""
    inputs = inputs_of(shapes, 2)
    made = faltung.torch.compile(module.eval())
    with torch.no_grad():
        exact = tensors(doubled(module)(*map(wide, inputs)))
        if not all(bool(torch.isfinite(x).all()) for x in exact):
            raise ValueError("the network itself is not finite: its random weights are no test")
        theirs, ours = tensors(module(*inputs)), tensors(made(*inputs))
        one = tensors(made(*(x[:1] for x in inputs)))
        turned = [channels_last(x) for x in inputs]
        their_last, our_last = tensors(module(*turned)), tensors(made(*turned))
    alone = all(torch.equal(a[:1], b) for a, b in zip(ours, one, strict=True))
    pairs = [(ours, theirs), (our_last, their_last)]
    strides = all(lies(x) == lies(y) for a, b in pairs for x, y in zip(a, b, strict=True))
    return Run(apart(ours, exact), apart(theirs, exact), apart(our_last, exact), alone, strides)


def training(module: nn.Module, shapes: Sequence[Any], batch: int = 2) -> Step:
    """Gradients of one step, of parameters and inputs, and what it leaves in buffers."""
    module.train()
    inputs = inputs_of(shapes, batch)
    made = faltung.torch.compile(deepcopy(module))
    exact, exact_buffers = step(doubled(module), list(map(wide, inputs)))
    theirs, their_buffers = step(deepcopy(module), inputs)
    ours, our_buffers = step(made, inputs)
    largest = max(float(x.abs().max()) for x in exact.values())
    worst, name, all_ours, all_torch = 0.0, "", 0.0, 0.0
    for key, x in exact.items():
        size = max(float(x.abs().max()), 1e-30)
        mine, other = far(ours[key], x) / size, far(theirs[key], x) / size
        least = max(LEAST_GRAD, LEAST_GRAD * largest / size)
        ratio = mine / max(other, least)
        if ratio > worst:
            worst, name = ratio, key
        if least < 1e-3:  # otherwise it is nothing but what cancels
            all_ours, all_torch = max(all_ours, mine), max(all_torch, other)
    buffers, whole = 0.0, True
    for key, x in exact_buffers.items():
        if not x.is_floating_point():
            whole &= torch.equal(x, our_buffers[key])
            continue
        size = max(float(x.abs().max()), 1e-30)
        mine, other = far(our_buffers[key], x) / size, far(their_buffers[key], x) / size
        buffers = max(buffers, mine / max(other, LEAST_GRAD))
    missing = sorted({*theirs} ^ {*ours})
    double = None
    if worst > RATIO:
        found, _ = step(faltung.torch.compile(doubled(module)), list(map(wide, inputs)))
        double = max(
            far(found[key], x) / max(float(x.abs().max()), 1e-30, LEAST_GRAD * largest)
            for key, x in exact.items()
        )
    return Step(all_ours, all_torch, worst, name, buffers, whole, missing, double)


def step(module: Any, inputs: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients and buffers by name, after one forward and backward."""
    given = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    loss_of(module(*given)).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    found |= {f"input {i}": x.grad for i, x in enumerate(given) if x.grad is not None}
    return found, {name: x.clone() for name, x in module.named_buffers()}


def loss_of(made: Any) -> Tensor:
    """Cross-entropy of two-dimensional results, squares of the distance to something of others."""
    total: Any = 0.0
    for x in tensors(made):
        if x.dim() == 2 and x.shape[1] > 1:
            total = total + functional.cross_entropy(x, torch.arange(len(x)) % x.shape[1])
        else:
            generator = torch.Generator().manual_seed(3)
            aim = torch.randn(x.shape, generator=generator).to(x.dtype)
            total = total + ((x - aim) ** 2).mean()
    return total


def tensors(made: Any) -> list[Tensor]:
    leaves = pytree.tree_leaves(dict(made) if hasattr(made, "keys") else made)
    return [x for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]


def doubled(module: nn.Module) -> nn.Module:
    return deepcopy(module).double()


def wide(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def channels_last(x: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.dim()]) if x.dim() in formats else x


def lies(x: Tensor) -> Any:
    """How a tensor lies in memory: strides of axes longer than one."""
    return tuple(x.shape), [s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1]


def far(x: Tensor, exact: Tensor) -> float:
    found = float((x.detach().double() - exact.detach()).abs().max()) if exact.numel() else 0.0
    return float("inf") if found != found else found


def apart(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    if len(found) != len(exact):
        raise ValueError(f"{len(found)} results, PyTorch has {len(exact)}")
    for x, y in zip(found, exact, strict=True):
        if x.shape != y.shape:
            raise ValueError(f"shape {tuple(x.shape)}, PyTorch has {tuple(y.shape)}")
    return max(
        far(x, y) / max(float(y.abs().max()), 1e-30) for x, y in zip(found, exact, strict=True)
    )


Maker = Callable[[], tuple[nn.Module, Sequence[Any]]]
