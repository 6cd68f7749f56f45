"""Locally connected layers, which PyTorch has not: a kernel for each output position."""

from math import prod, sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.geometry.check import PerAxis, truth
from faltung.geometry.conv import conv_spec
from faltung.geometry.padding import Padding, PaddingMode
from faltung.torch import functional
from faltung.torch.layer import axes_of, check_channels, sizes_of


class ConvLocal(nn.Module):
    """A locally connected ("unshared") layer of any rank: a kernel for each output position.

    Its parameters are ``weight`` ``(*output, out_channels, in_channels // groups, *kernel)``, in
    memory in the order of ``pack_local``, and ``bias`` ``(*output, out_channels)``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int, or one int for each spatial axis
    input_size : sequence of int
        The spatial sizes of the input, which is always of this size.
    stride, padding, dilation, groups, padding_mode
        As for ``Conv``.
    bias : bool
    device, dtype
        As for ``torch.nn.Conv2d``; float32 or float64.
    flip : bool
        True convolution.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    References
    ----------
    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, *DeepFace: closing the gap to human-level performance
    in face verification*, CVPR 2014.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> layer = faltung.torch.ConvLocal2d(3, 8, 3, input_size=(16, 16), padding=1)
    >>> layer(torch.ones(2, 3, 16, 16)).shape, tuple(layer.weight.shape)
    (torch.Size([2, 8, 16, 16]), (16, 16, 8, 3, 3, 3))
    """

    RANK: ClassVar[int] = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        input_size: PerAxis,
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
    ) -> None:
        super().__init__()
        self.input_size = sizes_of(input_size, self.RANK, type(self).__name__)
        rank = len(self.input_size)
        check_channels(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = axes_of("kernel_size", kernel_size, rank)
        self.stride, self.dilation = (
            axes_of("stride", stride, rank),
            axes_of("dilation", dilation, rank),
        )
        self.padding, self.padding_mode, self.flip = padding, padding_mode, truth("flip", flip)
        spec = conv_spec(
            (1, in_channels, *self.input_size),
            (out_channels, in_channels // groups, *self.kernel_size),
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        self.output_size = spec.output
        weight = torch.empty(*spec.output, *spec.weight_shape, device=device, dtype=dtype)
        self.weight = nn.Parameter(functional.pack_local(weight))
        if truth("bias", bias):
            shape = (*spec.output, out_channels)
            self.bias = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as PyTorch draws those of a convolution."""
        bound = 1 / sqrt(self.in_channels // self.groups * prod(self.kernel_size))
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """The layer on ``(N, C, *input_size)`` or ``(C, *input_size)``."""
        return functional.conv_local(
            *(input, self.weight, self.bias, self.stride, self.padding, self.dilation),
            *(self.groups, self.padding_mode),
            flip=self.flip,
        )

    def extra_repr(self) -> str:
        """The arguments, as ``torch.nn.Conv2d`` writes them."""
        usual = {"padding": 0, "groups": 1, "padding_mode": "zeros", "flip": False}
        ones = (1,) * len(self.stride)
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        words.append(f"input_size={self.input_size}, stride={self.stride}")
        words += [f"dilation={self.dilation}"] * (self.dilation != ones)
        words += [
            f"{n}={getattr(self, n)!r}" for n, value in usual.items() if getattr(self, n) != value
        ]
        words += ["bias=False"] * (self.bias is None)
        return ", ".join(words)


class ConvLocal1d(ConvLocal):
    """Locally connected layer on sequences: ``ConvLocal`` of rank 1.

    Parameters
    ----------
    in_channels, out_channels, ..., flip
        As for ``ConvLocal``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvLocal1d(2, 4, 3, input_size=8)(torch.ones(1, 2, 8)).shape
    torch.Size([1, 4, 6])
    """

    RANK = 1


class ConvLocal2d(ConvLocal):
    """Locally connected layer on pictures: ``ConvLocal`` of rank 2.

    Parameters
    ----------
    in_channels, out_channels, ..., flip
        As for ``ConvLocal``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvLocal2d(2, 4, 3, input_size=8)(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 4, 6, 6])
    """

    RANK = 2


class ConvLocal3d(ConvLocal):
    """Locally connected layer on volumes: ``ConvLocal`` of rank 3.

    Parameters
    ----------
    in_channels, out_channels, ..., flip
        As for ``ConvLocal``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.ConvLocal3d(2, 4, 3, input_size=8)(torch.ones(1, 2, 8, 8, 8)).shape
    torch.Size([1, 4, 6, 6, 6])
    """

    RANK = 3
