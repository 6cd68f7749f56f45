"""Pooling and its gradients as functions of NumPy arrays: maxima and means of windows.

Arrays are ``(N, C, *space)``, or ``(N, *space, C)`` with ``channels_last``; float32 or float64, any
strides. The rank is that of ``kernel`` where it is a sequence, and then N may be left out; with a
single number for all axes it is the number of axes after N and C. ``stride`` is by default the
kernel. Padding is never a maximum; in a mean it counts as zeros, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.calls import explained
from faltung.geometry.check import PerAxis, integers, is_sequence, sequence, show, truth, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.methods.pool.pool import index_dtype
from faltung.ops.arguments import Array, array, batched, batched_shape, elements, result
from faltung.ops.call_cache import Calls, Inputs, Prepared
from faltung.ops.run import planned_pool
from faltung.plan.plan import Plan
from faltung.plan.pool import build_pool, build_pool_grad
from faltung.runtime.narrowing import clipped

_calls: Calls[Any] = Calls()


class Options(NamedTuple):
    """All arguments but the arrays. ``shape``: that of the input, for a gradient."""

    kind: str
    kernel: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil: bool = False
    count_padding: bool = True
    channels_last: bool = False
    indices: bool = False
    shape: Sequence[int] = ()


@overload
def max_pool(
    x: ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    indices: Literal[False] = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array: ...
@overload
def max_pool(
    x: ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    indices: Literal[True],
    channels_last: bool = False,
    out: Array | None = None,
) -> tuple[Array, Array]: ...
@explained
def max_pool(
    x: ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    indices: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """The maximum of each window.

    The first of equal maxima is taken; a NaN is larger than any number. Padding is never a maximum.

    Parameters
    ----------
    x : array_like, ``(N, C, *space)``, or ``(C, *space)`` if ``kernel`` is a sequence
        float32 or float64; the channels last with ``channels_last``.
    kernel : int, or one int for each spatial axis
        The size of a window, in entries. One number says nothing of the rank: of four dimensions
        it is 2, of five 3, and three, which may be ``(N, C, L)`` or ``(C, H, W)``, are refused;
        ``max_pool1d``, ``max_pool2d`` and ``max_pool3d`` say it.
    stride : int, or one int for each spatial axis, optional
        Steps between windows; by default the kernel.
    padding : int, name, or one entry for each spatial axis
        As for ``conv``.
    dilation : int, or one int for each spatial axis
        Steps between the entries of a window.
    ceil : bool
        Round the size of the output up, as PyTorch's ceil_mode.
    indices : bool
        Return also where each maximum is.
    channels_last : bool
        The channels are the last axis of ``x`` and of the results.
    out : ndarray, optional
        Where to write the maxima. It must not share memory with ``x``.

    Returns
    -------
    ndarray, ``(N, C, *output)``
        Along each axis ``output = floor((H - d (k - 1) - 1 + p_lo + p_hi) / s) + 1``. With
        ``indices`` a pair: the second array holds the position of each maximum in the plane of its
        channel (the last axis fastest, as in PyTorch), as int32 for float32 and int64 for float64.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.
    MemoryError
        The result cannot be allocated.

    References
    ----------
    Y.-L. Boureau, J. Ponce, Y. LeCun, *A theoretical analysis of feature pooling in visual
    recognition*, ICML 2010.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> x = np.array([[[1.0, 5.0, 2.0, 3.0]]])
    >>> faltung.max_pool(x, (2,))
    array([[[5., 3.]]])
    >>> faltung.max_pool(x, (2,), indices=True)[1]
    array([[[1, 3]]])
    """
    options = "max", kernel, stride, padding, dilation, ceil, True, channels_last, indices
    made: Array | tuple[Array, Array] = _calls.run("pool", _pool, (x,), options, out)
    return made


@explained
def max_pool_grad(
    grad: ArrayLike,
    indices: ArrayLike,
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
    """The gradient of a loss for the input of ``max_pool``, from that for its output.

    Each gradient goes to the position that its index names; where windows chose the same one, to
    their sum. Where windows do not overlap this puts maxima back where they were (PyTorch's
    max_unpool). An index outside its window adds nothing.

    Parameters
    ----------
    grad : array_like, ``(N, C, *output)``
        As ``max_pool`` returns its result.
    indices : array of integers of the same shape
        As ``max_pool`` returns them.
    input_shape : sequence of int
        The shape of ``x``, with the channels last if ``channels_last``.
    kernel, stride, padding, dilation, ceil, channels_last, out
        As for ``max_pool``.

    Returns
    -------
    ndarray of shape ``input_shape``

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.max_pool_grad(np.array([[[5.0, 3.0]]]), np.array([[[1, 3]]]), (1, 1, 4), (2,))
    array([[[0., 5., 0., 3.]]])
    """
    window = kernel, stride, padding, dilation, ceil
    options = "max", *window, True, channels_last, False, input_shape
    made: Array = _calls.run("pool_grad", _pool_grad, (grad, indices), options, out)
    return made


@explained
def avg_pool(
    x: ArrayLike,
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil: bool = False,
    count_padding: bool = True,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The mean of each window.

    Parameters
    ----------
    x, kernel, stride, padding, ceil, channels_last, out
        As for ``max_pool``.
    count_padding : bool
        Divide by all entries of a window, as PyTorch's count_include_pad; otherwise by those inside
        the input. What ``ceil`` adds behind the padding never counts.

    Returns
    -------
    ndarray, ``(N, C, *output)``, of the size that ``max_pool`` gives

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``.

    References
    ----------
    Y.-L. Boureau, J. Ponce, Y. LeCun, *A theoretical analysis of feature pooling in visual
    recognition*, ICML 2010.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.avg_pool(np.array([[[1.0, 5.0, 2.0, 4.0]]]), (2,))
    array([[[3., 3.]]])
    """
    options = "average", kernel, stride, padding, 1, ceil, count_padding, channels_last
    made: Array = _calls.run("pool", _pool, (x,), options, out)
    return made


@explained
def avg_pool_grad(
    grad: ArrayLike,
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
    """The gradient of a loss for the input of ``avg_pool``, from that for its output.

    Parameters
    ----------
    grad : array_like, ``(N, C, *output)``
        As ``avg_pool`` returns its result.
    input_shape : sequence of int
        The shape of ``x``, with the channels last if ``channels_last``.
    kernel, stride, padding, ceil, count_padding, channels_last, out
        As for ``avg_pool``.

    Returns
    -------
    ndarray of shape ``input_shape``

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.avg_pool_grad(np.array([[[3.0, 4.0]]]), (1, 1, 4), (2,))
    array([[[1.5, 1.5, 2. , 2. ]]])
    """
    window = kernel, stride, padding, 1, ceil
    options = "average", *window, count_padding, channels_last, False, input_shape
    made: Array = _calls.run("pool_grad", _pool_grad, (grad,), options, out)
    return made


@explained
def global_max_pool(x: ArrayLike, *, rank: int | None = None, channels_last: bool = False) -> Array:
    """The maximum of each channel over all positions.

    Parameters
    ----------
    x : array_like, ``(N, C, *space)``, or with ``rank`` ``(C, *space)``
        float32 or float64; ``(N, *space, C)`` with ``channels_last``.
    rank : int, optional
        The number of spatial axes; by default all but two dimensions are. Three dimensions may be
        ``(N, C, L)`` or ``(C, H, W)``, so for them it must be given.
    channels_last : bool
        The channels are the last axis of ``x``.

    Returns
    -------
    ndarray, ``(N, C)``, or ``(C,)`` if ``x`` has no N

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.global_max_pool(np.array([[[1.0, 5.0], [2.0, 4.0]]]), rank=1)
    array([[5., 4.]])
    """
    options = "max", rank, channels_last
    made: Array = _calls.run("global", _global_pool, (x,), options, None)
    return made


@explained
def global_avg_pool(x: ArrayLike, *, rank: int | None = None, channels_last: bool = False) -> Array:
    """The mean of each channel over all positions.

    Parameters
    ----------
    x, rank, channels_last
        As for ``global_max_pool``.

    Returns
    -------
    ndarray, ``(N, C)``, or ``(C,)`` if ``x`` has no N

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, *Network in network*, ICLR 2014.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.global_avg_pool(np.array([[[1.0, 5.0], [2.0, 4.0]]]), rank=1)
    array([[3., 3.]])
    """
    options = "average", rank, channels_last
    made: Array = _calls.run("global", _global_pool, (x,), options, None)
    return made


# What the functions share -------------------------------------------------------------------------


def _pool(inputs: Inputs, given: tuple[Any, ...], out: Array | None) -> Prepared:
    options = Options(*given)
    last = options.channels_last
    truth("indices", options.indices)
    x = _floating("x", inputs[0])
    rank = _rank("x.shape", x.shape, options.kernel)
    view, has_batch = batched(x, rank, last), x.ndim == rank + 2
    spec = _spec(view.shape, x, options, "x.shape")
    made, target = result(out, spec.output_shape, x.dtype, has_batch, last, x=x)
    chosen = positions = None
    if options.indices:
        dtype = np.dtype(index_dtype(spec))
        chosen, positions = result(None, spec.output_shape, dtype, has_batch, last)
    plan = _planned("pool", spec, view, target, positions)
    return Prepared(*plan, (x,), made, chosen)


def _pool_grad(inputs: Inputs, given: tuple[Any, ...], out: Array | None) -> Prepared:
    options = Options(*given)
    last = options.channels_last
    grad = _floating("grad", inputs[0])
    sizes = integers("input_shape", options.shape)
    rank = _rank("input_shape", sizes, options.kernel)
    shape, has_batch = batched_shape("input_shape", sizes, rank, last), len(sizes) == rank + 2
    spec = _spec(shape, grad, options, "input_shape")
    view = _gradient(grad, spec, has_batch, last)
    read, positions = {"grad": grad}, None
    if options.kind == "max":
        read["indices"] = _indices(inputs[1], grad, spec)
        positions = batched(read["indices"], rank, last)
    made, target = result(out, spec.input_shape, grad.dtype, has_batch, last, **read)
    plan = _planned("pool_grad", spec, view, target, positions)
    return Prepared(*plan, tuple(read.values()), made)


def _global_pool(inputs: Inputs, given: tuple[Any, ...], out: Array | None) -> Prepared:
    kind, rank, last = given
    x = _floating("x", inputs[0])
    if rank is None:
        rank = _all_but_two("x.shape", x.shape, "rank=1 or rank=2")
    elif x.ndim - (rank := whole("rank", rank, 1)) not in (1, 2):
        raise FaltungError(
            f"x.shape={x.shape}: must have {rank + 2} dimensions (batch, channels and {rank} of "
            f"space), or {rank + 1} without the batch"
        )
    view = batched(x, rank, last)
    spec = _spec(view.shape, x, Options(kind, view.shape[2:]), "x.shape")
    made = np.empty(view.shape[:2], x.dtype)
    plan = _planned("pool", spec, view, made.reshape(*made.shape, *(1,) * rank), None)
    return Prepared(*plan, (x,), made if x.ndim == rank + 2 else made[0])


def _floating(name: str, value: ArrayLike) -> Array:
    made = array(name, value)
    if made.dtype not in (np.float32, np.float64):
        raise FaltungTypeError(f"{name}.dtype={made.dtype}: must be float32 or float64")
    return made


def _rank(name: str, shape: tuple[int, ...], kernel: PerAxis) -> int:
    """Spatial axes: as many as the kernel has, or all but N and C."""
    if not is_sequence(kernel):
        one = show(kernel)
        return _all_but_two(name, shape, f"kernel=({one},) or kernel=({one}, {one})")
    rank = len(sequence("kernel", kernel))
    if not rank or len(shape) not in (rank + 1, rank + 2):
        raise FaltungError(
            f"{name}={shape}: must have {rank + 2} dimensions (batch, channels and one for each "
            f"entry of kernel={show(kernel)}), or {rank + 1} without the batch"
        )
    return rank


def _all_but_two(name: str, shape: tuple[int, ...], said: str) -> int:
    """Spatial axes of (N, C, *space). FaltungError: three dimensions, which may be something else;
    ``said`` says how to tell them apart.
    """
    if len(shape) < 3:
        raise FaltungError(
            f"{name}={shape}: must be (N, C, *space); without N the kernel names every axis"
        )
    if len(shape) == 3:
        raise FaltungError(
            f"{name}={shape}: may be (N, C, L), series, or (C, H, W), a picture without a batch; "
            f"say which, by {said}"
        )
    return len(shape) - 2


def _spec(shape: tuple[int, ...], like: Array, options: Options, name: str) -> PoolSpec:
    try:
        return pool_spec(
            shape,
            options.kernel,
            kind=options.kind,
            stride=options.stride,
            padding=options.padding,
            dilation=options.dilation,
            ceil=options.ceil,
            count_padding=options.count_padding,
            dtype=like.dtype.name,
        )
    except (ValueError, TypeError) as error:
        raise type(error)(str(error).replace("input_shape=", f"{name}=")) from None


def _gradient(grad: Array, spec: PoolSpec, batch: bool, channels_last: bool) -> Array:
    """The output gradient as ``(N, C, *space)``."""
    if grad.ndim != spec.rank + 1 + batch:
        raise FaltungError(
            f"grad.shape={grad.shape}: must have a batch where input_shape has one, and only there"
        )
    view = batched(grad, spec.rank, channels_last)
    if view.shape != spec.output_shape:
        raise FaltungError(
            f"grad.shape={view.shape} as (N, C, *space): must be that of the output, "
            f"{spec.output_shape}"
        )
    return view


def _indices(value: ArrayLike, grad: Array, spec: PoolSpec) -> Array:
    """The indices as kernels read them; copied only from another dtype or an odd layout."""
    try:
        chosen = np.asarray(value)
    except ValueError as error:
        raise FaltungTypeError(f"indices: must be an array, {error}") from None
    if chosen.dtype.kind not in "iu":
        raise FaltungTypeError(
            f"indices.dtype={chosen.dtype}: must be whole numbers, as of max_pool"
        )
    if chosen.shape != grad.shape:
        raise FaltungError(f"indices.shape={chosen.shape}: must be that of grad, {grad.shape}")
    # Clipped, so that an index that is too large stays outside its window, and adds nothing.
    return clipped("indices", chosen, index_dtype(spec))


def _planned(
    what: str, spec: PoolSpec, source: Array, target: Array, index: Array | None
) -> tuple[Plan, tuple[Array, Array, Array, None]]:
    """The plan, and the arrays that it runs on; the indices stand in the weight's place."""
    layouts = elements(source), elements(target), None if index is None else elements(index)
    plan = planned_pool(build_pool if what == "pool" else build_pool_grad, spec, layouts)
    return plan, (source, target if index is None else index, target, None)
