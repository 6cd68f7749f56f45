"""What the labels of a ``Contract`` say about its values."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.ops import Contract
from faltung.graph.value import Node, Value

# The label of the batch, which is no letter.
BATCH = "@"


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels of a, b and out, and the size of each."""

    labels: tuple[str, str, str]
    sizes: tuple[tuple[str, int], ...]


def labelled(op: Contract, operands: Sequence[Value], out: Value) -> Labelled:
    """ValueError: labels that are no letters, do not fit the values, or of which ``out`` has one
    twice or one that no operand has; a batch that only ``out`` has.
    """
    names = op.a, op.b, op.out
    values = (*operands, out)
    for own in names:
        if own and not (own.isascii() and own.isalpha()):
            raise FaltungError(f"labels={own!r}: must be letters")
    if len(set(op.out)) < len(op.out) or not set(op.out) <= {*op.a, *op.b}:
        raise FaltungError(f"out={op.out!r}: must have each of its labels once, and from a or b")
    sizes = dict(op.sizes) or _sizes(names, values)
    for own, value in zip(names, values, strict=True):
        missing = sorted(set(own) - set(sizes))
        if missing:
            raise FaltungError(f"sizes={op.sizes}: must have the size of {', '.join(missing)}")
        if prod(sizes[label] for label in own) != value.size:
            wanted = "x".join(str(sizes[label]) for label in own)
            raise FaltungError(
                f"{value.name}: {value.size} numbers for a sample are not {wanted} ({own})"
            )
    if out.batched and not any(value.batched for value in operands):
        raise FaltungError(f"{out.name}: must have no batch where neither operand has one")
    return Labelled(names, tuple(sizes.items()))


def takes_epilogue(node: Node) -> bool:
    """Whether a product may store a formula of its result: each axis of that is some labels."""
    op, out = node.op, node.output
    assert isinstance(op, Contract)
    if not out.shape:
        return False
    sizes = dict(labelled(op, node.inputs[:2], out).sizes)
    ends = set(accumulate((sizes[label] for label in reversed(op.out)), mul, initial=1))
    return ends >= set(accumulate((out.channels, *out.space[::-1]), mul, initial=1))


def _sizes(names: Sequence[str], values: Sequence[Value]) -> dict[str, int]:
    """The sizes of labels that name the axes of memory."""
    found: dict[str, int] = {}
    for own, value in zip(names, values, strict=True):
        axes = (value.samples, *value.space, *value.shape[:1])
        if len(own) != len(axes):
            raise FaltungError(
                f"labels={own!r}: must be {len(axes)} for the axes {axes} of {value.name}"
            )
        for label, size in zip(own, axes, strict=True):
            if found.setdefault(label, size) != size:
                raise FaltungError(
                    f"labels={own!r}: {label} is {found[label]} elsewhere, and {size} in "
                    f"{value.name}"
                )
    return found
