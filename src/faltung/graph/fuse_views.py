"""Views are put behind formulas, so that they stand in the way of no fusion.

A model from elsewhere merges its batch with other axes, and parts them again. For one sample that
is no change at all, for several it is a ``View``: what is fused, and with it the bits of a sample,
must not depend on that. So a formula of a map that is only seen otherwise is computed as the map
lies, and its result is seen otherwise. Channels stay what they are.
"""

from collections.abc import Sequence
from dataclasses import replace

from faltung.graph.ops import Elementwise, View
from faltung.graph.value import Node, Value


def views_last(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The same computation with views behind formulas; some views may be of no use then."""
    sources: dict[str, Value] = {}  # of values that are others, seen with the same channels
    made: list[Node] = []
    for node in nodes:
        x = node.inputs[0] if node.inputs else None
        if x is not None and isinstance(node.op, View) and x.channels == node.output.channels:
            source = sources.get(x.name, x)
            sources[node.output.name] = source
            made.append(replace(node, inputs=(source,)))
            continue
        moved = _before_the_view(node, sources)
        if moved is None:
            made.append(node)
            continue
        made.append(moved)
        if moved.outputs != node.outputs:
            sources[node.output.name] = moved.output
            made.append(Node(View(), moved.outputs, node.outputs, node.layer))
    return tuple(made)


def _before_the_view(node: Node, sources: dict[str, Value]) -> Node | None:
    """A formula over what its maps are views of; None: none is one, or their forms differ."""
    op = node.op
    if not isinstance(op, Elementwise) or op.reductions or len(op.outputs) > 1 or not op.batched:
        return None
    if op.outputs[0].uses("random"):
        return None
    inputs: list[Value] = []
    forms: set[tuple[int, tuple[int, ...]]] = set()
    for value in node.inputs:
        if _is_map(value, node.output):
            value = sources.get(value.name, value)
            forms.add((value.samples, value.shape))
        elif value.batched or value.samples > 1 or value.shape not in ((), op.shape[:1]):
            return None
        inputs.append(value)
    if len(forms) != 1 or tuple(inputs) == node.inputs:
        return None
    ((samples, shape),) = forms
    if (samples, shape) == (node.output.samples, node.output.shape):
        return replace(node, inputs=tuple(inputs))
    out = Value(f"{node.output.name}.source", shape, samples=samples)
    return replace(node, op=replace(op, shape=shape), inputs=tuple(inputs), outputs=(out,))


def _is_map(value: Value, output: Value) -> bool:
    whole = value.shape == output.shape and value.samples == output.samples
    return value.batched and value.kind == "float" and whole
