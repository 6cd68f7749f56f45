"""Poolings as functions of PyTorch's tensors.

Tensors are ``(N, C, *space)``; the functions of one rank also take ``(C, *space)``. Numbers of 16
bits are pooled as float32, and rounded once. The functions of one rank take the names of
``torch.nn.functional``, too: ``kernel_size``, ``ceil_mode`` and ``count_include_pad``.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

import faltung.torch.operators  # noqa: F401
from faltung.geometry.check import PerAxis, is_sequence, per_axis
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, pads
from faltung.torch.words import Pool, pool_words, remembered

_ops: Any = torch.ops.faltung
TENSOR: Any = Tensor  # what is passed may be something else
_NARROW = (torch.float16, torch.bfloat16)
# What torch.nn.functional calls the arguments.
_NAMES = {
    "input": "x",
    "kernel_size": "kernel",
    "ceil_mode": "ceil",
    "count_include_pad": "count_padding",
}


def max_pool(
    x: Tensor,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window.

    The first of equal maxima is taken; a NaN is larger than any number. Padding is never a maximum.

    Parameters
    ----------
    x : Tensor, ``(N, C, *space)``, or ``(C, *space)`` if ``kernel`` is a sequence
        float32, float64, float16 or bfloat16, on the CPU.
    kernel : int, or one int for each spatial axis
    stride : int, or one int for each spatial axis, optional
        By default the kernel.
    padding : int, name, or one entry for each spatial axis
        As for ``conv``.
    dilation : int, or one int for each spatial axis
    ceil : bool
        Round the size of the output up, as PyTorch's ceil_mode.
    return_indices : bool
        Return also where each maximum is.

    Returns
    -------
    Tensor, ``(N, C, *output)``
        With ``return_indices`` a pair: the second holds the position of each maximum in the plane
        of its channel, as int64.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    References
    ----------
    Y.-L. Boureau, J. Ponce, Y. LeCun, *A theoretical analysis of feature pooling in visual
    recognition*, ICML 2010.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> x = torch.tensor([[[1.0, 5.0, 2.0, 3.0]]])
    >>> faltung.torch.max_pool(x, 2)
    tensor([[[5., 3.]]])
    >>> faltung.torch.max_pool(x, 2, return_indices=True)[1]
    tensor([[[1, 3]]])
    """
    if not isinstance(x, TENSOR):
        given = stride, padding, dilation, ceil, return_indices
        return _otherwise(max_pool, x, kernel, *given)
    rank = _rank(x, kernel)
    words = remembered(pool_words, rank, (kernel, stride, padding, dilation, ceil))
    if return_indices:
        y, indices = _called(_ops.max_pool_with_indices.default, x, words, rank)
        return y, indices.long()
    return _called(_ops.max_pool.default, x, words, rank)


def avg_pool(
    x: Tensor,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x, kernel, stride, padding, ceil
        As for ``max_pool``.
    count_padding : bool
        Divide by all entries of a window, as PyTorch's count_include_pad; otherwise by those inside
        the input. What ``ceil`` adds behind the padding never counts.
    divisor_override : int, optional
        Divide the sums by this number instead.

    Returns
    -------
    Tensor, ``(N, C, *output)``, of the size that ``max_pool`` gives

    Raises
    ------
    TypeError, ValueError
        As ``max_pool``.

    References
    ----------
    Y.-L. Boureau, J. Ponce, Y. LeCun, *A theoretical analysis of feature pooling in visual
    recognition*, ICML 2010.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.avg_pool(torch.tensor([[[1.0, 5.0, 2.0, 4.0]]]), 2)
    tensor([[[3., 3.]]])
    """
    if not isinstance(x, TENSOR):
        given = stride, padding, ceil, count_padding, divisor_override
        made: Tensor = _otherwise(avg_pool, x, kernel, *given)
        return made
    rank = _rank(x, kernel)
    counted = count_padding if divisor_override is None else True
    words = remembered(pool_words, rank, (kernel, stride, padding, 1, ceil, counted))
    y: Tensor = _called(_ops.avg_pool.default, x, words, rank)
    if divisor_override is None:
        return y
    if not divisor_override:
        raise FaltungError("divisor_override=0: must not be 0")
    return _terms(x, y, rank, kernel, stride, padding) / divisor_override * y


def _terms(
    x: Tensor, y: Tensor, rank: int, kernel: PerAxis, stride: PerAxis | None, padding: Padding
) -> Tensor:
    """How many entries each mean was divided by, padding counted: what ``ceil`` adds is not."""
    sizes, outputs = x.shape[x.ndim - rank :], y.shape[y.ndim - rank :]
    options = Pool.read(remembered(pool_words, rank, (kernel, stride, padding)))
    taps = per_axis("kernel", options.kernel, rank, 1)
    steps = taps if options.stride is None else per_axis("stride", options.stride, rank, 1)
    pairs = pads(options.padding, sizes=sizes, kernel=taps, stride=steps, dilation=(1,) * rank)
    counts = torch.ones((), dtype=x.dtype)
    for n, o, k, s, (lo, hi) in zip(sizes, outputs, taps, steps, pairs, strict=True):
        each = (n + lo + hi - torch.arange(o) * s).clamp(max=k)
        counts = counts.unsqueeze(-1) * each.to(x.dtype)
    return counts


def global_max_pool(x: Tensor) -> Tensor:
    """The maximum of each channel over all positions.

    Parameters
    ----------
    x : Tensor, ``(N, C, *space)``
        float32, float64, float16 or bfloat16, on the CPU.

    Returns
    -------
    Tensor, ``(N, C)``

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.global_max_pool(torch.tensor([[[1.0, 5.0], [2.0, 4.0]]]))
    tensor([[5., 4.]])
    """
    if not isinstance(x, TENSOR):
        made: Tensor = _otherwise(global_max_pool, x)
        return made
    found: Tensor = _called(_ops.max_pool.default, x, "kall", _rank(x, 1))
    return found.flatten(1)


def global_avg_pool(x: Tensor) -> Tensor:
    """The mean of each channel over all positions.

    Parameters
    ----------
    x : Tensor, ``(N, C, *space)``
        float32, float64, float16 or bfloat16, on the CPU.

    Returns
    -------
    Tensor, ``(N, C)``

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, *Network in network*, ICLR 2014.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.global_avg_pool(torch.tensor([[[1.0, 5.0], [2.0, 4.0]]]))
    tensor([[3., 3.]])
    """
    if not isinstance(x, TENSOR):
        made: Tensor = _otherwise(global_avg_pool, x)
        return made
    found: Tensor = _called(_ops.avg_pool.default, x, "kall", _rank(x, 1))
    return found.flatten(1)


def _otherwise(function: Callable[..., Any], x: Any, *rest: Any) -> Any:
    """What to do with what is no tensor: what stands for one, as in ``torch.fx``, says itself."""
    if has_torch_function((x,)):
        return handle_torch_function(function, (x,), x, *rest)
    raise FaltungTypeError(
        f"x={type(x).__name__}: must be a torch.Tensor; faltung.max_pool takes arrays"
    )


def _rank(x: Tensor, kernel: PerAxis) -> int:
    """Spatial axes: as many as the kernel has, or all but N and C."""
    rank = len(kernel) if is_sequence(kernel) else x.ndim - 2  # type: ignore[arg-type]
    if rank < 1 or x.ndim not in (rank + 1, rank + 2):
        raise FaltungError(
            f"x.shape={tuple(x.shape)}: must be (N, C, *space), or without N where the kernel, "
            f"{kernel}, names every axis"
        )
    return rank


def _called(operator: Any, x: Tensor, words: str, rank: int) -> Any:
    """The operator on an input that may lack a batch, or be of 16 bits."""
    if x.dtype in _NARROW:
        found = _called(operator, x.float(), words, rank)
        if isinstance(found, tuple):
            return found[0].to(x.dtype), found[1]
        return found.to(x.dtype)
    if x.ndim == rank + 2:
        return operator(x, words)
    found = operator(x.unsqueeze(0), words)
    return tuple([y.squeeze(0) for y in found]) if isinstance(found, tuple) else found.squeeze(0)


# Of one rank --------------------------------------------------------------------------------------


def _of_rank(
    rank: int, whole: Callable[..., Any]
) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """A decorator that makes ``whole`` for one rank, by the names of ``torch.nn.functional`` too;
    name and docstring are those of the decorated function.
    """

    def decorated(named: Callable[[], None]) -> Callable[..., Any]:
        called = named.__name__

        def of_rank(x: Any = None, kernel: Any = None, *rest: Any, **options: Any) -> Any:
            given = {_NAMES.get(name, name): value for name, value in options.items()}
            x, kernel = given.pop("x", x), given.pop("kernel", kernel)
            if x is None or kernel is None:
                raise FaltungTypeError(f"{called}: must be called with a tensor and a kernel")
            if not is_sequence(kernel):
                kernel = (kernel,) * rank
            elif len(kernel) == 1:
                kernel = tuple(kernel) * rank
            if len(kernel) != rank:
                raise FaltungError(
                    f"kernel={kernel}: must be one int or {rank}, one for each axis of {called}"
                )
            return whole(x, kernel, *rest, **given)

        made: Any = update_wrapper(of_rank, named)
        made.__wrapped__ = whole
        made.__annotations__ = whole.__annotations__
        return made

    return decorated


@_of_rank(1, max_pool)
def max_pool1d() -> None:
    """Maxima of windows of sequences: ``max_pool`` of rank 1.

    Parameters
    ----------
    x : Tensor, ``(N, C, L)`` or ``(C, L)``
    kernel, stride, ..., return_indices
        As for ``max_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``max_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.max_pool1d(torch.ones(1, 8), 2).shape
    torch.Size([1, 4])
    """


@_of_rank(2, max_pool)
def max_pool2d() -> None:
    """Maxima of windows of pictures: ``max_pool`` of rank 2.

    Parameters
    ----------
    x : Tensor, ``(N, C, H, W)`` or ``(C, H, W)``
    kernel, stride, ..., return_indices
        As for ``max_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``max_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.max_pool2d(torch.ones(1, 8, 6), 2).shape
    torch.Size([1, 4, 3])
    """


@_of_rank(3, max_pool)
def max_pool3d() -> None:
    """Maxima of windows of volumes: ``max_pool`` of rank 3.

    Parameters
    ----------
    x : Tensor, ``(N, C, D, H, W)`` or ``(C, D, H, W)``
    kernel, stride, ..., return_indices
        As for ``max_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``max_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.max_pool3d(torch.ones(1, 8, 6, 4), 2).shape
    torch.Size([1, 4, 3, 2])
    """


@_of_rank(1, avg_pool)
def avg_pool1d() -> None:
    """Means of windows of sequences: ``avg_pool`` of rank 1.

    Parameters
    ----------
    x : Tensor, ``(N, C, L)`` or ``(C, L)``
    kernel, stride, ..., divisor_override
        As for ``avg_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``avg_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.avg_pool1d(torch.ones(1, 8), 2).shape
    torch.Size([1, 4])
    """


@_of_rank(2, avg_pool)
def avg_pool2d() -> None:
    """Means of windows of pictures: ``avg_pool`` of rank 2.

    Parameters
    ----------
    x : Tensor, ``(N, C, H, W)`` or ``(C, H, W)``
    kernel, stride, ..., divisor_override
        As for ``avg_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``avg_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.avg_pool2d(torch.ones(1, 8, 6), 2).shape
    torch.Size([1, 4, 3])
    """


@_of_rank(3, avg_pool)
def avg_pool3d() -> None:
    """Means of windows of volumes: ``avg_pool`` of rank 3.

    Parameters
    ----------
    x : Tensor, ``(N, C, D, H, W)`` or ``(C, D, H, W)``
    kernel, stride, ..., divisor_override
        As for ``avg_pool``.

    Returns
    -------
    Tensor, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``avg_pool``; also for a kernel of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.avg_pool3d(torch.ones(1, 8, 6, 4), 2).shape
    torch.Size([1, 4, 3, 2])
    """
