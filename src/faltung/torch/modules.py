"""Layers in the place of ``torch.nn``'s: the same arguments, parameters and state, and more.

Each is a subclass of PyTorch's layer, so that what asks for one finds one, and takes what PyTorch
refuses: pairs of padding, "same" with a stride, all padding modes, also one for each axis and in
transposed convolutions, and true convolution (``flip``). ``Conv`` and ``ConvTranspose`` have any
rank, ``ConvLocal1d`` and its kin a kernel for each position.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from faltung.geometry.check import PerAxis, is_sequence, per_axis, truth, whole
from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, PaddingMode, pads
from faltung.torch import functional, pooling
from faltung.torch.words import conv_words

M = TypeVar("M", bound=nn.Module)


class Layer:
    """What layers have in common: made from PyTorch's, and turned into it."""

    RANK: ClassVar[int] = 0  # 0: any

    @classmethod
    def from_torch(cls: type[M], module: nn.Module) -> M:
        """This layer with the parameters, hooks and state of one of ``torch.nn``.

        Parameters
        ----------
        module : torch.nn.Module
            Of the class that this one takes the place of. It is left as it is, and shares its
            parameters with the result.

        Returns
        -------
        a layer of this class

        Raises
        ------
        TypeError
            A layer of another class.
        """
        if type(module) is not cls.__mro__[-len(type(module).__mro__)] or isinstance(module, Layer):
            raise FaltungTypeError(
                f"module={type(module).__name__}: must be a torch.nn.{cls.__name__}, no subclass"
            )
        return _like(cls, module)


def _like(cls: type[M], module: nn.Module) -> M:
    """A module of another class with the same contents, in dictionaries of its own."""
    made = cls.__new__(cls)
    for name, value in module.__dict__.items():
        made.__dict__[name] = value.copy() if isinstance(value, (dict, set, list)) else value
    return made


# Convolutions -------------------------------------------------------------------------------------


class _Convolution(Layer):
    """The part of a convolution that PyTorch has, or refuses."""

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
            self.padding = tuple(
                [tuple(each) if is_sequence(each) else each for each in padding]  # type: ignore[union-attr,arg-type]
            )
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
        # What PyTorch's own layer reads, if this becomes one: the total padding, the last axis first.
        pairs = pads(
            self.padding, sizes=self.stride, kernel=sizes, stride=self.stride, dilation=self.dilation
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
        found = [f"{n}={getattr(self, n)!r}" for n, usual in more.items() if getattr(self, n) != usual]
        return ", ".join([super().extra_repr(), *found])  # type: ignore[misc]


def _sizes(kernel_size: PerAxis, rank: int, name: str) -> tuple[int, ...]:
    """The kernel, one int for each axis. ValueError, TypeError: another number of axes."""
    if not rank:
        if not is_sequence(kernel_size):
            raise FaltungTypeError(
                f"kernel_size={kernel_size!r}: must be a sequence, one int for each spatial axis of "
                f"{name}"
            )
        rank = len(kernel_size)  # type: ignore[arg-type]
    return per_axis("kernel_size", _single(kernel_size), rank, 1)


def _single(value: Any) -> Any:
    """A sequence of one number, which PyTorch takes for all axes, as the number."""
    return value[0] if is_sequence(value) and len(value) == 1 else value


def _axes(name: str, value: PerAxis, rank: int, least: int = 1) -> tuple[int, ...]:
    return per_axis(name, _single(value), rank, least)


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
        sizes = _sizes(kernel_size, self.RANK, type(self).__name__)
        rank = len(sizes)
        _check(in_channels, out_channels, groups)
        _ConvNd.__init__(
            self,
            *(in_channels, out_channels, sizes, _axes("stride", stride, rank)),
            *((0,) * rank, _axes("dilation", dilation, rank), False, (0,) * rank),
            *(groups, bias, "zeros", device, dtype),
        )
        self._settle(sizes, padding, padding_mode, flip, precision, method)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of ``(N, C, *space)`` or ``(C, *space)``."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        return functional.conv(
            *(input, weight, bias, self.stride, self.padding, self.dilation, self.groups),
            self.padding_mode,  # type: ignore[arg-type]
            flip=self.flip,
            precision=self.precision,
            method=self.method,
        )


def _check(in_channels: int, out_channels: int, groups: int) -> None:
    """In the words of Faltung what PyTorch would refuse, too."""
    whole("in_channels", in_channels, 1)
    whole("out_channels", out_channels, 1)
    whole("groups", groups, 1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise FaltungError(f"groups={groups}: must divide {name}={channels}")


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
        sizes = _sizes(kernel_size, self.RANK, type(self).__name__)
        rank = len(sizes)
        _check(in_channels, out_channels, groups)
        _ConvNd.__init__(
            self,
            *(in_channels, out_channels, sizes, _axes("stride", stride, rank)),
            *((0,) * rank, _axes("dilation", dilation, rank), True),
            *(_axes("output_padding", output_padding, rank, 0), groups, bias, "zeros"),
            *(device, dtype),
        )
        self._settle(sizes, padding, padding_mode, flip, precision, method)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution; ``output_size``: of the result, instead of output padding."""
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return functional.conv_transpose(
            *(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups),
            *(self.dilation, self.padding_mode),  # type: ignore[arg-type]
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
        pairs = pads(self.padding, sizes=stride, kernel=kernel, stride=stride, dilation=dilation)  # type: ignore[arg-type]
        each = zip(input.shape[-rank:], stride, kernel, dilation, pairs, strict=True)
        least = [(n - 1) * s - lo - hi + d * (h - 1) + 1 for n, s, h, d, (lo, hi) in each]
        extra = tuple([a - b for a, b in zip(asked, least, strict=True)])
        if any([e < 0 or e >= s for e, s in zip(extra, stride, strict=True)]):
            most = [n + s - 1 for n, s in zip(least, stride, strict=True)]
            raise FaltungError(f"output_size={asked}: must be from {least} to {most}")
        return extra


# Local layers -------------------------------------------------------------------------------------


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
        self.input_size = _sizes(input_size, self.RANK, type(self).__name__)
        rank = len(self.input_size)
        _check(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _axes("kernel_size", kernel_size, rank)
        self.stride, self.dilation = _axes("stride", stride, rank), _axes("dilation", dilation, rank)
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
            *(self.groups, self.padding_mode),  # type: ignore[arg-type]
            flip=self.flip,
        )

    def extra_repr(self) -> str:
        """The arguments, as ``torch.nn.Conv2d`` writes them."""
        usual = {"padding": 0, "groups": 1, "padding_mode": "zeros", "flip": False}
        ones = (1,) * len(self.stride)
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        words.append(f"input_size={self.input_size}, stride={self.stride}")
        words += [f"dilation={self.dilation}"] * (self.dilation != ones)
        words += [f"{n}={getattr(self, n)!r}" for n, value in usual.items() if getattr(self, n) != value]
        words += ["bias=False"] * (self.bias is None)
        return ", ".join(words)


# Poolings -----------------------------------------------------------------------------------------


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
            *(input, _kernel(self), self.stride, self.padding, self.dilation),  # type: ignore[arg-type]
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
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad
        if divisor_override is not None:
            self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The means of ``(N, C, *space)``."""
        return pooling.avg_pool(
            *(input, _kernel(self), self.stride, self.padding, self.ceil_mode),  # type: ignore[arg-type]
            *(self.count_include_pad, self.divisor_override),
        )


def _kernel(module: Any) -> Any:
    """The kernel, one number for each axis where the rank is known."""
    kernel, rank = _single(module.kernel_size), module.RANK
    return (kernel,) * rank if rank and not is_sequence(kernel) else kernel


# Of one rank --------------------------------------------------------------------------------------


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
    """Transposed convolution of sequences: ``ConvTranspose`` of rank 1, and ``torch.nn.ConvTranspose1d``.

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
    """Transposed convolution of pictures: ``ConvTranspose`` of rank 2, and ``torch.nn.ConvTranspose2d``.

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
    """Transposed convolution of volumes: ``ConvTranspose`` of rank 3, and ``torch.nn.ConvTranspose3d``.

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
