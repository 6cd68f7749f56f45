"""Pooling and its gradients as functions of NumPy arrays: maxima and means of windows.

Arrays are (N, C, *space), or (N, *space, C) with ``channels_last``; float32 or float64, any
strides. The rank is that of ``kernel`` where it is a sequence, and then N may be left out; with a
single number for all axes it is the number of axes after N and C. ``stride`` is by default the
kernel. Padding is never a maximum; in a mean it counts as zeros, or not at all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import PerAxis, integers, show
from faltung.geometry.padding import Padding
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.jit.target import current
from faltung.methods.pool.pool import index_dtype
from faltung.ops.arguments import Array, array, batched, batched_shape, elements, result
from faltung.ops.call_cache import Calls, key_of
from faltung.ops.run import plans, run
from faltung.plan.plan import Plan
from faltung.plan.pool import build_pool, build_pool_grad

_calls = Calls()


def max_pool(
    x: npt.ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    indices: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Any:
    """The maximum of each window.

    x: (N, C, *space). Returns (N, C, *output), output ``floor((H - d(h-1) - 1 + p_lo + p_hi) / s)
    + 1`` along each axis; ``ceil`` rounds up instead, as PyTorch's ceil_mode. With ``indices`` a
    pair, the second array being where each maximum stands in the plane of its channel (the number
    of the position, the last axis fastest, as in PyTorch), int32 beside float32 and int64 beside
    float64. The first of equal maxima is taken; a NaN is larger than any number.

    TypeError, ValueError: the argument, its value and the rule.
    """
    given = (kernel, stride, padding, dilation, ceil, indices, channels_last)
    key = key_of("max", (x,), out, given)
    call = _calls.get(key)
    if call is not None:
        return call.run(x, None, out)  # type: ignore[arg-type]
    x = _floating("x", x)
    rank = _rank("x.shape", x.shape, kernel)
    view = batched(x, rank, channels_last)
    spec = _spec(view.shape, x, "max", (kernel, stride, padding, dilation, ceil, True), "x.shape")
    has_batch = x.ndim == rank + 2
    made, target = result(out, spec.output_shape, x.dtype, has_batch, channels_last, x=x)
    if not indices:
        _calls.keep(key, _run("pool", spec, view, target, None), made)
        return made
    chosen, places = result(
        None, spec.output_shape, np.dtype(index_dtype(spec)), has_batch, channels_last
    )
    _calls.keep(key, _run("pool", spec, view, target, places), made, chosen)
    return made, chosen


def max_pool_grad(
    grad: npt.ArrayLike,
    indices: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``max_pool``, given that for its output.

    grad, indices: as ``max_pool`` returns its result and its indices. input_shape: that of x.
    Returns an array of that shape: each gradient at the place that its index names, where windows
    chose the same place their sum, zeros elsewhere. So it also puts maxima back where they were
    (PyTorch's max_unpool), where windows do not overlap. An index outside its window adds nothing.
    """
    given = (kernel, stride, padding, dilation, ceil, input_shape, channels_last)
    key = key_of("max grad", (grad, indices), out, given)
    call = _calls.get(key)
    if call is not None:
        return call.run(grad, indices, out)  # type: ignore[arg-type, no-any-return]
    grad = _floating("grad", grad)
    sizes = integers("input_shape", input_shape)
    rank = _rank("input_shape", sizes, kernel)
    shape = batched_shape("input_shape", sizes, rank, channels_last)
    options = (kernel, stride, padding, dilation, ceil, True)
    spec = _spec(shape, grad, "max", options, "input_shape")
    view = _gradient(grad, spec, len(sizes) == rank + 2, channels_last)
    chosen = np.asarray(indices)
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"indices.dtype={chosen.dtype}: must be whole numbers, as of max_pool")
    if chosen.shape != grad.shape:
        raise ValueError(f"indices.shape={chosen.shape}: must be that of grad, {grad.shape}")
    # A copy only where another dtype or an odd layout needs one.
    chosen = np.require(chosen, index_dtype(spec), ["C", "A"])
    has_batch = grad.ndim == rank + 2
    arrays = {"grad": grad, "indices": chosen}
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, channels_last, **arrays)
    plan = _run("pool_grad", spec, view, target, batched(chosen, rank, channels_last))
    _calls.keep(key if chosen is indices else None, plan, made)
    return made


def avg_pool(
    x: npt.ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil: bool = False,
    count_padding: bool = True,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The mean of each window; arguments as ``max_pool``.

    count_padding: divide by all entries of the window, as PyTorch's count_include_pad; otherwise by
    those inside the input. What ``ceil`` adds behind the padding never counts.
    """
    given = (kernel, stride, padding, ceil, count_padding, channels_last)
    key = key_of("average", (x,), out, given)
    call = _calls.get(key)
    if call is not None:
        return call.run(x, None, out)  # type: ignore[arg-type, no-any-return]
    x = _floating("x", x)
    rank = _rank("x.shape", x.shape, kernel)
    view = batched(x, rank, channels_last)
    options = (kernel, stride, padding, 1, ceil, count_padding)
    spec = _spec(view.shape, x, "average", options, "x.shape")
    made, target = result(out, spec.output_shape, x.dtype, x.ndim == rank + 2, channels_last, x=x)
    _calls.keep(key, _run("pool", spec, view, target, None), made)
    return made


def avg_pool_grad(
    grad: npt.ArrayLike,
    input_shape: Sequence[int],
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil: bool = False,
    count_padding: bool = True,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``avg_pool``, given that for its output.

    grad: as ``avg_pool`` returns it. input_shape: that of x. Returns an array of that shape.
    """
    given = (kernel, stride, padding, ceil, count_padding, input_shape, channels_last)
    key = key_of("average grad", (grad,), out, given)
    call = _calls.get(key)
    if call is not None:
        return call.run(grad, None, out)  # type: ignore[arg-type, no-any-return]
    grad = _floating("grad", grad)
    sizes = integers("input_shape", input_shape)
    rank = _rank("input_shape", sizes, kernel)
    shape = batched_shape("input_shape", sizes, rank, channels_last)
    options = (kernel, stride, padding, 1, ceil, count_padding)
    spec = _spec(shape, grad, "average", options, "input_shape")
    has_batch = len(sizes) == rank + 2
    view = _gradient(grad, spec, has_batch, channels_last)
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, channels_last, grad=grad)
    _calls.keep(key, _run("pool_grad", spec, view, target, None), made)
    return made


def global_max_pool(x: npt.ArrayLike, *, channels_last: bool = False) -> Array:
    """The maximum of each channel over all positions: x (N, C, *space) -> (N, C)."""
    return _whole(x, "max", channels_last)


def global_avg_pool(x: npt.ArrayLike, *, channels_last: bool = False) -> Array:
    """The mean of each channel over all positions: x (N, C, *space) -> (N, C)."""
    return _whole(x, "average", channels_last)


# What the functions share -------------------------------------------------------------------------


def _floating(name: str, value: npt.ArrayLike) -> Array:
    made = array(name, value)
    if made.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}.dtype={made.dtype}: must be float32 or float64")
    return made


def _rank(name: str, shape: tuple[int, ...], kernel: PerAxis) -> int:
    """Spatial axes: as many as the kernel has, or all but N and C."""
    if not isinstance(kernel, (Sequence, np.ndarray)):
        if len(shape) < 3:
            raise ValueError(
                f"{name}={shape}: must be (N, C, *space); without N the kernel names every axis"
            )
        return len(shape) - 2
    rank = len(kernel)
    if not rank or len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"{name}={shape}: must have {rank + 2} dimensions (batch, channels and one for each "
            f"entry of kernel={show(kernel)}), or {rank + 1} without the batch"
        )
    return rank


def _spec(
    shape: tuple[int, ...], like: Array, kind: str, options: tuple[Any, ...], name: str
) -> PoolSpec:
    kernel, stride, padding, dilation, ceil, count = options
    try:
        return pool_spec(
            shape,
            kernel,
            kind=kind,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil=ceil,
            count_padding=count,
            dtype=like.dtype.name,
        )
    except (ValueError, TypeError) as error:
        raise type(error)(str(error).replace("input_shape=", f"{name}=")) from None


def _gradient(grad: Array, spec: PoolSpec, batch: bool, channels_last: bool) -> Array:
    """The output gradient as (N, C, *space)."""
    if grad.ndim != spec.rank + 1 + batch:
        raise ValueError(
            f"grad.shape={grad.shape}: must have a batch where input_shape has one, and only there"
        )
    view = batched(grad, spec.rank, channels_last)
    if view.shape != spec.output_shape:
        raise ValueError(
            f"grad.shape={view.shape} as (N, C, *space): must be that of the output, "
            f"{spec.output_shape}"
        )
    return view


def _whole(x: npt.ArrayLike, kind: str, channels_last: bool) -> Array:
    key = key_of("whole", (x,), None, (kind, channels_last))
    call = _calls.get(key)
    if call is not None:
        return call.run(x, None, None)  # type: ignore[arg-type, no-any-return]
    x = _floating("x", x)
    rank = _rank("x.shape", x.shape, 1)
    view = batched(x, rank, channels_last)
    spec = _spec(view.shape, x, kind, (view.shape[2:], None, 0, 1, False, True), "x.shape")
    made = np.empty(view.shape[:2], x.dtype)
    plan = _run("pool", spec, view, made.reshape(*made.shape, *(1,) * rank), None)
    _calls.keep(key, plan, made)
    return made


def _run(what: str, spec: PoolSpec, source: Array, target: Array, index: Array | None) -> Plan:
    """Plan and run; the indices stand in the weight's place."""
    machine = current()
    layouts = elements(source), elements(target), None if index is None else elements(index)
    build = build_pool if what == "pool" else build_pool_grad
    plan = plans.get((what, spec, layouts, machine), lambda: build(spec, *layouts, machine))
    run(plan, source, target if index is None else index, target)
    return plan
