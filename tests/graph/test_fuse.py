"""Fusion: the same numbers in fewer passes, nothing lost that is kept, and what goes where."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
from graph import network_parts, networks
from graph.networks import Problem, build, problem
from grid import grid
from hypothesis import given
from hypothesis import strategies as st

from faltung import nn
from faltung.geometry.expr import Expr, binary, maximum, operand, random, unary
from faltung.graph.expand import expanded
from faltung.graph.fold import folded
from faltung.graph.fuse import (
    CHEAP_OPERATIONS,
    MOST_NESTING,
    MOST_OPERANDS,
    MOST_OPERATIONS,
    fused,
    needed,
)
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise, Op, Pool, Reduction, Resample
from faltung.graph.value import Node, Value, consumers

A, B, C = map(operand, range(3))


def ends(given: Problem) -> set[str]:
    """What a training step keeps."""
    training = given.training
    results = [*training.losses, *training.gradients.values(), training.correct]
    updates = [value for _, value in training.graph.updates]
    return {value.name for value in (*results, *updates) if value is not None}


def in_order(nodes: Sequence[Node], known: Collection[str]) -> None:
    """Every value is made once, before it is read."""
    there = set(known)
    for node in nodes:
        for value in node.inputs:
            assert value.name in there or value.kind == "rows", (node, value.name)
        for value in node.outputs:
            assert value.name not in there, value.name
            there.add(value.name)


def agrees(given: Problem, kept: Collection[str]) -> tuple[Node, ...]:
    """The fused nodes, after it is clear that they make all of ``kept``, as it was."""
    want = given.values()
    nodes = fused(given.training.nodes, kept)
    in_order(nodes, given.known())
    got = given.values(nodes)
    for name in kept:
        scale = np.abs(want[name]).max(initial=1e-30)
        assert np.abs(got[name] - want[name]).max(initial=0.0) <= 1e-10 * scale + 1e-13, name
    return nodes


@grid(name=networks.TABLE, every=2)
def test_the_same_numbers(name: str) -> None:
    given = problem(name)
    nodes = agrees(given, ends(given))
    assert len(nodes) <= len(given.training.nodes)


SOME = ("resnet", "series", "norm far from zero", "the same value in two concats", "dropouts")
PROBLEMS = {name: problem(name) for name in SOME}


@given(st.sampled_from(SOME), st.randoms(use_true_random=False))
def test_what_is_kept_is_there(name: str, rng: object) -> None:
    """Whatever somebody else wants to read."""
    found = PROBLEMS[name]
    every = [value.name for node in found.training.nodes for value in node.outputs]
    kept = {value for value in every if rng.random() < 0.2} | ends(found)
    agrees(found, kept)


# What goes where ----------------------------------------------------------------------------------


def inference(net: nn.Layer, shape: tuple[int, ...]) -> tuple[Node, ...]:
    graph = folded(expanded(nn.build(net, shape))[0])[0]
    return fused(needed(graph.nodes, {graph.output.name}), {graph.output.name})


def kinds(nodes: Sequence[Node]) -> list[type]:
    return [type(node.op) for node in nodes]


def test_a_block_of_a_residual_network_is_two_convolutions() -> None:
    """Normalisation folded, activations and the residual stored with the sums."""
    first, second = inference(network_parts.block(4), (4, 5, 5))[:2]
    assert kinds(inference(network_parts.block(4), (4, 5, 5))) == [Convolve, Convolve]
    assert first.op.epilogue == maximum(A, 0)
    assert second.op.epilogue == maximum(A + B, 0)
    assert [value.name for value in second.inputs[3:]] == ["input"]


def test_the_shortcut_of_a_block_is_no_pass_of_its_own() -> None:
    """The last of the convolutions that are added takes the sum."""
    nodes = inference(network_parts.block(4, 2), (3, 6, 6))
    assert kinds(nodes) == [Convolve, Convolve, Convolve]
    assert [node.op.epilogue for node in nodes] == [maximum(A, 0), None, maximum(B + A, 0)]


def test_an_inception_module_is_its_convolutions_and_its_pool() -> None:
    nodes = inference(network_parts.inception(), (3, 6, 6))
    assert kinds(nodes)[-1].__name__ == "Concat"
    assert sorted(kind.__name__ for kind in kinds(nodes)) == ["Concat", *["Convolve"] * 6, "Pool"]
    assert all(node.op.epilogue == maximum(A, 0) for node in nodes if kinds([node]) == [Convolve])


def test_masks_of_activations_go_into_gradients() -> None:
    given = problem("flatten twice")
    nodes = fused(given.training.nodes, ends(given))
    masked = [n for n in nodes if isinstance(n.op, ConvolveInput) and n.op.epilogue is not None]
    assert masked
    assert all(node.op.epilogue.uses("select") for node in masked)


def test_gradients_of_padding_modes_have_no_epilogue() -> None:
    """Their borders are folded back after the sums."""
    net = nn.Sequential(nn.Conv(2, 1), nn.ReLU(), nn.Conv(2, 3, padding=1, padding_mode="circular"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.TABLE, "circular", (net, (2, 5, 4)))
        given = problem("circular")
    backward = [n for n in agrees(given, ends(given)) if isinstance(n.op, ConvolveInput)]
    assert [node.op.epilogue for node in backward] == [None]


@pytest.mark.parametrize("name", ["lenet", "resnet", "norm far from zero", "volumes"])
def test_sums_are_taken_where_what_they_sum_is_made(name: str) -> None:
    """A pass that only sums reads what no formula makes, or a sum of its own."""
    given = problem(name)
    nodes = fused(given.training.nodes, ends(given))
    makers = {value.name: node for node in nodes for value in node.outputs}
    for node in nodes:
        if isinstance(node.op, Elementwise) and not node.op.outputs:
            before = [makers[v.name] for v in node.inputs if v.name in makers]
            formulas = [n for n in before if isinstance(n.op, Elementwise) and not n.op.reductions]
            assert not [n for n in formulas if n.op.shape == node.op.shape and n is before[-1]]


def conv(name: str, x: Value, y: Value) -> Node:
    spec = next(n for n in build("wide").nodes if isinstance(n.op, Convolve)).op.spec
    weight = Value(f"{name}.weight", spec.weight_shape, batched=False)
    return Node(Convolve(spec), (x, weight), (y,), name)


def formula(out: str, expr: Expr, *inputs: Value, shape: tuple[int, ...] = (3, 4)) -> Node:
    return Node(Elementwise(shape, (expr,)), inputs, (Value(out, shape),))


X, Y = Value("x", (3, 4)), Value("y", (3, 4))
KEY = Value("key", (), batched=False, kind="key")


def ops(nodes: Sequence[Node]) -> list[Op]:
    return [node.op for node in nodes]


def test_random_numbers_are_made_once() -> None:
    """A formula with some goes into one reader, but not into several, and into no convolution."""
    drop = formula("drop", A * random(B), X, KEY)
    one = formula("one", A + 1, drop.output)
    two = formula("two", A - 1, drop.output)
    assert ops(fused([drop, one], {"one"})) == [Elementwise((3, 4), (A * random(B) + 1,))]
    assert len(fused([drop, one, two], {"one", "two"})) == 3
    given = problem("dropouts")
    for node in fused(given.training.nodes, ends(given)):
        if isinstance(node.op, Convolve | ConvolveInput) and node.op.epilogue is not None:
            assert not node.op.epilogue.uses("random")


def test_short_formulas_are_computed_again_and_long_ones_are_not() -> None:
    short, long = A * A + 1, unary("exp", A * A + 1) * A
    dear = A * unary("ndtr", A)
    assert max(short.size(), dear.size()) <= CHEAP_OPERATIONS < long.size()
    for expr, count in ((short, 2), (long, 3), (dear, 3), (A * unary("sigmoid", A), 2)):
        made = formula("made", expr, X)
        readers = [formula(f"{i}", unary("tanh", A), made.output) for i in range(2)]
        assert len(fused([made, *readers], {"0", "1"})) == count


def test_what_is_kept_is_not_computed_twice() -> None:
    made = formula("made", A + 1, X)
    reader = formula("reader", A * 2, made.output)
    assert len(fused([made, reader], {"made", "reader"})) == 2
    assert ops(fused([made, reader], {"reader"})) == [Elementwise((3, 4), ((A + 1) * 2,))]


def test_formulas_do_not_outgrow_their_operands() -> None:
    """No more maps than registers of addresses, and no more to write down than can be."""
    maps = [Value(f"x{i}", (3, 4)) for i in range(2 * MOST_OPERANDS)]
    chain = [formula("y0", A + B, maps[0], maps[1])]
    for i, value in enumerate(maps[2:]):
        chain.append(formula(f"y{i + 1}", A + B, chain[-1].output, value))
    made = fused(chain, {chain[-1].output.name})
    assert len(made) > 1
    assert all(len(node.inputs) <= MOST_OPERANDS for node in made)
    rows = [formula("y0", A * unary("tanh", A), X)]
    for i in range(40):
        rows.append(formula(f"y{i + 1}", A * unary("tanh", A), rows[-1].output))
    made = fused(rows, {rows[-1].output.name})
    assert 1 < len(made) < 41
    assert all(len(str(node.op.outputs[0])) < 16 * MOST_OPERATIONS for node in made)


def test_formulas_do_not_stand_too_deep_in_each_other() -> None:
    """Python walks through a formula by calls within calls, and has a thousand of them."""
    rows = [formula("y0", unary("tanh", A), X)]
    for i in range(999):
        rows.append(formula(f"y{i + 1}", unary("tanh", A), rows[-1].output))
    made = fused(rows, {rows[-1].output.name})
    first, *counts = (str(node.op.outputs[0]).count("tanh") for node in made)
    assert (first, set(counts)) == (1000 % MOST_NESTING, {MOST_NESTING})


def test_sums_do_not_outgrow_their_formula() -> None:
    long = A
    while len(str(long)) < 4 * MOST_OPERATIONS:
        long = long * unary("tanh", long)
    made = formula("made", long, X)
    total = Reduction(long, "scalar")
    sums = Node(
        Elementwise((3, 4), (), (total,)), (made.output,), (Value("sum", (), batched=False),)
    )
    assert len(fused([made, sums], {"made", "sum"})) == 2


def test_a_sum_does_not_go_into_the_formula_whose_sum_it_reads() -> None:
    """It is there only after all of that formula."""
    mean = Value("mean", (3,), batched=False)
    first = Node(
        Elementwise((3, 4), (A * 2,), (Reduction(A, "channel", mean=True),)), (X,), (Y, mean)
    )
    away = (A - B) * (A - B)
    second = Node(
        Elementwise((3, 4), (), (Reduction(away, "channel"),)),
        (Y, mean),
        (Value("squares", (3,), batched=False),),
    )
    assert len(fused([first, second], {"y", "squares"})) == 2


def test_vectors_do_not_go_into_maps_of_their_shape() -> None:
    """A vector of channels and a batch of vectors have one shape, and are not alike."""
    v = Value("v", (3,), batched=False)
    made = Node(
        Elementwise((3,), (A * 2,), batched=False), (v,), (Value("w", (3,), batched=False),)
    )
    x = Value("x", (3,))
    reader = Node(Elementwise((3,), (A + B,)), (x, made.output), (Value("y", (3,)),))
    assert len(fused([made, reader], {"y"})) == 2


def test_a_convolution_that_others_read_stays_as_it_is() -> None:
    spec_in, out = (17, 9, 8), (40, 9, 8)
    x, y = Value("x", spec_in), Value("y", out)
    node = conv("a", x, y)
    relu = formula("r", maximum(A, 0), y, shape=out)
    pool = next(n for n in build("max pool").nodes if isinstance(n.op, Pool))
    other = Node(pool.op, (y,), (Value("p", out),))
    assert len(fused([node, relu], {"r"})) == 1
    assert len(fused([node, relu], {"r", "y"})) == 2
    assert len(fused([node, relu, other], {"r", "p"})) == 3


def test_operands_of_an_epilogue_may_be_broadcast() -> None:
    """Layer scale, gates for samples or positions, constant maps; not maps that grow."""
    out = (40, 9, 8)
    y, x = Value("y", out), Value("x", (17, 9, 8))
    for batched in (False, True):
        for shape in ((40,), (40, 1, 1), (1, 9, 8), (1, 1, 8), (40, 9, 1), out, ()):
            v = Value("v", shape, batched)
            made = fused([conv("a", x, y), formula("r", A * B, y, v, shape=out)], {"r"})
            assert kinds(made) == [Convolve] and made[0].inputs[-1] == v
    large = formula("r", A * B, y, Value("v", (40, 9, 8)), shape=(40, 9, 8))
    assert len(fused([conv("a", x, y), large], {"r"})) == 1
    small = Value("y", (40, 9, 1))
    grown = [conv("a", x, small), formula("r", A * B, small, Value("v", out), shape=out)]
    assert len(fused(grown, {"r"})) == 2


def test_formulas_go_into_the_resampling_before_them() -> None:
    """The sum of a pyramid, and an activation; not where a map has too few channels."""
    lower = nn.Sequential(nn.AvgPool(2), nn.Upsample(scale=2))
    for channels, left in ((8, []), (3, ["Elementwise"])):
        net = nn.Sequential(
            nn.MaxPool(3, stride=1, padding=1), nn.Residual(lower), nn.ReLU(), nn.MaxPool(1)
        )
        nodes = expanded(nn.build(net, (channels, 8, 8)))[0].nodes
        made = fused(nodes, {nodes[-1].output.name})
        kinds = [type(node.op).__name__ for node in made]
        assert kinds == ["Pool", "Pool", "Resample", *left, "Pool"]
        (node,) = (node for node in made if isinstance(node.op, Resample))
        if not left:
            assert node.op.epilogue == maximum(A + B, 0)
            assert node.inputs[1] == nodes[0].output


def test_formulas_whose_readers_become_one_go_into_it() -> None:
    """Hard swish, spelled out: two of its parts read what was scaled before."""
    x, y = Value("x", (17, 9, 8)), Value("y", (40, 9, 8))
    out = y.shape
    scaled = formula("s", A * 2 + 0.5, y, shape=out)
    raised = formula("t", maximum(A + 3, 0), scaled.output, shape=out)
    product = formula("p", A * B, scaled.output, raised.output, shape=out)
    end = formula("r", A / 6, product.output, shape=out)
    (node,) = fused([conv("a", x, y), scaled, raised, product, end], {"r"})
    scale = A * 2 + 0.5
    assert node.op.epilogue == scale * maximum(scale + 3, 0) / 6


def test_an_epilogue_may_follow_another() -> None:
    x, y = Value("x", (17, 9, 8)), Value("y", (40, 9, 8))
    v, u = Value("v", (40,)), Value("u", (40,))
    first = Node(replace(conv("a", x, y).op, epilogue=A * B), (*conv("a", x, y).inputs, v), (y,))
    after = formula("r", (A + B) * C, y, u, v, shape=y.shape)
    (node,) = fused([first, after], {"r"})
    assert node.op.epilogue == (A * B + C) * B and node.inputs[2:] == (v, u)
    many = [Value(f"m{i}", (40,)) for i in range(MOST_OPERANDS + 1)]
    total = A
    for i in range(len(many)):
        total = total + operand(i + 1)
    assert len(fused([first, formula("r", total, y, *many, shape=y.shape)], {"r"})) == 2


def test_long_formulas_are_no_epilogues() -> None:
    y, x = Value("y", (40, 9, 8)), Value("x", (17, 9, 8))
    for expr, count in ((unary("sin", A), 1), (binary("pow", A, 2.5), 2)):
        made = formula("r", expr, y, shape=y.shape)
        assert len(fused([conv("a", x, y), made], {"r"})) == count


def test_maps_for_each_sample_of_a_batch_need_as_many_operands() -> None:
    """The epilogue of a convolution has one stride for batch and samples."""
    out = (40, 9, 8)
    x, y = Value("x", (17, 9, 8), samples=4), Value("y", out, samples=4)
    for v, count in (
        (Value("v", (40,), samples=4), 1),
        (Value("v", (40,), batched=False), 1),
        (Value("v", (40,)), 2),
        (Value("v", (40,), batched=False, samples=4), 2),
    ):
        node = Node(Elementwise(out, (A * B,)), (y, v), (Value("r", out, samples=4),))
        assert len(fused([conv("a", x, y), node], {"r"})) == count


def test_nodes_that_nobody_reads_go() -> None:
    made = formula("made", A + 1, X)
    unused = formula("unused", A * 3, made.output)
    assert needed([made, unused], {"made"}) == (made,)
    assert fused([made, unused], {"made"}) == (made,)
    assert needed([made, unused], set()) == ()


def test_the_oracle_of_this_file_reads_every_value() -> None:
    """`in_order` is of use only if the table has values that several read."""
    readers = consumers(problem("resnet").training.nodes)
    assert max(map(len, readers.values())) > 2
