"""Convolutions in the place of ``torch.nn``'s: the same arguments, parameters and state, and more.

Each is a subclass of PyTorch's layer, so that what asks for one finds one, and takes what PyTorch
refuses: pairs of padding, "same" with a stride, all padding modes, also one for each axis and in
transposed convolutions, and true convolution (``flip``). ``Conv`` and ``ConvTranspose`` have any
rank.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from faltung.geometry.check import PerAxis, is_sequence, truth
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode, pads
from faltung.torch import functional
from faltung.torch.layer import Layer, axes_of, check_channels, sizes_of
from faltung.torch.words import conv_words


class _Convolution(Layer):
    """The part of a convolution that PyTorch has, or refuses."""

    # Wider than PyTorch's.
    padding: Any
    padding_mode: Any
    # Of layers that were one of PyTorch's.
    flip = False
    precision = "fast"
    method = "auto"

    def _settle(
        self: Any,
        sizes: Sequence[int],
        padding: Padding,
        padding_mode: PaddingMode,
        flip: bool,
        precision: str,
        method: str,
    ) -> None:
        """Take what PyTorch's constructor would refuse. ``sizes``: of the kernel."""
        rank = len(sizes)
        if is_sequence(padding):
            entries: Any = padding
            self.padding = tuple([tuple(p) if is_sequence(p) else p for p in entries])
        else:
            self.padding = padding if isinstance(padding, str) else (padding,) * rank
        if len(self.padding) == 1 and rank > 1 and not is_sequence(self.padding[0]):
            self.padding *= rank
        self.padding_mode = padding_mode if isinstance(padding_mode, str) else tuple(padding_mode)
        if truth("flip", flip):
            self.flip = flip
        if precision != "fast":
            self.precision = precision
        if method != "auto":
            self.method = method
        self._words()  # refuses what no convolution has
        # What PyTorch's own layer reads, if this becomes one: the last axis first.
        pairs = pads(
            self.padding,
            sizes=self.stride,
            kernel=sizes,
            stride=self.stride,
            dilation=self.dilation,
        )
        self._reversed_padding_repeated_twice = [n for pair in reversed(pairs) for n in pair]

    def _words(self: Any) -> str:
        return conv_words(
            *(len(self.kernel_size), self.stride, self.padding, self.dilation, self.groups),
            *(self.padding_mode, self.flip, self.output_padding, self.precision, self.method),
        )

    def extra_repr(self: Any) -> str:
        """The arguments, as PyTorch writes them, and those that it does not have."""
        more = {"flip": False, "precision": "fast", "method": "auto"}
        found = [
            f"{n}={getattr(self, n)!r}" for n, usual in more.items() if getattr(self, n) != usual
        ]
        return ", ".join([super().extra_repr(), *found])  # type: ignore[misc]


class Conv(_Convolution, _ConvNd):
    """A convolution of any rank, as ``torch.nn.Conv2d`` is one of rank 2.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : sequence of int
        One for each spatial axis; their number is the rank.
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
        As for ``faltung.torch.conv``: also "same" with a stride, and pairs (before, after).
    groups : int
    bias : bool
    padding_mode : name, or one name for each spatial axis
    device, dtype
        As for ``torch.nn.Conv2d``.
    flip : bool
        True convolution.
    precision, method
        As for ``faltung.conv``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> layer = faltung.torch.Conv(2, 4, (3, 3, 3, 3), padding="same", stride=2)
    >>> layer(torch.ones(1, 2, 4, 4, 4, 4)).shape
    torch.Size([1, 4, 2, 2, 2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        flip: bool = False,
        precision: str = "fast",
        method: str = "auto",
    ) -> None:
        sizes = sizes_of(kernel_size, self.RANK, type(self).__name__)
        rank = len(sizes)
        check_channels(in_channels, out_channels, groups)
        given: Any = (
            *(in_channels, out_channels, sizes, axes_of("stride", stride, rank)),
            *((0,) * rank, axes_of("dilation", dilation, rank), False, (0,) * rank),
            *(groups, bias, "zeros", device, dtype),
        )
        _ConvNd.__init__(self, *given)
        self._settle(sizes, padding, padding_mode, flip, precision, method)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of ``(N, C, *space)`` or ``(C, *space)``."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv(
            *(input, weight, bias, self.stride, self.padding, self.dilation),
            *(self.groups, self.padding_mode),
            flip=self.flip,
            precision=self.precision,
            method=self.method,
        )


class ConvTranspose(_Convolution, _ConvNd):
    """A transposed convolution of any rank, as ``torch.nn.ConvTranspose2d`` is one of rank 2.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : sequence of int
        One for each spatial axis; their number is the rank.
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
    output_padding : int, or one int for each spatial axis
    groups : int
    bias : bool
    padding_mode : name, or one name for each spatial axis
        Any: the transpose of the convolution with that mode.
    device, dtype
        As for ``torch.nn.ConvTranspose2d``.
    flip, precision, method
        As for ``Conv``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> layer = faltung.torch.ConvTranspose(2, 4, (2, 2, 2, 2), stride=2)
    >>> layer(torch.ones(1, 2, 3, 3, 3, 3)).shape
    torch.Size([1, 4, 6, 6, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        output_padding: PerAxis = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: PerAxis = 1,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        flip: bool = False,
        precision: str = "fast",
        method: str = "auto",
    ) -> None:
        sizes = sizes_of(kernel_size, self.RANK, type(self).__name__)
        rank = len(sizes)
        check_channels(in_channels, out_channels, groups)
        given: Any = (
            *(in_channels, out_channels, sizes, axes_of("stride", stride, rank)),
            *((0,) * rank, axes_of("dilation", dilation, rank), True),
            *(axes_of("output_padding", output_padding, rank, 0), groups, bias, "zeros"),
            *(device, dtype),
        )
        _ConvNd.__init__(self, *given)
        self._settle(sizes, padding, padding_mode, flip, precision, method)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution; ``output_size``: of the result, instead of output padding."""
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return functional.conv_transpose(
            *(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups),
            *(self.dilation, self.padding_mode),
            flip=self.flip,
            precision=self.precision,
            method=self.method,
        )

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives this size."""
        rank, stride = len(self.kernel_size), self.stride
        asked = tuple(output_size)[-rank:]
        if len(output_size) not in (rank, rank + 1, rank + 2):
            raise FaltungError(
                f"output_size={tuple(output_size)}: must be {rank} ints, or the whole shape"
            )
        kernel, dilation = self.kernel_size, self.dilation
        pairs = pads(self.padding, sizes=stride, kernel=kernel, stride=stride, dilation=dilation)
        each = zip(input.shape[-rank:], stride, kernel, dilation, pairs, strict=True)
        least = [(n - 1) * s - lo - hi + d * (h - 1) + 1 for n, s, h, d, (lo, hi) in each]
        extra = tuple([a - b for a, b in zip(asked, least, strict=True)])
        if any([e < 0 or e >= s for e, s in zip(extra, stride, strict=True)]):
            most = [n + s - 1 for n, s in zip(least, stride, strict=True)]
            raise FaltungError(f"output_size={asked}: must be from {least} to {most}")
        return extra


class Conv1d(Conv, nn.Conv1d):
    """Convolution of sequences: ``Conv`` of rank 1, and ``torch.nn.Conv1d``.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``Conv``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.Conv1d(2, 4, 3, stride=2, padding="same")(torch.ones(1, 2, 8)).shape
    torch.Size([1, 4, 4])
    """

    RANK = 1


class Conv2d(Conv, nn.Conv2d):
    """Convolution of pictures: ``Conv`` of rank 2, and ``torch.nn.Conv2d``.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``Conv``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.Conv2d(2, 4, 3, stride=2, padding="same")(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 4, 4, 4])
    """

    RANK = 2


class Conv3d(Conv, nn.Conv3d):
    """Convolution of volumes: ``Conv`` of rank 3, and ``torch.nn.Conv3d``.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``Conv``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.Conv3d(2, 4, 3, stride=2, padding="same")(torch.ones(1, 2, 8, 8, 8)).shape
    torch.Size([1, 4, 4, 4, 4])
    """

    RANK = 3


class ConvTranspose1d(ConvTranspose, nn.ConvTranspose1d):
    """Transposed convolution of sequences, as ``torch.nn.ConvTranspose1d`` and more.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``ConvTranspose``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvTranspose1d(2, 4, 2, stride=2)(torch.ones(1, 2, 8)).shape
    torch.Size([1, 4, 16])
    """

    RANK = 1


class ConvTranspose2d(ConvTranspose, nn.ConvTranspose2d):
    """Transposed convolution of pictures, as ``torch.nn.ConvTranspose2d`` and more.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``ConvTranspose``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvTranspose2d(2, 4, 2, stride=2)(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 4, 16, 16])
    """

    RANK = 2


class ConvTranspose3d(ConvTranspose, nn.ConvTranspose3d):
    """Transposed convolution of volumes, as ``torch.nn.ConvTranspose3d`` and more.

    Parameters
    ----------
    in_channels, out_channels, ..., method
        As for ``ConvTranspose``; one int for the kernel is enough.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvTranspose3d(2, 4, 2, stride=2)(torch.ones(1, 2, 8, 8, 8)).shape
    torch.Size([1, 4, 16, 16, 16])
    """

    RANK = 3
