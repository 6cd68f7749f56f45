"""Constant folding: nodes whose inputs are known are computed while a model is imported.

By onnx's own reference evaluator, one node at a time, for operators whose results cannot be much
larger than what the bound here says: a file of a few bytes may ask for a tensor of terabytes.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Unsaid
from faltung.onnx import hostmath, hostops, hostpools, quantised
from faltung.onnx.read import Call, constant_of
from faltung.onnx.schemas import given, node_of
from faltung.onnx.tensors import TYPES, number_of

Array = npt.NDArray[Any]

# Numbers of a result, and multiplications or comparisons that it takes, at most.
MOST_NUMBERS = 1 << 27
MOST_WORK = 1 << 30

Inputs = Sequence[Array | None]


def _largest(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    """As large as what broadcasting makes of the inputs."""
    shapes = [x.shape for x in inputs if x is not None]
    return prod(np.broadcast_shapes(*shapes)) if shapes else 1


def _sum(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    return sum(x.size for x in inputs if x is not None)


def _first(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    assert inputs[0] is not None
    return inputs[0].size


def _product_of(place: int) -> Callable[[Inputs, Mapping[str, Any]], int]:
    """The product of the numbers of an input, times the size of the first."""

    def bound(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
        sizes = inputs[place] if len(inputs) > place else None
        if sizes is None:
            return _sum(inputs, attributes)
        data = inputs[0] if place and inputs[0] is not None else np.ones(1)
        return max(1, data.size) * max(1, prod(max(1, int(n)) for n in sizes.ravel()[:64]))

    return bound


def _expand(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    assert inputs[0] is not None
    shape = inputs[1] if len(inputs) > 1 else None
    if shape is None:
        return inputs[0].size
    return prod(np.broadcast_shapes(inputs[0].shape, tuple(int(n) for n in shape.ravel()[:64])))


def _range(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    start, stop, step = (float(np.ravel(x)[0]) for x in inputs if x is not None)
    if not step:
        raise FaltungError("Range: the step must not be 0")
    return int(min(max(0.0, (stop - start) / step) + 1, 1e18))


def _mel(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    bins, length = (int(np.ravel(x)[0]) for x in inputs[:2] if x is not None)
    return max(1, abs(bins)) * max(1, abs(length))


def _gather(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    data, indices = inputs[0], inputs[1]
    assert data is not None and indices is not None
    axis = attributes.get("axis", 0)
    size = data.shape[axis] if data.ndim and -data.ndim <= axis < data.ndim else 1
    return data.size // max(1, size) * indices.size


def _pad(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    pads = attributes.get("pads") if len(inputs) < 2 or inputs[1] is None else inputs[1].ravel()
    assert inputs[0] is not None and pads is not None
    more = sum(abs(int(p)) for p in pads)
    grown = [n + more for n in inputs[0].shape]
    return prod(grown)


def _matmul(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    a, b = inputs[0], inputs[1]
    assert a is not None and b is not None
    inner = max(1, min(a.shape[-1:] + b.shape[-1:] + (1 << 20,)))
    return int(a.size * b.size // inner)


def _one_hot(inputs: Inputs, attributes: Mapping[str, Any]) -> int:
    indices, depth = inputs[0], inputs[1]
    assert indices is not None and depth is not None
    return indices.size * max(1, int(np.ravel(depth)[0]))


_WORDS = """
    Abs Add And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Clip Cos
    Div Equal Erf Exp Floor Greater GreaterOrEqual Identity Less LessOrEqual Log Max Mean Min Mod
    Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sin Softplus Sqrt Sub Sum Tanh Tan Where
    Xor IsNaN IsInf Elu LeakyRelu Softmax LogSoftmax HardSigmoid
"""
_SAME = """
    Shape Size Squeeze Unsqueeze Reshape Flatten Transpose Slice Split Concat ArgMax ArgMin
    ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare
    ReduceLogSum ReduceLogSumExp CumSum NonZero TopK Unique ScatterND ScatterElements Scatter
    Trilu Dropout DequantizeLinear QuantizeLinear Compress GatherND GatherElements DepthToSpace
    SpaceToDepth BatchNormalization EyeLike BitCast CumProd DynamicQuantizeLinear Hardmax
    ReverseSequence TensorScatter
"""
OWN = {**hostmath.OWN, **hostops.OWN, **hostpools.OWN, **quantised.OWN}
BOUNDS: dict[str, Callable[[Inputs, Mapping[str, Any]], int]] = {
    **dict.fromkeys(_WORDS.split(), _largest),
    **dict.fromkeys(_SAME.split(), _sum),
    "CastLike": _first,
    "ConstantOfShape": _product_of(0),
    "Tile": _product_of(1),
    "Expand": _expand,
    "Range": _range,
    "Gather": _gather,
    "Pad": _pad,
    "MatMul": _matmul,
    "Gemm": _matmul,
    "OneHot": _one_hot,
    "MelWeightMatrix": _mel,
}


def foldable(call: Call) -> bool:
    return not call.domain and (call.op in BOUNDS or call.op in OWN or call.op == "Constant")


def evaluate(call: Call, inputs: Inputs) -> list[Array]:
    """The results of a node. Unsaid: too large. FaltungError: the node does not fit its inputs."""
    if call.op == "Constant":
        found = constant_of(call.attributes)
        if found is None:
            raise Unsaid("a constant of strings, or a sparse one")
        return [found]
    if not foldable(call):
        raise Unsaid("no such operator on the host")
    bound, own = BOUNDS.get(call.op), OWN.get(call.op)
    try:
        if bound is not None:
            numbers = bound(inputs, call.attributes)
            total = sum(x.size for x in inputs if x is not None)
            if numbers > MOST_NUMBERS + total:
                raise Unsaid(f"a constant of {numbers} numbers")
        if own is not None:
            with np.errstate(all="ignore"):
                return [np.asarray(x) for x in own(call.attributes, inputs)]
    except (FaltungError, MemoryError):
        raise
    except (ValueError, TypeError, IndexError, ArithmeticError, AssertionError) as error:
        raise FaltungError(_line(error)) from None
    return _run(call, inputs)


# Evaluators of nodes, by the id of the node, which is kept with its own.
_evaluators: dict[int, tuple[Call, Any]] = {}
_MOST_EVALUATORS = 4096


def _evaluator(call: Call) -> Any:
    found = _evaluators.get(id(call))
    if found is not None:
        return found[1]
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    node = node_of(call)
    names = [f"i{n}" if name else "" for n, name in enumerate(call.inputs)]
    outputs = [f"o{n}" if name else "" for n, name in enumerate(call.outputs)]
    del node.input[:], node.output[:]
    node.input.extend(names)
    node.output.extend(outputs)
    function = helper.make_function(
        "faltung",
        "one",
        [n for n in names if n],
        [o for o in outputs if o],
        [node],
        [helper.make_opsetid("", call.opset)],
    )
    made = ReferenceEvaluator(function)
    if len(_evaluators) >= _MOST_EVALUATORS:
        _evaluators.clear()
    _evaluators[id(call)] = call, made
    return made


def _run(call: Call, inputs: Inputs) -> list[Array]:
    feeds = {f"i{n}": x for n, x in enumerate(inputs) if x is not None}
    try:
        with np.errstate(all="ignore"):
            made = _evaluator(call).run(None, feeds, attributes={})
    except NotImplementedError:
        raise Unsaid("onnx's reference evaluator does not know it") from None
    except Exception as error:  # whatever the evaluator makes of nodes that are none
        raise FaltungError(_line(error)) from None
    results = iter(made)
    return [np.asarray(next(results)) if o else np.zeros(0) for o in call.outputs]


def inferred(call: Call, inputs: Sequence[Any]) -> list[tuple[tuple[int, ...] | None, str]]:
    """Shape and type of each result by the operator's definition; None where that is not known.
    inputs: arrays, and what has a shape and a dtype; None where nothing is known.
    """
    from onnx import defs, helper, numpy_helper, shape_inference

    nothing: list[tuple[tuple[int, ...] | None, str]] = [(None, "float32")] * len(call.outputs)
    names = [f"i{n}" if x is not None else "" for n, x in enumerate(inputs)]
    types, data = {}, {}
    try:
        for name, x in zip(names, inputs, strict=True):
            if x is None:
                continue
            types[name] = helper.make_tensor_type_proto(number_of(str(x.dtype)), x.shape)
            if isinstance(x, np.ndarray) and x.size <= 64:
                data[name] = numpy_helper.from_array(x, name)
        attributes = {name: given(value) for name, value in call.attributes.items()}
        outputs = [f"o{n}" for n in range(len(call.outputs))]
        node = helper.make_node(call.op, names, outputs, **attributes)
        found = shape_inference.infer_node_outputs(
            defs.get_schema(call.op, call.opset, ""), node, types, data
        )
    except Exception:  # of onnx, whatever its class: then it is not known
        return nothing
    made = []
    for name in outputs:
        shape, dtype = None, "float32"
        if name in found and found[name].HasField("tensor_type"):
            tensor = found[name].tensor_type
            dtype = TYPES.get(tensor.elem_type, ("", "float32"))[1]
            known = tensor.HasField("shape") and all(
                dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim
            )
            shape = tuple(dim.dim_value for dim in tensor.shape.dim) if known else None
        made.append((shape, dtype))
    return made


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
