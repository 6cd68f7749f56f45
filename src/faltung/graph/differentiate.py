"""Differentiation: from a graph to a graph that also computes a loss and every gradient.

Reverse accumulation (Linnainmaa, 1970): nodes are visited from the last to the first, and each adds
to the gradients of what it reads, by the rule of its operation (``gradient_rules.py``).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.geometry.expr import at_least, operand, select, unary
from faltung.geometry.record import dataclass
from faltung.graph.backward import Backward
from faltung.graph.expand import Statistics, expanded
from faltung.graph.fuse import needed
from faltung.graph.gradient_normalise import normalise
from faltung.graph.gradient_rules import RULES
from faltung.graph.loss_nodes import Wanted, add_loss, after, count_right, wanted
from faltung.graph.losses import Targets, kind_of
from faltung.graph.ops import CrossEntropy, Elementwise, Reduction
from faltung.graph.value import Graph, Node, Value

A, B = map(operand, range(2))


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network learns from another one's answers, beside the labels (Hinton, Vinyals, Dean,
    "Distilling the knowledge in a neural network", 2015).

    target: their probabilities, of the output's shape. cooling: the number that logits are
    multiplied with first, one over the temperature. scales: as those of ``Training``; the numbers
    include the cooling that the gradient is multiplied with. losses: sums over the batch of the
    cross-entropies of target and softmax(cooling * logits), of the output first. negative_entropy:
    that of the target, in sum; the divergence is the loss plus this.
    """

    target: Value
    cooling: Value
    scales: tuple[tuple[Value, float], ...]
    losses: tuple[Value, ...]
    negative_entropy: Value


@dataclass(frozen=True, slots=True)
class Training:
    """A graph that computes a loss and its gradients.

    targets: what the loss takes, labels, flags or numbers. wanted: what comes from outside for it.
    scales: (value, weight) of the numbers that the losses are multiplied with: weight / rows, for
    formulas / rows / channels. losses: their sums over the batch, the main one first. correct: rows
    whose largest output is the label, or all of whose flags are right; None for numbers. gradients:
    by the name of the parameter, without those that are frozen. weighted: whether classes have
    weights. answers: of another network, from which this one learns too.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    loss: str
    targets: Targets
    wanted: Wanted
    scales: tuple[tuple[Value, float], ...]
    losses: tuple[Value, ...]
    correct: Value | None
    gradients: dict[str, Value]
    weighted: bool = False
    answers: Answers | None = None

    @property
    def target(self) -> Value:
        """What is compared with."""
        return self.wanted.target

    @property
    def smoothing(self) -> Value:
        """A number, for cross-entropy of labels."""
        return self.wanted.smoothing


def differentiate(
    graph: Graph,
    loss: str = "cross_entropy",
    *,
    frozen: Collection[str] = (),
    weighted: bool = False,
    distilled: bool = False,
    soft: bool = False,
    sample_weights: bool = False,
) -> Training:
    """The training step of a graph that was built with ``training``.

    loss: a name of ``LOSSES``. frozen: names of parameters that stay as they are; no gradient is
    computed for them, nor for what only they depend on, and batch normalisation with such a
    parameter uses its running statistics, which stay too. weighted: whether classes have weights.
    distilled: whether a classifier learns from answers too. soft: whether the targets of
    cross-entropy may be probabilities of all classes. sample_weights: whether samples have weights.
    ValueError: another loss, or answers for numbers; a graph for inference, parameters on which
    nothing depends, or none that is trained.
    """
    kind = kind_of(loss)
    if not graph.training:
        raise FaltungError("graph: must be built for training, not for inference")
    if distilled and loss != "cross_entropy":
        raise FaltungError(f"loss={loss!r}: answers are probabilities; mix numbers into the target")
    plain, statistics = expanded(graph, frozen)
    output = graph.output
    given = wanted(loss, kind, output, weighted=weighted, soft=soft, samples=sample_weights)
    heads = [(graph.output, 1.0), *((a.output, a.weight) for a in graph.auxiliaries)]
    ends = []
    for number, (head, _) in enumerate(heads):
        if (head.shape, head.samples) != (output.shape, output.samples):
            raise FaltungError(
                f"auxiliary output of shape {head.shape}: must be that of the output, "
                f"{output.shape}"
            )
        ends.append(after(loss, head, number))
    whole = replace(plain, nodes=(*plain.nodes, *(node for node, _ in ends if node is not None)))
    backward = Backward(whole, statistics, frozen)
    scales, losses, correct = [], [], None
    answers = _Answers(backward, output) if distilled else None
    for number, ((head, weight), (_, end)) in enumerate(zip(heads, ends, strict=True)):
        backward.nodes.layer = f"loss{number or ''}"
        scale = Value(f"loss{number or ''}.scale", (), batched=False)
        total, right, grad = add_loss(loss, kind, backward.nodes, end, given, scale)
        backward.give(end, grad)
        if answers is not None:
            answers.add(head, weight, number)
        scales.append((scale, weight))
        losses.append(total)
        correct = correct or right
        if not number and correct is None:
            correct = count_right(kind, backward.nodes, end, given)
    _run(backward)
    gradients = _gradients(backward, frozen)
    nodes: tuple[Node, ...] = (*whole.nodes, *backward.nodes.made)
    if frozen:  # rules may compute the gradient of a weight that nobody asks for
        divergences = () if answers is None else (*answers.losses, answers.entropy)
        updates = (value for _, value in plain.updates)
        results = (*losses, *divergences, *gradients.values(), *updates)
        nodes = needed(nodes, {v.name for v in (*results, correct) if v is not None})
    return Training(
        plain,
        nodes,
        loss,
        kind.targets,
        given,
        tuple(scales),
        tuple(losses),
        correct,
        gradients,
        weighted and kind.targets == "labels",
        None if answers is None else answers.made(),
    )


def _gradients(backward: Backward, frozen: Collection[str]) -> dict[str, Value]:
    """The gradients of what is trained. ValueError: of some parameter there is none, or of all."""
    found = {
        p.name: backward.gradient(p.value)
        for p in backward.graph.parameters
        if p.trained and p.name not in frozen
    }
    unused = [name for name, value in found.items() if value is None]
    if unused:
        raise FaltungError(f"net: the output does not depend on {', '.join(unused)}")
    gradients = {name: value for name, value in found.items() if value is not None}
    if not gradients:
        raise FaltungError("freeze: leaves nothing to train; freeze fewer layers")
    return gradients


@dataclass(frozen=True, slots=True)
class Pullback:
    """A graph that also takes gradients of its outputs back.

    graph: the graph in simpler operations. nodes: its own and those added, in order. seeds: for
    each output its gradient, which is given from outside; None for one on which nothing that is
    asked for depends. gradients: by the name of the parameter or the input.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    seeds: tuple[Value | None, ...]
    gradients: dict[str, Value]


def pullback(
    graph: Graph, *, frozen: Collection[str] = (), inputs: Collection[str] = ()
) -> Pullback:
    """The gradients of trained parameters, but for those that are ``frozen``, and of the inputs
    named, given those of the outputs (a vector-Jacobian product). What no output depends on has no
    gradient.

    Batch normalisation uses the statistics of the batch where its node says so, whatever is frozen.
    """
    plain, statistics = expanded(graph)
    backward = Backward(plain, statistics)
    trained = [p.value for p in graph.parameters if p.trained and p.name not in frozen]
    wanted = [*trained, *(value for value in graph.inputs if value.name in inputs)]
    backward.require(*wanted)
    seeds: list[Value | None] = []
    for number, output in enumerate(graph.outputs):
        if not backward.needs(output):
            seeds.append(None)
            continue
        seed = replace(output, name=f"gradient of output {number}")
        backward.give(output, seed)
        seeds.append(seed)
    _run(backward)
    found = {value.name: backward.gradient(value) for value in wanted}
    gradients = {name: value for name, value in found.items() if value is not None}
    nodes = (*plain.nodes, *backward.nodes.made)
    return Pullback(plain, nodes, tuple(seeds), gradients)


def sensitivity(
    graph: Graph,
    of: Sequence[Value],
    to: Sequence[Value],
    statistics: Mapping[str, Statistics | Node] | None = None,
) -> tuple[tuple[Node, ...], list[Value], list[Value]]:
    """How a sum over the values ``of`` changes with the values ``to``, at inference.

    Returns the nodes of the graph and those that are added; the weights of the sum, values of the
    shapes of ``of`` that are given from outside; and the gradients. ValueError: ``of`` does not
    depend on one of them; an operation on the way has no gradient.
    """
    backward = Backward(graph, statistics or {})
    backward.require(*to)
    weights = [
        Value(f"weights of the sum {i}", value.shape, samples=value.samples)
        for i, value in enumerate(of)
    ]
    for value, each in zip(of, weights, strict=True):
        backward.give(value, each)
    _run(backward)
    grads = []
    for value in to:
        grad = backward.gradient(value)
        if grad is None:
            name = value.name.partition(":")[0]
            raise FaltungError(f"of={name!r}: the output does not change with this layer")
        grads.append(grad)
    return (*graph.nodes, *backward.nodes.made), weights, grads


def _run(backward: Backward) -> None:
    """Visit all nodes from the last to the first."""
    for node in reversed(backward.graph.nodes):
        if not any(map(backward.needs, node.outputs)):
            continue
        backward.nodes.layer = node.layer
        grads = [backward.gradient(value) for value in node.outputs]
        if all(grad is None for grad in grads):
            continue  # also the inside of a normalisation, which has one rule for all of it
        whole = backward.statistics.get(node.output.name)
        if isinstance(whole, Statistics):
            assert grads[0] is not None
            normalise(backward, grads[0], whole)
        elif whole is not None:  # what was taken apart has a rule for all of it
            RULES[type(whole.op)](backward, whole, grads)
        elif type(node.op) in RULES:
            RULES[type(node.op)](backward, node, grads)
        else:
            raise UnsupportedError(f"net: {node.layer!r} has no gradient ({node.op})")


# Answers ---------------------------------------------------------------------------------------


class _Answers:
    """``Answers`` in the making."""

    def __init__(self, backward: Backward, output: Value) -> None:
        self.backward = backward
        self.target = Value("answers", output.shape, samples=output.samples)
        self.cooling = Value("cooling", (), batched=False)
        self.scales: list[tuple[Value, float]] = []
        self.losses: list[Value] = []
        backward.nodes.layer = "answers"
        each = select(at_least(0, A), 0, A * unary("log", A))
        nodes, shape = backward.nodes, output.shape
        (self.entropy,) = nodes.reduce(shape, (self.target,), Reduction(each, "scalar"))

    def add(self, head: Value, weight: float, number: int) -> None:
        """Let a head learn from them.

        With z = cooling * logits the gradient of the cross-entropy for the logits is cooling times
        that for z; the factor is part of the scale.
        """
        nodes = self.backward.nodes
        nodes.layer = f"answers{number or ''}"
        scale = Value(f"{nodes.layer}.scale", (), batched=False)
        op = Elementwise(head.shape, (A * B,))
        (cooled,) = nodes.add(op, (head, self.cooling), head.shape)
        rows = (1, *head.space)
        each, grad = nodes.add(
            CrossEntropy(soft=True), (cooled, self.target, scale), rows, head.shape
        )
        (total,) = nodes.reduce(rows, (each,), Reduction(A, "scalar"))
        self.backward.give(head, grad)
        self.scales.append((scale, weight))
        self.losses.append(total)

    def made(self) -> Answers:
        scales, losses = tuple(self.scales), tuple(self.losses)
        return Answers(self.target, self.cooling, scales, losses, self.entropy)
