"""Resampling that needs no pass of its own: one into the next, and paddings into what reads them.

A padding before a convolution becomes that of its axes, where these have the mode; zeros before a
mean count as its own, and a padding with minus infinity is that of a maximum. One resampling after
another is a single one, where that takes no more terms.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import inf

from faltung.geometry.axis import MODES, Axis
from faltung.geometry.errors import FaltungError
from faltung.geometry.resample import Table
from faltung.graph.ops import Convolve, LocallyConnected, Op, Pool, Resample
from faltung.graph.value import Graph, Node, consumers

# Entries that a padding may add to an axis: a mode is found by comparing.
MOST_ADDED = 1 << 12


def absorbed(graph: Graph) -> Graph:
    """The same network with fewer resamplings; its outputs and what it has for training stay."""
    if not any(isinstance(node.op, Resample) for node in graph.nodes):
        return graph
    kept = {value.name for value in graph.outputs}
    kept |= {auxiliary.output.name for auxiliary in graph.auxiliaries}
    kept |= {value.name for _, value in graph.updates}
    nodes = _each(_each(graph.nodes, kept, _merged), kept, _padded)
    return replace(graph, nodes=nodes)


def _each(
    nodes: tuple[Node, ...], kept: Collection[str], joined: Callable[[Node, Node, bool], Op | None]
) -> tuple[Node, ...]:
    """Readers of a resampling that read what it reads instead; it goes where nobody is left.

    joined: the operation of the reader then, or None where it must stay as it is; it is told
    whether that is the only reader.
    """
    made = list(nodes)
    places = {node.output.name: number for number, node in enumerate(made)}
    readers = consumers(nodes)
    for number, reader in enumerate(made):
        x = reader.inputs[0] if reader.inputs else None
        if x is None or x.name not in places:
            continue
        maker = made[places[x.name]]
        if not isinstance(maker.op, Resample):
            continue
        alone = len(readers[x.name]) == 1 and x.name not in kept
        op = joined(maker, reader, alone)
        if op is not None:
            made[number] = replace(reader, op=op, inputs=(maker.inputs[0], *reader.inputs[1:]))
    read = consumers(tuple(made))
    return tuple(node for node in made if _stays(node, read, readers, kept))


def _stays(
    node: Node,
    read: Mapping[str, object],
    before: Mapping[str, object],
    kept: Collection[str],
) -> bool:
    """Not a resampling that had readers and has none any more."""
    name = node.output.name
    return name in kept or name in read or name not in before or not isinstance(node.op, Resample)


# One after another --------------------------------------------------------------------------------


def _merged(first: Node, second: Node, alone: bool) -> Op | None:
    """One resampling for two, if on each axis one of the two only moves entries."""
    a, b = first.op, second.op
    assert isinstance(a, Resample)
    # Others would read it too: only what is copied anyway is copied twice.
    if not isinstance(b, Resample) or not (alone or all(t is None or t.copies for t in a.tables)):
        return None
    pairs = list(zip(a.tables, b.tables, strict=True))
    if any(one and other and not (one.copies or other.copies) for one, other in pairs):
        return None
    if _holes(a):
        weighted = any(table and not table.copies for table in b.tables)
        # What was filled would be summed up with weights, or filled with something else.
        if (a.fill and weighted) or (_holes(b) and a.fill != b.fill):
            return None
    tables = (other.after(one) if one and other else one or other for one, other in pairs)
    return Resample(tuple(tables), b.fill if _holes(b) else a.fill)


def _holes(op: Resample) -> bool:
    return any(table is not None and table.empty for table in op.tables)


# Paddings -----------------------------------------------------------------------------------------


def _padded(first: Node, second: Node, alone: bool) -> Op | None:
    """The reader with the padding before it as its own."""
    pad, op = first.op, second.op
    assert isinstance(pad, Resample)
    if not isinstance(op, Convolve | LocallyConnected | Pool):
        return None
    if pad.tables[0] is not None or second.inputs[0] in second.inputs[1:]:
        return None
    maximum = isinstance(op, Pool) and op.spec.kind == "max"
    if _holes(pad) and pad.fill != (-inf if maximum else 0.0):
        return None
    axes = []
    for axis, table in zip(op.spec.axes, pad.tables[1:], strict=True):
        made = axis if table is None or table.identity else _axis(axis, table)
        if made is None:
            return None
        axes.append(made)
    try:
        return _with_axes(op, tuple(axes))
    except FaltungError:  # a window of nothing but padding, for example
        return None


def _with_axes(op: Convolve | LocallyConnected | Pool, axes: tuple[Axis, ...]) -> Op | None:
    if not isinstance(op, Pool):
        return replace(op, spec=replace(op.spec, axes=axes))
    spec = op.spec
    if any(axis.mode != "zeros" for axis in axes):
        return None
    if spec.kind == "average" and not spec.count_padding:
        # Its own padding does not count, but the zeros before it do.
        if any(axis.lo or axis.hi for axis in spec.axes):
            return None
        return replace(op, spec=replace(spec, axes=axes, count_padding=True))
    return replace(op, spec=replace(spec, axes=axes))


def _axis(axis: Axis, table: Table) -> Axis | None:
    """The axis of what the table reads, whose padding is that of the table and its own."""
    own = axis.lo, axis.hi
    if min(own) < 0:
        return None
    for mode in MODES:
        if any(own) and mode != axis.mode:
            continue
        if any(own) and mode not in ("zeros", "replicate"):
            continue  # a mirror of a mirror is none of the edge
        found = _ends(table, mode)
        if found is not None:
            lo, hi = found
            try:
                return replace(axis, size=table.size, lo=lo + own[0], hi=hi + own[1], mode=mode)
            except FaltungError:
                return None
    return None


def _ends(table: Table, mode: str) -> tuple[int, int] | None:
    """What a padding of this mode adds before and after the axis; None if the table is none."""
    added = table.output - table.size
    if not 0 <= added <= MOST_ADDED or not table.copies:
        return None
    rows: list[int | None] = []
    place = 0
    for count in table.counts:
        rows.append(table.indices[place] if count else None)
        place += count
    for lo in range(added + 1):
        if rows[lo] != 0 or rows[lo + table.size - 1] != table.size - 1:
            continue
        try:
            axis = Axis(table.size, 1, lo=lo, hi=added - lo, mode=mode)
        except FaltungError:
            continue
        if rows == [axis.source(i) for i in range(-lo, table.size + added - lo)]:
            return lo, added - lo
    return None
