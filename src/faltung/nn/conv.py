"""Layers with weights: convolution, its transpose, unshared and fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from math import prod

from faltung.geometry.adjoint import transposed
from faltung.geometry.check import PerAxis, per_axis, whole
from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode, pads
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder, sizes
from faltung.graph.ops import Convolve, ConvolveInput, LocallyConnected
from faltung.graph.value import Value
from faltung.nn.layer import Layer
from faltung.nn.quantise import bias_on_grid, bits_of, grid_scale, map_order, weight_on_grid


@dataclass(frozen=True, slots=True, repr=False)
class Conv(Layer):
    """Convolution of the rank of its input: a cross-correlation, or with ``flip`` the true one.

    Its parameters are ``weight`` ``(channels, C_in // groups, *kernel)`` and ``bias``
    ``(channels,)``.

    Parameters
    ----------
    channels : int
        Of the output.
    kernel : int, or one int for each spatial axis
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
        As for ``faltung.conv``: for example 1, "same", "causal" or ((0, 1), (2, 2)).
    groups : int
        The channels are split into so many parts that do not see each other.
    bias : bool
        Add a bias to each channel.
    padding_mode : name, or one name for each spatial axis
        "zeros", "reflect", "symmetric", "replicate" or "circular".
    flip : bool
        Read the kernel backwards along each spatial axis.
    bits : int from 2 to 8, optional
        The weight is on a grid of so many bits, whose scales ``weight_scale`` ``(channels,)``
        follow from it; and so is the bias, if the input is on a grid (``Quantise``).

    References
    ----------
    Y. LeCun et al., *Backpropagation applied to handwritten zip code recognition*, Neural
    Computation 1, 1989.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Conv(16, 3, stride=2, padding="same"), (3, 32, 32)).output.shape
    (16, 16, 16)
    """

    channels: int
    kernel: PerAxis
    _: KW_ONLY
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    bias: bool = True
    padding_mode: PaddingMode = "zeros"
    flip: bool = False
    bits: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Conv")
        channels = whole("channels", self.channels, 1)
        groups = whole("groups", self.groups, 1)
        if x.channels % groups:
            raise FaltungError(
                f"groups={groups}: must divide the {x.channels} channels that Conv {b.current!r} "
                f"gets {b.after(x)}"
            )
        kernel = per_axis("kernel", self.kernel, len(x.space), 1)
        fits(b, x, "Conv", kernel, self.stride, self.padding, self.dilation)
        spec = conv_spec(
            (1, *x.shape),
            (channels, x.channels // groups, *kernel),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=groups,
            padding_mode=self.padding_mode,
            flip=self.flip,
            dtype=b.dtype,
        )
        operands = [x, *affine(b, x, spec, channels, self.bias, self.bits)]
        shape = (channels, *spec.output)
        return b.node(Convolve(spec, self.bias), operands, shape, fields=b.through(x, spec.axes))


@dataclass(frozen=True, slots=True, repr=False)
class ConvTranspose(Layer):
    """Transposed convolution as PyTorch defines it.

    Along each axis ``output = (H - 1) s - (p_lo + p_hi) + d (k - 1) + output_padding + 1``. Its
    parameters are ``weight`` ``(C_in, channels // groups, *kernel)`` and ``bias`` ``(channels,)``.

    Parameters
    ----------
    channels : int
        Of the output.
    kernel : int, or one int for each spatial axis
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
        As for ``faltung.conv``: for example 1, "same", "causal" or ((0, 1), (2, 2)).
    output_padding : int, or one int for each spatial axis
        Entries added at the end of each axis, fewer than its stride or dilation.
    groups : int
        The channels are split into so many parts that do not see each other.
    bias : bool
        Add a bias to each channel.
    bits : int from 2 to 8, optional
        The weight is on a grid of so many bits, whose scales ``weight_scale``
        ``(channels // groups,)`` follow from it.

    References
    ----------
    M. Zeiler, D. Krishnan, G. Taylor, R. Fergus, *Deconvolutional networks*, CVPR 2010.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.ConvTranspose(8, 2, stride=2), (16, 16, 16)).output.shape
    (8, 32, 32)
    """

    channels: int
    kernel: PerAxis
    _: KW_ONLY
    stride: PerAxis = 1
    padding: Padding = 0
    output_padding: PerAxis = 0
    dilation: PerAxis = 1
    groups: int = 1
    bias: bool = True
    bits: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "ConvTranspose")
        channels, groups = whole("channels", self.channels, 1), whole("groups", self.groups, 1)
        if channels % groups or x.channels % groups:
            raise FaltungError(
                f"groups={groups}: must divide the channels of ConvTranspose {b.current!r}, "
                f"{x.channels} in and {channels} out"
            )
        kernel = per_axis("kernel", self.kernel, len(x.space), 1)
        spec = transposed(
            (1, *x.shape),
            (x.channels, channels // groups, *kernel),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=groups,
            dtype=b.dtype,
        )
        bits = bits_of(self.bits)
        fan_in = x.channels // groups * spec.taps
        weight = conv_weight(b, spec, fan_in=fan_in, computed=bits is not None)
        if bits is not None:
            weight, _ = weight_on_grid(b, weight, bits, axis=1)
        operands = [x, weight]
        if self.bias:
            operands.append(bias(b, channels))
        fields = b.back(x, spec.axes)
        return b.node(
            ConvolveInput(spec, self.bias), operands, (channels, *spec.size), fields=fields
        )


@dataclass(frozen=True, slots=True, repr=False)
class Local(Layer):
    """Locally connected layer: a kernel of its own for each output position.

    Its parameters are ``weight`` ``(*output, channels, C_in, *kernel)`` and ``bias``
    ``(*output, channels)``.

    Parameters
    ----------
    channels : int
        Of the output.
    kernel : int, or one int for each spatial axis
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
        As for ``faltung.conv``: for example 1, "same", "causal" or ((0, 1), (2, 2)).
    bias : bool
        Add a bias to each channel at each position.

    References
    ----------
    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, *DeepFace: closing the gap to human-level performance
    in face verification*, CVPR 2014.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Local(4, 3), (1, 8, 8)).output.shape
    (4, 6, 6)
    """

    channels: int
    kernel: PerAxis
    _: KW_ONLY
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    bias: bool = True

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Local")
        channels = whole("channels", self.channels, 1)
        kernel = per_axis("kernel", self.kernel, len(x.space), 1)
        fits(b, x, "Local", kernel, self.stride, self.padding, self.dilation)
        spec = conv_spec(
            (1, *x.shape),
            (channels, x.channels, *kernel),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            dtype=b.dtype,
        )
        rank = spec.rank
        shape = (*spec.output, channels, x.channels, *kernel)
        # In memory: position, tap, input channel, output channel.
        order = (*range(rank), *range(rank + 2, 2 * rank + 2), rank + 1, rank)
        operands = [x, b.parameter("weight", shape, order=order, fan_in=x.channels * spec.taps)]
        if self.bias:
            shape = (*spec.output, channels)
            operands.append(b.parameter("bias", shape, initial=0.0, decay=False))
        shape = (channels, *spec.output)
        return b.node(
            LocallyConnected(spec, self.bias), operands, shape, fields=b.through(x, spec.axes)
        )


@dataclass(frozen=True, slots=True, repr=False)
class Linear(Layer):
    """Fully connected layer, for a vector or for what ``Flatten`` made of a map.

    After ``Flatten`` it is computed as a convolution whose kernel is as large as the map, so
    nothing has to be moved. Its parameters are ``weight`` ``(features, inputs)``, the inputs of a
    map with the channels first, and ``bias`` ``(features,)``.

    Parameters
    ----------
    features : int
        Numbers that it gives.
    bias : bool
        Add a bias to each of them.
    bits : int from 2 to 8, optional
        As for ``Conv``.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Sequential(nn.Flatten(), nn.Linear(10)), (16, 5, 5)).output.shape
    (10,)
    """

    features: int
    _: KW_ONLY
    bias: bool = True
    bits: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        features = whole("features", self.features, 1)
        if (x.space and not b.flat(x)) or x.kind != "float":
            raise FaltungError(
                f"Linear {b.current!r} needs a vector, got {x.shape} {b.after(x)}: put Flatten() "
                "before it"
            )
        space = x.space or (1,)
        spec = conv_spec((1, x.channels, *space), (features, x.channels, *space), dtype=b.dtype)
        given = affine(b, x, spec, features, self.bias, self.bits, shape=(features, x.size))
        operands = [x, *given]
        return b.node(Convolve(spec, self.bias), operands, (features,))


def conv_weight(
    b: Builder,
    spec: ConvSpec,
    *,
    fan_in: int | None = None,
    shape: tuple[int, ...] | None = None,
    computed: bool = False,
) -> Value:
    """The weight of a convolution. In memory: tap, input channel, output channel, so that packing
    copies whole rows. computed: there is a formula between them, so that it lies like a map.
    """
    inner = spec.weight_shape
    return b.parameter(
        "weight",
        shape or inner,
        inner=inner,
        order=map_order(spec.rank + 2) if computed else (*range(2, spec.rank + 2), 1, 0),
        fan_in=fan_in or prod(inner[1:]),
    )


def affine(
    b: Builder,
    x: Value,
    spec: ConvSpec,
    channels: int,
    has_bias: bool,
    bits: int | None,
    *,
    shape: tuple[int, ...] | None = None,
) -> list[Value]:
    """The weight of a convolution, and its bias, if it has one: with ``bits`` on grids."""
    levels = bits_of(bits)
    weight = conv_weight(b, spec, shape=shape, computed=levels is not None)
    if levels is None:
        return [weight, bias(b, channels)] if has_bias else [weight]
    scale = grid_scale(b, x)
    made, scales = weight_on_grid(b, weight, levels, bias=has_bias, scale=scale)
    if not has_bias:
        return [made]
    shift = bias(b, channels)
    return [made, shift if scale is None else bias_on_grid(b, shift, scales, scale)]


def bias(b: Builder, channels: int) -> Value:
    return b.parameter("bias", (channels,), initial=0.0, decay=False)


def spatial(b: Builder, x: Value, kind: str) -> Value:
    """``x`` as a map with at least one axis of space."""
    x = b.settled(x)
    if not x.space or x.kind != "float":
        raise FaltungError(
            f"{kind} {b.current!r} needs (channels, *space), got {x.shape} {b.after(x)}"
        )
    return x


def fits(
    b: Builder,
    x: Value,
    kind: str,
    kernel: Sequence[int],
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    ceil: bool = False,
) -> None:
    """ValueError that says the size needed and the size there, where the kernel is too large.

    ceil: the last window may reach beyond, by less than the stride.
    """
    rank = len(x.space)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    pairs = pads(padding, sizes=x.space, kernel=kernel, stride=strides, dilation=dilations)
    needs = [
        max(1, d * (k - 1) + 1 - lo - hi - (s - 1) * ceil)
        for k, s, d, (lo, hi) in zip(kernel, strides, dilations, pairs, strict=True)
    ]
    if any(n > have for n, have in zip(needs, x.space, strict=True)):
        raise FaltungError(
            f"{kind} {b.current!r} needs at least {sizes(needs)}, got {sizes(x.space)} {b.after(x)}"
        )
