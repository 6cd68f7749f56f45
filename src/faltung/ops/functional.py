"""Convolution, its gradients and its transpose as functions of NumPy arrays.

Arrays are (N, C, *space), or (N, *space, C) with ``channels_last``; N may be left out. Weights are
(C_out, C_in // groups, *kernel) always. Any strides, read-only inputs and empty batches are fine.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.geometry.adjoint import transposed
from faltung.geometry.check import integers
from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.geometry.padding import Padding, PaddingMode
from faltung.jit.target import current
from faltung.ops.arguments import Array, array, batched, batched_shape, dimensions, elements, result
from faltung.ops.run import KEPT, plans, run
from faltung.plan.plan import Plan, build_forward, build_input_grad, build_weight_grad

Whole = int | Sequence[int]


class Options(NamedTuple):
    """What makes a convolution of two shapes; the names are those of ``conv_spec``."""

    stride: Whole
    padding: Padding
    dilation: Whole
    groups: int
    padding_mode: PaddingMode
    flip: bool


def conv(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Whole = 1,
    padding: Padding = 0,
    dilation: Whole = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """Cross-correlation of any rank; with ``flip`` the convolution of mathematics.

    x: (N, C_in, *space) or (C_in, *space), float32 or float64. weight: (C_out, C_in // groups,
    *kernel), its ``ndim - 2`` is the rank. bias: (C_out,). Returns (N, C_out, *output) (without N
    where x has none), output ``floor((H - d(h-1) - 1 + p_lo + p_hi) / s) + 1`` along each axis;
    channels last where x has them last.

    padding: an int, one an axis, (lo, hi) pairs, or "valid", "same" (total d(k-1), any stride),
    "same_upper", "same_lower" (least that gives ceil(H / s)), "causal". padding_mode: "zeros",
    "reflect", "symmetric", "replicate", "circular", or one for each axis.

    TypeError, ValueError: the argument, its value and the rule. MemoryError: the result cannot be
    allocated.
    """
    x = array("x", x)
    weight, bias = parameters(x, weight, bias)
    rank = weight.ndim - 2
    dimensions("x", x, rank)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    view = batched(x, rank, channels_last)
    spec = spec_of(view.shape, weight.shape, x.dtype, options)
    bias_fits(bias, spec.channels_out)
    arrays = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    made, target = result(
        out, spec.output_shape, x.dtype, x.ndim == rank + 2, channels_last, **arrays
    )
    plan = _plan(build_forward, spec, view, weight, target, bias is not None)
    run(plan, view, weight, target, bias)
    return made


def conv1d(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, **options: Any
) -> Array:
    """``conv`` of rank 1; weight: (C_out, C_in // groups, k)."""
    return conv(x, _of_rank(weight, 1), bias, **options)


def conv2d(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, **options: Any
) -> Array:
    """``conv`` of rank 2; weight: (C_out, C_in // groups, kh, kw)."""
    return conv(x, _of_rank(weight, 2), bias, **options)


def conv3d(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, **options: Any
) -> Array:
    """``conv`` of rank 3; weight: (C_out, C_in // groups, kd, kh, kw)."""
    return conv(x, _of_rank(weight, 3), bias, **options)


def conv_input_grad(
    grad: npt.ArrayLike,
    weight: npt.ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Whole = 1,
    padding: Padding = 0,
    dilation: Whole = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``conv``, given that for its output.

    grad: as ``conv`` returns it. input_shape: that of x, channels last where ``channels_last``.
    Returns an array of that shape. The other arguments, and the errors, are those of ``conv``.
    """
    grad = array("grad", grad)
    weight, _ = parameters(grad, weight, None)
    rank = weight.ndim - 2
    shape = batched_shape("input_shape", input_shape, rank, channels_last)
    dimensions("grad", grad, rank)
    spec = spec_of(
        shape,
        weight.shape,
        grad.dtype,
        Options(stride, padding, dilation, groups, padding_mode, flip),
        "input_shape",
    )
    view = batched(grad, rank, channels_last)
    grad_fits(view, spec)
    has_batch = len(tuple(input_shape)) == rank + 2
    same_batch(grad, has_batch, rank, "input_shape")
    made, target = result(
        out, spec.input_shape, grad.dtype, has_batch, channels_last, grad=grad, weight=weight
    )
    run(_plan(build_input_grad, spec, view, weight, target, False), view, weight, target)
    return made


def conv_weight_grad(
    x: npt.ArrayLike,
    grad: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Whole = 1,
    padding: Padding = 0,
    dilation: Whole = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the weight of ``conv``, given that for its output.

    x, grad: as ``conv`` takes and returns them. weight_shape: (C_out, C_in // groups, *kernel).
    Returns an array of that shape. The other arguments, and the errors, are those of ``conv``.
    """
    x = array("x", x)
    grad = array("grad", grad, x.dtype)
    kernel = integers("weight_shape", weight_shape)
    rank = len(kernel) - 2
    if rank < 1:
        raise ValueError(
            f"weight_shape={kernel}: must be (C_out, C_in // groups, *kernel), at least 3 numbers"
        )
    dimensions("x", x, rank)
    dimensions("grad", grad, rank)
    view, grads = batched(x, rank, channels_last), batched(grad, rank, channels_last)
    spec = spec_of(
        view.shape,
        kernel,
        x.dtype,
        Options(stride, padding, dilation, groups, padding_mode, flip),
        "x.shape",
        "weight_shape",
    )
    grad_fits(grads, spec)
    same_batch(grad, x.ndim == rank + 2, rank, "x")
    made, _ = result(out, spec.weight_shape, x.dtype, True, False, x=x, grad=grad)
    # The operands of a gradient for the weight: the input, the result in the weight's place, the
    # output gradient.
    machine = current()
    layouts = elements(view), elements(grads), elements(made)
    plan = plans.get(
        ("weight", spec, *layouts, machine),
        lambda: build_weight_grad(spec, *layouts, machine=machine),
    )
    run(plan, view, made, grads)
    return made


def conv_transpose(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: Whole = 1,
    padding: Padding = 0,
    output_padding: Whole = 0,
    dilation: Whole = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """Transposed convolution with PyTorch's meaning: the gradient of a convolution for its input.

    x: (N, C_in, *space). weight: (C_in, C_out // groups, *kernel). bias: (C_out,). Returns (N,
    C_out, *output), output ``(H - 1) s - (p_lo + p_hi) + d (h - 1) + output_padding + 1``. With a
    padding mode other than zeros it is the transpose of the convolution with that mode. Errors as
    ``conv``.
    """
    x = array("x", x)
    weight, bias = parameters(x, weight, bias)
    rank = weight.ndim - 2
    dimensions("x", x, rank)
    view = batched(x, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    with _named("x.shape", "weight.shape"):
        spec = transposed(
            view.shape,
            weight.shape,
            output_padding=output_padding,
            dtype=x.dtype.name,
            **options._asdict(),
        )
    bias_fits(bias, spec.channels_in)
    arrays = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    made, target = result(
        out, spec.input_shape, x.dtype, x.ndim == rank + 2, channels_last, **arrays
    )
    # Borders that are folded back would fold the bias too: it is added after them.
    later = bias is not None and set(spec.padding_mode) != {"zeros"}
    plan = _plan(build_input_grad, spec, view, weight, target, bias is not None and not later)
    run(plan, view, weight, target, None if later else bias)
    if bias is not None and later:
        target += bias.reshape(-1, *(1,) * rank)
    return made


# What the functions share -------------------------------------------------------------------------


def _of_rank(weight: npt.ArrayLike, rank: int) -> npt.ArrayLike:
    ndim = np.ndim(weight)
    if ndim != rank + 2:
        raise ValueError(
            f"weight.ndim={ndim}: conv{rank}d needs {rank + 2} dimensions; conv takes any rank"
        )
    return weight


def parameters(
    x: Array, weight: npt.ArrayLike, bias: npt.ArrayLike | None
) -> tuple[Array, Array | None]:
    """Weight and bias, of the dtype of ``x``."""
    weight = array("weight", weight, x.dtype)
    if weight.ndim < 3:
        raise ValueError(f"weight.shape={weight.shape}: must be (C_out, C_in // groups, *kernel)")
    if bias is not None:
        bias = np.ascontiguousarray(array("bias", bias, x.dtype))
    return weight, bias


def bias_fits(bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"bias.shape={bias.shape}: must be ({channels},), one for each output channel"
        )


def grad_fits(grad: Array, spec: ConvSpec) -> None:
    if grad.shape != spec.output_shape:
        raise ValueError(
            f"grad.shape={grad.shape} as (N, C, *space): must be that of the output, "
            f"{spec.output_shape}"
        )


def same_batch(grad: Array, batch: bool, rank: int, other: str) -> None:
    if (grad.ndim == rank + 2) != batch:
        raise ValueError(
            f"grad.shape={grad.shape}: must have a batch where {other} has one, and only there"
        )


@contextmanager
def _named(input_name: str, weight_name: str) -> Iterator[None]:
    """Errors of the geometry speak of shapes; here of the argument that has the shape."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = (
            str(error)
            .replace("input_shape=", f"{input_name}=")
            .replace("weight_shape=", f"{weight_name}=")
        )
        raise type(error)(text) from None


def spec_of(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    dtype: np.dtype[Any],
    options: Options,
    input_name: str = "x.shape",
    weight_name: str = "weight.shape",
) -> ConvSpec:
    """The spec of these arguments; remembered, because a small convolution takes less time than its
    check.
    """
    key: Hashable = (x, weight, dtype, *map(_hashable, options))
    try:
        return _specs[key]
    except KeyError:
        pass
    except TypeError:  # an argument that cannot be hashed is none that the geometry takes
        key = None
    with _named(input_name, weight_name):
        spec = conv_spec(x, weight, **options._asdict(), dtype=dtype.name)
    if key is not None:
        if len(_specs) >= KEPT:
            _specs.clear()
        _specs[key] = spec
    return spec


_specs: dict[Hashable, ConvSpec] = {}


def _hashable(value: Any) -> Hashable:
    """The value with its type, because 1, 1.0 and True are equal and not all legal."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return type(value), value


Builder = Callable[..., Plan]


def _plan(build: Builder, spec: ConvSpec, x: Array, weight: Array, out: Array, bias: bool) -> Plan:
    machine = current()
    layouts = elements(x), elements(weight), elements(out)
    key = build.__name__, spec, *layouts, bias, machine
    return plans.get(key, lambda: build(spec, *layouts, bias=bias, machine=machine))
