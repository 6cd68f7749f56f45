"""What the units of a network see: the part of the explorer's page that says it in numbers.

``explorer/src/sections/fields_data.ts`` describes what is made here. The theory comes from
``graph/sight.py``; what is measured, from ``measured.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from faltung.geometry.field import Field
from faltung.geometry.record import dataclass
from faltung.graph.sight import Along, Sight, sights
from faltung.graph.summary import summary
from faltung.graph.summary_row import LayerRow
from faltung.graph.summary_table import described
from faltung.graph.value import Graph, Value

# Layers of a network that are drawn; of one that has more, the first.
MOST_LAYERS = 600
THEORY = "Nothing is measured here: the network is not trained, and what its units make of a "
THEORY += "picture would be an accident of its first weights."


@dataclass(frozen=True)
class Part:
    """A layer and what follows it position by position, drawn as one. reads: the numbers of other
    parts, -1 for the input; last: what it makes.
    """

    rows: tuple[LayerRow, ...]
    reads: tuple[int, ...]
    last: Value

    @property
    def name(self) -> str:
        return self.rows[0].name


def parts(graph: Graph) -> list[Part]:
    """The layers of a graph as they are drawn, and which reads which."""
    rows = {row.name: row for row in summary(graph).rows}
    found: list[Part] = []
    maker = {graph.input.name: -1}
    for name, nodes in graph.layers():
        made = {value.name for node in nodes for value in node.outputs}
        every = [v.name for node in nodes for v in node.inputs if v.name not in made]
        read = tuple(dict.fromkeys(maker[n] for n in every if n in maker))
        if not read:
            continue  # made of parameters alone, or of another input
        row, last = rows[name], nodes[-1].output
        before = found[-1] if found else None
        if (
            before is not None
            and row.follows
            and read == (len(found) - 1,)
            and before.last.name in every
            and before.last.space == last.space
            and before.name.rpartition(".")[0] == name.rpartition(".")[0]
        ):
            found[-1] = replace(before, rows=(*before.rows, row), last=last)
        else:
            found.append(Part((row,), read, last))
        maker |= dict.fromkeys(made, len(found) - 1)
    return found


def fields(
    graph: Graph,
    title: str,
    *,
    sample: Mapping[str, Any] | None = None,
    measured: Mapping[str, Sequence[Any]] | None = None,
    said: str = THEORY,
) -> dict[str, Any]:
    """What the page is told of one network.

    sample: that is shown, as ``shown.py`` makes it. measured: by the names of layers. said: what
    was measured, or why nothing was.
    """
    seen = sights(graph)
    every = parts(graph)
    made: dict[str, Any] = {
        "title": title,
        "input": list(graph.input.shape),
        "tokens": graph.input.kind == "int",
        "layers": [_layer(part, seen, measured or {}) for part in every[:MOST_LAYERS]],
        "repeats": _repeats(graph),
        "measured": said,
    }
    if sample is not None:
        made["sample"] = dict(sample)
    return made


def sight_of(part: Part, seen: Mapping[str, Sight]) -> Sight:
    """What the units of a part see of the input."""
    return seen.get(part.last.name, Sight(None, ""))


def _layer(
    part: Part, seen: Mapping[str, Sight], measured: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    sight = sight_of(part, seen)
    made: dict[str, Any] = {
        "name": part.name,
        "what": described(part.rows),
        "shape": list(part.last.shape),
        "reads": list(part.reads),
        "axes": None if sight.axes is None else [_along(each) for each in sight.axes],
    }
    if sight.why:
        made["why"] = sight.why
    if part.name in measured:
        made["measured"] = list(measured[part.name])
    return made


def _along(each: Along) -> dict[str, Any]:
    if isinstance(each, Field):
        return {"field": [each.size, each.jump, each.start]}
    return {"spans": [list(one) for one in each]}


def _repeats(graph: Graph) -> list[str]:
    """The modes of padding that repeat entries of the input elsewhere."""
    specs = [getattr(node.op, "spec", None) for node in graph.nodes]
    modes = [
        axis.mode for spec in specs if spec is not None for axis in spec.axes if axis.lo or axis.hi
    ]
    return sorted(set(modes) - {"zeros"})
