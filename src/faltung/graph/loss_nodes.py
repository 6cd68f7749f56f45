"""The nodes of losses and of their gradients for the outputs of a network."""

from dataclasses import replace

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import equal, greater, logic, operand, select
from faltung.geometry.record import dataclass
from faltung.graph.expand import Nodes
from faltung.graph.losses import Kind
from faltung.graph.ops import Arg, CrossEntropy, Elementwise, Reduce, Reduction, Softmax
from faltung.graph.value import Node, Value

A, B, C, D = map(operand, range(4))
Made = tuple[Value, Value | None, Value]
# Added to both sides of Dice's fraction, so that a class that is nowhere has no loss.
SMOOTH = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a loss compares with, and what comes from outside for it.

    target: labels (*space), or numbers of the output's shape: of losses by labels, a probability
    for each class. labels: beside those, the labels that answers are right by, numbers (1, *space).
    smoothing: of labels without probabilities. classes: weights (C,) of the classes. samples: a
    weight for each sample, (1, ...). counted: 1 for positions that count, (1, *space).
    """

    target: Value
    smoothing: Value
    labels: Value | None = None
    classes: Value | None = None
    samples: Value | None = None
    counted: Value | None = None

    def values(self) -> tuple[Value, ...]:
        """All that there is."""
        found = (self.target, self.smoothing, self.labels, self.classes, self.samples, self.counted)
        return tuple(value for value in found if value is not None)


def wanted(
    loss: str, kind: Kind, output: Value, *, weighted: bool, soft: bool, samples: bool
) -> Wanted:
    """The values that a loss needs; as ``differentiate``."""
    ones = (1, *(1,) * len(output.space))
    row, many = (1, *output.space), output.samples
    smoothing = Value("smoothing", (), batched=False)
    each = Value("sample weights", ones, samples=many) if samples else None
    if kind.targets != "labels":
        return Wanted(Value("target", output.shape, samples=many), smoothing, samples=each)
    weights = Value("class weights", (output.channels,), batched=False) if weighted else None
    if loss == "cross_entropy" and not (soft or samples):
        labels = Value("target", output.space, kind="int", samples=many)
        return Wanted(labels, smoothing, classes=weights)
    target = Value("target", output.shape, samples=many)
    labels = Value("labels", row, samples=many)
    if loss == "cross_entropy":  # whose weights are multiplied with the probabilities
        return Wanted(target, smoothing, labels)
    if not output.space:
        raise FaltungError(
            f"loss={loss!r}: needs an output for every position, this network's is "
            f"{output.shape}; use loss='cross_entropy'"
        )
    return Wanted(target, smoothing, labels, weights, each, Value("counted", row, samples=many))


def after(loss: str, head: Value, number: int) -> tuple[Node | None, Value]:
    """The node that belongs to the network as far as a loss is concerned, and what the loss reads:
    the probabilities of Dice's.
    """
    if loss != "dice":
        return None, head
    likely = replace(head, name=f"probabilities{number or ''}")
    return Node(Softmax(), (head,), (likely,), f"loss{number or ''}"), likely


def add_loss(loss: str, kind: Kind, nodes: Nodes, head: Value, given: Wanted, scale: Value) -> Made:
    """The sum of the loss over the batch, what counts the rows that are right or None, and the
    gradient of ``scale`` times the sum.
    """
    if kind.formula is not None:
        return _formula(kind, nodes, head, given, scale)
    if loss == "dice":
        return _dice(nodes, head, given, scale)
    if given.labels is None:
        return _cross_entropy(nodes, head, given, scale)
    rows = (1, *head.space)
    each, grad = nodes.add(CrossEntropy(soft=True), (head, given.target, scale), rows, head.shape)
    (total,) = nodes.reduce(rows, (each,), Reduction(A, "scalar"))
    return total, None, grad


def _cross_entropy(nodes: Nodes, head: Value, given: Wanted, scale: Value) -> Made:
    rows = (1, *head.space)
    more = () if given.classes is None else (given.classes,)
    losses, correct, grad = nodes.add(
        CrossEntropy(), (head, given.target, scale, given.smoothing, *more), rows, rows, head.shape
    )
    total, right = nodes.reduce(
        rows, (losses, correct), Reduction(A, "scalar"), Reduction(B, "scalar")
    )
    return total, right, grad


def count_right(kind: Kind, nodes: Nodes, head: Value, given: Wanted) -> Value | None:
    """How many rows are right; None for numbers."""
    if kind.targets == "flags":
        return _all_right(nodes, head, given.target)
    return None if given.labels is None else _right(nodes, head, given.labels)


def _right(nodes: Nodes, head: Value, labels: Value) -> Value:
    """How many rows have their largest output at the label."""
    rows = (1, *head.space)
    (best,) = nodes.add(Arg(0, "max"), (head,), rows)
    (right,) = nodes.reduce(rows, (best, labels), Reduction(select(equal(A, B), 1, 0), "scalar"))
    return right


def _formula(kind: Kind, nodes: Nodes, head: Value, given: Wanted, scale: Value) -> Made:
    """A formula of every output and its target."""
    assert kind.formula is not None
    each, slope, read = kind.formula, C * kind.slopes, [head, given.target, scale]
    if given.samples is not None:
        each, slope, read = D * each, D * slope, [*read, given.samples]
    op = Elementwise(head.shape, (slope,), (Reduction(each, "scalar"),))
    grad, total = nodes.add(op, read, head.shape, ())
    total = replace(total, batched=False, samples=1)
    nodes.made[-1] = replace(nodes.made[-1], outputs=(grad, total))
    return total, None, grad


def _all_right(nodes: Nodes, head: Value, target: Value) -> Value:
    """How many rows have every output on the side of its target."""
    rows = (1, *head.space)
    wrong = logic("xor", greater(A, 0), greater(B, 0.5))
    (count,) = nodes.add(Reduce((0,), "sum", (select(wrong, 1, 0),)), (head, target), rows)
    (right,) = nodes.reduce(rows, (count,), Reduction(select(equal(A, 0), 1, 0), "scalar"))
    return right


def _dice(nodes: Nodes, likely: Value, given: Wanted, scale: Value) -> Made:
    """1 - (2 sum p t + s) / (sum p + sum t + s) over the positions of a sample that count, of each
    class (F. Milletari, N. Navab, S. Ahmadi, "V-Net", 2016).
    """
    assert given.counted is not None
    channels = likely.shape[:1]
    read = (likely, given.target, given.counted)
    both, size = nodes.reduce(
        likely.shape, read, Reduction(A * B, "sample"), Reduction(A * C + B, "sample")
    )
    part = (2 * A + SMOOTH) / (B + SMOOTH)
    # Operands of the formulas: the two sums, the scale, then the weights that there are.
    more = [value for value in (given.classes, given.samples) if value is not None]
    factor = C
    each = 1 - part
    for number in range(len(more)):
        factor, each = factor * operand(3 + number), each * operand(3 + number)
    slopes = (factor * (-2 / (B + SMOOTH)), factor * part / (B + SMOOTH))
    op = Elementwise(channels, slopes, (Reduction(each, "scalar"),))
    for_both, for_size, total = nodes.add(op, (both, size, scale, *more), channels, channels, ())
    total = replace(total, batched=False, samples=1)
    nodes.made[-1] = replace(nodes.made[-1], outputs=(for_both, for_size, total))
    (grad,) = nodes.add(
        Elementwise(likely.shape, (A * C + B * D,)),
        (for_both, for_size, given.target, given.counted),
        likely.shape,
    )
    return total, None, grad
