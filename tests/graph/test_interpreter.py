"""The oracle itself: operations that no layer makes, against PyTorch and by hand."""

from typing import Any, get_args

import numpy as np
import pytest
from graph.interpreter import MEANING, compute, numbers

from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.geometry.expr import at_least, maximum, operand, random, select
from faltung.geometry.pool import pool_spec
from faltung.graph import ops
from faltung.graph.value import Node, Value

RNG = np.random.default_rng(3)
A, B, C = map(operand, range(3))


def value(name: str, shape: tuple[int, ...], batched: bool = True, kind: str = "float") -> Value:
    return Value(name, shape, batched, kind)


def one(op: ops.Op, *inputs: tuple[Value, Any], out: list[Value], batch: int = 2) -> list[Any]:
    """The results of one operation."""
    known = {v.name: np.asarray(array) for v, array in inputs}
    compute([Node(op, tuple(v for v, _ in inputs), tuple(out))], known, batch)
    return [known[v.name] for v in out]


def given(name: str, *shape: int, batch: int | None = 2) -> tuple[Value, np.ndarray]:
    full = shape if batch is None else (batch, *shape)
    return value(name, shape, batch is not None), RNG.normal(size=full)


def spec(groups: int = 1, mode: str = "zeros") -> ConvSpec:
    return conv_spec(
        (1, 4, 7, 6),
        (6, 4 // groups, 3, 2),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        groups=groups,
        padding_mode=mode,
        dtype="float64",
    )


def test_every_operation_has_a_meaning() -> None:
    assert MEANING.keys() == set(get_args(ops.Op))


# Gradients, as PyTorch's own ----------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_a_convolution(groups: int) -> None:
    torch = pytest.importorskip("torch")
    s = spec(groups)
    (xv, x), (wv, w) = given("x", *s.input_shape[1:]), given("w", *s.weight_shape, batch=None)
    gv, g = given("g", *s.output_shape[1:])
    tx, tw = (torch.tensor(array, requires_grad=True) for array in (x, w))
    y = torch.nn.functional.conv2d(tx, tw, None, s.stride, (1, 2), s.dilation, groups)
    y.backward(torch.tensor(g))
    (dx,) = one(ops.ConvolveInput(s), (gv, g), (wv, w), out=[value("dx", xv.shape)])
    (dw,) = one(ops.ConvolveWeight(s), (xv, x), (gv, g), out=[value("dw", wv.shape, False)])
    np.testing.assert_allclose(dx, tx.grad, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dw, tw.grad, rtol=1e-10, atol=1e-12)


def test_gradients_of_a_local_layer_are_its_transposes() -> None:
    s = spec()
    (xv, x), (gv, g) = given("x", *s.input_shape[1:]), given("g", *s.output_shape[1:])
    wv, w = given("w", *s.output, *s.weight_shape, batch=None)
    bv, b = given("b", *s.output, 6, batch=None)
    (y,) = one(ops.LocallyConnected(s, True), (xv, x), (wv, w), (bv, b), out=[gv])
    (plain,) = one(ops.LocallyConnected(s), (xv, x), (wv, w), out=[gv])
    (dx,) = one(ops.LocallyConnectedInput(s), (gv, g), (wv, w), out=[xv])
    (dw,) = one(ops.LocallyConnectedWeight(s), (xv, x), (gv, g), out=[wv])
    (db,) = one(ops.LocallyConnectedBias(s), (gv, g), out=[bv])
    total = np.vdot(plain, g)
    assert np.isclose(np.vdot(dx, x), total) and np.isclose(np.vdot(dw, w), total)
    assert np.isclose(np.vdot(db, b), np.vdot(y - plain, g))


@pytest.mark.parametrize("kind", ["max", "average"])
def test_gradients_of_pooling(kind: str) -> None:
    torch = pytest.importorskip("torch")
    s = pool_spec((1, 3, 7, 6), 3, stride=2, padding=1, kind=kind, dtype="float64")
    (xv, x), (gv, g) = given("x", 3, 7, 6), given("g", *s.output_shape[1:])
    tx = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, "max_pool2d" if kind == "max" else "avg_pool2d")
    function(tx, 3, 2, 1).backward(torch.tensor(g))
    more = []
    if kind == "max":
        index = value("i", gv.shape, kind="int")
        _, taken = one(ops.Pool(s, True), (xv, x), out=[gv, index])
        more = [(index, taken)]
    (dx,) = one(ops.PoolGrad(s), (gv, g), *more, out=[xv])
    np.testing.assert_allclose(dx, tx.grad, rtol=1e-12)


def test_gradient_of_an_embedding() -> None:
    torch = pytest.importorskip("torch")
    tokens = np.array([[0, 3, 3, 1], [2, 0, 4, 3]])
    tv = value("t", (4,), kind="int")
    wv, w = given("w", 5, 3, batch=None)
    gv, g = given("g", 3, 4)
    table = torch.tensor(w, requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(tokens), table, padding_idx=3).movedim(-1, 1)
    y.backward(torch.tensor(g))
    (made,) = one(ops.Embed(3), (tv, tokens), (wv, w), out=[gv])
    np.testing.assert_array_equal(made, y.detach())
    (dw,) = one(ops.EmbedGrad(5, 3), (tv, tokens), (gv, g), out=[wv])
    np.testing.assert_allclose(dw, table.grad)


@pytest.mark.parametrize("space", [(), (3, 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(space: tuple[int, ...], smoothing: float) -> None:
    torch = pytest.importorskip("torch")
    logits, x = given("x", 5, *space)
    labels = RNG.integers(-1, 5, (2, *space))
    labels.flat[0], labels.flat[-1] = 2, -1
    tx = torch.tensor(x, requires_grad=True)
    wanted = torch.nn.functional.cross_entropy(
        tx,
        torch.tensor(labels),
        ignore_index=-1,
        label_smoothing=smoothing,
        reduction="none",
    )
    (wanted * 0.25).sum().backward()
    lv = value("l", space, kind="int")
    scalars = [(value("s", (), False), 0.25), (value("e", (), False), smoothing)]
    out = [value("loss", (1, *space)), value("right", (1, *space)), value("g", logits.shape)]
    loss, right, gradient = one(ops.CrossEntropy(), (logits, x), (lv, labels), *scalars, out=out)
    np.testing.assert_allclose(loss[:, 0], wanted.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient, tx.grad, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(right[:, 0], x.argmax(1) == labels)


# Formulas -----------------------------------------------------------------------------------------


def test_operands_of_every_shape() -> None:
    shape = (3, 4, 2)
    (xv, x), (sv, per_sample) = given("x", *shape), given("s", 3)
    cv, per_channel = given("c", 3, batch=None)
    nv = value("n", (), False)
    op = ops.Elementwise(shape, (A * B + C * operand(3),))
    (y,) = one(op, (xv, x), (sv, per_sample), (cv, per_channel), (nv, 0.5), out=[xv])
    wide = per_sample[:, :, None, None], per_channel[None, :, None, None] * 0.5
    np.testing.assert_allclose(y, x * wide[0] + wide[1])


@pytest.mark.parametrize("mean", [False, True])
def test_reductions(mean: bool) -> None:
    xv, x = given("x", 3, 4, 2)
    kinds = ("channel", "sample", "scalar")
    op = ops.Elementwise(
        (3, 4, 2), (-A,), tuple(ops.Reduction(A * A, kind, mean) for kind in kinds)
    )
    out = [xv, value("c", (3,), False), value("s", (3,)), value("n", (), False)]
    negated, *totals = one(op, (xv, x), out=out)
    np.testing.assert_array_equal(negated, -x)
    function = np.mean if mean else np.sum
    for total, axes in zip(totals, [(0, 2, 3), (2, 3), (0, 1, 2, 3)], strict=True):
        np.testing.assert_allclose(total, function(x * x, axes))


def test_without_a_batch() -> None:
    (wv, w), (gv, g) = given("w", 4, 3, 2, batch=None), given("g", 4, 3, 2, batch=None)
    rate = (value("rate", (), False), 0.1)
    total = ops.Reduction(A * A, "scalar")
    op = ops.Elementwise(wv.shape, (A - operand(2) * B,), (total,), batched=False)
    new, norm = one(op, (wv, w), (gv, g), rate, out=[value("u", wv.shape, False), rate[0]])
    np.testing.assert_allclose(new, w - 0.1 * g)
    assert np.isclose(norm, (w * w).sum())


def test_rows_are_the_samples_times_their_size() -> None:
    cv, c = given("c", 3, batch=None)
    rows = Value("rows", (20,), batched=False, kind="rows")
    known = {"c": c}
    op = ops.Elementwise((3,), (A / B,), batched=False)
    compute([Node(op, (cv, rows), (value("m", (3,), False),))], known, 4)
    np.testing.assert_allclose(known["m"], c / 80)


def test_dropout_is_the_formula_with_random_numbers() -> None:
    xv, x = given("x", 5, 3, 2, batch=4)
    key = value("k", (), False, "key")
    kept = select(at_least(random(B), 0.3), A * (1 / 0.7), 0)
    arguments: Any = {"out": [xv], "batch": 4}
    (dropped,) = one(ops.Dropout(0.3), (xv, x), (key, np.int64(9)), **arguments)
    formula = ops.Elementwise((5, 3, 2), (kept,))
    (made,) = one(formula, (xv, x), (key, np.int64(9)), **arguments)
    np.testing.assert_allclose(dropped, made)
    assert (dropped == 0).any() and (dropped != 0).any()


def test_numbers_run_over_the_channels_first() -> None:
    """As elements lie in memory: position by position, its channels side by side."""
    made = numbers((2, 3, 2, 2))
    assert made[0, :, 0, 0].tolist() == [0, 1, 2]
    assert made[0, 0].tolist() == [[0, 3], [6, 9]]
    assert made[1, 0, 0, 0] == 12


def test_epilogues() -> None:
    s = spec()
    (xv, x), (yv, other) = given("x", *s.input_shape[1:]), given("y", *s.output_shape[1:])
    wv, w = given("w", *s.weight_shape, batch=None)
    bv, b = given("b", 6, batch=None)
    (plain,) = one(ops.Convolve(s, True), (xv, x), (wv, w), (bv, b), out=[yv])
    op = ops.Convolve(s, True, maximum(A + B, 0))
    (made,) = one(op, (xv, x), (wv, w), (bv, b), (yv, other), out=[value("z", yv.shape)])
    np.testing.assert_allclose(made, np.maximum(plain + other, 0))
    op = ops.Convolve(s, False, A * B)  # a vector for each channel
    (made,) = one(op, (xv, x), (wv, w), (bv, b), out=[value("z", yv.shape)])
    np.testing.assert_allclose(made, (plain - b[:, None, None]) * b[:, None, None])


# Moving -------------------------------------------------------------------------------------------


def test_parts_of_maps() -> None:
    xv, x = given("x", 6, 2, 2)
    (part,) = one(ops.Slice(2), (xv, x), out=[value("y", (3, 2, 2))])
    np.testing.assert_array_equal(part, x[:, 2:5])
    (again,) = one(
        ops.Concat(), (xv, x), (value("y", (3, 2, 2)), part), out=[value("z", (9, 2, 2))]
    )
    np.testing.assert_array_equal(again, np.concatenate([x, part], 1))
    (first,) = one(ops.FirstPosition(), (xv, x), out=[value("f", (6,), False)])
    np.testing.assert_array_equal(first, x[0, :, 0, 0])
    (flat,) = one(ops.Reshape(), (xv, x), out=[value("r", (24,))])
    np.testing.assert_array_equal(flat, x.reshape(2, 24))


def test_axes_in_another_order() -> None:
    xv, x = given("x", 6, 2, 2)
    memory = x.transpose(0, 2, 3, 1).reshape(2, 4, 2, 3)  # positions and two halves of channels
    op = ops.Permute((4, 2, 3), (2, 0, 1))
    (made,) = one(op, (xv, x), out=[value("y", (8, 3))])
    want = memory.transpose(0, 3, 1, 2).reshape(2, 3, 8).transpose(0, 2, 1)
    np.testing.assert_array_equal(made, want)


def test_the_same_memory_seen_otherwise() -> None:
    xv, x = given("x", 6, 2, 2)
    (made,) = one(ops.View(), (xv, x), out=[Value("y", (3, 2), samples=4)])
    want = x.transpose(0, 2, 3, 1).reshape(8, 2, 3).transpose(0, 2, 1)
    np.testing.assert_array_equal(made, want)


def test_means_of_groups() -> None:
    for shape in ((6,), (6, 2)):
        xv, x = given("x", *shape)
        (made,) = one(ops.GroupMean(3), (xv, x), out=[xv])
        for group in range(3):
            part = slice(2 * group, 2 * group + 2)
            want = x[:, part].mean(axis=1, keepdims=True)
            np.testing.assert_allclose(made[:, part], np.broadcast_to(want, made[:, part].shape))


def test_along_the_channels() -> None:
    xv, x = given("x", 5, 2)
    (made,) = one(ops.ChannelConv((1.0, 10.0, 100.0), 1), (xv, x), out=[xv])
    np.testing.assert_allclose(made[:, 2], x[:, 1] + 10 * x[:, 2] + 100 * x[:, 3])
    np.testing.assert_allclose(made[:, 0], 10 * x[:, 0] + 100 * x[:, 1])
    np.testing.assert_allclose(made[:, 4], x[:, 3] + 10 * x[:, 4])
