"""Losses by name: what targets each takes, what its outputs become, and its formula.

Cross-entropy and Dice compare softmax of the outputs with labels. The others are formulas of an
output and its target, summed over every element: binary cross-entropy, of several labels that a
sample may have at once, after a sigmoid; squared, absolute and Huber's errors of numbers.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Literal, get_args

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import Expr, at_least, derivative, greater, maximum, operand, select
from faltung.geometry.expr import unary as function
from faltung.geometry.formula import as_text, parse
from faltung.geometry.record import dataclass
from faltung.geometry.words import VALUES, meant
from faltung.graph.ops import Elementwise
from faltung.graph.value import Graph, Node

Loss = Literal["cross_entropy", "binary_cross_entropy", "mse", "mae", "huber", "dice"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
# One label for each sample or position; a 0 or 1 for each output; or a number for each output.
Targets = Literal["labels", "flags", "numbers"]

OUTPUT, TARGET = operand(0), operand(1)
_AWAY = OUTPUT - TARGET


@dataclass(frozen=True, slots=True)
class Kind:
    """A loss. formula: of output and target; None where it is no sum over elements. slope: its
    derivative for the output; by default the formula's own. scales: whether its numbers may be
    learned in other units than those they are given in.
    """

    targets: Targets
    formula: Expr | None = None
    slope: Expr | None = None
    scales: bool = False

    @property
    def slopes(self) -> Expr:
        """The derivative of the formula for the output."""
        assert self.formula is not None
        return derivative(self.formula, 0) if self.slope is None else self.slope


def _huber() -> Expr:
    """Half the square up to a distance of 1, a line beyond (P. J. Huber, "Robust estimation of a
    location parameter", 1964).
    """
    distance = function("abs", _AWAY)
    return select(at_least(1, distance), 0.5 * _AWAY * _AWAY, distance - 0.5)


def _binary_cross_entropy() -> Expr:
    """- t log s - (1 - t) log(1 - s) of s = sigmoid(output), without s, which rounds to 0 and 1."""
    rest = function("log1p", function("exp", function("neg", function("abs", OUTPUT))))
    return maximum(OUTPUT, 0) - OUTPUT * TARGET + rest


_SIGN = select(greater(_AWAY, 1), 1, select(greater(-1, _AWAY), -1, _AWAY))
KINDS: dict[str, Kind] = {
    "cross_entropy": Kind("labels"),
    "binary_cross_entropy": Kind(
        "flags", _binary_cross_entropy(), function("sigmoid", OUTPUT) - TARGET
    ),
    "mse": Kind("numbers", _AWAY * _AWAY, 2 * _AWAY, scales=True),
    "mae": Kind("numbers", function("abs", _AWAY), scales=True),
    "huber": Kind("numbers", _huber(), _SIGN, scales=True),
    "dice": Kind("labels"),
}


NAMES = ("output", "target")
EXAMPLE = "abs(output - target)"


def check_loss(loss: object) -> str:
    """The name of a loss, or the text of a formula of output and target. TypeError, ValueError."""
    if isinstance(loss, str) and loss in KINDS:
        return loss
    if isinstance(loss, str) and (loss.strip().isidentifier() or not loss.strip()):
        raise FaltungError(
            f"loss={show(loss)}: must be one of {', '.join(LOSSES)}, or a formula such as "
            f"'{EXAMPLE}'{meant(loss, LOSSES, VALUES['loss'])}"
        )
    if not isinstance(loss, str | Expr):
        raise FaltungTypeError(
            f"loss={show(loss)}: must be one of {', '.join(LOSSES)}, or a formula such as "
            f"'{EXAMPLE}'"
        )
    text = as_text(loss, NAMES, "loss")
    formula = parse(text, NAMES, "loss")
    if 0 not in formula.operands():
        raise FaltungError(f"loss={show(text)}: must depend on output")
    if derivative(formula, 0).value == 0:
        raise FaltungError(f"loss={show(text)}: is flat in output, so there is nothing to learn")
    return text


@lru_cache(64)
def kind_of(loss: str) -> Kind:
    """What a loss is. ValueError: neither a name nor a formula."""
    known = check_loss(loss)
    if known in KINDS:
        return KINDS[known]
    formula = parse(known, NAMES, "loss")
    return Kind("numbers", formula, scales=_of_difference(formula))


def _of_difference(formula: Expr) -> bool:
    """Whether a formula depends on output - target alone, so that it makes sense in any unit."""
    if formula.op == "operand":
        return False
    # A comparison of the two is one of their difference with 0.
    pair = formula.op in ("sub", "gt", "ge", "eq")
    if pair and {term.op for term in formula.terms} == {"operand"}:
        return formula.operands() == {0, 1}
    return all(map(_of_difference, formula.terms))


def targets_of(loss: str | None) -> Targets:
    """What a loss takes; of a network that was never trained, labels."""
    return "labels" if loss is None else kind_of(loss).targets


def with_sigmoid(graph: Graph) -> Graph:
    """A graph for inference whose outputs become probabilities, each by itself."""
    output = graph.output
    likely = replace(output, name="sigmoid")
    op = Elementwise(output.shape, (function("sigmoid", OUTPUT),))
    node = Node(op, (output,), (likely,), "sigmoid")
    return replace(graph, nodes=(*graph.nodes, node), outputs=(likely, *graph.outputs[1:]))
