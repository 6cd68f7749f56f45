"""What the units of every value of a graph see of its input: networks of layers, and imported ones.

The builder notes a ``Field`` where a layer has one. What it did not note is derived here: along
branches of any kind, through other sizes, where no single jump leads from one unit to the next and
each unit has a span of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from faltung.geometry import part as parts
from faltung.geometry.axis import Axis
from faltung.geometry.errors import FaltungError
from faltung.geometry.field import Field, join
from faltung.geometry.part import Span, hull
from faltung.geometry.record import dataclass
from faltung.geometry.resample import Table
from faltung.graph import ops
from faltung.graph.value import Graph, Node, Value
from faltung.graph.windows import is_map, shuffles, why_whole

# Along one axis: a field, or a half-open span of input entries for each unit.
Along = Field | tuple[Span, ...]
# More spans than this are not worked out for one axis: the units then count as seeing everything.
MOST_SPANS = 1 << 14


@dataclass(frozen=True, slots=True)
class Sight:
    """What units see along each axis of the input; axes None: everything, because of ``why``.

    With both, positions see ``axes``, and a factor or term that is the same at all of them, such as
    that of a gate, depends on everything.
    """

    axes: tuple[Along, ...] | None
    why: str = ""


def sights(graph: Graph) -> dict[str, Sight]:
    """By the names of values what their units see of the first input; values that do not depend on
    it are left out.
    """
    given = graph.input
    space = given.shape if given.kind == "int" else given.space
    found = {given.name: Sight(tuple(Field() for _ in space))}
    for node in graph.nodes:
        seen = [(i, value) for i, value in enumerate(node.inputs) if value.name in found]
        if not seen:
            continue
        made = _made(node, [(i, value, found[value.name]) for i, value in seen])
        for value in node.outputs:
            noted = graph.fields.get(value.name)
            found[value.name] = made if noted is None else Sight(noted, made.why)
    return found


def span(along: Along, unit: int) -> Span:
    """The half-open range of the entries that a unit sees; of a field also beyond the borders."""
    return along.interval(unit) if isinstance(along, Field) else along[unit]


def _made(node: Node, seen: Sequence[tuple[int, Value, Sight]]) -> Sight:
    """What the output of a node sees through those of its inputs that see something."""
    placed = [each for each in seen if each[2].axes is not None and _placed(each[1], node.output)]
    if isinstance(node.op, ops.Elementwise) and 0 < len(placed) < len(seen):
        # What has no positions is the same at all of them: a gate.
        gates = [each for each in seen if each not in placed]
        if not any(_placed(value, node.output) for _, value, _ in gates):
            alone = _made(node, placed)
            why = next((sight.why for _, _, sight in gates if sight.why), "")
            why = alone.why or why or f"{node.layer} reads what no position has alone"
            return Sight(alone.axes, why)
    for _, _, sight in seen:
        if sight.axes is None:
            return sight
    op = node.op
    if isinstance(op, ops.Embed):
        return seen[0][2]
    if not is_map(node.output) or any(not is_map(value) for _, value, _ in seen):
        return Sight(None, f"{node.layer} reads every position that it is given")
    # At inference a batch normalisation takes no means: it has those of the training.
    kept = isinstance(op, ops.Normalise) and op.over == "batch" and not op.training
    why = "" if kept else why_whole(node)
    if why:
        return Sight(None, f"{node.layer} {why}")
    each = [_through(node, number, value, sight.axes or ()) for number, value, sight in seen]
    made = []
    for axis, size in enumerate(node.output.space):
        one = _joined([axes[axis] for axes in each], size)
        if one is None:
            return Sight(None, f"{node.layer} is too large for a span of each unit")
        made.append(one)
    return Sight(tuple(made), next((sight.why for _, _, sight in seen if sight.why), ""))


def _placed(value: Value, output: Value) -> bool:
    """Whether a value has positions, as many as the output."""
    return is_map(value) and value.space == output.space


def _through(
    node: Node, number: int, value: Value, axes: tuple[Along, ...]
) -> tuple[Along | None, ...]:
    """What the output sees along each axis through one input."""
    op, out = node.op, node.output.space
    if number == 0 and isinstance(op, ops.Convolve | ops.ConvolveInteger | ops.Pool):
        return tuple(map(_forward, axes, op.spec.axes))
    if number == 0 and isinstance(op, ops.ConvolveInput):
        return tuple(map(_back, axes, op.spec.axes))
    if number == 0 and isinstance(op, ops.Resample):
        tables = zip(axes, op.tables[1:], strict=True)
        return tuple(each if table is None else _table(each, table) for each, table in tables)
    r = (shuffles(node) if isinstance(op, ops.Permute) else None) or 1
    if r < 0:  # positions become channels: as a window of that size and stride reads them
        return tuple(
            _forward(each, Axis(n, -r, stride=-r))
            for each, n in zip(axes, value.space, strict=True)
        )
    if r > 1:
        return tuple(
            _rows(each, size, lambda o: (o // r, o // r + 1))
            for each, size in zip(axes, out, strict=True)
        )
    return tuple(
        each if n == size else _rows(each, size, lambda _: (0, 1))
        for each, n, size in zip(axes, value.space, out, strict=True)
    )


def _forward(each: Along, axis: Axis) -> Along | None:
    if isinstance(each, Field):
        return each.through(axis)
    return _rows(each, axis.output, lambda o: parts.reads(axis, (o, o + 1)))


def _back(each: Along, axis: Axis) -> Along | None:
    if isinstance(each, Field):
        try:
            return each.back(axis)
        except FaltungError:
            pass  # the units lie closer together than entries of the input
    return _rows(each, axis.size, lambda o: parts.reads_transposed(axis, (o, o + 1)))


def _table(each: Along, table: Table) -> Along | None:
    """Through a table: a crop or a step leaves a field, anything else spans."""
    indices = table.indices
    if isinstance(each, Field) and table.copies and not table.empty and len(indices) > 1:
        step = indices[1] - indices[0]
        if step > 0 and all(b - a == step for a, b in pairwise(indices)):
            return Field(each.size, each.jump * step, each.start + indices[0] * each.jump)
    return _rows(each, table.output, lambda o: parts.reads_table(table, (o, o + 1)))


def _rows(each: Along, size: int, reads: Callable[[int], Span]) -> tuple[Span, ...] | None:
    """The span of each of ``size`` units that read these ranges of units."""
    if size > MOST_SPANS:
        return None
    made = []
    for o in range(size):
        first, stop = reads(o)
        made.append(hull((span(each, first), span(each, stop - 1))))
    return tuple(made)


def _joined(found: Iterable[Along | None], size: int) -> Along | None:
    """What is seen through several inputs together."""
    every = list(found)
    known = [each for each in every if each is not None]
    if len(known) < len(every):
        return None
    fields = [each for each in known if isinstance(each, Field)]
    if len(fields) == len(known) and len({field.jump for field in fields}) == 1:
        return fields[0] if len(fields) == 1 else join(fields)
    if len(known) == 1:
        return known[0]
    if size > MOST_SPANS:
        return None
    return tuple(hull(span(each, o) for each in known) for o in range(size))
