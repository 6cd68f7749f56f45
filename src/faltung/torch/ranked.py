"""The convolutions of one rank: ``conv2d`` and its kin."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from torch import Tensor

from faltung.geometry.check import PerAxis
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode
from faltung.torch.functional import CONV, TENSOR, called, conv, conv_transpose, otherwise
from faltung.torch.words import conv_words, remembered

Named = Callable[[], None]


def _of_rank(rank: int, whole: Callable[..., Tensor]) -> Callable[[Named], Callable[..., Tensor]]:
    """A decorator that makes ``whole`` for weights of one rank; name and docstring are those of the
    decorated function.
    """

    def decorated(named: Named) -> Callable[..., Tensor]:
        title = named.__name__

        def wrong(weight: Any) -> FaltungError:
            return FaltungError(
                f"weight.ndim={weight.ndim}: {title} needs {rank + 2} dimensions; "
                f"{whole.__name__} takes any rank"
            )

        make = _transposes if whole is conv_transpose else _convolves
        made: Any = update_wrapper(make(rank, wrong), named)
        made.__wrapped__ = whole
        made.__annotations__ = whole.__annotations__
        return made

    return decorated


# Written out: a call of ``conv`` inside would take a tenth of a small convolution.


def _convolves(rank: int, wrong: Callable[[Any], FaltungError]) -> Callable[..., Tensor]:
    def of_rank(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        *,
        flip: bool = False,
        channels_last: bool = False,
        precision: str = "fast",
        method: str = "auto",
        tune: bool | None = None,
    ) -> Tensor:
        given = stride, padding, dilation, groups, padding_mode, flip, 0, precision, method, tune
        if not (isinstance(x, TENSOR) and isinstance(weight, TENSOR)):
            return otherwise(conv, (x, weight, bias), given, channels_last)
        if weight.ndim != rank + 2:
            raise wrong(weight)
        words = remembered(conv_words, rank, given)
        return called(CONV, x, weight, bias, words, rank, channels_last)

    return of_rank


def _transposes(rank: int, wrong: Callable[[Any], FaltungError]) -> Callable[..., Tensor]:
    def of_rank(x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
        if isinstance(weight, TENSOR) and weight.ndim != rank + 2:
            raise wrong(weight)
        return conv_transpose(x, weight, *rest, **options)

    return of_rank


@_of_rank(1, conv)
def conv1d() -> None:
    """Cross-correlation of sequences: ``conv`` of rank 1.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, L)`` or ``(C_in, L)``
    weight : Tensor, ``(C_out, C_in // groups, k)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv``.

    Returns
    -------
    Tensor, ``(N, C_out, output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv1d(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.ones(1, 1, 2), stride=2)
    tensor([[ 3., 12.]])
    """


@_of_rank(2, conv)
def conv2d() -> None:
    """Cross-correlation of pictures: ``conv`` of rank 2.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, H, W)`` or ``(C_in, H, W)``
    weight : Tensor, ``(C_out, C_in // groups, kh, kw)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv2d(torch.ones(1, 3, 3), torch.ones(1, 1, 3, 3), padding="same")
    tensor([[[4., 6., 4.],
             [6., 9., 6.],
             [4., 6., 4.]]])
    """


@_of_rank(3, conv)
def conv3d() -> None:
    """Cross-correlation of volumes: ``conv`` of rank 3.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``
    weight : Tensor, ``(C_out, C_in // groups, kd, kh, kw)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv3d(torch.ones(2, 1, 4, 8, 8), torch.ones(5, 1, 3, 3, 3)).shape
    torch.Size([2, 5, 2, 6, 6])
    """


@_of_rank(1, conv_transpose)
def conv_transpose1d() -> None:
    """Transposed convolution of sequences: ``conv_transpose`` of rank 1.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, L)`` or ``(C_in, L)``
    weight : Tensor, ``(C_in, C_out // groups, k)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv_transpose``.

    Returns
    -------
    Tensor, ``(N, C_out, output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv_transpose1d(torch.tensor([[1.0, 2.0]]), torch.ones(1, 1, 2), stride=2)
    tensor([[1., 1., 2., 2.]])
    """


@_of_rank(2, conv_transpose)
def conv_transpose2d() -> None:
    """Transposed convolution of pictures: ``conv_transpose`` of rank 2.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, H, W)`` or ``(C_in, H, W)``
    weight : Tensor, ``(C_in, C_out // groups, kh, kw)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv_transpose``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> x, weight = torch.ones(1, 8, 7, 7), torch.ones(8, 4, 2, 2)
    >>> faltung.torch.conv_transpose2d(x, weight, stride=2).shape
    torch.Size([1, 4, 14, 14])
    """


@_of_rank(3, conv_transpose)
def conv_transpose3d() -> None:
    """Transposed convolution of volumes: ``conv_transpose`` of rank 3.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``
    weight : Tensor, ``(C_in, C_out // groups, kd, kh, kw)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, ..., tune
        As for ``conv_transpose``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv_transpose3d(torch.ones(1, 2, 3, 3, 3), torch.ones(2, 1, 3, 3, 3)).shape
    torch.Size([1, 1, 5, 5, 5])
    """
