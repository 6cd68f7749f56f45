"""Pooling layers."""

from dataclasses import dataclass

from faltung.geometry.check import PerAxis, per_axis
from faltung.geometry.expr import operand
from faltung.geometry.padding import Padding
from faltung.geometry.pool import pool_spec
from faltung.graph.builder import Builder
from faltung.graph.ops import Elementwise, Pool, Reduction
from faltung.graph.value import Value
from faltung.nn.conv import fits, spatial
from faltung.nn.layer import Layer


@dataclass(frozen=True, slots=True, repr=False)
class MaxPool(Layer):
    """The maximum of each window; padding is never the maximum. stride: by default the kernel.
    ceil: the last window may reach beyond the input, as PyTorch's ceil_mode.
    """

    kernel: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "MaxPool")
        return _pool(b, x, self, "max", self.dilation, True)


@dataclass(frozen=True, slots=True, repr=False)
class AvgPool(Layer):
    """The mean of each window. count_padding: zeros of the padding count in the mean."""

    kernel: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "AvgPool")
        return _pool(b, x, self, "average", 1, self.count_padding)


@dataclass(frozen=True, slots=True, repr=False)
class GlobalAvgPool(Layer):
    """The mean of each channel over all positions: (C, *space) -> (C,)."""

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
