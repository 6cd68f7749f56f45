"""How far results are from those in float64: ours, and those of PyTorch in eager."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree


def errors(
    model: Callable[..., Any],
    ours: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str:
    """Two lines: relative errors of all results together, root mean square and largest.

    The states of random numbers and of buffers are as before. A function is compared in eager only
    if its modules can be copied, which is so for an ``nn.Module``.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        exact = _wide(model)(*_double(args), **_double(dict(kwargs)))
        rows = []
        state = torch.get_rng_state()
        for name, function in (("faltung", ours), ("eager", model)):
            torch.set_rng_state(state)
            kept = buffers(model)
            found = function(*args, **kwargs)
            restore(kept)
            mean, most = apart(found, exact)
            rows.append(f"{name}: relative error against float64: {mean:.2e} RMS, {most:.2e} max")
    return "\n".join(rows)


def apart(found: Any, exact: Any) -> tuple[float, float]:
    """Root mean square and maximum of the differences, relative to those of the exact results."""
    pairs = [
        (x.detach().double().flatten(), y.detach().double().flatten())
        for x, y in zip(pytree.tree_leaves(found), pytree.tree_leaves(exact), strict=True)
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel()
    ]
    if not pairs:
        return 0.0, 0.0
    square = sum(float(((x - y) ** 2).sum()) for x, y in pairs)
    size = sum(float((y**2).sum()) for _, y in pairs)
    most = max(float((x - y).abs().max()) for x, y in pairs)
    largest = max(float(y.abs().max()) for _, y in pairs)
    return math.sqrt(square / max(size, 1e-300)), most / max(largest, 1e-300)


def _wide(model: Callable[..., Any]) -> Callable[..., Any]:
    return copy.deepcopy(model).double() if isinstance(model, nn.Module) else model


def _double(tree: Any) -> Any:
    return pytree.tree_map(
        lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, tree
    )


def buffers(model: Any) -> Sequence[tuple[torch.Tensor, torch.Tensor]]:
    if not isinstance(model, nn.Module):
        return []
    return [(x, x.detach().clone()) for x in model.buffers()]


def restore(kept: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for x, before in kept:
        x.copy_(before)
