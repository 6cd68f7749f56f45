"""Views are put behind formulas, so that they stand in the way of no fusion.

A model from elsewhere merges its batch with other axes, and parts them again. For one sample that
is no change at all, for several it is a ``View``: what is fused, and with it the bits of a sample,
must not depend on that. So a formula of a map that is only seen otherwise is computed as the map
lies, and its result is seen otherwise. Channels stay what they are.
"""

from collections.abc import Sequence
from dataclasses import replace

from faltung.graph.ops import (
    Contract,
    Convolve,
    ConvolveInput,
    ConvolveInteger,
    Elementwise,
    View,
)
from faltung.graph.value import Node, Value


def views_last(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The same computation with views behind formulas; some views may be of no use then."""
    sources: dict[str, Value] = {}  # of values that are others, seen with the same channels
    products: dict[str, int] = {}
    made: list[Node] = []
    for node in nodes:
        x = node.inputs[0] if node.inputs else None
        if x is not None and isinstance(node.op, View) and x.channels == node.output.channels:
            source = sources.get(x.name, x)
            sources[node.output.name] = source
            made.append(replace(node, inputs=(source,)))
            continue
        if isinstance(node.op, Convolve | ConvolveInput | ConvolveInteger | Contract):
            products[node.output.name] = len(products)
        found = _before_the_view(node, sources, products)
        if found is None:
            made.append(node)
            continue
        moved = found[-1]
        made += found
        if moved.outputs != node.outputs:
            sources[node.output.name] = moved.output
            made.append(Node(View(), moved.outputs, node.outputs, node.layer))
    return tuple(made)


def _before_the_view(
    node: Node, sources: dict[str, Value], products: dict[str, int]
) -> list[Node] | None:
    """A formula in the form of what one of its maps is a view of, after views of the others in that
    form; None: none of its maps is a view. products: places of what convolutions made.
    """
    op = node.op
    if not isinstance(op, Elementwise) or op.reductions or len(op.outputs) > 1 or not op.batched:
        return None
    if op.outputs[0].uses("random"):
        return None
    maps = [value for value in node.inputs if _is_map(value, node.output)]
    seen = [sources[value.name] for value in maps if value.name in sources]
    others = [value for value in node.inputs if value not in maps]
    if not seen or not all(_is_shared(value, op.shape) for value in others):
        return None
    # Where a convolution made one of them, the last of these takes the formula as it stores.
    sums = [value for value in (sources.get(m.name, m) for m in maps) if value.name in products]
    form = max(sums, key=lambda value: products[value.name]) if sums else seen[0]
    views: list[Node] = []
    inputs: list[Value] = []
    for value in node.inputs:
        source = sources.get(value.name, value) if value in maps else value
        if value in maps and _form(source) != _form(form):
            source = value
        if value in maps and _form(source) != _form(form):
            like = replace(form, name=f"{value.name}.like.{node.output.name}")
            views.append(Node(View(), (source,), (like,), node.layer))
            source = like
        inputs.append(source)
    out = node.output
    if _form(form) != _form(out):
        out = replace(form, name=f"{out.name}.source")
    made = replace(node, op=replace(op, shape=form.shape), inputs=tuple(inputs), outputs=(out,))
    return [*views, made]


def _form(value: Value) -> tuple[int, tuple[int, ...]]:
    return value.samples, value.shape


def _is_shared(value: Value, shape: tuple[int, ...]) -> bool:
    """Whether a value is the same for all samples and positions."""
    return not value.batched and value.samples == 1 and value.shape in ((), shape[:1])


def _is_map(value: Value, output: Value) -> bool:
    whole = value.shape == output.shape and value.samples == output.samples
    return value.batched and value.kind == "float" and whole
