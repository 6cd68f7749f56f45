"""The kind of work that a node is, as one asks where the time of a network goes."""

from collections.abc import Sequence

from faltung.geometry.conv import ConvSpec
from faltung.graph import ops
from faltung.graph.value import Node, Value

POINTWISE = "1x1, linear"
DEPTHWISE = "depthwise"
GROUPED = "grouped"
OTHER = "other convolutions"
CHAIN = "chains in bands"
PRODUCTS = "products of two values"
RECURRENT = "recurrent"
MAPS = "pools, gates, norms"
COPIES = "copies"
PACKING = "packing of weights"
OPTIMIZER = "optimizer"
HOST = "host"

KINDS = (
    POINTWISE,
    DEPTHWISE,
    GROUPED,
    OTHER,
    CHAIN,
    PRODUCTS,
    RECURRENT,
    MAPS,
    COPIES,
    PACKING,
    OPTIMIZER,
    HOST,
)

_BY_OPERATION: dict[type, str] = {
    **dict.fromkeys((ops.Contract, ops.Attention), PRODUCTS),
    **dict.fromkeys((ops.Recurrent, ops.Recurrence, ops.RecurrenceGrad), RECURRENT),
    **dict.fromkeys(
        (
            ops.Concat,
            ops.Slice,
            ops.FirstPosition,
            ops.ToChannelsLast,
            ops.Reshape,
            ops.View,
            ops.Permute,
            ops.Resample,
            ops.Embed,
            ops.EmbedGrad,
            ops.ToFloat,
        ),
        COPIES,
    ),
}


def kinds(nodes: Sequence[Node]) -> list[str]:
    """The kind of each node of a network, one of ``KINDS``."""
    makers = {value.name: node for node in nodes for value in node.outputs}
    return [kind(node, makers) for node in nodes]


def kind(node: Node, makers: dict[str, Node]) -> str:
    """The kind of a node. makers: the nodes by the names of what they make."""
    op = node.op
    spec = getattr(op, "spec", None)
    if isinstance(spec, ConvSpec):
        return _convolution(spec)
    if isinstance(op, ops.Contract) and any(_weight(value, makers) for value in node.inputs[:2]):
        return POINTWISE
    return _BY_OPERATION.get(type(op), MAPS)


def _convolution(spec: ConvSpec) -> str:
    if spec.groups > 1:
        return DEPTHWISE if spec.groups == spec.channels_in else GROUPED
    # A linear layer behind a map is a convolution whose kernel is as large as the map.
    whole = all(axis.kernel == axis.size and not (axis.lo or axis.hi) for axis in spec.axes)
    return POINTWISE if spec.taps == 1 or whole else OTHER


def _weight(value: Value, makers: dict[str, Node]) -> bool:
    """Whether a value is a weight, or one that was multiplied by a gate for each sample."""
    if not value.batched:
        return True
    maker = makers.get(value.name)
    if maker is None or not isinstance(maker.op, ops.Elementwise):
        return False
    return any(not v.batched and v.shape == maker.op.shape for v in maker.inputs)
