"""Numbers on grids as ONNX says them: QuantizeLinear and DequantizeLinear (QDQ).

An activation goes there and back. A weight is stored as the whole numbers of its grid, in 8 bits,
with a scale for each output channel; a bias in 32 bits, in the unit of the products. So readers
find the layers that they can compute in whole numbers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.onnx_writer import Writer
from faltung.geometry.expr import Expr, constant
from faltung.geometry.levels import Level, grid_of, stored_as
from faltung.geometry.record import dataclass
from faltung.graph.ops import Elementwise, View
from faltung.graph.value import Node, Value
from faltung.reference.expr import evaluate

Array = npt.NDArray[Any]
# What the types hold; scales and what is quantised are float32.
RANGES = {"uint8": (0, 255), "int8": (-128, 127), "int32": (-(2**31), 2**31 - 1)}


@dataclass(frozen=True, slots=True)
class Stored:
    """A parameter on a grid: whole numbers, in the shape that users see, and what one is worth.

    axis: of the whole numbers along which the scales lie.
    """

    levels: Array
    scale: Array
    axis: int


def activation(writer: Writer, node: Node) -> str | None:
    """The nodes of an activation that is put on a grid; None if that is not what a node does."""
    found = _level(node)
    if found is None or not node.output.batched or writer.dtype != np.float32:
        return None
    scale, zero = found.scale.value, found.zero.value
    if len(node.inputs) != 1 or found.x.op != "operand" or scale is None or zero is None:
        return None
    kind = found.stored
    if not kind:
        return None
    x = writer.name(node.inputs[0])
    if (found.low, found.high) != RANGES[kind]:  # fewer levels than the type has
        ends = ((end - zero) * np.float32(scale) for end in (found.low, found.high))
        x = writer.node("Clip", x, *(writer.tensor(np.float32(end)) for end in ends))
    given = writer.tensor(np.float32(scale)), writer.tensor(np.asarray(zero, kind))
    return writer.node("DequantizeLinear", writer.node("QuantizeLinear", x, *given), *given)


def stored(writer: Writer, value: Value) -> Stored | None:
    """The whole numbers of a value that is a parameter on a grid; None for other values."""
    node = writer.makers.get(value.name)
    found = None if node is None else _level(node)
    if node is None or found is None or node.output.batched or writer.dtype != np.float32:
        return None
    arrays, axis = [], 0
    for read in node.inputs:
        maker = writer.makers.get(read.name)
        if maker is not None and isinstance(maker.op, View):
            axis = next((i for i, n in enumerate(read.shape) if n > 1), len(read.shape) > 1)
            read = maker.inputs[0]
        if not writer.is_parameter(read):
            return None
        arrays.append(writer.array(read))
    shape = node.output.shape
    wide = [a.reshape(_beside(a, shape, axis)) for a in arrays]
    kind = stored_as(found.low, found.high) or "int32"
    levels = evaluate(_whole(found), wide, dtype=np.float32).astype(kind)
    scale = evaluate(found.scale, wide, dtype=np.float32)
    axes = tuple(i for i in range(len(shape)) if i != axis)
    return Stored(levels, np.ascontiguousarray(scale.max(axes)), axis)


def parameter(writer: Writer, name: str, given: Stored, levels: Array) -> str:
    """A parameter as whole numbers and what takes them back. levels: in the order of the reader."""
    scale = writer.tensor(given.scale, f"{name}_scale")
    whole = writer.tensor(levels, f"{name}_levels")
    zeros = []
    if levels.dtype == np.int8:
        # Of its own: some readers change what they find, and fail where it is shared.
        zeros = [writer.tensor(np.zeros(given.scale.shape, np.int8), f"{name}_zero")]
    return writer.node("DequantizeLinear", whole, scale, *zeros, axis=given.axis)


def _level(node: Node) -> Level | None:
    op = node.op
    if not isinstance(op, Elementwise) or len(op.outputs) != 1 or op.reductions:
        return None
    return grid_of(op.outputs[0])


def _whole(found: Level) -> Expr:
    ratio = Expr("div", (found.x, found.scale))
    return Expr("snap", (ratio, constant(found.low), constant(found.high)))


def _beside(array: Array, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape in which a parameter is read beside others of ``shape``."""
    if array.ndim == len(shape):
        return array.shape
    return tuple(array.size if i == axis else 1 for i in range(len(shape)))
