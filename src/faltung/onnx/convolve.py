"""Convolutions and their transposes, from ONNX; their weights may be computed."""

from math import prod
from typing import Any

import numpy.typing as npt

from faltung.geometry.adjoint import transposed
from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_linear import bias_of, weight
from faltung.graph.foreign_maps import MOST_PADDING
from faltung.graph.ops import Convolve, ConvolveInput
from faltung.graph.value import Value
from faltung.onnx.arguments import Arguments, numbers

Array = npt.NDArray[Any]
Pairs = tuple[tuple[int, int], ...]


def map_of(a: Arguments, x: Tensor) -> tuple[int, Shape]:
    """The channels and the space of a tensor (batch, channels, *space)."""
    numbers(x)
    if x.rank < 3:
        raise FaltungError(f"input of shape {x.shape}: must be (batch, channels, *space)")
    return x.shape[1], x.shape[2:]


def pads(a: Arguments, space: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Pairs:
    """Entries before and after each axis, also where the file names a rule for them."""
    rank = len(space)
    rule = a.word("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        made = []
        for n, k, s, d in zip(space, kernel, stride, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            small, large = total // 2, total - total // 2
            made.append((small, large) if rule == "SAME_UPPER" else (large, small))
        return tuple(made)
    if rule not in ("NOTSET", "VALID", ""):
        raise FaltungError(f"auto_pad={rule!r}: must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    found = a.wholes("pads")
    if found is None or rule == "VALID":
        return ((0, 0),) * rank
    if len(found) != 2 * rank:
        raise FaltungError(f"pads={found}: must be {2 * rank} numbers")
    if min(found) < 0:
        raise Unsaid("negative pads")
    if max(found) > MOST_PADDING:
        raise Unsaid(f"padding of {max(found)} entries")
    return tuple(zip(found[:rank], found[rank:], strict=True))


def _operands(a: Arguments, x: Tensor, channels: int, transposes: bool = False) -> list[Value]:
    """The map, the weight, and the bias if there is one; so many channels of the result."""
    f, w, found = a.f, a[1], [a.f.map(x)]
    if isinstance(w, Tensor):
        found.append(f.map(w, (), range(1, w.rank), (0,)))
    elif transposes:  # whose output channels are the second axis
        found.append(f.parameter("weight", w, order=(*range(2, w.ndim), 1, 0)))
    else:
        found.append(weight(f, w, w.shape))
    if a.has(2):
        bias = a[2]
        if prod(bias.shape) != channels:
            raise FaltungError(f"bias of shape {bias.shape}: must have {channels} numbers")
        if isinstance(bias, Tensor):
            numbers(bias)
            found.append(f.seen(f.straightened(bias).value, 1, (channels,)))
        else:
            flat = f.same_grid(bias.reshape(channels), bias)
            if transposes or isinstance(w, Tensor):
                found.append(f.parameter("bias", flat, decay=False))
            else:
                found.append(bias_of(f, flat, w))
    return found


def conv(a: Arguments) -> Tensor:
    w = a[1]
    x, grown, mode = _unpadded(a)
    channels, space = map_of(a, x)
    rank = len(space)
    if len(w.shape) != rank + 2:
        raise FaltungError(f"weight of shape {w.shape}: must have {rank + 2} axes")
    kernel = w.shape[2:]
    told = a.wholes("kernel_shape")
    if told is not None and told != kernel:
        raise FaltungError(f"kernel_shape={told}: must be that of the weight, {kernel}")
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    sizes = tuple(n + lo + hi for n, (lo, hi) in zip(space, grown, strict=True))
    pairs = pads(a, sizes, kernel, stride, dilation)
    if mode != "zeros" and any(map(any, pairs)):
        x, space = a.tensor(0), sizes  # zeros around what the edges were repeated into
        mode = "zeros"
    else:
        pairs = tuple((lo + p, hi + q) for (lo, hi), (p, q) in zip(pairs, grown, strict=True))
    f = a.f
    spec = conv_spec(
        (1, channels, *space),
        w.shape,
        stride=stride,
        padding=pairs,
        dilation=dilation,
        groups=a.whole("group", 1),
        padding_mode=mode,  # type: ignore[arg-type]
        dtype=f.dtype,
    )
    operands = _operands(a, x, w.shape[0])
    shape = (w.shape[0], *spec.output)
    made = f.node(Convolve(spec, a.has(2)), operands, shape, x.shape[0])
    return f.of_map(made, x.dtype)


def _unpadded(a: Arguments) -> tuple[Tensor, Pairs, str]:
    """What a Pad before the convolution reads, how much it adds and what; else the input."""
    x = a.tensor(0)
    found = a.padding_of(0)
    if found is None:
        return x, ((0, 0),) * max(0, x.rank - 2), "zeros"
    return found


def conv_transpose(a: Arguments) -> Tensor:
    w, x = a[1], a.floats(0)
    channels, space = map_of(a, x)
    rank, groups = len(space), a.whole("group", 1)
    if len(w.shape) != rank + 2 or w.shape[0] != channels or groups < 1 or channels % groups:
        raise FaltungError(
            f"weight of shape {w.shape}, group={groups}: does not fit {channels} channels"
        )
    kernel = w.shape[2:]
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    extra = a.wholes("output_padding") or (0,) * rank
    if len(extra) != rank or min(extra) < 0:
        raise FaltungError(f"output_padding={extra}: must be {rank} numbers, at least 0")
    pairs, extra = _transposed_pads(a, space, kernel, stride, dilation, extra)
    f = a.f
    late = tuple(max(0, e - max(s, d) + 1) for e, s, d in zip(extra, stride, dilation, strict=True))
    if any(late):
        raise Unsaid("more output padding than the stride")
    spec = transposed(
        (1, channels, *space),
        w.shape,
        stride=stride,
        padding=pairs,
        output_padding=extra,
        dilation=dilation,
        groups=groups,
        dtype=f.dtype,
    )
    count = w.shape[1] * groups
    shape = (count, *spec.size)
    op = ConvolveInput(spec, a.has(2))
    made = f.node(op, _operands(a, x, count, True), shape, x.shape[0])
    return f.of_map(made, x.dtype)


def _transposed_pads(
    a: Arguments, space: Shape, kernel: Shape, stride: Shape, dilation: Shape, extra: Shape
) -> tuple[Pairs, Shape]:
    """The padding, and the output padding, also where the file says the size of the output."""
    rank, rule = len(space), a.word("auto_pad", "NOTSET")
    natural = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(space, kernel, stride, dilation, strict=True)
    ]
    wanted = a.wholes("output_shape")
    if wanted is not None and len(wanted) == rank + 2:
        wanted = wanted[2:]
    if wanted is None and rule in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(space, stride, strict=True))
    if wanted is None:
        return pads(a, space, kernel, stride, dilation), extra
    if len(wanted) != rank or min(wanted) < 1:
        raise FaltungError(f"output_shape={wanted}: must be {rank} numbers, all at least 1")
    pairs, more = [], []
    for full, size, e in zip(natural, wanted, extra, strict=True):
        total = full + e - size
        if total < 0:
            e, total = e - total, 0
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if rule == "SAME_UPPER" else (large, small))
        more.append(e)
    return tuple(pairs), tuple(more)


TABLE = {"Conv": conv, "ConvTranspose": conv_transpose}
