"""A part of a network: the nodes that compute some positions of its outputs, and nothing else.

Walked backwards, the positions that are wanted of an output become those that each layer has to
read: through strides, dilation, pooling, transposed convolutions, resampling and branches, the
exact receptive field. The part has the same operations over smaller maps, with the padding of the
whole at its true ends alone, so that every number is the sum that it is in the whole network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import lcm

from faltung.geometry import part as parts
from faltung.geometry.axis import Axis
from faltung.geometry.errors import FaltungError
from faltung.geometry.part import Span, aligned, hull, part, part_transposed
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.geometry.resample import Table, selected
from faltung.graph import ops
from faltung.graph.ops import Convolve, ConvolveInput, ConvolveInteger, Elementwise, Pool, Resample
from faltung.graph.value import Node, Value

# A span for each axis of space.
Window = tuple[Span, ...]
# Along each axis of space, the multiples at which parts of a node's output may begin and end.
Grid = Callable[[Node], tuple[int, ...]]
# What computes each position from the same position of its operands.
_POINTWISE = (
    ops.Concat,
    ops.Slice,
    ops.ChannelConv,
    ops.GroupMean,
    ops.ToChannelsLast,
    ops.Elementwise,
    ops.Dropout,
)


@dataclass(frozen=True)
class Cut:
    """The nodes of a part, its inputs and outputs; ``windows``: where each of the values that it
    makes, or reads from outside, lies in that of the whole, by name.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    windows: Mapping[str, Window]


def whole(value: Value) -> Window:
    """All positions of a value."""
    return tuple((0, size) for size in value.space)


def is_map(value: Value) -> bool:
    """Whether a value has positions that can be cut."""
    return value.batched and bool(value.space)


# What a node reads --------------------------------------------------------------------------------


def why_whole(node: Node) -> str:
    """Why a node cannot be computed in parts, in a few words; "" where it can."""
    op, maps = node.op, [v for v in (*node.inputs, *node.outputs) if is_map(v)]
    if not maps:
        return ""
    if any(value.samples > 1 for value in maps):
        return "counts parts of a picture as samples"
    fixed = [v for v in node.inputs if not v.batched and len(v.shape) > 1]
    weighted = isinstance(op, Convolve | ConvolveInput | ConvolveInteger)
    if weighted and len(node.output.space) != op.spec.rank:  # type: ignore[union-attr]
        return "reads all positions at once"
    if not weighted and any(max(v.space) > 1 for v in fixed):
        return "has a parameter for each position"
    if weighted or isinstance(op, Pool | Resample):
        return ""
    if isinstance(op, Elementwise) and op.reductions:
        return "takes means or sums over all positions"
    if isinstance(op, _POINTWISE):
        return ""
    if isinstance(op, ops.Softmax | ops.Reduce) and tuple(op.axes) == (0,):
        batch = isinstance(op, ops.Reduce) and op.batch
        return "takes sums over the batch" if batch else ""
    if isinstance(op, ops.Arg | ops.Cumulative | ops.TopK) and op.axis == 0:
        return ""
    if isinstance(op, ops.Normalise):
        channels = op.over == "position" or (op.over == "axes" and op.axes == (0,))
        return "" if channels else "takes means over all positions"
    if isinstance(op, ops.Permute) and shuffles(node) is not None:
        return ""
    return "mixes or counts all positions"


def shuffles(node: Node) -> int | None:
    """Of a permutation that leaves positions together: 1 where it moves channels alone, the factor
    where channels become that many positions along each axis, minus that the other way round; None:
    any other.
    """
    op, x, y = node.op, node.inputs[0], node.output
    assert isinstance(op, ops.Permute)
    count, rank = x.samples * x.positions, len(x.space)
    if x.shape == y.shape and op.dims[0] == count and op.axes[0] == 0:
        return 1
    factors = {b // a if b >= a else -(a // b) for a, b in zip(x.space, y.space, strict=True)}
    if len(factors) != 1 or abs(r := factors.pop()) < 2:
        return None
    return r if (op.dims, op.axes) == _shuffled(x, y, r, rank) else None


def _shuffled(x: Value, y: Value, r: int, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes and order of axes of a permutation with this factor (see ``shuffles``)."""
    if r > 0:
        dims = (x.samples, *x.space, y.channels, *(r,) * rank)
        axes = [0, *(a for i in range(rank) for a in (1 + i, 2 + rank + i)), 1 + rank]
    else:
        dims = (x.samples, *(size for n in y.space for size in (n, -r)), x.channels)
        axes = [0, *(1 + 2 * i for i in range(rank)), 1 + 2 * rank]
        axes += [2 + 2 * i for i in range(rank)]
    return dims, tuple(axes)


def _reads(node: Node, window: Window, ends: Window) -> list[Window | None]:
    """For each input the window that a node reads for one of its output; None for what is no map.

    ends: the window up to its grid, also beyond the end of the map: what tiles there read.
    """
    op, found = node.op, list[Window | None]()
    for number, value in enumerate(node.inputs):
        if not is_map(value):
            found.append(None)
            continue
        own = window
        if number == 0:
            if isinstance(op, Convolve | ConvolveInteger | Pool):
                own = tuple(map(parts.reads, op.spec.axes, ends))
            elif isinstance(op, ConvolveInput):
                own = tuple(map(parts.reads_transposed, op.spec.axes, window))
            elif isinstance(op, Resample):
                own = tuple(
                    span if table is None else parts.reads_table(table, span)
                    for table, span in zip(op.tables[1:], window, strict=True)
                )
            elif isinstance(op, ops.Permute) and (r := shuffles(node)) not in (None, 1):
                assert r is not None
                own = tuple((a // r, -(-b // r)) if r > 0 else (a * -r, b * -r) for a, b in window)
        # What is broadcast along an axis is there as a whole.
        spread = number > 0 or not isinstance(op, Convolve | Pool | Resample)
        sizes = zip(value.space, own, node.output.space, strict=True)
        found.append(tuple((0, 1) if spread and n == 1 != out else span for n, span, out in sizes))
    return found


def _grid_of(node: Node, grid: Grid) -> tuple[int, ...]:
    """The grid of the output of a node."""
    if isinstance(node.op, ops.Permute) and (r := shuffles(node) or 1) > 1:
        return (r,) * len(node.output.space)
    if isinstance(node.op, ConvolveInput):
        return node.op.spec.stride
    return grid(node)


def spans(
    nodes: Sequence[Node], wanted: Mapping[str, Window], grid: Grid
) -> tuple[dict[str, Window], list[list[Window | None]]]:
    """The window of every map that has to be there for ``wanted``, by name, and for each node those
    that it reads. ValueError: a layer that sees the whole picture.
    """
    needed = dict(wanted)
    reads: list[list[Window | None]] = []
    for node in reversed(nodes):
        why = why_whole(node)
        if why:
            raise FaltungError(
                f"net: layer {node.layer!r} {why}, so no part of a picture can be computed by "
                "itself; predict the picture at once, as an array, or take a network without such "
                "a layer (Model.dense makes convolutions of a classifier's head)"
            )
        seen = [needed[v.name] for v in node.outputs if v.name in needed and is_map(v)]
        if not seen:
            reads.append([None for _ in node.inputs])
            continue
        steps = _grid_of(node, grid)
        size = node.output.space
        some = tuple(map(hull, zip(*seen, strict=True)))
        if isinstance(node.op, ConvolveInput):
            some = tuple(map(parts.fully, node.op.spec.axes, map(aligned, some, steps, size)))
        window = tuple(map(aligned, some, steps, size))
        ends = tuple(
            (first, -(-stop // s) * s) for (first, stop), s in zip(some, steps, strict=True)
        )
        ends = tuple((first, stop) for (first, _), (_, stop) in zip(window, ends, strict=True))
        for value in node.outputs:
            needed[value.name] = window
        own = _reads(node, window, ends)
        reads.append(own)
        for value, each in zip(node.inputs, own, strict=True):
            if each is not None:
                before = needed.get(value.name, each)
                needed[value.name] = tuple(map(hull, zip(before, each, strict=True)))
    return needed, reads[::-1]


# The part -----------------------------------------------------------------------------------------


def cut(
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    window: Window,
    grid: Grid,
) -> Cut:
    """The nodes that compute a window of every output. ValueError: a layer that sees the whole
    picture.
    """
    made, reads = spans(nodes, {value.name: window for value in outputs}, grid)
    cutter = _Cutter(made, {value.name for value in outputs}, window)
    for node, own in zip(nodes, reads, strict=True):
        cutter.add(node, own)
    given = tuple(cutter.sized(value) for value in inputs)
    results = tuple(map(cutter.output, outputs))
    return Cut(tuple(cutter.nodes), given, results, made)


class _Cutter:
    """The nodes of a part in the making."""

    def __init__(self, made: dict[str, Window], kept: set[str], window: Window) -> None:
        self.made, self.kept, self.window = made, kept, window
        self.nodes: list[Node] = []
        self._cropped: dict[tuple[str, Window], Value] = {}

    def sized(self, value: Value) -> Value:
        """A value of the part."""
        if not is_map(value) or value.name not in self.made:
            return value
        return replace(value, shape=(value.channels, *_sizes(self.made[value.name])))

    def output(self, value: Value) -> Value:
        """An output of the part: what a grid or another reader needs beside it is left out."""
        return self.cropped(value, self.window) if is_map(value) else value

    def cropped(self, value: Value, window: Window) -> Value:
        """A window of a value, copied where it is not all that is there of it."""
        there = self.made[value.name]
        if window == there:
            return self.sized(value)
        rows = [
            None if own == all_ else range(own[0], own[1])
            for own, all_ in zip(window, there, strict=True)
        ]
        return self.gathered(value, window, rows)

    def gathered(
        self, value: Value, window: Window, rows: Sequence[Sequence[int | None] | range | None]
    ) -> Value:
        """Entries of a value along each axis, numbered as in the whole; None: those that are there.
        ``window``: under which the result is known.
        """
        key = value.name, window
        if key not in self._cropped:
            tables = tuple(
                None
                if row is None
                else selected(b - a, (None if i is None else i - a for i in row))
                for row, (a, b) in zip(rows, self.made[value.name], strict=True)
            )
            x, op = self.sized(value), Resample((None, *tables))
            # Numbered, not by their places: parts that are alike have the same nodes.
            y = replace(x, name=f"{value.name}[{len(self._cropped)}]", shape=op.made(x.shape))
            self.nodes.append(Node(op, (x,), (y,)))
            self._cropped[key] = y
        return self._cropped[key]

    def add(self, node: Node, reads: Sequence[Window | None]) -> None:
        """Add the part of a node."""
        window = self.made.get(node.output.name)
        maps = any(is_map(value) for value in node.outputs)
        if maps and window is None:
            return  # nobody reads it
        if not maps or window is None:
            self.nodes.append(node)
            return
        op, inputs = node.op, list[Value]()
        for number, (value, own) in enumerate(zip(node.inputs, reads, strict=True)):
            if own is None:
                inputs.append(value)
            elif number == 0 and isinstance(op, Convolve | ConvolveInput | ConvolveInteger):
                op, x = self._convolution(op, value, window)
                inputs.append(x)
            else:
                inputs.append(self.cropped(value, own))
        outputs = tuple(map(self.sized, node.outputs))
        if not isinstance(op, Convolve | ConvolveInput | ConvolveInteger):
            op = _smaller(node, window, reads[0] if reads else None, inputs[0], outputs[0])
        self.nodes.append(replace(node, op=op, inputs=tuple(inputs), outputs=outputs))

    def _convolution(
        self, op: Convolve | ConvolveInput | ConvolveInteger, value: Value, window: Window
    ) -> tuple[Convolve | ConvolveInput | ConvolveInteger, Value]:
        """The convolution of a part, and what it reads: all that is there, without a copy, but
        where padding that is not zeros is read.
        """
        axes, there = op.spec.axes, self.made[value.name]
        if isinstance(op, ConvolveInput):
            made = tuple(map(part_transposed, axes, window, there))
            return replace(op, spec=replace(op.spec, axes=made)), self.sized(value)
        filled = [
            axis.mode != "zeros" and parts.pads(axis, span)
            for axis, span in zip(axes, window, strict=True)
        ]
        if not any(filled):
            made = tuple(map(part, axes, window, there))
            return replace(op, spec=replace(op.spec, axes=made)), self.sized(value)
        rows = [
            parts.padded_sources(axis, span) if fills else None
            for axis, span, fills in zip(axes, window, filled, strict=True)
        ]
        under = tuple(
            axis.input_range(*span) if fills else all_
            for axis, span, fills, all_ in zip(axes, window, filled, there, strict=True)
        )
        x = self.gathered(value, under, rows)
        made = tuple(map(part, axes, window, under))
        return replace(op, spec=replace(op.spec, axes=made)), x


def _sizes(window: Window) -> tuple[int, ...]:
    return tuple(stop - first for first, stop in window)


def _smaller(node: Node, window: Window, own: Window | None, x: Value, y: Value) -> ops.Op:
    """The operation of a part of a node that is no convolution. own: what is read of its input."""
    op = node.op
    if isinstance(op, Elementwise):
        return replace(op, shape=(op.shape[0], *_sizes(window)))
    if isinstance(op, Pool):
        assert own is not None
        return replace(op, spec=_pool(op.spec, window, own))
    if isinstance(op, Resample):
        assert own is not None
        tables = tuple(
            None if table is None else parts.part_table(table, span, given)
            for table, span, given in zip(op.tables[1:], window, own, strict=True)
        )
        return replace(op, tables=(op.tables[0], *tables))
    if isinstance(op, ops.Permute):
        r = shuffles(node)
        assert r is not None
        if r == 1:
            return replace(op, dims=(x.samples * x.positions, *op.dims[1:]))
        dims, axes = _shuffled(x, y, r, len(x.space))
        return replace(op, dims=dims, axes=axes)
    return op


def _pool(spec: PoolSpec, window: Window, own: Window) -> PoolSpec:
    """The pooling of a part. A mean counts what it counts in the whole."""
    axes = tuple(map(part, spec.axes, window, own))
    beyond = []
    for axis, made, over, given in zip(spec.axes, axes, spec.overhang, own, strict=True):
        # Up to here entries and their padding count, from the first that is read on.
        counted = axis.size + axis.hi - over - given[0]
        beyond.append(max(0, min(made.hi, made.size + made.hi - counted)))
    return replace(spec, axes=axes, overhang=tuple(beyond))


# How parts repeat ---------------------------------------------------------------------------------


def period(nodes: Sequence[Node], outputs: Sequence[Value], grid: Grid) -> tuple[int, ...]:
    """Along each axis of the outputs, the least distance between two parts of one size that are
    alike, away from the ends: the stride of the network with all that its layers' grids ask for.
    """
    rank = len(outputs[0].space)
    steps: dict[str, list[Fraction]] = {v.name: [Fraction(1)] * rank for v in outputs}
    found = [1] * rank
    for node in reversed(nodes):
        own = next((steps[v.name] for v in node.outputs if v.name in steps), None)
        if own is None or not is_map(node.output):
            continue
        for i, (step, at) in enumerate(zip(own, _grid_of(node, grid), strict=True)):
            found[i] = lcm(found[i], (step / at).denominator)
        for number, value in enumerate(node.inputs):
            if is_map(value):
                along = _advance(node) if number == 0 else [Fraction(1)] * rank
                steps[value.name] = [a * b for a, b in zip(own, along, strict=True)]
    for each in steps.values():
        found = [lcm(n, step.denominator) for n, step in zip(found, each, strict=True)]
    return tuple(found)


def _advance(node: Node) -> list[Fraction]:
    """Entries of the input from one output to the next, along each axis."""
    op = node.op
    if isinstance(op, Convolve | ConvolveInteger | Pool):
        return [Fraction(axis.stride) for axis in op.spec.axes]
    if isinstance(op, ConvolveInput):
        return [Fraction(1, axis.stride) for axis in op.spec.axes]
    if isinstance(op, Resample):
        return [_slope(table) for table in op.tables[1:]]
    if isinstance(op, ops.Permute) and (r := shuffles(node)) not in (None, 1):
        assert r is not None
        return [Fraction(1, r) if r > 0 else Fraction(-r)] * len(node.output.space)
    return [Fraction(1)] * len(node.output.space)


def _slope(table: Table | None) -> Fraction:
    found = None if table is None else parts.slope(table)
    return Fraction(1) if found is None else Fraction(*found)


def circular(nodes: Sequence[Node], rank: int) -> tuple[bool, ...]:
    """Along which axes of space some layer reads beyond one end what is at the other, so that they
    are better not cut.
    """
    found = [False] * rank
    for node in nodes:
        axes: Sequence[Axis] = getattr(getattr(node.op, "spec", None), "axes", ())
        for i, axis in enumerate(axes[:rank]):
            found[i] |= axis.mode == "circular"
    return tuple(found)
