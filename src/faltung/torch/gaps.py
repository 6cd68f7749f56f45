"""What a model of PyTorch lacks here, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx

from faltung.geometry.errors import UnsupportedError
from faltung.torch.places import Place, place_of

# Rows that a message names; a model of one kind seldom lacks more kinds of things.
_MOST = 40


def title(node: fx.Node) -> str:
    """An operator as PyTorch prints it."""
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    name = str(schema.name).replace("::", ".")
    overload = target._overloadname
    return name if overload in ("", "default") else f"{name}.{overload}"


def rows(nodes: Sequence[fx.Node], reasons: Mapping[str, str]) -> list[str]:
    """One line for each operator and reason: where it is first, and how often."""
    found = [node for node in nodes if node.name in reasons]
    count = Counter((title(node), reasons[node.name]) for node in found)
    first = {(title(node), reasons[node.name]): node for node in reversed(found)}
    return [
        f"{place_of(first[op, reason])}: {op}{f', {n} times' if n > 1 else ''}: {reason}"
        for (op, reason), n in count.items()
    ]


def unsupported(where: str, lines: Sequence[str]) -> UnsupportedError:
    """One line that names all gaps."""
    shown = "; ".join(lines[:_MOST])
    more = f"; and {len(lines) - _MOST} more" if len(lines) > _MOST else ""
    return UnsupportedError(
        f"{where}: not supported yet, so nothing was run: {shown}{more}; fallback=True runs these "
        "in PyTorch, and faltung.torch.explain shows the pieces"
    )


def told(reason: str, place: Place | None = None) -> str:
    """A reason for the whole model, with where it is."""
    at = str(place) if place is not None else ""
    return f"{at}: {reason}" if at and at != "the model" else f"the model: {reason}"
