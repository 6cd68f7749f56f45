"""Pooling layers."""

from __future__ import annotations

from dataclasses import KW_ONLY

from faltung.geometry.check import PerAxis, per_axis
from faltung.geometry.expr import operand
from faltung.geometry.padding import Padding
from faltung.geometry.pool import pool_spec
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.ops import Elementwise, Pool, Reduction
from faltung.graph.value import Value
from faltung.nn.conv import fits, spatial
from faltung.nn.layer import Layer


@dataclass(frozen=True, slots=True, repr=False)
class MaxPool(Layer):
    """The maximum of each window. Padding is never the maximum.

    Parameters
    ----------
    kernel : int, or one int for each spatial axis
        The size of a window.
    stride : int, or one int for each spatial axis, optional
        By default the kernel.
    padding : int, name, or one entry for each spatial axis
        As for ``faltung.conv``.
    dilation : int, or one int for each spatial axis
    ceil : bool
        The last window may reach beyond the input, as with PyTorch's ceil_mode.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.MaxPool(3, stride=2, padding=1), (16, 32, 32)).output.shape
    (16, 16, 16)
    """

    kernel: PerAxis
    _: KW_ONLY
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "MaxPool")
        return _pool(b, x, self, "max", self.dilation, True)


@dataclass(frozen=True, slots=True, repr=False)
class AvgPool(Layer):
    """The mean of each window.

    Parameters
    ----------
    kernel, stride, padding, ceil
        As for ``MaxPool``.
    count_padding : bool
        Zeros of the padding count in the mean.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.AvgPool(2), (16, 32, 32)).output.shape
    (16, 16, 16)
    """

    kernel: PerAxis
    _: KW_ONLY
    stride: PerAxis | None = None
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "AvgPool")
        return _pool(b, x, self, "average", 1, self.count_padding)


@dataclass(frozen=True, slots=True, repr=False)
class GlobalAvgPool(Layer):
    """The mean of each channel over all positions: ``(C, *space)`` -> ``(C,)``.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, *Network in network*, ICLR 2014.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.GlobalAvgPool(), (16, 32, 32)).output.shape
    (16,)
    """

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "GlobalAvgPool")
        total = Reduction(operand(0), "sample", mean=True)
        return b.node(Elementwise(x.shape, (), (total,)), (x,), (x.channels,))


def _pool(
    b: Builder,
    x: Value,
    layer: MaxPool | AvgPool,
    kind: str,
    dilation: PerAxis,
    count_padding: bool,
) -> Value:
    kernel = per_axis("kernel", layer.kernel, len(x.space), 1)
    stride = kernel if layer.stride is None else layer.stride
    fits(b, x, type(layer).__name__, kernel, stride, layer.padding, dilation, bool(layer.ceil))
    spec = pool_spec(
        (1, *x.shape),
        kernel,
        kind=kind,
        stride=stride,
        padding=layer.padding,
        dilation=dilation,
        ceil=layer.ceil,
        count_padding=count_padding,
        dtype=b.dtype,
    )
    shape = (x.channels, *(axis.output for axis in spec.axes))
    return b.node(Pool(spec), (x,), shape, fields=b.through(x, spec.axes))
