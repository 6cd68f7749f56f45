"""Layers that can be taken apart: their weights, and the layers that stages of factors become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.factors import Stage
from faltung.geometry.check import per_axis
from faltung.geometry.conv import ITEMSIZE
from faltung.geometry.padding import pads
from faltung.geometry.record import dataclass
from faltung.graph.ops import Convolve, ConvolveInput
from faltung.graph.value import Graph, Node, Value
from faltung.nn import Conv, ConvTranspose, Flatten, Layer, Linear, Sequential
from faltung.nn.edit import paths
from faltung.train.model import Model

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class AxisFacts:
    """One axis of a layer; ``size``, ``out``: of what it reads and gives. extra: its output padding
    where it is transposed.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    pad: tuple[int, int]
    mode: str
    extra: int = 0

    @property
    def plain(self) -> bool:
        """Whether a layer without this axis does the same along it."""
        return (self.kernel, self.stride, self.pad, self.extra) == (1, 1, (0, 0), 0)


@dataclass(frozen=True)
class Site:
    """A layer with a weight, in a network for samples of one shape. input: what it reads."""

    name: str
    layer: Layer
    input: Value
    axes: tuple[AxisFacts, ...]
    groups: int
    outs: int
    ins: int
    item: int

    @property
    def transposed(self) -> bool:
        return isinstance(self.layer, ConvTranspose)

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(axis.kernel for axis in self.axes)

    @property
    def biased(self) -> bool:
        return bool(getattr(self.layer, "bias", False))

    def weight(self, model: Model) -> Array:
        """Its weight as (groups, outs, ins, *kernel), in float64."""
        w = model.state.get(f"{self.name}.weight").astype(np.float64)
        if self.transposed:
            w = w.reshape(self.groups, self.ins, self.outs, *self.kernel)
            return w.swapaxes(1, 2)
        return w.reshape(self.groups, self.outs, self.ins, *self.kernel)

    def stored(self, layer: Layer, factor: Array) -> Array:
        """The weight of a stage as the parameter of its layer."""
        groups, outs, ins, *kernel = factor.shape
        if isinstance(layer, Linear):
            return factor.reshape(outs, ins)
        if isinstance(layer, ConvTranspose):
            return factor.swapaxes(1, 2).reshape(groups * ins, outs, *kernel)
        return factor.reshape(groups * outs, ins, *kernel)

    def whole(self) -> Stage:
        """The layer as it is."""
        return Stage(self.groups, self.outs, self.ins, tuple(range(len(self.axes))))

    def cost(self, stages: Sequence[Stage]) -> tuple[int, int]:
        """Bytes of the weights, and multiply-adds for a sample."""
        count = macs = 0
        sizes = [axis.size for axis in self.axes]
        for stage in stages:
            before = prod(sizes)
            for a in stage.axes:
                sizes[a] = self.axes[a].out
            weights = stage.weights(self.kernel)
            count += weights
            macs += weights * (before if self.transposed else prod(sizes))
        return count * self.item, macs * self.input.samples

    def layers(self, stages: Sequence[Stage], leaf: str) -> list[Layer]:
        """The layers of stages; ``leaf``: what their names begin with."""
        last = len(stages) - 1
        return [
            self._layer(stage, self.biased and number == last, f"{leaf}_{number + 1}")
            for number, stage in enumerate(stages)
        ]

    def alone(self, layers: Sequence[Layer]) -> tuple[Layer, tuple[int, ...]]:
        """A network of nothing but these layers, and the shape of what it reads."""
        shape = self.input.shape
        flat = isinstance(self.layer, Linear) and len(shape) > 1
        return Sequential(*([Flatten()] if flat else []), *layers), shape

    def _layer(self, stage: Stage, bias: bool, name: str) -> Layer:
        channels = stage.groups * stage.outs
        if isinstance(self.layer, Linear):
            return Linear(channels, bias=bias, name=name)
        here = [axis if a in stage.axes else _NOTHING for a, axis in enumerate(self.axes)]
        words: dict[str, Any] = {
            "stride": _compact([axis.stride for axis in here]),
            "padding": _compact([_pair(axis.pad) for axis in here]),
            "dilation": _compact([axis.dilation if axis.kernel > 1 else 1 for axis in here]),
            "groups": stage.groups,
            "bias": bias,
            "name": name,
        }
        kernel = _compact([axis.kernel for axis in here])
        if self.transposed and not all(axis.plain for axis in here):
            extra = _compact([axis.extra for axis in here])
            return ConvTranspose(channels, kernel, output_padding=extra, **words)
        if isinstance(self.layer, Conv):
            words["padding_mode"] = _compact([axis.mode for axis in here])
            words["flip"] = self.layer.flip and any(axis.kernel > 1 for axis in here)
        return Conv(channels, kernel, **words)


_NOTHING = AxisFacts(1, 1, 1, 1, 1, (0, 0), "zeros")


def _pair(pad: tuple[int, int]) -> Any:
    return pad[0] if pad[0] == pad[1] else pad


def _compact(values: Sequence[Any]) -> Any:
    """One value where all are the same."""
    alike = all(value == values[0] for value in values)
    return values[0] if alike and not isinstance(values[0], tuple) else tuple(values)


def sites(model: Model) -> tuple[list[Site], dict[str, str]]:
    """All layers that can be taken apart, auxiliary classifiers too, and of the others that have a
    weight of this kind the reason why they cannot.
    """
    known, found, left = paths(model.net), dict[str, Site](), dict[str, str]()
    for graph in (model.graph, model.training_graph):
        for node in graph.nodes:
            name = node.layer
            if not isinstance(node.op, Convolve | ConvolveInput) or name in found or name in left:
                continue
            why = _why_not(node, known.get(name), graph)
            if why:
                left[name] = why
            else:
                found[name] = _site(node, known[name], graph)
    return list(found.values()), left


def _why_not(node: Node, layer: Layer | None, graph: Graph) -> str:
    if not isinstance(layer, Conv | ConvTranspose | Linear):
        return "it is part of another layer, or of a network from elsewhere"
    if getattr(layer, "bits", None) is not None:
        return "its weights lie on a grid"
    if not any(p.name == f"{node.layer}.weight" for p in graph.parameters):
        return "its weight is computed"
    return ""


def _site(node: Node, layer: Layer, graph: Graph) -> Site:
    op = node.op
    assert isinstance(op, Convolve | ConvolveInput)
    spec, x = op.spec, node.inputs[0]
    item = ITEMSIZE[graph.dtype]
    if isinstance(layer, Linear):
        outs, ins = graph.parameter(f"{node.layer}.weight").shape
        return Site(node.layer, layer, x, (), 1, outs, ins, item)
    axes = tuple(_transposed(layer, x) if isinstance(layer, ConvTranspose) else _forward(op))
    ins, outs = x.channels // spec.groups, node.output.channels // spec.groups
    return Site(node.layer, layer, x, axes, spec.groups, outs, ins, item)


def _forward(op: Convolve | ConvolveInput) -> Iterator[AxisFacts]:
    for a in op.spec.axes:
        mode = a.mode if a.lo or a.hi else "zeros"
        yield AxisFacts(a.size, a.output, a.kernel, a.stride, a.dilation, (a.lo, a.hi), mode)


def _transposed(layer: ConvTranspose, x: Value) -> Iterator[AxisFacts]:
    rank = len(x.space)
    kernel, stride, dilation, extra = (
        per_axis(name, getattr(layer, name), rank, least)
        for name, least in (("kernel", 1), ("stride", 1), ("dilation", 1), ("output_padding", 0))
    )
    whole = [n * s for n, s in zip(x.space, stride, strict=True)]
    padding = pads(layer.padding, sizes=whole, kernel=kernel, stride=stride, dilation=dilation)
    for n, k, s, d, p, (lo, hi) in zip(
        x.space, kernel, stride, dilation, extra, padding, strict=True
    ):
        out = (n - 1) * s - lo - hi + d * (k - 1) + p + 1
        yield AxisFacts(n, out, k, s, d, (lo, hi), "zeros", p)
