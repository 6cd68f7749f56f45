"""Convolution, its gradients and its transpose as functions of NumPy arrays.

Arrays are (N, C, *space), or (N, *space, C) with ``channels_last``; N may be left out. Weights are
(C_out, C_in // groups, *kernel) always. Any strides, read-only inputs and empty batches are fine.
"""

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import PerAxis, integers
from faltung.geometry.padding import Padding, PaddingMode
from faltung.ops.arguments import OTHERS, Array, array, batched_shape, mapped, result
from faltung.ops.call_cache import Calls, Key, key_of
from faltung.ops.options import (
    Options,
    bias_fits,
    grad_fits,
    parameters,
    spec_of,
    transposed_spec,
)
from faltung.ops.run import planned, policy_of, run
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.choose import Method, Precision
from faltung.plan.plan import Plan

_calls = Calls()


def conv(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    precision: Precision = "fast",
    method: Method = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """Cross-correlation of any rank; with ``flip`` the convolution of mathematics.

    x: (N, C_in, *space) or (C_in, *space), of a dtype of docs/dtypes.md. weight: (C_out, C_in //
    groups, *kernel), its ``ndim - 2`` is the rank. bias: (C_out,). Returns (N, C_out, *output)
    (without N where x has none), output ``floor((H - d(h-1) - 1 + p_lo + p_hi) / s) + 1`` along
    each axis; channels last where x has them last.

    padding: an int, one an axis, (lo, hi) pairs, or "valid", "same" (total d(k-1), any stride),
    "same_upper", "same_lower" (least that gives ceil(H / s)), "causal". padding_mode: "zeros",
    "reflect", "symmetric", "replicate", "circular", or one for each axis.

    precision: "fast", or "strict" for plain sums of products alone. method: "auto", or the name of
    one. tune: measure once which is fastest, and remember it; None: as FALTUNG_TUNE says. All
    three: docs/policy.md.

    TypeError, ValueError: the argument, its value and the rule. MemoryError: the result cannot be
    allocated.
    """
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    given = x, weight, bias
    key = key_of("conv", given, out, (*options, channels_last, precision, method, tune))
    call = _calls.get(key)
    if call is not None:
        return call.run(x, weight, out, bias)  # type: ignore[arg-type, no-any-return]
    policy = policy_of(precision, method, tune)
    x = array("x", x, None, OTHERS)
    weight, bias = parameters(x, weight, bias)
    rank = weight.ndim - 2
    view = mapped("x", x, rank, channels_last)
    spec = spec_of(view.shape, weight.shape, x.dtype, options)
    bias_fits(bias, spec.channels_out)
    arrays, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.output_shape, x.dtype, has_batch, channels_last, **arrays)
    operands = view, weight, target
    plan = planned(build_forward, spec, operands, policy, bias=bias is not None)
    run(plan, view, weight, target, bias)
    return _kept(key, plan, made, given, (x, weight, bias))


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
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    precision: Precision = "fast",
    method: Method = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``conv``, given that for its output.

    grad: as ``conv`` returns it. input_shape: that of x, channels last where ``channels_last``.
    Returns an array of that shape. The other arguments, and the errors, are those of ``conv``. With
    complex arrays it takes the conjugate weight, as PyTorch does.
    """
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    given, policies = (grad, weight), (precision, method, tune)
    key = key_of("input_grad", given, out, (*options, channels_last, *policies, input_shape))
    call = _calls.get(key)
    if call is not None:
        return call.run(grad, weight, out)  # type: ignore[arg-type, no-any-return]
    policy = policy_of(precision, method, tune)
    grad = array("grad", grad, None, OTHERS)
    weight, _ = parameters(grad, weight, None)
    rank = weight.ndim - 2
    shape = batched_shape("input_shape", input_shape, rank, channels_last)
    view = mapped("grad", grad, rank, channels_last)
    spec = spec_of(shape, weight.shape, grad.dtype, options, "input_shape")
    arrays, has_batch = {"grad": grad, "weight": weight}, len(input_shape) == rank + 2
    grad_fits(grad, view, spec, has_batch, "input_shape")
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, channels_last, **arrays)
    plan = planned(build_input_grad, spec, (view, weight, target), policy, bias=False)
    run(plan, view, weight, target)
    return _kept(key, plan, made, given, (grad, weight))


def conv_weight_grad(
    x: npt.ArrayLike,
    grad: npt.ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    precision: Precision = "fast",
    method: Method = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the weight of ``conv``, given that for its output.

    x, grad: as ``conv`` takes and returns them. weight_shape: (C_out, C_in // groups, *kernel).
    Returns an array of that shape. The other arguments, and the errors, are those of ``conv``. With
    complex arrays it takes the conjugate input, as PyTorch does.
    """
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    given, policies = (x, grad), (precision, method, tune)
    key = key_of("weight_grad", given, out, (*options, channels_last, *policies, weight_shape))
    call = _calls.get(key)
    if call is not None:
        return call.run(x, grad, out)  # type: ignore[arg-type, no-any-return]
    policy = policy_of(precision, method, tune)
    x = array("x", x, None, OTHERS)
    grad = array("grad", grad, x.dtype, OTHERS)
    kernel = integers("weight_shape", weight_shape)
    rank = len(kernel) - 2
    if rank < 1:
        raise ValueError(
            f"weight_shape={kernel}: must be (C_out, C_in // groups, *kernel), at least 3 numbers"
        )
    view = mapped("x", x, rank, channels_last)
    grads = mapped("grad", grad, rank, channels_last)
    spec = spec_of(view.shape, kernel, x.dtype, options, "x.shape", "weight_shape")
    grad_fits(grad, grads, spec, x.ndim == rank + 2, "x")
    made, _ = result(out, spec.weight_shape, x.dtype, True, False, x=x, grad=grad)
    # The result stands in the weight's place, the output gradient in that of the output.
    plan = planned(build_weight_grad, spec, (view, grads, made), policy)
    run(plan, view, made, grads)
    return _kept(key, plan, made, given, (x, grad))


def conv_transpose(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    precision: Precision = "fast",
    method: Method = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution with PyTorch's meaning: the gradient of a convolution for its input.

    x: (N, C_in, *space). weight: (C_in, C_out // groups, *kernel). bias: (C_out,). Returns (N,
    C_out, *output), output ``(H - 1) s - (p_lo + p_hi) + d (h - 1) + output_padding + 1``. With a
    padding mode other than zeros it is the transpose of the convolution with that mode. Errors as
    ``conv``.
    """
    policy = policy_of(precision, method, tune)
    x = array("x", x, None, OTHERS)
    weight, bias = parameters(x, weight, bias)
    rank = weight.ndim - 2
    view = mapped("x", x, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    spec = transposed_spec(view.shape, weight.shape, x.dtype, options, output_padding)
    bias_fits(bias, spec.channels_in)
    arrays, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.input_shape, x.dtype, has_batch, channels_last, **arrays)
    # Borders that are folded back would fold the bias too: it is added after them.
    later = bias is not None and set(spec.padding_mode) != {"zeros"}
    given = bias is not None and not later
    if weight.dtype.kind == "c":  # the gradient takes the conjugate
        weight = weight.conj()
    plan = planned(build_input_grad, spec, (view, weight, target), policy, bias=given)
    run(plan, view, weight, target, None if later else bias)
    if bias is not None and later:
        np.add(target, bias.reshape(-1, *(1,) * rank), out=target, casting="same_kind")
    return made


# What the functions share -------------------------------------------------------------------------


def _kept(
    key: Key | None,
    plan: Plan,
    made: Array,
    given: Sequence[npt.ArrayLike | None],
    used: Sequence[Array | None],
) -> Array:
    """The result, after the call is remembered; not where an array that was given is not the one
    that was used, but a copy of it.
    """
    if all(map(is_, given, used)):
        _calls.keep(key, plan, made)
    return made


def _of_rank(weight: npt.ArrayLike, rank: int) -> Array:
    made = array("weight", weight, None, OTHERS)
    if made.ndim != rank + 2:
        raise ValueError(
            f"weight.ndim={made.ndim}: conv{rank}d needs {rank + 2} dimensions; conv takes any rank"
        )
    return made
