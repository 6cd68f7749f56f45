"""What a page about one sample shows of the layers: groups of them, and branches side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.graph.ops import Concat
from faltung.graph.summary_row import LayerRow
from faltung.graph.summary_table import described
from faltung.graph.value import Graph, Node

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Group:
    """A layer and what follows it, a normalisation, an activation. last: whose maps are shown."""

    name: str
    last: str
    what: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One way through a block. name: its own; start, end: its channels in what the block makes."""

    name: str
    groups: tuple[Group, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """Branches over the same input whose maps are put one after the other."""

    name: str
    branches: tuple[Branch, ...]
    shape: tuple[int, ...]


def steps(graph: Graph, rows: Sequence[LayerRow]) -> list[Group | Block]:
    """The way of a sample through the network. rows: of its summary."""
    groups = _groups(rows)
    blocks = [b for node in graph.nodes if (b := _block(graph, node, groups)) is not None]
    inside = {g.name: block for block in blocks for branch in block.branches for g in branch.groups}
    inside |= {block.name: block for block in blocks}
    made: list[Group | Block] = []
    for group in groups:
        block = inside.get(group.name)
        if block is None:
            made.append(group)
        elif block not in made:
            made.append(block)
    return made


def _groups(rows: Sequence[LayerRow]) -> list[Group]:
    found: list[list[LayerRow]] = []
    for row in rows:
        if found and row.follows and found[-1][0].name.count(".") == row.name.count("."):
            found[-1].append(row)
        else:
            found.append([row])
    return [Group(some[0].name, some[-1].name, described(some), some[-1].output) for some in found]


def _block(graph: Graph, node: Node, groups: Sequence[Group]) -> Block | None:
    """The block that a concatenation ends, if at least two of its branches have layers of their
    own; not those of which one only hands on what was there, as in a U-Net or a dense block.
    """
    if not isinstance(node.op, Concat) or len(node.inputs) < 2:
        return None
    makers = {value.name: each.layer for each in graph.nodes for value in each.outputs}
    scope = f"{node.layer}."
    branches, start = [], 0
    for value in node.inputs:
        maker = makers.get(value.name, "")
        if not maker.startswith(scope):
            return None
        name = maker.removeprefix(scope).partition(".")[0]
        own = tuple(
            g for g in groups if g.name == scope + name or g.name.startswith(f"{scope}{name}.")
        )
        branches.append(Branch(name, own, start, start + value.channels))
        start += value.channels
    if not all(branch.groups for branch in branches):
        return None
    return Block(node.layer, tuple(branches), node.output.shape)


def evidence(block: Block, maps: Array, grads: Array) -> list[float]:
    """What each branch contributes to the output that the gradient is of, to first order: the sum
    of maps times gradients (C, *space) over its channels; parts of the sum of all sizes.
    """
    each = (maps.astype(np.float64) * grads).reshape(len(maps), -1).sum(1)
    found = [float(each[branch.start : branch.end].sum()) for branch in block.branches]
    total = sum(map(abs, found)) or 1.0
    return [part / total for part in found]
