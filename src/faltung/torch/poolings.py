"""Poolings in the place of ``torch.nn``'s: the same arguments, and any rank."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from faltung.geometry.check import PerAxis, is_sequence
from faltung.geometry.padding import Padding
from faltung.torch import pooling
from faltung.torch.layer import Layer, single


class MaxPool(Layer, _MaxPoolNd):
    """Maxima of windows of any rank, as ``torch.nn.MaxPool2d`` has them of rank 2.

    Parameters
    ----------
    kernel_size : int, or one int for each spatial axis
    stride : int, or one int for each spatial axis, optional
        By default the kernel.
    padding : int, name, or one entry for each spatial axis
    dilation : int, or one int for each spatial axis
    return_indices : bool
        Return also where each maximum is.
    ceil_mode : bool
        Round the size of the output up.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.MaxPool((2, 2, 2, 2))(torch.ones(1, 3, 4, 4, 4, 4)).shape
    torch.Size([1, 3, 2, 2, 2, 2])
    """

    def forward(self, input: Tensor) -> Any:
        """The maxima of ``(N, C, *space)``."""
        return pooling.max_pool(
            *(input, _kernel(self), self.stride, self.padding, self.dilation),
            *(self.ceil_mode, self.return_indices),
        )


class AvgPool(Layer, _AvgPoolNd):
    """Means of windows of any rank, as ``torch.nn.AvgPool2d`` has them of rank 2.

    Parameters
    ----------
    kernel_size : int, or one int for each spatial axis
    stride : int, or one int for each spatial axis, optional
        By default the kernel.
    padding : int, name, or one entry for each spatial axis
    ceil_mode : bool
        Round the size of the output up.
    count_include_pad : bool
        Divide by all entries of a window; otherwise by those inside the input.
    divisor_override : int, optional
        Divide by this number instead.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.AvgPool((2, 2, 2, 2))(torch.ones(1, 3, 4, 4, 4, 4)).shape
    torch.Size([1, 3, 2, 2, 2, 2])
    """

    kernel_size: Any
    stride: Any
    padding: Any
    divisor_override: int | None = None

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        nn.Module.__init__(self)
        given: Any = kernel_size, kernel_size if stride is None else stride, padding
        if self.RANK == 1:  # as PyTorch's
            given = tuple([(each,) if isinstance(each, int) else each for each in given])
        self.kernel_size, self.stride, self.padding = given
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        if divisor_override is not None:
            self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The means of ``(N, C, *space)``."""
        return pooling.avg_pool(
            *(input, _kernel(self), self.stride, self.padding, self.ceil_mode),
            *(self.count_include_pad, self.divisor_override),
        )


def _kernel(module: Any) -> Any:
    """The kernel, one number for each axis where the rank is known."""
    kernel, rank = single(module.kernel_size), module.RANK
    return (kernel,) * rank if rank and not is_sequence(kernel) else kernel


class MaxPool1d(MaxPool, nn.MaxPool1d):
    """Maxima of windows of sequences: ``MaxPool`` of rank 1, and ``torch.nn.MaxPool1d``.

    Parameters
    ----------
    kernel_size, stride, ..., ceil_mode
        As for ``MaxPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.MaxPool1d(2)(torch.ones(1, 2, 8)).shape
    torch.Size([1, 2, 4])
    """

    RANK = 1


class MaxPool2d(MaxPool, nn.MaxPool2d):
    """Maxima of windows of pictures: ``MaxPool`` of rank 2, and ``torch.nn.MaxPool2d``.

    Parameters
    ----------
    kernel_size, stride, ..., ceil_mode
        As for ``MaxPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.MaxPool2d(2)(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 2, 4, 4])
    """

    RANK = 2


class MaxPool3d(MaxPool, nn.MaxPool3d):
    """Maxima of windows of volumes: ``MaxPool`` of rank 3, and ``torch.nn.MaxPool3d``.

    Parameters
    ----------
    kernel_size, stride, ..., ceil_mode
        As for ``MaxPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.MaxPool3d(2)(torch.ones(1, 2, 8, 8, 8)).shape
    torch.Size([1, 2, 4, 4, 4])
    """

    RANK = 3


class AvgPool1d(AvgPool, nn.AvgPool1d):
    """Means of windows of sequences: ``AvgPool`` of rank 1, and ``torch.nn.AvgPool1d``.

    Parameters
    ----------
    kernel_size, stride, ..., divisor_override
        As for ``AvgPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.AvgPool1d(2)(torch.ones(1, 2, 8)).shape
    torch.Size([1, 2, 4])
    """

    RANK = 1


class AvgPool2d(AvgPool, nn.AvgPool2d):
    """Means of windows of pictures: ``AvgPool`` of rank 2, and ``torch.nn.AvgPool2d``.

    Parameters
    ----------
    kernel_size, stride, ..., divisor_override
        As for ``AvgPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.AvgPool2d(2)(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 2, 4, 4])
    """

    RANK = 2


class AvgPool3d(AvgPool, nn.AvgPool3d):
    """Means of windows of volumes: ``AvgPool`` of rank 3, and ``torch.nn.AvgPool3d``.

    Parameters
    ----------
    kernel_size, stride, ..., divisor_override
        As for ``AvgPool``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.AvgPool3d(2)(torch.ones(1, 2, 8, 8, 8)).shape
    torch.Size([1, 2, 4, 4, 4])
    """

    RANK = 3
