"""How each operation takes the channels of what it reads to those of what it makes: the table from
which the dependencies of channels follow.

A rule gives labels to the channels of a node's outputs, and to the axes of its parameters. Channels
that can only be removed together get one label. An operation that the table does not have pins all
channels that it reads or makes.
"""

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from faltung.compress.labels import Labels, Ties
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.value import Graph, Node, Parameter, Value
from faltung.nn import ChannelShuffle, PixelShuffle

Axis = tuple[str, int]
# What a removal changes besides what is gone.
MIXED = "its statistics are those of all channels"


@dataclass
class Channels:
    """Labels as they spread over a graph.

    of: by the name of a value the labels of its channels. axes: for an axis of a parameter, as
    users see it, the labels of its slices. reads: the axes of weights along which they read
    channels: without their slices it is as if the channels were zero. approximate: the labels of
    channels whose removal also changes others, with the reason.
    """

    graph: Graph
    ties: Ties = field(default_factory=Ties)
    of: dict[str, Labels] = field(default_factory=dict)
    axes: dict[Axis, Labels] = field(default_factory=dict)
    reads: set[Axis] = field(default_factory=set)
    approximate: list[tuple[Labels, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = {p.name: p for p in self.graph.parameters}

    def labels(self, value: Value) -> Labels:
        """Of the channels of a value; new ones where it has none yet."""
        if value.name not in self.of:
            made = self.ties.new(value.channels if value.shape else 0)
            self.of[value.name] = made
            if value.name in self.parameters and value.shape:
                self.axis(self.parameters[value.name], 0, made)
        return self.of[value.name]

    def axis(self, parameter: Parameter, axis: int, labels: Labels, *, reads: bool = False) -> None:
        """The slices of a parameter along an axis of ``inner`` belong to these channels."""
        shape, inner = parameter.shape, parameter.inner
        if len(shape) != len(inner) and axis == 1:  # (features, C * positions), channels first
            labels = np.repeat(labels, shape[1] // inner[1])
        key = parameter.name, axis
        if key in self.axes:
            self.ties.tie(self.axes[key], labels)
        self.axes.setdefault(key, labels)
        if reads:
            self.reads.add(key)

    def make(self, value: Value, labels: Labels) -> None:
        self.of[value.name] = labels

    def pin(self, node: Node, why: str) -> None:
        """All channels at a node stay, and all slices of its parameters."""
        for value in (*node.inputs, *node.outputs):
            if value.shape and value.kind != "key":
                self.ties.pin(self.labels(value), why)

    def mixes(self, node: Node, why: str = MIXED) -> None:
        self.approximate.append((self.labels(node.inputs[0]), why))


Rule = Callable[[Channels, Node], None]


# Sums of products ---------------------------------------------------------------------------------


def _weighted(c: Channels, node: Node, out_axis: int, in_axis: int, made: Labels) -> bool:
    """Labels for the axes of a weight that reads all channels. False: it is computed."""
    p = c.parameters.get(node.inputs[1].name)
    if p is None:
        return False
    c.axis(p, out_axis, made)
    c.axis(p, in_axis, c.labels(node.inputs[0]), reads=True)
    return True


def _vectors(c: Channels, values: Sequence[Value], made: Labels) -> None:
    """Biases, and what formulas read besides."""
    for value in values:
        if value.shape and value.shape[0] == len(made):
            c.ties.tie(c.labels(value), made)


def whole_groups(node: Node) -> bool:
    """Whether a convolution in groups loses whole ones, rather than the same channels of each."""
    groups = node.op.spec.groups  # type: ignore[union-attr]
    return bool(groups >= max(node.inputs[0].channels // groups, 2))


def _convolve(c: Channels, node: Node) -> None:
    transposed = isinstance(node.op, ops.ConvolveInput)
    spec: Any = node.op.spec  # type: ignore[union-attr]
    x, made = c.labels(node.inputs[0]), c.ties.new(node.output.channels)
    c.make(node.output, made)
    out_axis, in_axis = (1, 0) if transposed else (0, 1)
    if spec.groups == 1:
        if not _weighted(c, node, out_axis, in_axis, made):
            c.pin(node, "its weight is computed")
        _vectors(c, node.inputs[2:], made)
        return
    p = c.parameters.get(node.inputs[1].name)
    if p is None:
        c.pin(node, "its weight is computed")
        return
    inputs, outputs = x.reshape(spec.groups, -1), made.reshape(spec.groups, -1)
    own, other = (inputs, outputs) if transposed else (outputs, inputs)
    if whole_groups(node):
        for read, written in zip(inputs, outputs, strict=True):
            c.ties.together([*read.tolist(), *written.tolist()])
    else:
        for labels in (*inputs.T, *outputs.T):
            c.ties.together(labels.tolist())
        c.axis(p, 1, other[0], reads=not transposed)
    c.axis(p, 0, own.ravel(), reads=transposed)
    _vectors(c, node.inputs[2:], made)


def _local(c: Channels, node: Node) -> None:
    rank = node.op.spec.rank  # type: ignore[union-attr]
    made = c.ties.new(node.output.channels)
    c.make(node.output, made)
    if not _weighted(c, node, rank, rank + 1, made):
        c.pin(node, "its weight is computed")
        return
    for value in node.inputs[2:]:  # (*output, C_out): its first axis is space
        p = c.parameters[value.name]
        c.of[value.name] = c.ties.new(0)
        c.axis(p, rank, made)


def _recurrent(c: Channels, node: Node) -> None:
    """What it reads may go; its states belong to gates, recurrent weights and both directions."""
    op: Any = node.op
    c.pin(replace(node, inputs=node.inputs[1:]), "its states stay")
    each, rest = divmod(len(node.inputs) - 1, op.layer.directions)
    for value in node.inputs[1::each]:
        p = c.parameters.get(value.name)
        if p is None or rest or p.inner[1] != node.inputs[0].channels:
            c.pin(node, "its weight is computed")
            return
        c.axis(p, 1, c.labels(node.inputs[0]), reads=True)


def _embed(c: Channels, node: Node) -> None:
    made = c.ties.new(node.output.channels)
    p = c.parameters.get(node.inputs[1].name)
    c.make(node.output, made)
    if p is None:
        c.pin(node, "its table is computed")
    else:
        c.axis(p, 1, made)


# Channel by channel -------------------------------------------------------------------------------


def _same(c: Channels, node: Node) -> None:
    """Each channel is made of the same one."""
    for value in node.outputs:
        c.make(value, c.labels(node.inputs[0]))


def _elementwise(c: Channels, node: Node) -> None:
    op: Any = node.op
    channels = op.shape[0] if op.shape else 1
    made = c.ties.new(channels)
    for value in node.inputs:
        vector = len(value.shape) == 1 or len(value.shape) == len(op.shape)
        if value.shape and value.kind != "key" and vector and value.shape[0] == channels:
            c.ties.tie(c.labels(value), made)
    for number, value in enumerate(node.outputs):
        scalar = number >= len(op.outputs)
        if scalar and op.reductions[number - len(op.outputs)].kind == "scalar":
            c.ties.pin(made, "all channels are summed")
            c.ties.pin(c.labels(value), "all channels are summed")
        else:
            c.make(value, made)


def _reduce(c: Channels, node: Node) -> None:
    if 0 in node.op.axes:  # type: ignore[union-attr]
        c.pin(node, "channels are reduced to one")
        return
    made = c.ties.new(node.output.channels)
    for value in node.inputs:
        if value.shape and value.shape[0] == len(made):
            c.ties.tie(c.labels(value), made)
    for value in node.outputs:
        c.make(value, made)


def _normalise(c: Channels, node: Node) -> None:
    op: Any = node.op
    if op.over == "axes":
        c.pin(node, "statistics over any axes")
        return
    x = c.labels(node.inputs[0])
    if op.over != "batch":
        c.mixes(node)
    if op.over == "group" and op.groups > 1:
        for labels in x.reshape(op.groups, -1).T:
            c.ties.together(labels.tolist())
    for value in node.inputs[1:]:
        c.ties.tie(c.labels(value), x)
    for value in node.outputs:
        fits = bool(value.shape) and value.shape[0] == len(x)
        c.make(value, x if fits else c.ties.new(value.channels))


def _neighbours(c: Channels, node: Node) -> None:
    c.mixes(node, "its neighbours are others")
    _same(c, node)


def _along_space(c: Channels, node: Node) -> None:
    """Softmax, sums and extremes along an axis: channel by channel unless it is theirs."""
    op: Any = node.op
    axes = op.axes if isinstance(op, ops.Softmax) else (op.axis,)
    if 0 in axes:
        c.pin(node, f"{type(op).__name__} over channels")
    else:
        _same(c, node)


def _resample(c: Channels, node: Node) -> None:
    if node.op.tables[0] is not None:  # type: ignore[union-attr]
        c.pin(node, "channels are resampled")
        return
    made = c.labels(node.inputs[0])
    c.make(node.output, made)
    _vectors(c, node.inputs[1:], made)


# Other orders -------------------------------------------------------------------------------------


def _concat(c: Channels, node: Node) -> None:
    c.make(node.output, np.concatenate([c.labels(value) for value in node.inputs]))


def _slice(c: Channels, node: Node) -> None:
    start = node.op.start  # type: ignore[union-attr]
    labels = c.labels(node.inputs[0])
    c.make(node.output, labels[start : start + node.output.channels])


def _reshape(c: Channels, node: Node) -> None:
    """In the order of users; without the batch, channels first."""
    (x,) = node.inputs
    every = np.repeat(c.labels(x), x.positions)
    _parted(c, node, every.reshape(node.output.channels, -1))


def _view(c: Channels, node: Node) -> None:
    """In the order of memory, channels last."""
    (x,) = node.inputs
    every = np.tile(c.labels(x), x.samples * x.positions)
    _parted(
        c, node, every.reshape(-1, node.output.channels).T, not x.channels % node.output.channels
    )


def _permute(c: Channels, node: Node) -> None:
    """Layers of ``nn`` whose sizes follow from the channels that are left."""
    op: Any = node.op
    (x,) = node.inputs
    labels = c.labels(x)
    layer = node.kind.layer if node.kind is not None else None
    if isinstance(layer, ChannelShuffle):
        for same in labels.reshape(layer.groups, -1).T:
            c.ties.together(same.tolist())
    elif op.dims[-1] != x.channels and not isinstance(layer, PixelShuffle):
        c.pin(node, "parts of its channels change places")
        return
    every = np.broadcast_to(labels, (x.samples * x.positions, x.channels)).reshape(op.dims)
    made = every.transpose(op.axes).reshape(-1, node.output.channels)
    _parted(c, node, made.T, isinstance(layer, PixelShuffle))


def _parted(c: Channels, node: Node, parts: Labels, join: bool = False) -> None:
    """Labels of an output, given those of everything in each of its channels: if they differ, they
    belong together where ``join`` says so.
    """
    made = parts[:, 0].copy()
    if (parts != made[:, None]).any():
        if not join:
            c.pin(node, "channels and positions are mixed")
            return
        for labels in parts:
            c.ties.together(set(labels.tolist()))
    c.make(node.output, made)


RULES: dict[type, Rule] = {
    ops.Convolve: _convolve,
    ops.ConvolveInput: _convolve,
    ops.LocallyConnected: _local,
    ops.Recurrent: _recurrent,
    ops.Embed: _embed,
    ops.Elementwise: _elementwise,
    ops.Reduce: _reduce,
    ops.Normalise: _normalise,
    ops.ChannelConv: _neighbours,
    ops.Softmax: _along_space,
    ops.Cumulative: _along_space,
    ops.Dropout: _same,
    ops.Pool: _same,
    ops.Resample: _resample,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Reshape: _reshape,
    ops.View: _view,
    ops.Permute: _permute,
}
