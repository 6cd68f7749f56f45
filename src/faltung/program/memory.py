"""What a network and its training need in memory, added up before any of it is taken.

Sizes follow from arguments and from what is in files: one large token makes a large table. So a
network is refused by a sum, in words, and not by a system that ends the process.
"""

from collections.abc import Iterable
from math import prod

import numpy as np

from faltung.graph.ops import Concat, Convolve, LocallyConnected
from faltung.graph.value import Graph, Parameter
from faltung.runtime.buffers import ALIGNMENT
from faltung.runtime.memory import require

_DRAWN_BYTES = 8  # of one initial value while it is drawn
_SMALLER = "choose a smaller network"


def state_bytes(parameters: Iterable[Parameter], dtype: str) -> int:
    """Bytes of these parameters, each from the beginning of a cache line."""
    item = np.dtype(dtype).itemsize
    return sum(-(-prod(p.shape) * item // ALIGNMENT) * ALIGNMENT for p in parameters)


def require_network(graph: Graph, what: str = "net") -> None:
    """MemoryError: the parameters do not fit into memory, with those that are drawn for them, or
    one sample does not, with the largest value that it becomes.
    """
    most = largest(graph)
    drawn = 0 if most is None else _DRAWN_BYTES * prod(most.shape)
    need = 2 * state_bytes(graph.parameters, graph.dtype) + drawn
    require(need, f"{what}: {_largest(graph)}: the network alone", _SMALLER)
    values = max((prod(v.shape) for n in graph.nodes for v in n.outputs if v.batched), default=0)
    need = (prod(graph.input.shape) + values) * np.dtype(graph.dtype).itemsize
    require(need, f"{what}: one sample of {graph.input.shape}", "choose smaller samples")


def require_training(
    graph: Graph, slots: int, batch: int, *, taken: bool = False, what: str = "net"
) -> None:
    """MemoryError: what training needs at least does not fit into memory: parameters, gradients,
    ``slots`` numbers for each of them that the optimizer keeps, the copies of a checkpoint and of
    the best epoch, and what a batch of samples becomes. ``taken``: the parameters are there.
    """
    every = state_bytes(graph.parameters, graph.dtype)
    trained = state_bytes((p for p in graph.parameters if p.trained), graph.dtype)
    at_once = batch * sum(map(prod, _kept(graph))) * np.dtype(graph.dtype).itemsize
    need = (3 - taken) * every + (1 + 2 * slots) * trained + at_once
    small = "choose a smaller batch" if at_once > need // 2 and batch > 1 else _SMALLER
    require(
        need,
        f"{what}: {_largest(graph)}, {batch} samples of {graph.input.shape} at once: training",
        small,
    )


def _kept(graph: Graph) -> list[tuple[int, ...]]:
    """The shapes of values of a sample that are in memory together: the input, and what each
    convolution read, which its gradient reads again. Parts of a joined map count once.
    """
    parts = {v.name for node in graph.nodes if isinstance(node.op, Concat) for v in node.inputs}
    read = [*graph.inputs] + [
        node.inputs[0] for node in graph.nodes if isinstance(node.op, Convolve | LocallyConnected)
    ]
    found = {v.name: v.shape for v in read if v.name not in parts and v.batched}
    written = [v.shape for node in graph.nodes for v in node.outputs if v.batched]
    largest = max(written, key=prod, default=())
    return [*found.values(), *([largest] if largest not in found.values() else [])]


def largest(graph: Graph) -> Parameter | None:
    """The parameter with the most numbers."""
    return max(graph.parameters, key=lambda p: prod(p.shape), default=None)


def _largest(graph: Graph) -> str:
    """The parameters on one line: how many, and which are the most."""
    most = largest(graph)
    if most is None:
        return "no parameters"
    count = sum(prod(p.shape) for p in graph.parameters)
    return f"{count:,} parameters, most in {most.name} {most.shape}"
