"""``Model.to_torch``: a network of ours as a module of PyTorch, with the same numbers."""

from collections.abc import Callable

import numpy as np
import torch
from torch import fx

from faltung.graph.fuse import needed
from faltung.graph.value import Node
from faltung.torch import emit_formulas, emit_layers, emit_moves
from faltung.torch.emitter import Emitter
from faltung.train.network import Network

EMIT: dict[type, Callable[[Emitter, Node], fx.Node]] = {
    **emit_formulas.EMIT,
    **emit_layers.EMIT,
    **emit_moves.EMIT,
}


def to_torch(model: Network) -> fx.GraphModule:
    """``Model.to_torch``."""
    graph = model.training_graph
    e = Emitter(graph, model.parameters)
    read = e.fx.placeholder("x")
    e.made[graph.input.name] = read
    if model.standard is not None:
        e.made[graph.input.name] = _standardised(e, model, read)
    for node in needed(graph.nodes, {graph.output.name}):
        emit(e, node)
    e.fx.output(_in_units(e, model, e.of(graph.output)))
    made = fx.GraphModule(e.root, e.fx, "Model")
    for name in e.fleeting:
        made._non_persistent_buffers_set.add(name)
    return made.eval()


def emit(e: Emitter, node: Node) -> None:
    """Add a node of the network. UnsupportedError: one that PyTorch has no form for."""
    e.layer = node.layer
    found = EMIT.get(type(node.op))
    if found is None:
        raise e.refused(f"the operation {type(node.op).__name__}")
    e.made[node.output.name] = found(e, node)


def _in_units(e: Emitter, model: Network, made: fx.Node) -> fx.Node:
    """Outputs in the units of the targets."""
    if model.target_scale is None:
        return made
    rank = len(model.graph.output.shape)
    pair = np.array([model.target_scale.mean, model.target_scale.std])
    mean, std = (e.constant(each.reshape(-1, *(1,) * (rank - 1))) for each in pair)
    return e.call(torch.add, e.call(torch.mul, made, std), mean)


def _standardised(e: Emitter, model: Network, x: fx.Node) -> fx.Node:
    """Samples as they are read, pictures from 0 to 1, as the network was trained to see them."""
    assert model.standard is not None
    units, rank = model.units, len(model.input_shape)
    times = 1.0 if units is None or units.white is None else units.white / units.scale
    pair = np.array([model.standard.mean, model.standard.std]) / times
    mean, std = (e.constant(each.reshape(-1, *(1,) * (rank - 1))) for each in pair)
    return e.call(torch.div, e.call(torch.sub, x, mean), std)
