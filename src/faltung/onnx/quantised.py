"""Quantised convolutions and products on the host, exactly: sums of products of whole numbers are
computed in float64, which holds them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Unsaid
from faltung.onnx.arguments import counted
from faltung.onnx.tensors import dtype_of, type_name

Array = npt.NDArray[Any]
Inputs = Sequence[Array | None]
Attributes = Mapping[str, Any]

# Beyond this, sums of whole numbers in float64 are no longer exact.
_EXACT = 1 << 53
MOST_PADDING = 1 << 16
MOST_WORK = 1 << 36


def _given(inputs: Inputs, number: int) -> Array:
    found = inputs[number] if len(inputs) > number else None
    if found is None:
        raise FaltungError(f"input {number} is missing")
    return found


def _centred(x: Array, zero: Array | None, axis: int | None) -> Array:
    """The numbers less their zero point, of which there may be one for each entry of an axis."""
    made = x.astype(np.float64)
    if zero is None:
        return made
    return made - _along(zero, x.ndim, axis)


def _along(values: Array, rank: int, axis: int | None) -> Array:
    wide = values.astype(np.float64)
    if wide.size == 1 or axis is None:
        return wide.reshape(()) if wide.size == 1 else wide
    shape = [1] * rank
    shape[axis] = wide.size
    return wide.reshape(shape)


# Sums of products ---------------------------------------------------------------------------------


def _conv(attributes: Attributes, x: Array, w: Array) -> Array:
    """A convolution of whole numbers that are stored as float64, exact."""
    from faltung.ops.functional import conv

    if x.ndim < 3 or w.ndim != x.ndim:
        raise FaltungError(f"inputs of shapes {x.shape} and {w.shape}: must be maps and weights")
    rank = x.ndim - 2
    stride = tuple(attributes.get("strides", (1,) * rank))
    dilation = tuple(attributes.get("dilations", (1,) * rank))
    pads = _pads(attributes, x.shape[2:], w.shape[2:], stride, dilation)
    groups = int(attributes.get("group", 1))
    if any(x.shape) and x.size * w.size // max(1, w.shape[0]) * w.shape[0] > MOST_WORK:
        raise Unsaid("a quantised convolution of so many products")
    reach = float(np.abs(x).max(initial=0)) * float(np.abs(w).max(initial=0)) * w[0].size
    if reach >= _EXACT:
        raise Unsaid("sums of products that are not exact")
    made = conv(
        x,
        w,
        stride=stride,
        padding=pads,
        dilation=dilation,
        groups=groups,
        precision="strict",
    )
    return np.asarray(made)


def _pads(
    attributes: Attributes,
    space: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    rank, rule = len(space), attributes.get("auto_pad", "NOTSET")
    if len(stride) != rank or len(dilation) != rank or min(*stride, *dilation) < 1:
        raise FaltungError("strides and dilations: must be one for each axis, at least 1")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        made = []
        for n, k, s, d in zip(space, kernel, stride, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            small, large = total // 2, total - total // 2
            made.append((small, large) if rule == "SAME_UPPER" else (large, small))
        return tuple(made)
    found = tuple(attributes.get("pads", (0,) * (2 * rank)))
    if rule == "VALID":
        return ((0, 0),) * rank
    if len(found) != 2 * rank or min(found) < 0 or max(found) > MOST_PADDING:
        raise FaltungError(f"pads={found}: must be {2 * rank} numbers from 0 to {MOST_PADDING}")
    return tuple(zip(found[:rank], found[rank:], strict=True))


def _product(a: Array, b: Array) -> Array:
    if not a.ndim or not b.ndim:
        raise FaltungError("its factors must have axes")
    return np.asarray(np.matmul(a, b))


# Operators ----------------------------------------------------------------------------------------


def conv_integer(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, w = _given(inputs, 0), _given(inputs, 1)
    zeros = [inputs[i] if len(inputs) > i else None for i in (2, 3)]
    made = _conv(attributes, _centred(x, zeros[0], None), _centred(w, zeros[1], 0))
    return [_wrapped(made)]


def matmul_integer(attributes: Attributes, inputs: Inputs) -> list[Array]:
    a, b = _given(inputs, 0), _given(inputs, 1)
    zeros = [inputs[i] if len(inputs) > i else None for i in (2, 3)]
    left = _centred(a, zeros[0], _rows(zeros[0], a))
    right = _centred(b, zeros[1], b.ndim - 1)
    return [_wrapped(_product(left, right))]


def _rows(zero: Array | None, a: Array) -> int | None:
    """The axis of the rows, where each has a zero point of its own."""
    return a.ndim - 2 if zero is not None and zero.ndim == 1 and a.ndim > 1 else None


def _wrapped(made: Array) -> Array:
    """As int32, which wraps around."""
    return made.astype(np.int64).astype(np.int32)


def qlinear_conv(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, w = _given(inputs, 0), _given(inputs, 3)
    scales = [_given(inputs, i) for i in (1, 4, 6)]
    zero = _given(inputs, 7)
    made = _conv(
        attributes,
        _centred(x, _given(inputs, 2), None),
        _centred(w, _given(inputs, 5), 0),
    )
    bias = inputs[8] if len(inputs) > 8 else None
    if bias is not None:
        made = made + _along(bias, made.ndim, 1)
    factor = scales[0] * _scale(scales[1], made.ndim, 1) / scales[2]
    return [_requantised(made, factor, zero)]


def qlinear_matmul(attributes: Attributes, inputs: Inputs) -> list[Array]:
    a, b = _given(inputs, 0), _given(inputs, 3)
    scales = [_given(inputs, i) for i in (1, 4, 6)]
    zeros = [_given(inputs, i) for i in (2, 5, 7)]
    left = _centred(a, zeros[0], _rows(zeros[0], a))
    right = _centred(b, zeros[1], b.ndim - 1)
    made = _product(left, right)
    rows = _rows(scales[0], a)
    first = scales[0] if rows is None else _scale(scales[0], made.ndim, made.ndim - 2)
    factor = first * _scale(scales[1], made.ndim, made.ndim - 1) / scales[2]
    return [_requantised(made, factor, zeros[2])]


def _scale(scale: Array, rank: int, axis: int) -> Array:
    """A scale for all, or for each entry of an axis, in its own precision."""
    if scale.size == 1:
        return scale.reshape(())
    shape = [1] * rank
    shape[axis] = scale.size
    return scale.reshape(shape)


def _requantised(made: Array, factor: Array, zero: Array) -> Array:
    """Scaled, rounded to even, moved and clipped to the type of the zero point."""
    moved = np.rint(made * factor.astype(np.float64)) + zero.astype(np.float64).reshape(())
    return _clipped(moved, zero.dtype)


def _clipped(moved: Array, target: np.dtype[Any]) -> Array:
    """Whole numbers as a type, the nearest that it has."""
    from ml_dtypes import iinfo

    limits = iinfo(target)  # type: ignore[no-untyped-call]
    return np.clip(moved, int(limits.min), int(limits.max)).astype(target)


# Between real numbers and quantised ones --------------------------------------------------------


def quantize(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, scale = _given(inputs, 0), _given(inputs, 1)
    zero = inputs[2] if len(inputs) > 2 else None
    told = attributes.get("output_dtype", 0)
    target = zero.dtype if zero is not None else dtype_of(type_name(told) if told else "uint8")
    precision = attributes.get("precision", 0)
    inner = dtype_of(type_name(precision)) if precision else np.result_type(x.dtype, scale.dtype)
    quotient = x.astype(inner) / spread(attributes, scale.astype(inner), x.shape)
    if target.name.startswith("float"):
        return [_small(quotient, target, bool(attributes.get("saturate", 1)))]
    moved = np.rint(quotient.astype(np.float64))
    if zero is not None:
        moved = moved + spread(attributes, zero.astype(np.float64), x.shape)
    return [_clipped(moved, target)]


def _small(x: Array, target: np.dtype[Any], saturates: bool) -> Array:
    """As numbers of 8 bits or fewer, of which some types have no infinity."""
    if saturates:
        from onnx import numpy_helper

        if hasattr(numpy_helper, "saturate_cast"):
            return np.asarray(numpy_helper.saturate_cast(x, dtype=target))
    return x.astype(target)


def dequantize(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, scale = _given(inputs, 0), _given(inputs, 1)
    zero = inputs[2] if len(inputs) > 2 else None
    told = attributes.get("output_dtype", 0)
    target = dtype_of(type_name(told)) if told else scale.dtype
    moved = x.astype(np.float64 if x.dtype.itemsize > 2 else np.float32)
    if zero is not None:
        moved = moved - spread(attributes, zero.astype(moved.dtype), x.shape)
    factor = spread(attributes, scale.astype(np.float32), x.shape)
    return [(moved.astype(np.float32) * factor).astype(target)]


def note(f: Foreign, attributes: Attributes, inputs: Inputs, made: Array) -> None:
    """Note that a constant lies on a grid around 0, if it does: its levels less their zero points
    are numbers of 8 bits; of a bias, of 32.
    """
    x, scale = _given(inputs, 0), _given(inputs, 1)
    zero = inputs[2] if len(inputs) > 2 else None
    if x.dtype.name not in ("int8", "uint8", "int32") or made.dtype != np.float32:
        return
    if attributes.get("block_size", 0) or scale.ndim > 1 or scale.dtype != np.float32:
        return
    zeros = 0 if zero is None else spread(attributes, zero.astype(np.int64), x.shape)
    moved = x.astype(np.int64) - zeros
    low, high = (-128, 127) if x.dtype != np.int32 else (-(1 << 24), 1 << 24)
    if moved.size and low <= moved.min() and moved.max() <= high and (scale > 0).all():
        axis = 0 if scale.size == 1 else counted(int(attributes.get("axis", 1)), x.ndim)
        f.put_on_grid(made, scale, axis)


def spread(attributes: Attributes, values: Array, shape: tuple[int, ...]) -> Array:
    """Scales or zero points for all, for each entry of an axis, or for each block along it."""
    if values.size == 1:
        return values.reshape(())
    axis = counted(int(attributes.get("axis", 1)), len(shape))
    block = int(attributes.get("block_size", 0))
    if not block:
        if values.shape != shape[axis : axis + 1]:
            raise FaltungError(f"scale of shape {values.shape}: does not fit axis {axis}")
        wide = [1] * len(shape)
        wide[axis] = values.size
        return values.reshape(wide)
    fits = len(values.shape) == len(shape) and all(
        n == m or (i == axis and n == -(-m // block))
        for i, (n, m) in enumerate(zip(values.shape, shape, strict=True))
    )
    if block < 0 or not fits:
        raise FaltungError(f"block_size={block}: scales of {values.shape} do not fit {shape}")
    return np.take(values, np.arange(shape[axis]) // block, axis)


OWN = {
    "DequantizeLinear": dequantize,
    "QuantizeLinear": quantize,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
}
