"""How tensors lie in memory: channels first or last, for any number of axes of space.

A result has its channels last where the input or the weight has, as PyTorch's own convolutions do,
and is contiguous otherwise. PyTorch has a name for that with two and three axes of space; here it
means the same with one and with more.
"""

from collections.abc import Sequence
from typing import Any

import torch

Shape = Sequence[int]
# Of the tensors that operators take.
DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}


def channels_last(shape: Shape, strides: Shape) -> bool:
    """Whether ``(N, C, *space)`` has its channels last in memory.

    The rule is PyTorch's: where sizes of 1 leave it open, the strides say it all the same. Only
    that of a single sample does not count, which may have been added to a tensor without a batch.
    Of symbolic sizes nothing is asked that their strides do not say, or a tracer would remember it.
    """
    if any([type(n) is int and n == 0 for n in shape]):
        return False
    least = 0
    for d in (1, *range(len(shape) - 1, 1, -1)):
        if strides[d] < least:
            return False
        least = strides[d] * shape[d]
    if least == strides[1]:  # one channel and one position: either
        return False
    return (type(shape[0]) is int and shape[0] == 1) or strides[0] >= least


def is_last(x: torch.Tensor) -> bool:
    """Whether a tensor ``(N, C, *space)``, or a weight, has its channels last in memory."""
    return channels_last(x.shape, x.stride())


def as_weight(name: str, shape: Shape, strides: Shape) -> bool:
    """Whether a weight of "conv" has its channels last, and one of "conv_local" the order in which
    its kernels read it: that of its gradient.
    """
    if name == "conv":
        return channels_last(shape, strides)
    return tuple(strides) == packed(shape)


def packed(shape: Shape) -> tuple[Any, ...]:
    """The strides of the weight of a local layer that ``pack_local`` gives."""
    rank = len(shape) // 2 - 1
    return ordered(shape, (*range(rank), *range(rank + 2, len(shape)), rank + 1, rank))


def dense(shape: Shape, last: bool = False) -> tuple[Any, ...]:
    """The strides of a tensor without gaps, contiguous or with its channels last."""
    rest = range(2, len(shape))
    return ordered(shape, (0, *rest, 1) if last else range(len(shape)))


def ordered(shape: Shape, order: Sequence[int]) -> tuple[Any, ...]:
    """The strides of a tensor without gaps whose axes lie in this order, the outermost first."""
    strides: list[Any] = [0] * len(shape)
    step: Any = 1
    for d in reversed(order):
        strides[d] = step
        step = step * (1 if type(shape[d]) is int and shape[d] == 0 else shape[d])
    return tuple(strides)


def elements(shape: Shape, strides: Shape) -> tuple[int, ...]:
    """Strides as plans take them: 0 along axes of one entry, so that plans are shared."""
    return tuple([s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)])
