"""Programs of networks that were quantised: which values are kept in 8 bits, and what runs in
integers.
"""

from collections.abc import Collection, Sequence

from faltung.geometry.levels import stored_as
from faltung.graph.grids import in_8_bits, levels_of, read_in_8_bits
from faltung.graph.ops import ConvolveInteger
from faltung.graph.value import Graph, Node, Value
from faltung.program.places import Places

Nodes = tuple[Node, ...]


def settled(
    graph: Graph, nodes: Nodes, outputs: Sequence[Value], first: Collection[str]
) -> tuple[Nodes, Places, dict[str, str]]:
    """The nodes, where their values are, and the types of the buffers that are kept in 8 bits.

    first: names of inputs that are stored channels first. Values are kept in 8 bits in networks
    with convolutions of whole numbers, which read nothing else.
    """
    names = [value.name for value in graph.inputs]
    places = Places(nodes, names, first)
    if not any(isinstance(node.op, ConvolveInteger) for node in nodes):
        return nodes, places, {}
    kinds = kept_in_8_bits(nodes, places, outputs)

    def stored(value: Value) -> str:
        return kinds.get(places.root(value).name, "")

    copied = read_in_8_bits(nodes, stored)
    if len(copied) > len(nodes):
        nodes, places = copied, Places(copied, names, first)
        kinds = kept_in_8_bits(nodes, places, outputs)
    return in_8_bits(nodes, stored), places, kinds


def kept_in_8_bits(
    nodes: Sequence[Node], places: Places, outputs: Sequence[Value]
) -> dict[str, str]:
    """The buffers that hold nothing but levels of 8 bits, with their types, but for results."""
    found = levels_of(nodes)
    bounds: dict[str, tuple[int, int]] = {}
    others = {places.root(value).name for value in outputs}
    for node in nodes:
        for value in node.outputs:
            root = places.root(value).name
            if value.name not in found or root not in places.made:
                others.add(root)
                continue
            low, high = found[value.name]
            before = bounds.get(root, (low, high))
            bounds[root] = min(low, before[0]), max(high, before[1])
    kinds = {root: stored_as(*each) for root, each in bounds.items() if root not in others}
    return {root: kind for root, kind in kinds.items() if kind}
