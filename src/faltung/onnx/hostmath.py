"""Arithmetic on the host by NumPy: whole numbers wrap around in their type and divide towards zero,
as ONNX defines it; and what looks at a tensor otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.onnx.arguments import counted

Array = npt.NDArray[Any]
Inputs = Sequence[Array | None]
Attributes = Mapping[str, Any]
Own = Callable[[Attributes, Inputs], list[Array]]


def _given(inputs: Inputs, number: int = 0) -> Array:
    found = inputs[number] if len(inputs) > number else None
    if found is None:
        raise FaltungError(f"input {number} is missing")
    return found


# Elements -----------------------------------------------------------------------------------------


def _pair(attributes: Attributes, inputs: Inputs) -> tuple[Array, Array]:
    """Two operands. Before opset 7 an attribute says where the second one begins."""
    a, b = _given(inputs, 0), _given(inputs, 1)
    if attributes.get("broadcast"):
        axis = int(attributes.get("axis", a.ndim - b.ndim))
        extra = a.ndim - axis - b.ndim
        if axis < 0 or extra < 0:
            raise FaltungError(f"axis={axis}: {b.shape} does not fit {a.shape} there")
        b = b.reshape(*b.shape, *(1,) * extra)
    return a, b


def _two(of: Callable[[Array, Array], Any]) -> Own:
    return lambda attributes, inputs: [of(*_pair(attributes, inputs))]


def _one(of: Callable[[Array], Any]) -> Own:
    return lambda attributes, inputs: [of(_given(inputs))]


def _many(of: Callable[[Array, Array], Any]) -> Own:
    return lambda attributes, inputs: [reduce(of, [x for x in inputs if x is not None])]


def _divided(a: Array, b: Array) -> Any:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    if not np.all(b):
        raise FaltungError("a division by zero")
    quotient = np.floor_divide(a, b)
    up = (np.remainder(a, b) != 0) & ((a < 0) != (b < 0))
    return (quotient + up).astype(a.dtype)


def _rest(attributes: Attributes, inputs: Inputs) -> list[Array]:
    a, b = _given(inputs, 0), _given(inputs, 1)
    if a.dtype.kind in "iu" and not np.all(b):
        raise FaltungError("a division by zero")
    return [np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b)]


def _clip(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x = _given(inputs)
    for place, name, of in ((1, "min", np.maximum), (2, "max", np.minimum)):
        limit = inputs[place] if len(inputs) > place else attributes.get(name)
        if limit is not None:
            x = of(x, np.asarray(limit, x.dtype))
    return [x]


def _sign_kept(of: Callable[..., Any]) -> Callable[[Array], Any]:
    """With the type of the operand, which NumPy changes for some."""
    return lambda x: np.asarray(of(x), x.dtype)


# Products of matrices -----------------------------------------------------------------------------

# Additions one after another, at most; beyond, so many chunks of the inner axis.
MOST_TURNS = 4096


def _products(a: Array, b: Array) -> Array:
    """As ``matmul``, but each number by an order of additions that its inner axis alone decides:
    libraries add otherwise for one row than for two, and rows may be the samples of a batch.
    """
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return np.asarray(np.matmul(a, b))
    rows, columns = a.ndim == 1, b.ndim == 1
    x = (a[None] if rows else a).astype(np.float64)
    y = np.swapaxes(b[:, None] if columns else b, -1, -2).astype(np.float64)
    inner = x.shape[-1]
    if y.shape[-1] != inner:
        raise FaltungError(f"shapes {a.shape}, {b.shape}: the axes that are summed differ")
    chunk = 1 << max(0, (inner - 1) // MOST_TURNS).bit_length()
    more = -inner % chunk
    x, y = (np.pad(z, [(0, 0)] * (z.ndim - 1) + [(0, more)]) if more else z for z in (x, y))
    total = np.zeros((*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-2]))
    for start in range(0, inner, chunk):
        part = x[..., :, None, start : start + chunk] * y[..., None, :, start : start + chunk]
        while part.shape[-1] > 1:
            half = part.shape[-1] // 2
            part = part[..., :half] + part[..., half:]
        total += part[..., 0]
    made = total[..., 0, :] if rows else total
    made = made[..., 0] if columns else made
    return np.asarray(made, np.result_type(a, b))


def _matmul(attributes: Attributes, inputs: Inputs) -> list[Array]:
    a, b = _given(inputs, 0), _given(inputs, 1)
    if not a.ndim or not b.ndim:
        raise FaltungError("its factors must have axes")
    return [_products(a, b)]


def _gemm(attributes: Attributes, inputs: Inputs) -> list[Array]:
    a, b = _given(inputs, 0), _given(inputs, 1)
    if a.ndim != 2 or b.ndim != 2:
        raise FaltungError(f"shapes {a.shape}, {b.shape}: its factors must have two axes")
    made = _products(a.T if attributes.get("transA") else a, b.T if attributes.get("transB") else b)
    made = made * np.asarray(attributes.get("alpha", 1.0)).astype(made.dtype)
    if len(inputs) > 2 and inputs[2] is not None:
        beta = np.asarray(attributes.get("beta", 1.0)).astype(made.dtype)
        made = made + np.broadcast_to(_given(inputs, 2), made.shape) * beta
    return [made]


# Looking otherwise --------------------------------------------------------------------------------


def _numbers(attributes: Attributes, inputs: Inputs, name: str, place: int) -> list[int] | None:
    """Whole numbers: an attribute, or an input."""
    found = attributes.get(name)
    if found is None and len(inputs) > place and inputs[place] is not None:
        found = _given(inputs, place).ravel()
    return None if found is None else [int(n) for n in found]


def _reshape(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, shape = _given(inputs), _numbers(attributes, inputs, "shape", 1)
    if shape is None:
        raise FaltungError("shape is missing")
    if not attributes.get("allowzero"):
        shape = [x.shape[i] if not n and i < x.ndim else n for i, n in enumerate(shape)]
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        raise FaltungError(f"shape={shape}: must be sizes, with -1 once at most")
    known = prod(n for n in shape if n >= 0)
    if (-1 in shape and (not known or x.size % known)) or (-1 not in shape and known != x.size):
        raise FaltungError(f"shape={shape}: does not fit the {x.size} elements of {x.shape}")
    return [x.reshape(shape)]


def _squeeze(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, axes = _given(inputs), _numbers(attributes, inputs, "axes", 1)
    return [np.squeeze(x, None if axes is None else tuple(counted(a, x.ndim) for a in axes))]


def _unsqueeze(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, axes = _given(inputs), _numbers(attributes, inputs, "axes", 1) or []
    if x.ndim + len(axes) > 64:
        raise FaltungError(f"axes={axes[:8]}: are too many")
    return [np.expand_dims(x, tuple(axes))]


def _transpose(attributes: Attributes, inputs: Inputs) -> list[Array]:
    return [np.transpose(_given(inputs), attributes.get("perm"))]


def _concat(attributes: Attributes, inputs: Inputs) -> list[Array]:
    parts = [x for x in inputs if x is not None]
    return [np.concatenate(parts, counted(int(attributes.get("axis", 1)), parts[0].ndim))]


def _slice(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x = _given(inputs)
    starts = _numbers(attributes, inputs, "starts", 1)
    ends = _numbers(attributes, inputs, "ends", 2)
    if starts is None or ends is None:
        raise FaltungError("starts and ends are missing")
    axes = _numbers(attributes, inputs, "axes", 3)
    steps = _numbers(attributes, inputs, "steps", 4)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise FaltungError("starts, ends, axes, steps: must be as many, and no step 0")
    chosen = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = counted(axis, x.ndim)
        low, high, step = slice(start, end, step).indices(x.shape[place])
        chosen[place] = slice(low, high if high >= 0 else None, step)
    return [x[tuple(chosen)]]


def _flatten(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, axis = _given(inputs), int(attributes.get("axis", 1))
    if not -x.ndim <= axis <= x.ndim:
        raise FaltungError(f"axis={axis}: must be an axis of {x.ndim}")
    axis += x.ndim if axis < 0 else 0
    return [x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))]


def _expand(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, shape = _given(inputs), [int(n) for n in _given(inputs, 1).ravel()]
    return [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))]


OWN: dict[str, Own] = {
    "Add": _two(np.add),
    "Sub": _two(np.subtract),
    "Mul": _two(np.multiply),
    "Div": _two(_divided),
    "Mod": _rest,
    "And": _two(np.logical_and),
    "Or": _two(np.logical_or),
    "Xor": _two(np.logical_xor),
    "Not": _one(np.logical_not),
    "Equal": _two(np.equal),
    "Greater": _two(np.greater),
    "GreaterOrEqual": _two(np.greater_equal),
    "Less": _two(np.less),
    "LessOrEqual": _two(np.less_equal),
    "Max": _many(np.maximum),
    "Min": _many(np.minimum),
    "Sum": _many(np.add),
    "Abs": _one(np.abs),
    "Neg": _one(np.negative),
    "Sign": _one(_sign_kept(np.sign)),
    "Identity": _one(lambda x: x),
    "Where": lambda attributes, inputs: [
        np.where(_given(inputs), _given(inputs, 1), _given(inputs, 2))
    ],
    "Clip": _clip,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Flatten": _flatten,
    "Expand": _expand,
}
