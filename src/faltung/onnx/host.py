"""Which operators run on the host, by NumPy, between the compiled parts of a model.

Those that a graph of real numbers has no word for by their nature: whole numbers and other types,
results whose size depends on numbers, selections by computed numbers. An operator on real numbers
that the graph merely lacks is none of them: it is a gap, which is named.
"""

from collections.abc import Sequence

from faltung.onnx.read import Call
from faltung.onnx.table import TABLE
from faltung.onnx.tensors import FLOATS, type_name

# The sizes of their results depend on the numbers of their inputs.
SIZES_DEPEND = frozenset("Compress MelWeightMatrix NonMaxSuppression NonZero Range Unique".split())
QUANTISED = frozenset(
    "ConvInteger DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul".split()
)
# Between real numbers and quantised ones: in a graph where it has both sides.
BETWEEN = frozenset(("QuantizeLinear", "DequantizeLinear"))
# Whole numbers that float32 holds, and what neither computes nor changes any.
SMALL = frozenset("uint8 int8 uint16 int16 uint4 int4 uint2 int2".split())
KEEPING = frozenset(
    "Concat Flatten Identity MaxPool Reshape Slice Split Squeeze Transpose Unsqueeze".split()
)
# A body that runs several times, in Python.
LOOPS = frozenset(("Loop", "Scan"))
# They read or write entries whose numbers may be computed; for each the inputs with the numbers.
SELECTIONS: dict[str, tuple[int, ...]] = {
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "MaxUnpool": (1,),
    "OneHot": (0,),
    "ReverseSequence": (1,),
    "Scatter": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "Slice": (1, 2, 3, 4),
    "TensorScatter": (2,),
}
# Of these also where the numbers are constants: a graph has no word for them.
SCATTERED = frozenset(
    """
    GatherElements GatherND MaxUnpool OneHot Scatter ScatterElements ScatterND ReverseSequence
    TensorScatter
    """.split()
)
# Their results are whole numbers, whatever they read.
COUNTS = frozenset("ArgMax ArgMin TopK BitCast".split())
CASTS = frozenset(("Cast", "CastLike"))
# What whole numbers, conditions and other types have, with the input that says which it is.
WHOLE: dict[str, int] = dict.fromkeys(
    """
    Abs Add And BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Clip Concat
    ConstantOfShape CumProd CumSum DepthToSpace Div Dropout Equal Expand EyeLike Flatten Gather
    GatherElements GatherND Gemm Greater GreaterOrEqual Identity Less LessOrEqual MatMul Max Mean
    Min Mod Mul Neg Not OneHot Or Pad Pow ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape ReverseSequence Scatter ScatterElements
    ScatterND Sign Slice SpaceToDepth Split Squeeze Sub Sum TensorScatter Tile TopK Transpose Trilu
    Unsqueeze Where Xor ArgMax ArgMin IsNaN IsInf
    """.split(),
    0,
) | {"Where": 1}
# What conditions have, and only they.
_LOGIC = frozenset("And Or Xor Not".split())


def eager(call: Call, dtypes: Sequence[str | None]) -> str | None:
    """Why a node runs on the host whatever the sizes; None: it is for a graph, as far as it knows
    the operator. dtypes: of the inputs.
    """
    op = call.op
    if call.domain:
        return None
    if op in LOOPS:
        return "a loop around its body"
    if op in SIZES_DEPEND:
        return "the size of its result depends on numbers"
    if op in QUANTISED:
        return "quantised numbers"
    if op in CASTS:
        return _cast(call, dtypes)
    if op in WHOLE:
        place = WHOLE[op]
        dtype = dtypes[place] if place < len(dtypes) else None
        if dtype == "bool" and op in TABLE:
            return None
        if dtype is not None and dtype not in FLOATS:
            return f"{dtype} numbers"
    return None


def target_of(call: Call, dtypes: Sequence[str | None]) -> str | None:
    """The type that a cast makes."""
    if call.op == "CastLike":
        return dtypes[1] if len(dtypes) > 1 else None
    to = call.attributes.get("to")
    return type_name(to) if isinstance(to, int) else None


def _cast(call: Call, dtypes: Sequence[str | None]) -> str | None:
    source, target = dtypes[0], target_of(call, dtypes)
    real = (*FLOATS, "bool")
    if source in real and target in real:
        return None
    return f"{source} to {target}"


def nature(
    call: Call,
    dtypes: Sequence[str | None],
    shapes: Sequence[tuple[int, ...] | None],
    computed: Sequence[bool],
    results: Sequence[tuple[tuple[int, ...] | None, str]],
) -> str | None:
    """Why a node that a graph could not say is for the host; None: it is a gap. shapes, computed:
    of the inputs, and whether each is not known before the model runs. results: shapes and types,
    as far as they are known.
    """
    op = call.op
    if call.domain:
        return None
    if any(shape is not None and 0 in shape for shape in shapes):
        return "a tensor without elements"
    if any(shape is not None and 0 in shape for shape, _ in results):
        return "a tensor without elements"
    if op in COUNTS:
        return "its result is whole numbers"
    if op in SCATTERED:
        return "a selection by numbers"
    chosen = SELECTIONS.get(op, ())
    if any(place < len(computed) and computed[place] for place in chosen):
        return "a selection by computed numbers"
    if op in CASTS:
        return f"{dtypes[0]} to {target_of(call, dtypes)}"
    if op in BETWEEN:
        return "quantised numbers"
    if op in _LOGIC:
        return "conditions"
    place = WHOLE.get(op)
    if place is not None and place < len(dtypes) and dtypes[place] not in (None, *FLOATS):
        return f"{dtypes[place]} numbers"
    if op == "MaxPool" and dtypes[0] not in FLOATS:
        return f"{dtypes[0]} numbers"
    if op == "MaxPool" and len(call.outputs) > 1 and call.outputs[1]:
        return "its second result is whole numbers"
    return None


def anywhere(call: Call) -> bool:
    """Whether there is such an operator, compiled or on the host."""
    known: set[str] = (
        TABLE.keys() | WHOLE.keys() | QUANTISED | LOOPS | SIZES_DEPEND | COUNTS | CASTS
    )
    return not call.domain and call.op in known
