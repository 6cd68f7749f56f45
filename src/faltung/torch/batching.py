"""The operators under ``torch.vmap``: one more axis becomes samples, or groups.

Where the weights are shared the axis is folded into the batch. Where each entry has weights of its
own (a kernel for each sample) it is folded into the channels, and there are as many times more
groups: one convolution in either case. The gradient for a weight always has groups, which gives
the gradients of all samples at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from faltung.torch.words import Conv

ops: Any = torch.ops.faltung
Dims = Sequence[int | None]


def _front(x: Tensor, dim: int | None, size: int) -> Tensor:
    """With the new axis in front, spread along it where the tensor has none."""
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


def _into_batch(x: Tensor, dim: int | None, size: int) -> Tensor:
    return _front(x, dim, size).flatten(0, 1)


def _into_channels(x: Tensor, dim: int | None, size: int) -> Tensor:
    """``(N, size * C, *space)``."""
    return _front(x, dim, size).movedim(0, 1).flatten(1, 2)


def _apart(x: Tensor, dim: int, size: int) -> tuple[Tensor, int]:
    shape = x.shape
    return x.reshape(*shape[:dim], size, -1, *shape[dim + 1 :]), dim


def _words(words: str, size: int, rank: int) -> str:
    """The same convolution with so many times as many groups."""
    options = Conv.read(words)
    return options._replace(groups=options.groups * size).words(rank)


def _channel(name: str, rank: int) -> int:
    """Where the first channels of a weight, or those of a bias, stand."""
    return rank if name == "conv_local" else 0


def _forward(name: str, what: str, info: Any, dims: Dims, *args: Any) -> tuple[Tensor, int]:
    x, weight, bias, words = args
    size, operator = info.batch_size, getattr(ops, name + what).default
    x_dim, w_dim, b_dim, _ = dims
    rank = x.ndim - 2 - (x_dim is not None)
    if w_dim is None and b_dim is None:
        folded = operator(_into_batch(x, x_dim, size), weight, bias, words)
        return folded.unflatten(0, (size, -1)), 0
    at = _channel(name, rank)
    if bias is not None:
        bias = _front(bias, b_dim, size).movedim(0, at).flatten(at, at + 1)
    weight = _front(weight, w_dim, size).movedim(0, at).flatten(at, at + 1)
    x = _into_channels(x, x_dim, size)
    return _apart(operator(x, weight, bias, _words(words, size, rank)), 1, size)


def _input_grad(name: str, info: Any, dims: Dims, *args: Any) -> tuple[Tensor, int]:
    grad, weight, shape, words, last = args
    size, operator = info.batch_size, getattr(ops, f"{name}_input_grad").default
    g_dim, w_dim, *_ = dims
    rank = len(shape) - 2
    n, channels, *space = shape
    if w_dim is None:
        folded = _into_batch(grad, g_dim, size)
        found = operator(folded, weight, [n * size, channels, *space], words, last)
        return found.unflatten(0, (size, -1)), 0
    at = _channel(name, rank)
    weight = _front(weight, w_dim, size).movedim(0, at).flatten(at, at + 1)
    grad, sizes = _into_channels(grad, g_dim, size), [n, channels * size, *space]
    return _apart(operator(grad, weight, sizes, _words(words, size, rank), last), 1, size)


def _weight_grad(name: str, info: Any, dims: Dims, *args: Any) -> tuple[Tensor, int]:
    x, grad, shape, words, last = args
    size, operator = info.batch_size, getattr(ops, f"{name}_weight_grad").default
    x_dim, g_dim, *_ = dims
    rank = x.ndim - 2 - (x_dim is not None)
    at = _channel(name, rank)
    sizes = [*shape[:at], shape[at] * size, *shape[at + 1 :]]
    x, grad = _into_channels(x, x_dim, size), _into_channels(grad, g_dim, size)
    return _apart(operator(x, grad, sizes, _words(words, size, rank), last), at, size)


def _total(info: Any, dims: Dims, x: Tensor, over: Sequence[int]) -> tuple[Tensor, int]:
    return ops.total.default(_front(x, dims[0], info.batch_size), [d + 1 for d in over]), 0


def _pool(name: str, info: Any, dims: Dims, x: Tensor, words: str) -> tuple[Tensor, int]:
    size = info.batch_size
    found = getattr(ops, name).default(_into_batch(x, dims[0], size), words)
    return found.unflatten(0, (size, -1)), 0


def _with_indices(info: Any, dims: Dims, x: Tensor, words: str) -> Any:
    size = info.batch_size
    found = ops.max_pool_with_indices.default(_into_batch(x, dims[0], size), words)
    return tuple([each.unflatten(0, (size, -1)) for each in found]), (0, 0)


def _max_pool_grad(info: Any, dims: Dims, *args: Any) -> tuple[Tensor, int]:
    grad, indices, shape, words, last = args
    size = info.batch_size
    grad, indices = _into_batch(grad, dims[0], size), _into_batch(indices, dims[1], size)
    sizes = [shape[0] * size, *shape[1:]]
    found = ops.max_pool_grad.default(grad, indices, sizes, words, last)
    return found.unflatten(0, (size, -1)), 0


def _avg_pool_grad(info: Any, dims: Dims, *args: Any) -> tuple[Tensor, int]:
    grad, shape, words, last = args
    size = info.batch_size
    sizes = [shape[0] * size, *shape[1:]]
    found = ops.avg_pool_grad.default(_into_batch(grad, dims[0], size), sizes, words, last)
    return found.unflatten(0, (size, -1)), 0


BATCHED: dict[str, Callable[..., Any]] = {
    "total": _total,
    "max_pool": partial(_pool, "max_pool"),
    "avg_pool": partial(_pool, "avg_pool"),
    "max_pool_with_indices": _with_indices,
    "max_pool_grad": _max_pool_grad,
    "avg_pool_grad": _avg_pool_grad,
}
for _name in ("conv", "conv_local"):
    BATCHED[_name] = partial(_forward, _name, "")
    BATCHED[f"{_name}_transpose"] = partial(_forward, _name, "_transpose")
    BATCHED[f"{_name}_input_grad"] = partial(_input_grad, _name)
    BATCHED[f"{_name}_weight_grad"] = partial(_weight_grad, _name)
