"""What nodes of an ATen graph cost, roughly: to decide which pieces are worth their edges.

Nominal, from shapes and the row of this processor, so that the same model is cut in the same way in
every process.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import fx

from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.torch import sizes

# Microseconds: of one operator of PyTorch, of one that sums products, of one node of ours, of a
# call of a program, of an edge, and of what a call costs more that has gradients.
OPERATOR, PRODUCT, NODE, CALL, EDGE, BACKWARD = 4.0, 18.0, 0.4, 8.0, 1.0, 40.0
# Which part of the peak sums of products reach: in eager, and here.
EAGER, OURS = 0.35, 0.65
# What a step of training costs more than an inference.
TRAINING = 3.0


@dataclass(frozen=True, slots=True)
class Work:
    """macs: multiplications with an addition. bytes: read and written. operators: calls of PyTorch,
    and of these sums of products.
    """

    macs: float
    bytes: float
    operators: int
    products: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.macs + other.macs,
            self.bytes + other.bytes,
            self.operators + other.operators,
            self.products + other.products,
        )


def size(node: Any) -> float:
    """Numbers in the results of a node."""
    found = node.meta.get("val") if isinstance(node, fx.Node) else node
    several = found if isinstance(found, list | tuple) else [found]
    shapes = [sizes.shape_of(x) for x in several if isinstance(x, torch.Tensor)]
    return float(sum(prod(shape) for shape in shapes if shape is not None))


def bytes_of(node: Any) -> float:
    """Bytes of the results of a node."""
    found = node.meta.get("val") if isinstance(node, fx.Node) else node
    several = found if isinstance(found, list | tuple) else [found]
    return sum(size(x) * x.element_size() for x in several if isinstance(x, torch.Tensor))


def work(node: fx.Node) -> Work:
    """What one node computes and moves."""
    if node.target is operator.getitem or node.op != "call_function":
        return Work(0, 0, 0)
    target: Any = node.target
    if getattr(target, "is_view", False):
        return Work(0, 0, 1)
    name = getattr(getattr(target, "_schema", None), "name", "").split("::")[-1].rstrip("_")
    rule = _MACS.get(name)
    moved = bytes_of(node) + sum(map(bytes_of, node.all_input_nodes))
    return Work(rule(node) if rule else 0, moved, 1, rule is not None)


def total(nodes: Iterable[fx.Node]) -> Work:
    made = Work(0, 0, 0)
    for node in nodes:
        made += work(node)
    return made


def eager_us(done: Work) -> float:
    """Microseconds in eager."""
    peak, rate = _speed()
    calls = done.operators * OPERATOR + done.products * (PRODUCT - OPERATOR)
    return calls + done.macs / (peak * EAGER) + done.bytes / rate


def ours_us(done: Work, edges: Sequence[float]) -> float:
    """Microseconds in a program of ours, whose edges have these numbers of bytes."""
    peak, rate = _speed()
    moved = sum(EDGE + each / (2 * rate) for each in edges)  # some are copied
    inside = done.operators * NODE + done.macs / (peak * OURS) + done.bytes / (2 * rate)
    return CALL + moved + inside


@cache
def _speed() -> tuple[float, float]:
    """Multiply-adds, and bytes, in a microsecond."""
    here: Machine = current()
    lanes = here.vector_bytes // 4
    cores = min(here.cores, torch.get_num_threads())
    return here.speed.ghz * 1e3 * lanes * 2 * cores, here.speed.rates[3] * 1e3


# Sums of products ---------------------------------------------------------------------------------


def _argument(node: fx.Node, number: int) -> float:
    return size(node.args[number]) if len(node.args) > number else 0.0


def _shape(node: Any) -> tuple[int, ...]:
    found = node.meta.get("val")
    return (sizes.shape_of(found) or ()) if isinstance(found, torch.Tensor) else ()


def _of_conv(node: fx.Node) -> float:
    w = _shape(node.args[1])
    return size(node) * prod(w[1:]) if w else 0.0


def _of_transpose(node: fx.Node) -> float:
    w = _shape(node.args[1])
    return _argument(node, 0) * prod(w[1:]) if w else 0.0


def _of_product(node: fx.Node) -> float:
    """The result times the length of the sums: the last axis of the first operand."""
    first = next((x for x in node.all_input_nodes if len(_shape(x)) > 0), None)
    shape = _shape(first) if first is not None else ()
    return size(node) * (shape[-1] if shape else 0)


def _of_addmm(node: fx.Node) -> float:
    shape = _shape(node.args[1])
    return size(node) * (shape[-1] if shape else 0)


def _of_attention(node: fx.Node) -> float:
    q, k = _shape(node.args[0]), _shape(node.args[1])
    return 2.0 * prod(q) * k[-2] if len(k) > 1 else 0.0


def _of_recurrent(node: fx.Node) -> float:
    x = _shape(node.args[0])
    weights = node.args[2] if len(node.args) > 2 else ()
    each = (
        sum(size(w) for w in weights if isinstance(w, fx.Node))
        if isinstance(weights, list | tuple)
        else 0.0
    )
    return prod(x[:-1]) * each


_MACS: dict[str, Callable[[fx.Node], float]] = {
    **dict.fromkeys(["conv1d", "conv2d", "conv3d", "convolution"], _of_conv),
    **{f"conv_transpose{n}d": _of_transpose for n in (1, 2, 3)},
    **dict.fromkeys(["linear", "matmul", "mm", "bmm", "einsum"], _of_product),
    **dict.fromkeys(["addmm", "baddbmm"], _of_addmm),
    "scaled_dot_product_attention": _of_attention,
    **dict.fromkeys(["lstm", "gru", "rnn_tanh", "rnn_relu"], _of_recurrent),
}
