"""Numbers on grids: of activations a layer, of weights what layers with ``bits`` share.

A network with these layers is a network of real numbers that lie on grids of few levels, in float32
as in 8 bits: so it is trained, and so a program may store it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from itertools import pairwise

from faltung.geometry.check import integer, real, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import operand
from faltung.geometry.levels import grid_of, on_grid, stored_as
from faltung.geometry.record import dataclass
from faltung.geometry.resample import Table
from faltung.graph.builder import Builder
from faltung.graph.ops import (
    Concat,
    Elementwise,
    Op,
    Permute,
    Pool,
    Resample,
    Reshape,
    Slice,
    View,
)
from faltung.graph.scales import MOST_INT32, levels
from faltung.graph.value import Follows, Value
from faltung.nn.layer import Layer, numbers

LEAST_BITS, MOST_BITS = 2, 8
# The smallest and largest scale: of both, and of their products with scales of weights, there are
# normal numbers in float32.
SMALLEST, LARGEST = 2.0**-60, 2.0**60
W, S = operand(0), operand(1)


@dataclass(frozen=True, slots=True, repr=False)
class Quantise(Layer):
    """The nearest number of a grid, ``(clip(round(x / scale) + zero, low, high) - zero) * scale``.

    What it gives can be stored as whole numbers of 8 bits. Its gradient passes straight through
    within the range of the grid, and is zero outside. ``faltung.compress`` inserts these layers.

    Parameters
    ----------
    scale : float, above 0
        What one level is worth.
    zero : int
        The level that stands for 0, from ``low`` to ``high``.
    low, high : int
        The levels, of which 8 bits hold all: from 0 to 255 or from -128 to 127.

    References
    ----------
    B. Jacob et al., *Quantization and training of neural networks for efficient
    integer-arithmetic-only inference*, CVPR 2018.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.Quantise(0.5), (4,)).predict([[-1.0, 0.2, 0.3, 1.0]])
    array([[0. , 0. , 0.5, 1. ]], dtype=float32)
    """

    scale: float
    _: KW_ONLY
    zero: int = 0
    low: int = 0
    high: int = 255

    def build(self, b: Builder, x: Value) -> Value:
        numbers(b, x)
        scale = real("scale", self.scale)
        if not SMALLEST <= scale <= LARGEST:
            raise FaltungError(
                f"scale={show(self.scale)}: must be above 0, from {SMALLEST:.1g} to {LARGEST:.1g}"
            )
        low, zero, high = self.low, self.zero, self.high
        if not low <= zero <= high or not stored_as(low, high):
            raise FaltungError(
                f"low={low}, zero={zero}, high={high}: must be in this order, and within 0 to 255 "
                "or -128 to 127"
            )
        return b.elementwise(on_grid(W, scale, zero, low, high), x)


def bits_of(bits: int | None) -> int | None:
    """The argument ``bits`` of a layer. TypeError, ValueError."""
    if bits is None:
        return None
    found = integer(bits)
    if found is None:
        raise FaltungTypeError(f"bits={show(bits)}: must be an int, or None")
    if not LEAST_BITS <= found <= MOST_BITS:
        raise FaltungError(
            f"bits={show(bits)}: must be from {LEAST_BITS} to {MOST_BITS}, or None for all digits"
        )
    return found


def map_order(rank: int) -> tuple[int, ...]:
    """The order in memory of a weight that is computed: that of maps, output channels last."""
    return (*range(1, rank), 0)


def weight_on_grid(
    b: Builder,
    weight: Value,
    bits: int,
    axis: int = 0,
    bias: bool = False,
    scale: float | None = None,
) -> tuple[Value, Value]:
    """A weight on a grid with a scale for each output channel, which are its ``axis``, and the kept
    parameter ``weight_scale`` ``(channels,)``. bias, scale: whether the layer has a bias, and the
    scale of its input.
    """
    count, rank = weight.shape[axis], len(weight.shape)
    known = bias and scale is not None
    follows = Follows(
        weight.name,
        axis,
        bits,
        f"{b.current}.bias" if known else "",
        scale or 0.0 if known else 0.0,
    )
    scales = b.parameter(
        "weight_scale", (count,), initial=1.0, decay=False, trained=False, follows=follows
    )
    read = scales
    if axis:  # beside the other axes, of which it has 1
        wide = tuple(count if i == axis else 1 for i in range(rank))
        read = b.nodes(View(), (scales,), wide, batched=0)[0]
    top = levels(bits)
    op = Elementwise(weight.shape, (on_grid(W, S, 0, -top, top),), batched=False)
    (made,) = b.nodes(op, (weight, read), weight.shape, batched=0)
    return made, scales


def bias_on_grid(b: Builder, bias: Value, scales: Value, input_scale: float) -> Value:
    """A bias in whole numbers of the unit that products of inputs and weights have."""
    formula = on_grid(W, S * input_scale, 0, -MOST_INT32, MOST_INT32)
    op = Elementwise(bias.shape, (formula,), batched=False)
    return b.nodes(op, (bias, scales), bias.shape, batched=0)[0]


def grid_scale(b: Builder, x: Value) -> float | None:
    """The scale of the grid on which all numbers of a value lie, if they do and it is one number.

    Zeros of a padding are on every grid.
    """
    node = b.maker(Value(x.name, x.shape, x.batched, x.kind, x.samples))
    if node is None:
        return None
    op = node.op
    if isinstance(op, Elementwise) and len(op.outputs) == 1 and not op.reductions:
        found = grid_of(op.outputs[0])
        if found is not None:
            return found.scale.value
    if isinstance(op, Concat):
        scales = {grid_scale(b, value) for value in node.inputs}
        return scales.pop() if len(scales) == 1 else None
    # What leaves out entries in training is not there at inference: both have the same parameters.
    drops = node.kind is not None and node.kind.name in ("Dropout", "StochasticDepth")
    return grid_scale(b, node.inputs[0]) if drops or moves(op) else None


def moves(op: Op) -> bool:
    """Whether all numbers of a result are numbers of the one map that is read, or zeros: they lie
    on its grid.
    """
    if isinstance(op, Pool):
        return op.spec.kind == "max"
    if isinstance(op, Resample):
        rows = all(t is None or _picks(t) for t in op.tables)
        return rows and op.fill == 0 and op.epilogue is None
    return isinstance(op, Reshape | View | Permute | Slice)


def _picks(table: Table) -> bool:
    most = max((b - a for a, b in pairwise(table.starts)), default=0)
    return most <= 1 and set(table.weights) <= {1.0}
