"""Reductions over any axes: what they mean, and their gradients by differences of the loss."""

from itertools import combinations

import numpy as np
import pytest
from graph.interpreter import compute
from graph.networks import Problem
from graph.test_differentiate import slopes
from graph.test_interpreter import given, one, value

from faltung.geometry.expr import operand, unary
from faltung.graph import ops
from faltung.graph.broadcast import joint, spread_over
from faltung.graph.differentiate import Training, differentiate
from faltung.graph.fuse import fused
from faltung.graph.ops import Cumulative, Elementwise, Op, Reduce
from faltung.graph.value import Graph, Node, Parameter, Value

A, B, C = map(operand, range(3))
MAP = (3, 2, 4)
KINDS = ("sum", "mean", "max", "min", "product")
AXES = [axes for n in (1, 2, 3) for axes in combinations(range(3), n)]


def kept(axes: tuple[int, ...], shape: tuple[int, ...] = MAP) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def trained(*values: Value) -> tuple[Parameter, ...]:
    return tuple(Parameter(v, v.shape, v.shape, tuple(range(len(v.shape)))) for v in values)


def training(op: Op, inputs: tuple[Value, ...], shape: tuple[int, ...]) -> Training:
    """The training step of an operation on x * w, of which every entry has a weight of its own."""
    x, w = Value("x", MAP), Value("w", MAP, batched=False)
    product, made = Value("y", MAP), Value("z", shape)
    nodes = (
        Node(Elementwise(MAP, (A * B,)), (x, w), (product,), "product"),
        Node(op, (product, *inputs), (made,), "op"),
    )
    graph = Graph((x,), (made,), nodes, trained(w, *inputs), "float64", True)
    return differentiate(graph, "mse")


# Meaning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("kind", KINDS)
def test_axes_become_one(kind: str, axes: tuple[int, ...]) -> None:
    x = given("x", *MAP)
    (made,) = one(Reduce(axes, kind), x, out=[value("y", kept(axes))])
    numpy = {"product": "prod"}.get(kind, kind)
    want = getattr(np, numpy)(x[1], axis=tuple(a + 1 for a in axes), keepdims=True)
    np.testing.assert_allclose(made, want, rtol=1e-12)


def test_formulas_before_and_after() -> None:
    """Of operands that are spread: the variance, and a norm."""
    x, mean = given("x", *MAP), given("m", 3, 1, 1)
    op = Reduce((1, 2), "mean", ((A - B) * (A - B), A), finish=unary("sqrt", A + 1))
    out = [value("y", (3, 1, 1)), value("z", (3, 1, 1))]
    (made, other) = one(op, x, mean, out=out)
    want = np.sqrt(((x[1] - mean[1]) ** 2).mean((2, 3), keepdims=True) + 1)
    np.testing.assert_allclose(made, want, rtol=1e-12)
    np.testing.assert_allclose(other, np.sqrt(x[1].mean((2, 3), keepdims=True) + 1), rtol=1e-12)


def test_samples_and_batch() -> None:
    x = Value("x", MAP, samples=5)
    array = np.random.default_rng(1).normal(size=(2 * 5, *MAP))
    (made,) = one(Reduce((ops.SAMPLES, 1), "max"), (x, array), out=[value("y", (3, 1, 4))])
    np.testing.assert_array_equal(made, array.reshape(2, 5, *MAP).max((1, 3))[:, :, None])
    whole = value("z", (1, 2, 4), batched=False)
    (made,) = one(Reduce((0,), "sum", batch=True), (x, array), out=[whole])
    np.testing.assert_allclose(made[0], array.sum((0, 1)), rtol=1e-12)


def test_what_operands_make_together() -> None:
    x, v = Value("x", (3, 1, 4), samples=2), Value("v", (3,), batched=False)
    row = Value("r", (1, 5, 1))
    assert joint((x, v, row)) == Value("", (3, 5, 4), samples=2)
    whole = joint((x, v, row))
    assert spread_over(x, whole) == Reduce((1,), "sum")
    assert spread_over(v, whole) == Reduce((ops.SAMPLES, 1, 2), "sum", batch=True)
    assert spread_over(row, whole) == Reduce((ops.SAMPLES, 0, 2), "sum")
    assert spread_over(whole, whole) is None


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str, axes: tuple[int, ...]) -> None:
    slopes(training(Reduce(axes, kind), (), kept(axes)))


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 2, 1), (1, 2, 4), (), (3, 1, 4)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_formulas_and_of_what_they_spread(kind: str, shape: tuple[int, ...]) -> None:
    """Also of constant maps, which have the sum over the batch."""
    op = Reduce((0, 2), kind, (A * B + unary("exp", B),), finish=unary("tanh", A * 0.1))
    slopes(training(op, (Value("v", shape, batched=False),), (1, 2, 1)))


def test_equal_extremes_share_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    made = training(Reduce((1, 2), "max"), (), (3, 1, 1))
    x = np.array([1.0, 2, 2, 0, 2, 1, 1, 1] * 3).reshape(1, *MAP)
    known = {"x": x, "w": np.ones(MAP)}
    target = np.zeros((1, 3, 1, 1))
    outside = {v.name: np.asarray(1.0) for v, _ in made.scales}
    outside[made.smoothing.name] = np.zeros(())
    found = Problem("", made.graph, made, known, x, target, 0.0, outside).values()
    w = torch.ones(MAP, dtype=torch.float64, requires_grad=True)
    ((torch.tensor(x) * w).amax((2, 3)) ** 2).sum().backward()
    np.testing.assert_allclose(found[made.gradients["w"].name], w.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradients_of_products_with_zeros(zeros: int) -> None:
    torch = pytest.importorskip("torch")
    made = training(Reduce((0, 2), "product"), (), (1, 2, 1))
    x = np.random.default_rng(0).uniform(0.5, 1.5, (1, *MAP))
    x[0, 0, 1, :zeros] = 0
    outside = {v.name: np.asarray(1.0) for v, _ in made.scales}
    outside[made.smoothing.name] = np.zeros(())
    target = np.full((1, 1, 2, 1), 0.3)
    given = Problem("", made.graph, made, {"w": np.ones(MAP)}, x, target, 0.0, outside)
    w = torch.ones(MAP, dtype=torch.float64, requires_grad=True)
    y = (torch.tensor(x) * w).prod(1).prod(2)
    ((y - 0.3) ** 2).sum().backward()
    got = given.values()[made.gradients["w"].name]
    np.testing.assert_allclose(got, w.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_running_sums(axis: int, exclusive: bool, reverse: bool) -> None:
    slopes(training(Cumulative(axis, "sum", exclusive, reverse), (), MAP))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("largest", [False, True])
def test_gradients_of_the_first_entries(axis: int, largest: bool) -> None:
    """The places are an output of their own."""
    x, w = Value("x", MAP), Value("w", MAP, batched=False)
    shape = tuple(2 if i == axis else n for i, n in enumerate(MAP))
    product, values, places, end = (
        Value("y", MAP), *(Value(n, shape) for n in ("values", "places", "end"))
    )  # fmt: skip
    nodes = (
        Node(Elementwise(MAP, (A * B,)), (x, w), (product,), "product"),
        Node(ops.TopK(axis, 2, largest), (product,), (values, places), "op"),
        Node(Elementwise(shape, (A * A + B,)), (values, places), (end,), "end"),
    )
    slopes(differentiate(Graph((x,), (end,), nodes, trained(w), "float64", True), "mse"))


# What is made of reductions -----------------------------------------------------------------------

SOFTMAX = [ops.Softmax(axes, log) for axes in AXES for log in (False, True)]


def test_softmax_over_any_axes() -> None:
    for op in SOFTMAX:
        xv, x = given("x", *MAP)
        (made,) = one(op, (xv, x), out=[value("y", MAP)])
        axes = tuple(axis + 1 for axis in op.axes)
        np.testing.assert_allclose(np.exp(made) if op.log else made, made_of(x, axes), rtol=1e-9)
        slopes(training(op, (), MAP))


def made_of(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axes, keepdims=True)


@pytest.mark.parametrize("axes", AXES)
def test_sums_of_powers(axes: tuple[int, ...]) -> None:
    """Also of a formula, with another behind, and of what is infinite."""
    torch = pytest.importorskip("torch")
    xv, x = given("x", *MAP)
    x[0, 0, 0, 0], x[1, :] = np.inf, -np.inf
    (made,) = one(Reduce(axes, "log_sum_exp"), (xv, x), out=[value("y", kept(axes))])
    want = torch.logsumexp(torch.tensor(x), [a + 1 for a in axes], keepdim=True)
    np.testing.assert_allclose(made, want.numpy(), rtol=1e-9)
    slopes(training(Reduce(axes, "log_sum_exp"), (), kept(axes)))
    op = Reduce(axes, "log_sum_exp", (A * B,), finish=unary("tanh", A * 0.3))
    slopes(training(op, (Value("v", (3,), batched=False),), kept(axes)))


GAINS: list[tuple[tuple[int, ...], ...]] = [
    (),
    ((3,),),
    ((3,), (3,)),
    (MAP, MAP),
    ((1, 2, 4), (3,)),
]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("centred", [True, False])
def test_normalisation_over_any_axes(axes: tuple[int, ...], centred: bool) -> None:
    torch = pytest.importorskip("torch")
    op = ops.Normalise("axes", 1e-3, axes=axes, centred=centred)
    xv, x = given("x", *MAP)
    (made,) = one(op, (xv, x), out=[value("y", MAP)])
    over = tuple(axis + 1 for axis in axes)
    away = x - x.mean(over, keepdims=True) * centred
    want = away / np.sqrt((away**2).mean(over, keepdims=True) + 1e-3)
    np.testing.assert_allclose(made, want, rtol=1e-9)
    if axes == (0, 1, 2) and centred:
        want = torch.nn.functional.layer_norm(torch.tensor(x), MAP, eps=1e-3).numpy()
        np.testing.assert_allclose(made, want, rtol=1e-9)
    for gains in GAINS:
        vectors = tuple(Value(f"g{i}", s, batched=False) for i, s in enumerate(gains))
        slopes(training(op, vectors, MAP))


# Fusion -------------------------------------------------------------------------------------------


def fused_ops(nodes: tuple[Node, ...], out: Value, x: Value) -> list[Op]:
    """What is left of the nodes, after it is clear that it means the same."""
    array = np.random.default_rng(2).normal(size=(2 * x.samples, *x.shape))
    found = []
    for these in (nodes, made := fused(nodes, {out.name})):
        known = {x.name: array}
        compute(these, known, 2)
        found.append(known[out.name])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)
    return [node.op for node in made]


def test_variances_read_their_operand_once() -> None:
    """Formulas before and after a reduction are part of it."""
    x, mean, away, square = (Value(n, MAP) for n in "xmas")
    mean, var, rstd = (Value(n, (1, 2, 1)) for n in "mvr")
    nodes = (
        Node(Reduce((0, 2), "mean"), (x,), (mean,)),
        Node(Elementwise(MAP, (A - B,)), (x, mean), (away,)),
        Node(Elementwise(MAP, (A * A,)), (away,), (square,)),
        Node(Reduce((0, 2), "mean"), (square,), (var,)),
        Node(Elementwise(rstd.shape, (1 / unary("sqrt", A + 1e-5),)), (var,), (rstd,)),
    )
    made = fused_ops(nodes, rstd, x)
    assert [type(op) for op in made] == [Reduce, Reduce]
    assert made[1].exprs == ((A - B) * (A - B),)
    assert made[1].finish == 1 / unary("sqrt", A + 1e-5)


def test_a_formula_that_says_how_large_the_map_is_stays() -> None:
    """What is added up is its five copies of a row."""
    x, wide, y = Value("x", (3, 1, 4)), Value("w", (3, 5, 4)), Value("y", (3, 1, 4))
    nodes = (
        Node(Elementwise(wide.shape, (A * 2,)), (x,), (wide,)),
        Node(Reduce((1,), "sum"), (wide,), (y,)),
    )
    assert [type(op) for op in fused_ops(nodes, y, x)] == [Elementwise, Reduce]


def test_means_of_maps_are_taken_with_the_formula_that_makes_them() -> None:
    """As in squeeze and excite; a mean over some of the positions is not."""
    for axes, count in (((1, 2), 2), ((0, 2), 3)):
        x, y, mean = Value("x", MAP), Value("y", MAP), Value("m", kept(axes))
        out = Value("o", MAP)
        nodes = (
            Node(Elementwise(MAP, (unary("erf", A),)), (x,), (y,)),
            Node(Reduce(axes, "mean"), (y,), (mean,)),
            Node(Elementwise(MAP, (A * unary("exp", B),)), (y, mean), (out,)),
        )
        assert len(fused_ops(nodes, out, x)) == count
