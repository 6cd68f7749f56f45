"""Batch normalisation folded into the layer before it, or after it, as a network without it.

At inference a normalisation is an affine map of each channel, y = s x + t with s = gain /
sqrt(variance + eps) and t = shift - s mean (Jacob et al., 2018, section 3.2). Before it stands a
layer of sums, s (w x + b) + t = (s w) x + (s b + t): also several side by side, whose channels are
joined. Where there is none, the layers that read it can take it: w (s x + t) = (w s) x + w t, which
is the same at every position as long as no zeros are padded to y. ``LayerScale`` is such a map with
t = 0. Numbers are computed in float64 and rounded once, as a compiled network does it.

What stays: a map with an activation on either side, or one that several read of whom one cannot
take it.

B. Jacob et al., *Quantization and training of neural networks for efficient
integer-arithmetic-only inference*, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.means import Left, Outcome, remade
from faltung.geometry.record import dataclass
from faltung.graph.ops import Concat, Convolve, ConvolveInput, LocallyConnected, Normalise
from faltung.graph.value import Graph, Node, Value, consumers
from faltung.nn import BatchNorm, Conv, ConvTranspose, Layer, LayerScale, Linear, Local
from faltung.nn.edit import edit, paths
from faltung.train.model import Model

Array = npt.NDArray[Any]
SUMS = (Conv, ConvTranspose, Linear, Local)


@dataclass(frozen=True)
class Affine:
    """What a layer does with each channel: times ``scale``, plus ``shift``."""

    scale: Array
    shift: Array


def _norm(layer: Layer, read: Callable[[str], Array]) -> Affine:
    assert isinstance(layer, BatchNorm)
    names = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, variance = map(read, names)
    scale = gain / np.sqrt(variance + layer.eps)
    return Affine(scale, shift - scale * mean)


def _factors(layer: Layer, read: Callable[[str], Array]) -> Affine:
    scale = read("weight")
    return Affine(scale, np.zeros_like(scale))


# Layers that are an affine map of each channel at inference.
AFFINE: dict[type[Layer], Callable[[Layer, Callable[[str], Array]], Affine]] = {
    BatchNorm: _norm,
    LayerScale: _factors,
}


def fold(model: Model) -> Outcome:
    """The same function of the samples, without the normalisations that can be folded.

    The model is not changed. ``left``: the layers that stay, each with the reason.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> from faltung.compress.fold import fold
    >>> net = nn.Sequential(nn.Conv(4, 3, bias=False), nn.BatchNorm(), nn.ReLU())
    >>> fold(Model(net, (1, 8, 8))).model.net
    Sequential(Conv(4, 3), ReLU())
    """
    count, made = 0, model
    left: tuple[Left, ...] = ()
    while True:  # what was folded may have something else beside it that can be folded
        folds, left = _found(made)
        if not folds:
            break
        made = _applied(made, folds)
        count += len(folds)
    said = f"{count} {'layer' if count == 1 else 'layers'} folded" if count else ""
    return Outcome(made, left, said, changed=count > 0)


@dataclass(frozen=True)
class _Fold:
    """An affine layer, and the nodes that take it over: of each the channels [start, stop) of the
    map that are its own. ``before``: whether they stand before it.
    """

    name: str
    affine: Affine
    takers: tuple[tuple[Node, int, int], ...]
    before: bool


def _found(model: Model) -> tuple[list[_Fold], tuple[Left, ...]]:
    """What can be folded at once, no layer in two of them, and what stays."""
    known, taken = paths(model.net), set[str]()
    folds: list[_Fold] = []
    left: dict[str, str] = {}
    seen: set[str] = set()
    # Auxiliary classifiers are in the second graph only; what both have is the first one's to say.
    for graph in (model.graph, model.training_graph):
        walk = _Walk(graph, known, model.training_graph)
        for node in graph.nodes:
            if not _affine(node) or node.layer in seen:
                continue
            seen.add(node.layer)
            layer = known.get(node.layer)
            if layer is None:
                left[node.layer] = "it is part of a network from elsewhere"
                continue
            affine = AFFINE[type(layer)](layer, _reader(model, node.layer))
            takers, before, why = walk.takers(node, affine)
            names = {taker.layer for taker, _, _ in takers}
            if why:
                left[node.layer] = why
            elif not names & taken:  # else in the next round
                taken |= names
                folds.append(_Fold(node.layer, affine, takers, before))
    return folds, tuple(Left(name, why) for name, why in left.items())


def _affine(node: Node) -> bool:
    if isinstance(node.op, Normalise):
        return node.op.over == "batch"
    return node.kind is not None and type(node.kind.layer) in AFFINE


def _reader(model: Model, layer: str) -> Callable[[str], Array]:
    return lambda name: model.state.get(f"{layer}.{name}").astype(np.float64)


def _pads(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Convolve | LocallyConnected)
    return any(axis.mode == "zeros" and (axis.lo or axis.hi) for axis in op.spec.axes)


class _Walk:
    """A graph, and who makes and reads its values. ``known``: the layers that can be replaced.
    ``training``: where auxiliary classifiers read what at inference only one layer reads.
    """

    def __init__(self, graph: Graph, known: Mapping[str, Layer], training: Graph) -> None:
        readers = consumers(training.nodes)
        counts = (
            ((node.layer, type(node.op)), len(readers.get(node.output.name, ())))
            for node in training.nodes
        )
        self.in_training = dict(counts)
        self.makers = {value.name: node for node in graph.nodes for value in node.outputs}
        self.readers = consumers(graph.nodes)
        ends = (*graph.outputs, *(each.output for each in graph.auxiliaries))
        self.ends = {value.name for value in ends}
        self.known = known

    def takers(
        self, node: Node, affine: Affine
    ) -> tuple[tuple[tuple[Node, int, int], ...], bool, str]:
        """The nodes that can take over an affine one, whether they stand before it, and if there
        are none, why.
        """
        try:
            return tuple(self._before(node.inputs[0], 0)), True, ""
        except _No as no:
            why = str(no)
        try:
            return tuple(self._after(node, affine)), False, ""
        except _No as no:
            return (), False, f"{why}, and {no}"

    def _before(self, value: Value, start: int) -> Iterator[tuple[Node, int, int]]:
        """The nodes whose sums are the channels of a value that nothing else reads."""
        node = self.makers.get(value.name)
        if node is None:
            raise _No("it reads the input")
        several = self.in_training.get((node.layer, type(node.op)), 1) > 1
        if several or len(self.readers.get(value.name, ())) != 1 or value.name in self.ends:
            raise _No(f"others read {node.layer!r} before it too")
        if isinstance(node.op, Concat):
            for part in node.inputs:
                yield from self._before(part, start)
                start += part.channels
            return
        self._check(node)
        yield node, start, start + value.channels

    def _after(self, node: Node, affine: Affine) -> Iterator[tuple[Node, int, int]]:
        """The nodes that read a value, if all can take what it is into their weights."""
        value = node.output
        readers = self.readers.get(value.name, ())
        more = self.in_training.get((node.layer, type(node.op)), 0) > len(readers)
        if more or value.name in self.ends or not readers:
            raise _No("others read it in training" if more else "it is an output")
        for reader in readers:
            self._check(reader)
            if isinstance(reader.op, ConvolveInput):
                raise _No(f"{reader.layer!r} after it gives borders fewer terms")
            if affine.shift.any() and _pads(reader):
                raise _No(f"{reader.layer!r} after it pads with zeros")
            yield reader, 0, value.channels

    def _check(self, node: Node) -> None:
        layer = self.known.get(node.layer)
        sums = isinstance(node.op, Convolve | ConvolveInput | LocallyConnected)
        if not sums or not isinstance(layer, SUMS):
            kind = "" if node.kind is None else f"{node.kind.name} "
            raise _No(f"{kind}{node.layer!r} cannot take it")
        if getattr(layer, "bits", None) is not None:
            raise _No(f"the weights of {node.layer!r} lie on a grid")


class _No(Exception):
    """Why something cannot be folded."""


# Applying it --------------------------------------------------------------------------------------


def _applied(model: Model, folds: list[_Fold]) -> Model:
    """The model after all these folds."""
    known, values = paths(model.net), dict(model.parameters)
    edits: dict[str, Any] = {each.name: () for each in folds}
    for each in folds:
        for node, start, stop in each.takers:
            layer = known[node.layer]
            edits[node.layer] = replace(layer, bias=True)  # type: ignore[call-arg]
            weight, bias = f"{node.layer}.weight", f"{node.layer}.bias"
            part = Affine(each.affine.scale[start:stop], each.affine.shift[start:stop])
            take = _before if each.before else _after
            parameter = model.training_graph.parameter(weight)
            made = take(node, values[weight].reshape(parameter.inner), values.get(bias), part)
            values[weight] = made[0].reshape(parameter.shape)
            values[bias] = made[1]
    edited = edit(model.net, edits)
    return remade(model, edited.net, edited.parameters(values))


def _before(node: Node, w: Array, bias: Array | None, a: Affine) -> tuple[Array, Array]:
    """Weight and bias of a layer that gives ``a`` of what it gave."""
    op, w = node.op, w.astype(np.float64)
    if isinstance(op, ConvolveInput):  # (C_in, C_out / groups, *kernel)
        w = w * _of_groups(a.scale, op.spec.groups, w.shape)
    elif isinstance(op, LocallyConnected):  # (*output, C_out, C_in, *kernel)
        w = w * a.scale.reshape(-1, *(1,) * (op.spec.rank + 1))
    else:  # (C_out, C_in / groups, *kernel)
        w = w * a.scale.reshape(-1, *(1,) * (w.ndim - 1))
    return w, a.shift + np.zeros(_bias_shape(node)) if bias is None else bias * a.scale + a.shift


def _after(node: Node, w: Array, bias: Array | None, a: Affine) -> tuple[Array, Array]:
    """Weight and bias of a layer that reads what ``a`` read."""
    op, w = node.op, w.astype(np.float64)
    if isinstance(op, LocallyConnected):
        taps = tuple(range(w.ndim - op.spec.rank, w.ndim))
        ones = (1,) * len(taps)
        more = w.sum(taps) @ a.shift
        w = w * a.scale.reshape(-1, *ones)
    else:
        assert isinstance(op, Convolve)
        groups, sums = op.spec.groups, w.sum(tuple(range(2, w.ndim)))
        each = sums.reshape(groups, -1, w.shape[1]) * a.shift.reshape(groups, 1, -1)
        more = each.sum(2).reshape(-1)
        w = w * _of_groups(a.scale, groups, w.shape)
    return w, more if bias is None else bias + more


def _bias_shape(node: Node) -> tuple[int, ...]:
    op = node.op
    local = isinstance(op, LocallyConnected)
    return (*(op.spec.output if local else ()), node.output.channels)  # type: ignore[union-attr]


def _of_groups(factors: Array, groups: int, shape: tuple[int, ...]) -> Array:
    """The factors of channels, in groups, for a weight (rows, channels / groups, *kernel) whose
    rows are in the same groups.
    """
    each = factors.reshape(groups, 1, -1)
    each = np.broadcast_to(each, (groups, shape[0] // groups, each.shape[2]))
    return each.reshape(shape[0], -1, *(1,) * (len(shape) - 2))
