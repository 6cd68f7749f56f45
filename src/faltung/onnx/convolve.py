"""Convolutions, their transposes and products with constant matrices, from ONNX."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.adjoint import transposed
from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import MOST_PADDING
from faltung.graph.ops import Convolve, ConvolveInput
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


def _weights(a: Arguments) -> tuple[Array, Array | None]:
    w = a.array(1)
    return w, a.array(2).ravel() if a.has(2) else None


def conv(a: Arguments) -> Tensor:
    w, bias = _weights(a)
    x, grown, mode = _unpadded(a)
    channels, space = map_of(a, x)
    rank = len(space)
    if w.ndim != rank + 2:
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
    operands = [f.map(x), weight(f, w, w.shape)]
    if bias is not None:
        operands.append(f.parameter("bias", _biased(bias, w.shape[0]), decay=False))
    shape = (w.shape[0], *spec.output)
    made = f.node(Convolve(spec, bias is not None), operands, shape)
    return f.of_map(made, x.dtype)


def _unpadded(a: Arguments) -> tuple[Tensor, Pairs, str]:
    """What a Pad before the convolution reads, how much it adds and what; else the input."""
    x = a.tensor(0)
    found = a.padding_of(0)
    if found is None:
        return x, ((0, 0),) * max(0, x.rank - 2), "zeros"
    return found


def _biased(bias: Array, channels: int) -> Array:
    if bias.shape != (channels,):
        raise FaltungError(f"bias of shape {bias.shape}: must have {channels} numbers")
    return bias


def weight(f: Foreign, w: Array, inner: Shape) -> Any:
    """In memory: tap, input channel, output channel, so that packing copies whole rows."""
    return f.parameter("weight", w, inner=inner, order=(*range(2, len(inner)), 1, 0))


def conv_transpose(a: Arguments) -> Tensor:
    w, bias = _weights(a)
    x = a.floats(0)
    channels, space = map_of(a, x)
    rank, groups = len(space), a.whole("group", 1)
    if w.ndim != rank + 2 or w.shape[0] != channels or groups < 1 or channels % groups:
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
    operands = [f.map(x), weight(f, w, w.shape)]
    count = w.shape[1] * groups
    if bias is not None:
        operands.append(f.parameter("bias", _biased(bias, count), decay=False))
    shape = (count, *spec.size)
    made = f.node(ConvolveInput(spec, bias is not None), operands, shape)
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


# Products -----------------------------------------------------------------------------------------


def linear(f: Foreign, x: Tensor, w: Array, bias: Array | None) -> Tensor:
    """The last axis of ``x`` times the weight (features, inputs)."""
    numbers(x)
    features, inputs = w.shape
    if x.shape[-1] != inputs:
        raise FaltungError(f"shapes {x.shape} and {w.shape[::-1]}: cannot be multiplied")
    read = x.axes[-1]
    left = tuple(i for i in range(len(x.dims)) if i not in read)
    if _is_flattened_map(x):
        shape = x.value.shape
        value = _product(f, x.value, w, bias, shape, shape[1:])
    else:
        inside = sorted(read)
        w = _columns(w, [x.dims[i] for i in read], [read.index(i) for i in inside])
        value = f.ordered(x, (*left, *inside)).value
        if value.channels != inputs:
            value = f.seen(value, 1, (inputs, x.size // inputs))
        shape = (inputs, *(value.space or (1,)))
        value = _product(f, value, w, bias, shape, (1,) * (len(shape) - 1))
    dims = tuple(x.dims[i] for i in left) + ((features,) if features > 1 else ())
    axes = [tuple(left.index(i) for i in axis) for axis in x.axes[:-1]]
    axes.append((len(left),) if features > 1 else ())
    return Tensor(value, dims, tuple(axes), x.dtype)


def _is_flattened_map(x: Tensor) -> bool:
    """Whether the last axis is all of a map, channels first: a convolution reads it as it is."""
    value, read = x.value, x.axes[-1]
    space = [n for n in value.space if n > 1]
    first = len(x.dims) - len(space) - 1
    wanted = (len(x.dims) - 1, *range(first, len(x.dims) - 1))
    if not space or value.channels == 1 or first < 0 or read != wanted:
        return False
    return list(x.dims[first:]) == [*space, value.channels]


def _columns(w: Array, sizes: Sequence[int], order: Sequence[int]) -> Array:
    """The inputs of a weight in another order."""
    if list(order) == sorted(order):
        return w
    split = w.reshape(len(w), *sizes).transpose(0, *(i + 1 for i in order))
    return np.ascontiguousarray(split).reshape(w.shape)


def _product(
    f: Foreign, value: Any, w: Array, bias: Array | None, shape: Shape, kernel: Shape
) -> Any:
    features = w.shape[0]
    spec = conv_spec((1, *shape), (features, shape[0], *kernel), dtype=f.dtype)
    operands = [value, weight(f, w, spec.weight_shape)]
    if bias is not None:
        operands.append(f.parameter("bias", _biased(bias, features), decay=False))
    space = spec.output if value.space and spec.output != (1,) * spec.rank else ()
    return f.node(Convolve(spec, bias is not None), operands, (features, *space))


def gemm(a: Arguments) -> Tensor:
    alpha, beta = a.number("alpha", 1), a.number("beta", 1)
    a.whole("broadcast", 1)  # of opset 6, and always so since
    first, second = a[0], a[1]
    ta, tb = bool(a.whole("transA", 0)), bool(a.whole("transB", 0))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        second = a.array(1)
    extra: Tensor | Array | None = a[2] if a.has(2) and beta else None
    swap = not isinstance(first, Tensor)  # y transposed is B transposed times A transposed
    x, w = (second, first) if swap else (first, second)
    assert isinstance(x, Tensor) and not isinstance(w, Tensor)
    if w.ndim != 2 or x.rank != 2:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: must have two axes")
    rows = x.transposed((1, 0)) if ((not tb) if swap else ta) else x
    matrix = w if ((not ta) if swap else tb) else _turned(w)
    if alpha != 1:
        matrix = matrix * matrix.dtype.type(alpha)
    bias = None
    if extra is not None and not swap and not isinstance(extra, Tensor):
        wide = extra if extra.ndim < 2 else extra[0] if extra.shape[0] == 1 else None
        if wide is not None:
            bias = np.ascontiguousarray(np.broadcast_to(wide.ravel(), (matrix.shape[0],)))
            bias = bias if beta == 1 else bias * bias.dtype.type(beta)
    made = linear(a.f, rows, matrix, bias)
    if swap:
        made = made.transposed((1, 0))
    if extra is None or bias is not None:
        return made

    def added(x: Expr, c: Expr) -> Expr:
        return x + (c if beta == 1 else c * beta)

    return formula(a.f, added, made, extra)


def _turned(w: Array) -> Array:
    return np.ascontiguousarray(w.T)


def matmul(a: Arguments) -> Tensor:
    first, second = a[0], a[1]
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return _both(a, first, second)
    if isinstance(first, Tensor) and not isinstance(second, Tensor):
        matrix = _matrix(second)
        made = linear(a.f, first, _turned(matrix), None)
        return _without(a, made, -1) if second.ndim == 1 else made
    assert isinstance(second, Tensor) and not isinstance(first, Tensor)
    matrix = _matrix(first, left=True)
    x = second if second.rank > 1 else a.f.reshaped(second, (*second.shape, 1))
    order = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    made = linear(a.f, x.transposed(order), matrix, None).transposed(order)
    made = _without(a, made, -2) if first.ndim == 1 else made
    return _without(a, made, -1) if second.rank == 1 else made


def _both(a: Arguments, first: Tensor, second: Tensor) -> Tensor:
    if a.is_input(1) or a.is_input(0):
        a.array(1 if a.is_input(1) else 0)
    raise Unsaid("a product of two computed tensors (needs Contract)")


def _matrix(w: Array, left: bool = False) -> Array:
    """A constant of a product as a matrix."""
    if w.ndim == 1:
        return w[None, :] if left else w[:, None]
    if prod(w.shape[:-2]) != 1:
        raise Unsaid("a product with several constant matrices (needs Contract)")
    return w.reshape(w.shape[-2:])


def _without(a: Arguments, x: Tensor, axis: int) -> Tensor:
    shape = list(x.shape)
    del shape[axis]
    return a.f.reshaped(x, tuple(shape))


TABLE = {"Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul}
