"""The local ("unshared") convolution and its gradients as functions of NumPy arrays.

As a convolution, but with a kernel of its own for each output position: weight (*output, C_out,
C_in // groups, *kernel), bias (*output, C_out). Inputs are (N, C, *space), or (N, *space, C) with
``channels_last``; N may be left out. Any strides, read-only inputs and empty batches are fine.

Kernels read weights that lie in memory as (*output, *kernel, C_in // groups, C_out) where they are;
others are copied at every call. ``pack_local`` gives the same array in that order.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import PerAxis, integers
from faltung.geometry.conv import ConvSpec
from faltung.geometry.padding import Padding, PaddingMode
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.ops.arguments import Array, array, batched_shape, elements, mapped, result
from faltung.ops.options import (
    Options,
    bias_fits,
    grad_fits,
    local_rank,
    local_spec,
    parameters,
    transposed_spec,
)
from faltung.ops.run import plans, run
from faltung.plan.local import build_local, build_local_input_grad, build_local_weight_grad
from faltung.plan.plan import Plan


def conv_local(
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
    out: Array | None = None,
) -> Array:
    """The locally connected layer of any rank.

    x: (N, C_in, *space) or (C_in, *space), float32 or float64. weight: (*output, C_out, C_in //
    groups, *kernel). bias: (*output, C_out). Returns (N, C_out, *output), channels last where x has
    them last. The other arguments are those of ``conv``.

    TypeError, ValueError: the argument, its value and the rule. MemoryError: the result cannot be
    allocated.
    """
    x = array("x", x)
    weight, bias = parameters(x, weight, bias)
    rank = local_rank("weight.shape", weight.shape)
    view = mapped("x", x, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    spec = local_spec(view.shape, weight.shape, x.dtype, options)
    bias_fits(bias, spec.channels_out, spec.output)
    arrays, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.output_shape, x.dtype, has_batch, channels_last, **arrays)
    spec, turned = _unflipped(spec, weight)
    plan = _plan(build_local, spec, (view, turned, target), bias is not None)
    run(plan, view, turned, target, bias)
    return made


def conv_local_input_grad(
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
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``conv_local``, given that for its output.

    grad: as ``conv_local`` returns it. input_shape: that of x, channels last where
    ``channels_last``. The other arguments, and the errors, are those of ``conv_local``.
    """
    grad = array("grad", grad)
    weight, _ = parameters(grad, weight, None)
    rank = local_rank("weight.shape", weight.shape)
    shape = batched_shape("input_shape", input_shape, rank, channels_last)
    view = mapped("grad", grad, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    spec = local_spec(shape, weight.shape, grad.dtype, options, "input_shape")
    arrays, has_batch = {"grad": grad, "weight": weight}, len(input_shape) == rank + 2
    grad_fits(grad, view, spec, has_batch, "input_shape")
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, channels_last, **arrays)
    spec, turned = _unflipped(spec, weight)
    run(_plan(build_local_input_grad, spec, (view, turned, target)), view, turned, target)
    return made


def conv_local_weight_grad(
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
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the weight of ``conv_local``, given that for its output.

    x, grad: as ``conv_local`` takes and returns them. weight_shape: (*output, C_out, C_in //
    groups, *kernel). Returns an array of that shape, in memory as ``pack_local`` orders it. The
    gradient for the bias is the sum over the batch. The other arguments, and the errors, are those
    of ``conv_local``.
    """
    x = array("x", x)
    grad = array("grad", grad, x.dtype)
    sizes = integers("weight_shape", weight_shape)
    rank = local_rank("weight_shape", sizes)
    view = mapped("x", x, rank, channels_last)
    grads = mapped("grad", grad, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    spec = local_spec(view.shape, sizes, x.dtype, options, "x.shape", "weight_shape")
    grad_fits(grad, grads, spec, x.ndim == rank + 2, "x")
    if out is None:
        order = _memory_order(len(sizes), rank)
        made, _ = result(None, tuple(sizes[i] for i in order), x.dtype, True, False)
        made = made.transpose(np.argsort(order))
    else:
        made, _ = result(out, sizes, x.dtype, True, False, x=x, grad=grad)
    # The result stands in the weight's place, the output gradient in that of the output.
    spec, turned = _unflipped(spec, made)
    run(_plan(build_local_weight_grad, spec, (view, turned, grads)), view, turned, grads)
    return made


def conv_local_transpose(
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
    out: Array | None = None,
) -> Array:
    """The transposed local layer: every position of x is spread by a kernel of its own.

    x: (N, C_in, *space). weight: (*space, C_in, C_out // groups, *kernel). bias: (*output, C_out).
    Returns (N, C_out, *output), output as that of ``conv_transpose``. It is the gradient for the
    input of a local layer, so its own gradients are ``conv_local`` (for x) and
    ``conv_local_weight_grad`` with x and the output gradient in each other's place. Errors as
    ``conv_local``.
    """
    x = array("x", x)
    weight, bias = parameters(x, weight, bias)
    rank = local_rank("weight.shape", weight.shape)
    view = mapped("x", x, rank, channels_last)
    options = Options(stride, padding, dilation, groups, padding_mode, flip)
    kernel, name = weight.shape[rank:], f"weight.shape[{rank}:]"
    spec = transposed_spec(view.shape, kernel, x.dtype, options, output_padding, name)
    if weight.shape[:rank] != view.shape[2:]:
        raise ValueError(
            f"weight.shape={weight.shape}: must begin with the sizes of x, {view.shape[2:]}"
        )
    bias_fits(bias, spec.channels_in, spec.size)
    arrays, has_batch = {"x": x, "weight": weight, "bias": bias}, x.ndim == rank + 2
    made, target = result(out, spec.input_shape, x.dtype, has_batch, channels_last, **arrays)
    spec, turned = _unflipped(spec, weight)
    run(_plan(build_local_input_grad, spec, (view, turned, target)), view, turned, target)
    if bias is not None:
        target += np.moveaxis(bias, -1, 0)
    return made


def pack_local(weight: npt.ArrayLike) -> Array:
    """The same array, ``(*output, C_out, C_in // groups, *kernel)``, in the order in memory in
    which kernels read it without a copy: (*output, *kernel, C_in // groups, C_out).
    """
    weight = array("weight", weight)
    order = _memory_order(weight.ndim, local_rank("weight.shape", weight.shape))
    return np.ascontiguousarray(weight.transpose(order)).transpose(np.argsort(order))


# What the functions share -------------------------------------------------------------------------


def _memory_order(ndim: int, rank: int) -> list[int]:
    """The axes of a weight, the outermost in memory first."""
    return [*range(rank), *range(rank + 2, ndim), rank + 1, rank]


def _unflipped(spec: ConvSpec, weight: Array) -> tuple[ConvSpec, Array]:
    """The same layer without ``flip``, its weight a view with taps in the other order."""
    if not spec.flip:
        return spec, weight
    turned: Any = (..., *[slice(None, None, -1)] * spec.rank)
    return replace(spec, flip=False), weight[turned]


Builder = Callable[[ConvSpec, tuple[Strides, ...], bool, Machine], Plan]


def _plan(build: Builder, spec: ConvSpec, arrays: tuple[Array, ...], bias: bool = False) -> Plan:
    machine = current()
    layouts = tuple(map(elements, arrays))
    key = "local", build.__name__, spec, layouts, bias, machine
    return plans.get(key, lambda: build(spec, layouts, bias, machine))
