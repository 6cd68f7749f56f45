"""Shapes and strides of results: what operators say to a tracer, which has no numbers.

Where all sizes are known the same checks are made as for a call. Symbolic sizes go through the
formulas of ``geometry.axis`` and ``geometry.adjoint`` here, because those take whole numbers only;
``tests/torch/test_shapes.py`` compares the two.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung.geometry.check import per_axis
from faltung.geometry.padding import pads
from faltung.torch import calls, maps
from faltung.torch.layouts import dense, is_last
from faltung.torch.words import Conv, Pool

Sizes = Sequence[Any]
_least: Any = torch.sym_min


def known(*sizes: Sizes) -> bool:
    """Whether all are whole numbers."""
    return all(type(n) is int for each in sizes for n in each)


def output(sizes: Sizes, kernel: Sizes, options: Conv) -> list[Any]:
    """Sizes of the output of a convolution: ``Axis.output``, also of symbolic sizes."""
    rank = len(sizes)
    stride = per_axis("stride", options.stride, rank, 1)
    dilation = per_axis("dilation", options.dilation, rank, 1)
    fixed = _without_sizes(options.padding, rank)
    pairs = pads(fixed, sizes=sizes, kernel=kernel, stride=stride, dilation=dilation)
    found = []
    for n, h, s, d, (lo, hi), entry in zip(
        sizes, kernel, stride, dilation, pairs, _entries(options.padding, rank), strict=True
    ):
        # These give ceil(n / s) outputs for every n; what they pad would make a tracer ask for n.
        least = entry in ("same_upper", "same_lower")
        found.append(-(-n // s) if least else (n + lo + hi - d * (h - 1) - 1) // s + 1)
    return found


def _entries(padding: Any, rank: int) -> Sequence[Any]:
    """What is said of each axis."""
    return padding if isinstance(padding, tuple) else (padding,) * rank


def _without_sizes(padding: Any, rank: int) -> tuple[Any, ...]:
    """The same without names whose padding depends on the size."""
    entries = _entries(padding, rank)
    return tuple([0 if each in ("same_upper", "same_lower") else each for each in entries])


def transposed_output(sizes: Sizes, kernel: Sizes, options: Conv) -> list[Any]:
    """Sizes of the output of a transposed convolution, also of symbolic sizes."""
    rank = len(sizes)
    stride = per_axis("stride", options.stride, rank, 1)
    dilation = per_axis("dilation", options.dilation, rank, 1)
    extra = per_axis("output_padding", options.output_padding, rank, 0)
    # What a name means there is the same for every size of the input.
    pairs = pads(options.padding, sizes=stride, kernel=kernel, stride=stride, dilation=dilation)
    each = zip(sizes, kernel, stride, dilation, extra, pairs, strict=True)
    return [(n - 1) * s - lo - hi + d * (h - 1) + o + 1 for n, h, s, d, o, (lo, hi) in each]


def conv(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Tensor:
    """The result of ``conv`` and ``conv_local`` without its numbers."""
    options = Conv.read(words)
    if known(x.shape, weight.shape):
        shape: Sizes = calls.forward_spec(name, x, weight, bias, options).output_shape
    else:
        rank = calls.checked(name, x, weight)
        kernel, channels = weight.shape[-rank:], weight.shape[-rank - 2]
        shape = [x.shape[0], channels, *output(x.shape[2:], kernel, options)]
    return x.new_empty_strided(shape, dense(shape, calls.follows(name, x, weight)))


def conv_transpose(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Tensor:
    """The result of ``conv_transpose`` and ``conv_local_transpose`` without its numbers."""
    options = Conv.read(words)
    if known(x.shape, weight.shape):
        shape: Sizes = calls.transposed_spec(name, x, weight, bias, options).input_shape
    else:
        rank = calls.checked(name, x, weight)
        kernel, channels = weight.shape[-rank:], weight.shape[-rank - 1] * options.groups
        shape = [x.shape[0], channels, *transposed_output(x.shape[2:], kernel, options)]
    return x.new_empty_strided(shape, dense(shape, calls.follows(name, x, weight)))


def conv_input_grad(
    name: str, grad: Tensor, weight: Tensor, shape: Sizes, words: str, last: bool
) -> Tensor:
    """The gradient for the input without its numbers."""
    if known(grad.shape, weight.shape, shape):
        sizes = tuple(shape)
        calls.grad_spec(name, weight, sizes, tuple(weight.shape), grad, Conv.read(words))
    return grad.new_empty_strided(shape, dense(shape, last))


def conv_weight_grad(
    name: str, x: Tensor, grad: Tensor, shape: Sizes, words: str, last: bool
) -> Tensor:
    """The gradient for the weight without its numbers."""
    if known(grad.shape, x.shape, shape):
        calls.grad_spec(name, x, tuple(x.shape), tuple(shape), grad, Conv.read(words))
    return x.new_empty_strided(shape, calls.weight_strides(name, tuple(shape), last))


def pool(kind: str, x: Tensor, words: str) -> Tensor:
    """The result of a pooling without its numbers."""
    options = Pool.read(words)
    if known(x.shape):
        shape: Sizes = maps.pooling(kind, x, tuple(x.shape), options, "x").output_shape
    else:
        maps.floating("x", x)
        shape = [*x.shape[:2], *pooled(x.shape[2:], options)]
    return x.new_empty_strided(shape, dense(shape, is_last(x)))


def pooled(sizes: Sizes, options: Pool) -> list[Any]:
    """Sizes of the output of a pooling, also of symbolic sizes."""
    rank = len(sizes)
    if options.kernel is None:
        return [1] * rank
    kernel = per_axis("kernel", options.kernel, rank, 1)
    stride = kernel if options.stride is None else per_axis("stride", options.stride, rank, 1)
    dilation = per_axis("dilation", options.dilation, rank, 1)
    pairs = pads(
        _without_sizes(options.padding, rank),
        sizes=sizes,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
    )
    found = []
    for n, h, s, d, (lo, hi), entry in zip(
        sizes, kernel, stride, dilation, pairs, _entries(options.padding, rank), strict=True
    ):
        room = n + lo + hi - d * (h - 1) - 1
        if entry in ("same_upper", "same_lower"):
            found.append(-(-n // s))
        elif options.ceil:  # no window begins behind the input
            found.append(_least(-(-room // s) + 1, -(-(n + lo) // s)))
        else:
            found.append(room // s + 1)
    return found


def pool_with_indices(x: Tensor, words: str) -> tuple[Tensor, Tensor]:
    """The maxima and their places without their numbers."""
    out = pool("max", x, words)
    return out, out.new_empty_strided(out.shape, out.stride(), dtype=maps.INDICES[x.dtype])


def max_pool_grad(grad: Tensor, indices: Tensor, shape: Sizes, words: str, last: bool) -> Tensor:
    """The gradient of maxima without its numbers."""
    maps.floating("grad", grad)
    return grad.new_empty_strided(shape, dense(shape, last))


def avg_pool_grad(grad: Tensor, shape: Sizes, words: str, last: bool) -> Tensor:
    """The gradient of means without its numbers."""
    maps.floating("grad", grad)
    return grad.new_empty_strided(shape, dense(shape, last))


def total(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The sum over some axes without its numbers."""
    maps.floating("x", x)
    return x.new_empty([n for d, n in enumerate(x.shape) if d not in dims])
