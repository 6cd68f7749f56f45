"""The gradient of every operation, by differences of the loss in float64."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import pytest
from graph import networks
from graph.networks import Array, Problem, forward, problem
from grid import grid
from nn.networks import GRIDS

from faltung import nn
from faltung.geometry.expr import operand, unary
from faltung.graph.backward import trimmed
from faltung.graph.builder import Builder
from faltung.graph.differentiate import Training, differentiate
from faltung.graph.ops import (
    ConvolveInput,
    ConvolveWeight,
    Elementwise,
    Embed,
    Permute,
    Reduce,
    Reduction,
    View,
)
from faltung.graph.value import Graph, Node, Parameter, Value

STEP = 1e-6


def direction(given: Problem, name: str, rng: np.random.Generator) -> Array:
    """A random direction of a parameter, but none for the row of a table that stays zero."""
    shape = given.parameters[name].shape
    d = rng.normal(size=shape) / np.sqrt(max(1, prod(shape)))
    for node in given.graph.nodes:
        table = isinstance(node.op, Embed) and node.inputs[1].name == name
        if table and node.op.padding_index is not None:
            d[node.op.padding_index] = 0
    return d


def check(given: Problem, directions: int = 2) -> None:
    """<gradient, d> is the derivative of the loss along d: for every parameter alone, or along all
    of them where they are many.
    """
    found, nodes = given.values(), forward(given)
    rng = np.random.default_rng(3)
    gradients = {
        name: found[value.name].reshape(given.parameters[name].shape)
        for name, value in given.training.gradients.items()
    }
    assert list(gradients) == [p.name for p in given.graph.parameters if p.trained]
    groups = [list(gradients)] * 3 if len(gradients) > 20 else [[name] for name in gradients]
    for names in groups:
        for _ in range(directions):
            d = {name: direction(given, name, rng) for name in names}
            up, down = (
                given.loss(
                    given.values(nodes, **{n: given.parameters[n] + step * d[n] for n in names})
                )
                for step in (STEP, -STEP)
            )
            want = (up - down) / (2 * STEP)
            got = sum((gradients[name] * d[name]).sum() for name in names)
            scale = max(np.abs(gradients[name]).max() for name in names)
            assert abs(got - want) < 1e-6 * scale + 1e-9 * (1 + given.loss(found)), names


SMOOTH = [name for name in networks.TABLE if name not in GRIDS]


@grid(name=SMOOTH, every=2)
def test_gradients_are_slopes_of_the_squared_error(name: str) -> None:
    check(problem(name))


@grid(name=networks.SHAPES, every=2)
def test_gradients_are_slopes_of_the_cross_entropy(name: str) -> None:
    """With labels that are ignored, at every position where the output has some."""
    check(problem(name, "cross_entropy", smoothing=0.1), directions=1)


# Formulas that no layer makes ---------------------------------------------------------------------

A, B, C, D = map(operand, range(4))
MAP = (2, 3, 2)


def formula(
    node: Elementwise,
    operands: dict[str, Value],
    made: tuple[Value, ...],
    output: Value,
    *rest: Node,
    x: Value | None = None,
) -> Training:
    """The training step of a formula whose operands are all parameters, or the input."""
    trained = tuple(
        Parameter(v, v.shape, v.shape, tuple(range(len(v.shape))))
        for v in operands.values()
        if not v.batched
    )
    nodes = (Node(node, tuple(operands.values()), made, "formula"), *rest)
    x = x or next(v for v in operands.values() if v.batched)
    return differentiate(Graph((x,), (output,), nodes, trained, "float64", True), "mse")


def slopes(training: Training, samples: int = 2) -> None:
    """`check` for a graph that is in no table."""
    rng = np.random.default_rng(1)
    graph = training.graph
    given = {p.name: rng.uniform(0.5, 1.5, p.shape) for p in graph.parameters}
    outside = {training.smoothing.name: np.zeros(())}
    outside |= {value.name: np.asarray(0.3) for value, _ in training.scales}
    x = rng.uniform(0.5, 1.5, (samples, *graph.input.shape))
    target = rng.normal(size=(samples, *graph.output.shape))
    check(Problem("", graph, training, given, x, target, 0.0, outside), directions=4)


def vector(name: str) -> Value:
    return Value(name, MAP[:1], batched=False)


def number(name: str) -> Value:
    return Value(name, (), batched=False)


def test_operands_that_are_spread_get_sums() -> None:
    """Of all rows for a vector of channels, of everything for a number."""
    operands = {"x": Value("x", MAP), "v": vector("v"), "s": number("s")}
    y = Value("y", MAP)
    slopes(formula(Elementwise(MAP, (A * B * B + unary("exp", A * C) / B,)), operands, (y,), y))


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 1, 2), (2, 3, 1), (1, 1, 2), (1, 1, 1), MAP])
def test_operands_that_are_broadcast_get_sums_over_those_axes(shape: tuple[int, ...]) -> None:
    """And over the batch, where they have none."""
    operands = {"x": Value("x", MAP), "v": Value("v", shape, batched=False)}
    y = Value("y", MAP)
    slopes(formula(Elementwise(MAP, (A * B * B + unary("exp", A) / B,)), operands, (y,), y))


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 1, 2), (2, 3, 1), (1, 1, 2), (1, 1, 1)])
def test_gates_get_sums_for_each_sample(shape: tuple[int, ...]) -> None:
    x, v = Value("x", MAP), Value("v", MAP, batched=False)
    y, mean, gate, end = (
        Value("y", MAP),
        Value("mean", shape),
        Value("gate", shape),
        Value("z", MAP),
    )
    axes = tuple(axis for axis in range(3) if shape[axis] == 1)
    rest = (
        Node(Reduce(axes, "sum"), (y,), (mean,), "mean"),
        Node(Elementwise(shape, (unary("sigmoid", A),)), (mean,), (gate,), "gate"),
        Node(Elementwise(MAP, (A * B,)), (y, gate), (end,), "end"),
    )
    slopes(formula(Elementwise(MAP, (A * B,)), {"x": x, "v": v}, (y,), end, *rest))


def test_formulas_with_many_results_and_sums() -> None:
    """The gradient of an operand gathers what comes back through each of them."""
    operands = {"x": Value("x", MAP), "v": vector("v"), "s": number("s")}
    y, z = Value("y", MAP), Value("z", MAP)
    mean, total = Value("mean", MAP[:1]), Value("sum", MAP[:1], batched=False)
    op = Elementwise(
        MAP,
        (A * B, unary("tanh", A + C * B)),
        (Reduction(A * A * B, "sample", mean=True), Reduction(A / B, "channel")),
    )
    end = Value("end", MAP)
    last = Node(Elementwise(MAP, (A * B + C * D,)), (y, z, mean, total), (end,), "end")
    slopes(formula(op, operands, (y, z, mean, total), end, last))


def test_a_vector_that_becomes_a_map() -> None:
    """Its gradient is a sum, also where the slope follows from the result."""
    v, y, x = Value("v", (2, 1, 1), batched=False), Value("y", MAP), Value("x", MAP)
    rest = Node(Elementwise(MAP, (A + B * B,)), (y, x), (Value("z", MAP),), "rest")
    op = Elementwise(MAP, (unary("exp", A),))
    slopes(formula(op, {"v": v}, (y,), rest.output, rest, x=x))


def test_a_sum_of_what_it_sums() -> None:
    """The gradient of a plain sum is spread again."""
    x, v, y = Value("x", MAP), Value("v", MAP, batched=False), Value("y", MAP)
    total, end = Value("sum", MAP[:1]), Value("z", MAP)
    rest = (
        Node(Elementwise(MAP, (), (Reduction(A, "sample"),)), (y,), (total,), "sum"),
        Node(Elementwise(MAP, (A * B,)), (x, total), (end,), "end"),
    )
    slopes(formula(Elementwise(MAP, (A * B,)), {"x": x, "v": v}, (y,), end, *rest))


def test_a_result_that_nobody_reads() -> None:
    operands = {"x": Value("x", MAP), "v": vector("v")}
    y, z = Value("y", MAP), Value("z", MAP)
    slopes(formula(Elementwise(MAP, (A * B, A / B)), operands, (y, z), y))


def test_a_mean_over_the_batch_has_no_rule() -> None:
    """Normalisation, which alone takes such means, has a rule for all of it."""
    operands = {"x": Value("x", MAP), "v": vector("v")}
    mean, end = Value("mean", MAP[:1], batched=False), Value("end", MAP)
    op = Elementwise(MAP, (), (Reduction(A * B, "channel", mean=True),))
    last = Node(Elementwise(MAP, (A * B,)), (operands["x"], mean), (end,), "end")
    with pytest.raises(ValueError, match=r"a mean over the batch has no rule"):
        formula(op, operands, (mean,), end, last)


def test_an_operand_that_the_formula_does_not_read() -> None:
    """The power 0 of local response normalisation leaves its input as it is."""
    net = nn.Sequential(nn.Linear(3), nn.LocalResponseNorm(beta=0.0))
    training = differentiate(nn.build(net, (4,), training=True, dtype="float64"), "mse")
    assert {type(node.op) for node in training.nodes[len(training.graph.nodes) :]} == {
        Elementwise,
        ConvolveWeight,
    }
    slopes(training)


def test_trimmed_formulas_read_each_value_once() -> None:
    x, y, z = (Value(name, (2,)) for name in "xyz")
    made, read = trimmed(A * C + D, [x, y, x, z])
    assert (made, read) == (A * A + B, [x, z])


# Sums ---------------------------------------------------------------------------------------------


def test_what_is_given_several_times_is_added_in_one_formula() -> None:
    given = problem("ten branches")
    sums = [n for n in given.training.nodes if n.layer == "conv1" and isinstance(n.op, Elementwise)]
    assert [len(node.inputs) for node in sums if node.op.outputs] == [10]


def test_nothing_is_computed_for_the_input() -> None:
    """Nobody asks for its gradient."""
    for name in ("lenet", "norm before a convolution", "one channel", "residual of residuals"):
        training = problem(name).training
        first = {node.layer for node in training.graph.nodes if training.graph.input in node.inputs}
        backward = training.nodes[len(training.graph.nodes) :]
        assert not [n for n in backward if n.layer in first and isinstance(n.op, ConvolveInput)]


# Losses -------------------------------------------------------------------------------------------


def test_losses_and_their_weights() -> None:
    given = problem("googlenet", "cross_entropy")
    assert [weight for _, weight in given.training.scales] == [1.0, 0.3, 0.4]
    assert [value.name for value, _ in given.training.scales] == [
        "loss.scale",
        "loss1.scale",
        "loss2.scale",
    ]
    assert given.training.target.shape == ()
    assert given.training.target.kind == "int"
    assert given.training.correct is not None


def test_labels_at_every_position() -> None:
    training = problem("unet", "cross_entropy").training
    assert training.target.shape == training.graph.output.space != ()


def test_squared_errors_have_no_right_answers() -> None:
    training = problem("lenet").training
    assert training.correct is None
    assert (training.target.shape, training.target.kind) == (training.graph.output.shape, "float")


def test_rows_that_are_ignored_have_no_gradient() -> None:
    """And nothing else of the batch changes."""
    one = problem("unet", "cross_entropy", smoothing=0.2)
    none = replace(one, target=np.full_like(one.target, -1))
    known = none.values()
    assert none.loss(known) == 0
    assert not any(known[value.name].any() for value in none.training.gradients.values())


# Refusals -----------------------------------------------------------------------------------------


def refused(words: str, net: nn.Layer, shape: tuple[int, ...], loss: str = "mse") -> None:
    graph = nn.build(net, shape, training=True)
    with pytest.raises(ValueError) as error:
        differentiate(graph, loss)
    assert str(error.value) == words


def test_other_losses_are_refused() -> None:
    words = (
        "loss='hinge': must be one of cross_entropy, binary_cross_entropy, mse, mae, huber, dice, "
        "or a formula such as 'abs(output - target)'"
    )
    refused(words, nn.Linear(2), (3,), "hinge")


def test_graphs_for_inference_are_refused() -> None:
    graph = nn.build(nn.Sequential(nn.Conv(2, 1), nn.BatchNorm()), (3, 4))
    with pytest.raises(ValueError) as error:
        differentiate(graph)
    assert str(error.value) == "graph: must be built for training, not for inference"


def test_heads_of_another_shape_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4), nn.Auxiliary(nn.Linear(3)), nn.Linear(2))
    words = "auxiliary output of shape (3,): must be that of the output, (2,)"
    refused(words, net, (3,))


def test_parameters_on_which_nothing_depends_are_refused() -> None:
    x, y = Value("x", (2,)), Value("y", (2,))
    unused = Parameter(Value("w", (2,), batched=False), (2,), (2,), (0,))
    graph = Graph(
        (x,), (y,), (Node(Elementwise((2,), (A,)), (x,), (y,)),), (unused,), training=True
    )
    with pytest.raises(ValueError) as error:
        differentiate(graph)
    assert str(error.value) == "net: the output does not depend on w"


# Frozen -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "googlenet", "text"])
def test_what_is_frozen_changes_no_other_gradient(name: str) -> None:
    """Without normalisation by the batch, which uses other statistics when it is frozen."""
    given = problem(name)
    names = [p.name for p in given.graph.parameters if p.trained and "norm" not in p.name]
    frozen = set(names[::2])
    made = differentiate(
        given.graph, "mse" if given.training.correct is None else "cross_entropy", frozen=frozen
    )
    assert set(made.gradients) == set(given.training.gradients) - frozen
    some = replace(given, training=made)
    found, every = some.values(), given.values()
    for parameter, value in made.gradients.items():
        whole = every[given.training.gradients[parameter].name]
        np.testing.assert_array_equal(found[value.name], whole)


def test_normalisation_that_is_frozen_is_that_of_inference() -> None:
    net = nn.Sequential(nn.BatchNorm(name="norm"), nn.Linear(3))
    graph = nn.build(net, (4,), training=True, dtype="float64")
    names = [p.name for p in graph.parameters if p.name.startswith("norm.")]
    made = differentiate(graph, frozen=names)
    assert list(made.gradients) == ["linear1.weight", "linear1.bias"] and not made.graph.updates
    assert not any(
        isinstance(node.op, Elementwise) and node.op.reductions and node.layer == "norm"
        for node in made.nodes
    )


def test_nothing_left_to_train() -> None:
    graph = nn.build(nn.Linear(3), (4,), training=True)
    with pytest.raises(ValueError, match="freeze: leaves nothing to train"):
        differentiate(graph, frozen=[p.name for p in graph.parameters])


# Copies that no layer makes -----------------------------------------------------------------------


class Turned(nn.Layer):
    """Channels that become positions, and a part of the positions that become channels."""

    def build(self, b: Builder, x: Value) -> Value:
        return b.node(Permute((3, 2, 2, 2), (2, 0, 3, 1)), (x,), (2, 2, 6))


@dataclass(frozen=True)
class Windows(nn.Layer):
    """Rows of a picture as samples of their own; and back."""

    back: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        if self.back:
            return b.node(View(), (x,), (x.channels, x.samples, *x.space), samples=1)
        rows, *rest = x.space
        return b.node(View(), (x,), (x.channels, *rest), samples=rows)


def test_gradient_of_a_permutation() -> None:
    net = nn.Sequential(nn.Conv(4, 1), Turned(), nn.Conv(2, 1))
    graph = nn.build(net, (3, 3, 2), training=True, dtype="float64")
    slopes(differentiate(graph, "mse"))


@pytest.mark.parametrize("inside", [nn.Conv(4, 2), nn.GroupNorm(2), nn.BatchNorm(), nn.GELU()])
def test_gradient_of_an_axis_that_is_folded_into_the_batch(inside: nn.Layer) -> None:
    net = nn.Sequential(nn.Conv(4, 1), Windows(), inside, Windows(back=True), nn.Conv(2, 1))
    graph = nn.build(net, (3, 3, 4), training=True, dtype="float64")
    slopes(differentiate(graph, "mse"))
