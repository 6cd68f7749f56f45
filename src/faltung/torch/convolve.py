"""Convolutions and their transposes, from ATen; their weights may be computed."""

from collections.abc import Callable

from faltung.geometry.adjoint import transposed
from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import MOST_PADDING
from faltung.graph.ops import Convolve, ConvolveInput
from faltung.graph.value import Value
from faltung.torch.arguments import Arguments

Pairs = tuple[tuple[int, int], ...]


def batched(a: Arguments, x: Tensor, rank: int) -> Tensor:
    """A tensor (samples, C, *space), also where its owner left the samples out."""
    if x.rank == rank + 1:
        return a.f.reshaped(x, (1, *x.shape))
    if x.rank != rank + 2:
        raise Unsaid(f"a tensor of {x.rank} axes where {rank} are space")
    return x


def as_given(a: Arguments, made: Tensor, rank: int, name: str = "input") -> Tensor:
    """A result (samples, C, *space) with the axes that the tensor ``name`` came with."""
    alone = len(a[name].shape) == rank + 1
    return a.f.reshaped(made, made.shape[1:]) if alone else made


def weight(a: Arguments, name: str, inner: Shape | None = None) -> Value:
    """A weight (out, in, *kernel), where it lies, or as it is computed."""
    leaf = a.leaf(name)
    if leaf is None:
        w = a.tensor(name)
        return a.f.map(w, (), range(1, w.rank), (0,))
    array = leaf.array if inner is None else leaf.array.reshape(inner)
    order = (*range(2, array.ndim), 1, 0)
    return a.f.parameter("weight", array, inner=array.shape, order=order)


def conv(a: Arguments) -> Tensor:
    """With the overload "padding" that is a word, "same" or "valid"."""
    rank = len(a["weight"].shape) - 2
    if "transposed" in a.call.given and a.flag("transposed"):
        return conv_transpose(a)
    x, w = batched(a, a.floats("input"), rank), a["weight"].shape
    dilation = a.wholes("dilation", rank)
    spec = conv_spec(
        (1, *x.shape[1:]),
        tuple(w),
        stride=a.wholes("stride", rank),
        padding=_pairs(a, tuple(w[2:]), dilation),
        dilation=dilation,
        groups=a.whole("groups"),
        dtype=a.f.dtype,
    )
    return _result(a, x, Convolve, spec, (w[0], *spec.output))


def _pairs(a: Arguments, kernel: Shape, dilation: Shape) -> Pairs:
    """Entries before and after each axis; of an odd number the larger part comes after."""
    found = a["padding"]
    if found == "valid":
        return ((0, 0),) * len(kernel)
    if found == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    wholes = a.wholes("padding", len(kernel))
    if max(wholes) > MOST_PADDING:
        raise Unsaid(f"padding of {max(wholes)} entries")
    return tuple((n, n) for n in wholes)


def conv_transpose(a: Arguments) -> Tensor:
    w = tuple(a["weight"].shape)
    rank, groups = len(w) - 2, a.whole("groups")
    x = batched(a, a.floats("input"), rank)
    spec = transposed(
        (1, *x.shape[1:]),
        w,
        stride=a.wholes("stride", rank),
        padding=_pairs(a, w[2:], ()),
        output_padding=a.wholes("output_padding", rank),
        dilation=a.wholes("dilation", rank),
        groups=groups,
        dtype=a.f.dtype,
    )
    return _result(a, x, ConvolveInput, spec, (w[1] * groups, *spec.size))


def _result(
    a: Arguments,
    x: Tensor,
    op: Callable[[ConvSpec, bool], Convolve | ConvolveInput],
    spec: ConvSpec,
    shape: Shape,
) -> Tensor:
    f = a.f
    operands = [f.map(x), weight(a, "weight")]
    bias = a.leaf("bias") if a.has("bias") else None
    if bias is not None:
        operands.append(f.parameter("bias", bias.array))
    made = f.of_map(f.node(op(spec, bias is not None), operands, shape, x.shape[0]), x.dtype)
    if bias is None and a.has("bias"):  # computed, and there once for all samples
        each = f.reshaped(a.floats("bias"), (shape[0], *(1,) * spec.rank))
        made = formula(f, lambda y, b: y + b, made, each)
    return as_given(a, made, spec.rank)


TABLE = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "_convolution"), conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv_transpose),
}
