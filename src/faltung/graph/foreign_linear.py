"""Products of foreign tensors with a matrix, which are 1x1 convolutions; and of any two matrices.

A weight is read where it lies: what would need its columns in another order moves the tensor
instead, where the weight must not be copied (``Foreign.copies``).
"""

import string
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, operand
from faltung.geometry.levels import on_grid
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_formulas import broadcast
from faltung.graph.foreign_products import Operand, product
from faltung.graph.ops import Convolve, Elementwise
from faltung.graph.value import Value

Array = npt.NDArray[Any]

W, S = operand(0), operand(1)
EIGHT_BITS, SEVEN_BITS = on_grid(W, S, 0, -128, 127), on_grid(W, S, 0, -64, 64)
# The bounds of a bias of 32 bits in float32.
MOST_INT32 = 2.0**31 - 128


def biased(bias: Array, channels: int) -> Array:
    if bias.shape != (channels,):
        raise FaltungError(f"bias of shape {bias.shape}: must have {channels} numbers")
    return bias


def weight(f: Foreign, w: Array, inner: Shape) -> Value:
    """In memory: tap, input channel, output channel, so that packing copies whole rows."""
    made = f.parameter("weight", w, inner=inner, order=(*range(2, len(inner)), 1, 0))
    scale = f.grid(w)
    return made if scale is None else _on_grid(f, made, scale, _weight(w, scale))


def _weight(w: Array, scale: Array) -> Expr:
    """The formula of a weight on a grid of 8 bits; of 7, which is faster on some machines, where
    it has no more levels.
    """
    most = np.abs(w.reshape(len(w), -1)).max(axis=1, initial=0)
    return SEVEN_BITS if (np.rint(most / scale) <= 64).all() else EIGHT_BITS


def bias_of(f: Foreign, b: Array, w: Array) -> Value:
    """The bias of a convolution with the weight ``w``: on the grid of its products, if it is."""
    made = f.parameter("bias", b, decay=False)
    own, scale = f.grid(b), f.grid(w)
    if own is None or scale is None or len(own) != len(scale) or not (scale > 0).all():
        return made
    # The scale of the input: as it is the same for all channels, one of them tells it, about.
    about = np.float32(np.median(own / scale))
    near = [about, np.nextafter(about, np.float32(0)), np.nextafter(about, np.float32(np.inf))]
    factor = next((x for x in near if (scale * x == own).all()), None)
    if factor is None:
        return made
    formula = on_grid(W, S * float(factor), 0, -MOST_INT32, MOST_INT32)
    return _on_grid(f, made, scale, formula)


def _on_grid(f: Foreign, value: Value, scale: Array, formula: Expr) -> Value:
    """A constant that lies on a grid, told so: by the formula that leaves it there."""
    scales = f.parameter("scale", np.ascontiguousarray(scale), trained=False, of=scale)
    op = Elementwise(value.shape, (formula,), batched=False)
    return f.b.nodes(op, (value, scales), value.shape, batched=0)[0]


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
        inside = sorted(read) if f.copies(w) else list(read)
        sizes = [x.dims[i] for i in read]
        w = f.same_grid(_columns(w, sizes, [read.index(i) for i in inside]), w)
        value = f.wide(f.ordered(x, (*left, *inside)), inputs)
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
        operands.append(bias_of(f, biased(bias, features), w))
    space = spec.output if value.space and spec.output != (1,) * spec.rank else ()
    return f.node(Convolve(spec, bias is not None), operands, (features, *space))


def matrix_turned(f: Foreign, w: Array) -> Array:
    """A matrix transposed: copied, where that is allowed, so that its rows lie together."""
    return f.same_grid(np.ascontiguousarray(w.T) if f.copies(w) else w.T, w, turned=True)


def multiplied(f: Foreign, first: Operand, second: Operand) -> Tensor:
    """The product of the last two axes of either; those before them are broadcast."""
    if not first.shape or not second.shape:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: must have axes")
    if (
        isinstance(first, Tensor)
        and not isinstance(second, Tensor)
        and prod(second.shape[:-2]) == 1
        and second.ndim <= max(2, first.rank)
    ):
        matrix = second.reshape(second.shape[-2:]) if second.ndim > 1 else second[:, None]
        matrix = f.same_grid(matrix, second) if second.ndim == 2 else matrix
        made = linear(f, first, matrix_turned(f, matrix), None)
        return without(f, made, -1) if second.ndim == 1 else made
    letters = string.ascii_uppercase
    rank = max(len(first.shape), len(second.shape)) - 2
    if rank > len(letters):
        raise Unsaid(f"a product of {rank + 2} axes")
    lead = letters[: max(0, rank)]
    words = [
        lead[max(0, len(lead) - len(x.shape) + 2) :] + matrix if len(x.shape) > 1 else "k"
        for x, matrix in ((first, "mk"), (second, "kn"))
    ]
    sizes = broadcast([first.shape[:-2], second.shape[:-2]])
    out = lead[len(lead) - len(sizes) :]
    shape = sizes
    if len(first.shape) > 1:
        out, shape = out + "m", (*shape, first.shape[-2])
    if len(second.shape) > 1:
        out, shape = out + "n", (*shape, second.shape[-1])
    if first.shape[-1] != second.shape[-2 if len(second.shape) > 1 else -1]:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: cannot be multiplied")
    return product(f, first, second, (words[0], words[1], out), shape)


def without(f: Foreign, x: Tensor, axis: int) -> Tensor:
    shape = list(x.shape)
    del shape[axis]
    return f.reshaped(x, tuple(shape))
