"""Gradients of the operators, each in terms of operators again: so they have gradients too.

With y = conv(x, w), the gradient for x is ``conv_input_grad(g, w)`` and that for w is
``conv_weight_grad(x, g)``. All three are linear in each of their tensors, or in its conjugate, so
the gradients of one are the other two in other roles. Those of a transposed convolution are a
convolution, and the gradient for a weight with x and g exchanged.

A rule is an ``autograd.Function`` whose first argument computes the result below autograd.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from faltung.geometry.check import per_axis
from faltung.geometry.padding import pads
from faltung.torch.layouts import as_weight, channels_last, is_last
from faltung.torch.words import Conv

ops: Any = torch.ops.faltung
Grads = tuple[Tensor | None, ...]
Rule = type[Function]


@cache
def op(name: str, what: str = "") -> Any:
    """An operator of a family: op("conv_local", "_transpose") is conv_local_transpose."""
    return getattr(ops, name + what).default


class Bilinear(Function):
    """A rule for a result that is linear, or antilinear, in each of its first two tensors.

    ``forward(compute, a, b, *rest)``: ``rest`` are a bias that is added, if there may be one, and
    what is no tensor. A tensor is kept only where a gradient reads it.
    """

    name = ""
    what = ""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Tensor], a: Tensor, b: Tensor, *rest: Any) -> Any:
        _, for_a, for_b, *_ = ctx.needs_input_grad
        ctx.save_for_backward(a if for_b else None, b if for_a else None)
        ctx.save_for_forward(a, b)
        ctx.a, ctx.b = (a.shape, a.stride()), (b.shape, b.stride())
        ctx.bias = rest[0].dtype if isinstance(rest[0], Tensor) else None
        ctx.rest = rest if ctx.bias is None else (None, *rest[1:])
        y = compute(a, b, *rest)
        ctx.shape = y.shape
        return y

    @classmethod
    def tangent(cls, ctx: Any, da: Tensor | None, db: Tensor | None, *rest: Any) -> Any:
        """The directional derivative."""
        a, b = ctx.saved_tensors
        operator = op(cls.name, cls.what)
        found = None if da is None else operator(da, b, *ctx.rest)
        if db is not None:
            other = operator(a, db, *ctx.rest)
            found = other if found is None else found + other
        if rest and isinstance(rest[0], Tensor):
            shift = rest[0].movedim(-1, 0)
            shift = shift.reshape(*shift.shape, *(1,) * (len(ctx.a[0]) - 1 - shift.ndim))
            found = shift.expand(ctx.shape) if found is None else found + shift
        return found


def _rules(name: str) -> dict[str, Rule]:
    """The rules of a family, "conv" or "conv_local", by what comes after its name."""

    class Forward(Bilinear):
        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            (g,), (x, w) = grads, ctx.saved_tensors
            _, for_x, for_w, for_b, _ = ctx.needs_input_grad
            words = ctx.rest[1]
            dx = (
                op(name, "_input_grad")(g, w, ctx.a[0], words, channels_last(*ctx.a))
                if for_x
                else None
            )
            dw = (
                op(name, "_weight_grad")(x, g, ctx.b[0], words, as_weight(name, *ctx.b))
                if for_w
                else None
            )
            return None, dx, dw, bias_grad(name, g, ctx.bias) if for_b else None, None

    class InputGrad(Bilinear):
        what = "_input_grad"

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            (u,), (g, w) = grads, ctx.saved_tensors
            _, for_g, for_w, *_ = ctx.needs_input_grad
            words = ctx.rest[1]
            dg = op(name)(u, w, None, words) if for_g else None
            dw = (
                op(name, "_weight_grad")(u, g, ctx.b[0], words, as_weight(name, *ctx.b))
                if for_w
                else None
            )
            return None, dg, dw, None, None, None

    class WeightGrad(Bilinear):
        what = "_weight_grad"

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            (v,), (x, g) = grads, ctx.saved_tensors
            _, for_x, for_g, *_ = ctx.needs_input_grad
            words = ctx.rest[1]
            dx = (
                op(name, "_input_grad")(g, v, ctx.a[0], words, channels_last(*ctx.a))
                if for_x
                else None
            )
            dg = op(name)(x, v, None, words) if for_g else None
            return None, dx, dg, None, None, None

    class Transpose(Bilinear):
        what = "_transpose"

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            (g,), (x, w) = grads, ctx.saved_tensors
            _, for_x, for_w, for_b, _ = ctx.needs_input_grad
            kernel = tuple([int(n) for n in ctx.b[0][-(g.ndim - 2) :]])
            words, crops = adjoint(ctx.rest[1], kernel)
            read = g
            for d, crop in enumerate(crops, 2):
                read = read.narrow(d, 0, read.shape[d] - crop) if crop else read
            dx = op(name)(read, w.conj(), None, words) if for_x else None
            dw = None
            if for_w:
                dw = op(name, "_weight_grad")(read, x, ctx.b[0], words, as_weight(name, *ctx.b))
                dw = dw.conj() if dw.is_complex() else dw
            return None, dx, dw, bias_grad(name, g, ctx.bias) if for_b else None, None

    found: dict[str, Rule] = {}
    for rule in (Forward, InputGrad, WeightGrad, Transpose):
        rule.name = name
        rule.jvp = staticmethod(_jvp(rule))
        found[rule.what] = rule
    return found


def _jvp(rule: type[Bilinear]) -> Callable[..., Any]:
    return lambda ctx, _, *tangents: rule.tangent(ctx, *tangents)


@lru_cache(256)
def adjoint(words: str, kernel: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The convolution whose transpose the words mean, and how much is cut off the end of each axis
    of its input: output padding that no window reads.
    """
    options, rank = Conv.read(words), len(kernel)
    stride = per_axis("stride", options.stride, rank, 1)
    dilation = per_axis("dilation", options.dilation, rank, 1)
    extra = per_axis("output_padding", options.output_padding, rank, 0)
    # What a name means there is the same for every size of the input.
    pairs = pads(options.padding, sizes=stride, kernel=kernel, stride=stride, dilation=dilation)
    each = zip(pairs, extra, stride, strict=True)
    reach = [(lo, hi - p // s * s) for (lo, hi), p, s in each]
    padding = tuple([(lo, max(0, hi)) for lo, hi in reach])
    crops = tuple([max(0, -hi) for _, hi in reach])
    return options._replace(padding=padding, output_padding=0).words(rank), crops


# Sums ---------------------------------------------------------------------------------------------


def bias_grad(name: str, grad: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over batch and positions; over the batch for a local layer."""
    if name == "conv_local":
        return total(grad, [0], dtype).movedim(0, -1)
    return total(grad, [0, *range(2, grad.ndim)], dtype)


def total(x: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
    """A sum of any floating tensor: complex numbers as pairs, those of 16 bits as float32."""
    found: Tensor
    if x.is_complex():
        found = torch.view_as_complex(ops.total.default(torch.view_as_real(x), dims))
        return found
    narrow = x.dtype in (torch.float16, torch.bfloat16)
    found = ops.total.default(x.float() if narrow else x, dims)
    return found if found.dtype is dtype else found.to(dtype)


class Total(Function):
    """The rule of ``total``."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Tensor], x: Tensor, dims: Sequence[int]) -> Any:
        ctx.shape, ctx.dims = x.shape, list(dims)
        return compute(x, dims)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (g,) = grads
        for d in sorted(ctx.dims):
            g = g.unsqueeze(d)
        return None, g.expand(ctx.shape), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return ops.total.default(tangents[1], ctx.dims)


# Pooling ------------------------------------------------------------------------------------------


class MaxPool(Function):
    """The rule of ``max_pool_with_indices``."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Any], x: Tensor, words: str) -> Any:
        out, indices = compute(x, words)
        ctx.mark_non_differentiable(indices)
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)
        ctx.x, ctx.words = (x.shape, is_last(x)), words
        return out, indices

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        return (
            None,
            ops.max_pool_grad.default(grads[0], indices, ctx.x[0], ctx.words, ctx.x[1]),
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (indices,) = ctx.saved_tensors
        return chosen(tangents[1], indices), None


class MaxPoolGrad(Function):
    """The rule of ``max_pool_grad``."""

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[..., Tensor],
        grad: Tensor,
        indices: Tensor,
        shape: Sequence[int],
        words: str,
        last: bool,
    ) -> Any:
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)
        ctx.given = shape, words, last
        return compute(grad, indices, shape, words, last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        return None, chosen(grads[0], indices), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (indices,) = ctx.saved_tensors
        return ops.max_pool_grad.default(tangents[1], indices, *ctx.given)


def chosen(x: Tensor, indices: Tensor) -> Tensor:
    """The entries of each plane of ``x`` that the indices name."""
    flat = x.flatten(2).gather(2, indices.flatten(2).long())
    return flat.reshape(indices.shape)


class AvgPool(Function):
    """The rule of ``avg_pool``."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Tensor], x: Tensor, words: str) -> Any:
        ctx.x, ctx.words = (x.shape, is_last(x)), words
        return compute(x, words)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, ops.avg_pool_grad.default(grads[0], ctx.x[0], ctx.words, ctx.x[1]), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return ops.avg_pool.default(tangents[1], ctx.words)


class AvgPoolGrad(Function):
    """The rule of ``avg_pool_grad``."""

    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[..., Tensor],
        grad: Tensor,
        shape: Sequence[int],
        words: str,
        last: bool,
    ) -> Any:
        ctx.given = shape, words, last
        return compute(grad, shape, words, last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, ops.avg_pool.default(grads[0], ctx.given[1]), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return ops.avg_pool_grad.default(tangents[1], *ctx.given)


RULES: dict[str, Rule] = {
    **{name + what: rule for name in ("conv", "conv_local") for what, rule in _rules(name).items()},
    "total": Total,
    "max_pool_with_indices": MaxPool,
    "max_pool_grad": MaxPoolGrad,
    "avg_pool": AvgPool,
    "avg_pool_grad": AvgPoolGrad,
}
