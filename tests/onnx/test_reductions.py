"""Reductions, extremes, sorting, losses and normalisation over any axes, against ONNX Runtime."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.graph.ops import Normalise, Permute, View
from faltung.onnx import load
from faltung.program.inference import Inference

runtime = optional("onnxruntime")
SHAPE = (3, 4, 2, 5)
AXES = [axes for n in (1, 2, 3, 4) for axes in combinations(range(4), n)]
KINDS = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


@pytest.fixture(autouse=True)
def _with_runtime() -> None:
    runtime.InferenceSession  # noqa: B018 - skips where it is not installed


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_of_axes(kind: str) -> None:
    """The batch among them; of the input itself, and of what a convolution has made."""
    x = np.abs(numbers(*SHAPE)) + 0.5
    for keep in (0, 1):
        nodes = [node(f"Reduce{kind}", f"x a{i}", f"y{i}", keepdims=keep) for i in range(len(AXES))]
        nodes += [node("Conv", "x w", "c"), node("Abs", "c", "d")]
        nodes += [
            node(f"Reduce{kind}", f"d a{i}", f"z{i}", keepdims=keep) for i in range(len(AXES))
        ]
        constants = {f"a{i}": np.array(axes) for i, axes in enumerate(AXES)}
        outputs = [f"{name}{i}" for name in "yz" for i in range(len(AXES))]
        weight = {"w": np.abs(numbers(4, 4, 1, 1, seed=3))}
        data = made(nodes, {"x": SHAPE}, outputs, constants | weight, opset=18)
        agree(data, {"x": x})


@pytest.mark.parametrize("axis", [0, 1, -2, 3])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_along_an_axis_in_any_order_of_memory(axis: int, order: tuple[int, ...]) -> None:
    x = np.round(numbers(*SHAPE) * 2)
    nodes = [
        node("Transpose", "x", "t", perm=list(order)),
        node("ArgMax", "t", "a", axis=axis),
        node("ArgMin", "t", "b", axis=axis, keepdims=0, select_last_index=1),
        node("CumSum", "t n", "c", exclusive=1, reverse=1),
        node("CumSum", "t n", "d"),
        node("TopK", "t k", "e f", axis=axis),
        node("TopK", "t k", "g h", axis=axis, largest=0),
        node("Softmax", "t", "i", axis=axis),
        node("LogSoftmax", "t", "j", axis=axis),
        node("Hardmax", "t", "k0", axis=axis),
    ]
    constants = {"n": np.array(axis), "k": np.array([2])}
    outputs = [*"abcdefghij", "k0"]
    types = dict.fromkeys("abfh", "int64")
    data = made(nodes, {"x": SHAPE}, outputs, constants, opset=17, types=types)
    agree(data, {"x": x})
    model = load(data)
    assert [model.outputs[i].dtype for i in (0, 1, 5, 7)] == ["int64"] * 4
    assert all(model(x)[i].dtype == np.int64 for i in (0, 1, 5, 7))


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_layer_normalisation(axis: int, order: tuple[int, ...]) -> None:
    """With gain and shift known or computed, and with all that it gives."""
    sizes = tuple(SHAPE[i] for i in order)
    normal = sizes[axis:]
    nodes = [
        node("Transpose", "x", "t", perm=list(order)),
        node("LayerNormalization", "t g s", "a", axis=axis, epsilon=1e-3),
        node("LayerNormalization", "t g", "b", axis=axis),
        node("LayerNormalization", "t h s", "c m r", axis=axis),
        node("Mul", "u g", "h"),
    ]
    nodes = [nodes[0], nodes[4], *nodes[1:4]]
    constants = {"g": numbers(*normal, seed=1), "s": numbers(*normal, seed=2)}
    data = made(nodes, {"x": SHAPE, "u": (1,)}, list("abcmr"), constants, opset=17)
    agree(data, {"x": numbers(*SHAPE), "u": numbers(1) + 2})


@pytest.mark.parametrize("opset", [11, 18])
def test_layer_normalisation_that_is_spelled_out(
    opset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As exporters wrote it for years: it is one step."""
    nodes = [
        node("ReduceMean", "x", "m", axes=[-1]) if opset < 18 else node("ReduceMean", "x l", "m"),
        node("Sub", "x m", "d"),
        node("Pow", "d two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]) if opset < 18 else node("ReduceMean", "q l", "v"),
        node("Add", "v e", "w"),
        node("Sqrt", "w", "r"),
        node("Div", "d r", "n"),
        node("Mul", "n g", "h"),
        node("Add", "h s", "y"),
    ]
    constants = {"two": np.float32(2), "e": np.float32(1e-5), "l": np.array([-1])}
    constants |= {"g": numbers(48, seed=1), "s": numbers(48, seed=2)}
    data = made(nodes, {"x": ("N", 7, 48)}, ["y"], constants, opset=opset)
    seen: list[Inference] = []
    before = Inference.__init__

    def watched(self: Inference, *given: Any, **more: Any) -> None:
        before(self, *given, **more)
        seen.append(self)

    monkeypatch.setattr(Inference, "__init__", watched)
    agree(data, {"x": numbers(3, 7, 48) + 5})
    assert [type(n.op) for n in seen[-1].nodes if not isinstance(n.op, View)] == [Normalise]


@pytest.mark.parametrize("known", [True, False])
def test_normalisation_of_channels(known: bool) -> None:
    """Also with gains that are computed, which no weight can be folded with."""
    names = ("g", "s", "m", "v")
    arrays = {n: np.abs(numbers(4, seed=i)) + 0.1 for i, n in enumerate(names)}
    nodes = [
        node("BatchNormalization", "x g s m v", "a", epsilon=1e-2),
        node("InstanceNormalization", "x g s", "b"),
        node("LpNormalization", "x", "c", axis=1, p=1),
        node("LpNormalization", "x", "d", axis=2),
        node("MeanVarianceNormalization", "x", "e"),
        node("GlobalLpPool", "x", "f", p=3),
        node("LpPool", "x", "h", kernel_shape=[2, 2], pads=[0, 1, 1, 0], strides=[1, 2]),
    ]
    inputs = {"x": SHAPE} | ({} if known else {n: (4,) for n in names})
    data = made(nodes, inputs, list("abcdefh"), arrays if known else {}, opset=17)
    agree(data, {"x": numbers(*SHAPE)} | ({} if known else arrays))


def test_normalisation_of_groups_that_are_computed() -> None:
    from onnx.reference import ReferenceEvaluator

    for opset, count in ((20, 2), (21, 4)):
        inputs = {"x": SHAPE, "g": (count,), "s": (count,)}
        given = {"x": numbers(*SHAPE), "g": numbers(count, seed=1), "s": numbers(count, seed=2)}
        nodes = [node("GroupNormalization", "x g s", "y", num_groups=2)]
        data = made(nodes, inputs, ["y"], {}, opset=opset)
        (want,) = ReferenceEvaluator(data).run(None, given)
        np.testing.assert_allclose(load(data)(**given), want, rtol=1e-4, atol=1e-5)


def test_groups_as_pytorch_exports_them() -> None:
    """The statistics are taken where the numbers lie: nothing is copied into another order."""
    nodes = [
        node("Conv", "x k", "c"),
        node("Reshape", "c split", "p"),
        node("InstanceNormalization", "p one zero", "i", epsilon=1e-3),
        node("Reshape", "i whole", "r"),
        node("Mul", "r g", "h"),
        node("Add", "h s", "y"),
    ]
    constants: dict[str, Any] = {"k": numbers(6, 4, 1, 1), "split": np.array([0, 3, -1])}
    constants |= {"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)}
    constants |= {"whole": np.array([3, 6, 2, 5])}
    constants |= {"g": numbers(6, 1, 1, seed=1), "s": numbers(6, 1, 1, seed=2)}
    data = made(nodes, {"x": SHAPE}, ["y"], constants, opset=17)
    seen: list[Inference] = []
    before = Inference.__init__

    def watched(self: Inference, *given: Any, **more: Any) -> None:
        before(self, *given, **more)
        seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inference, "__init__", watched)
        agree(data, {"x": numbers(*SHAPE)})
    assert not [n for n in seen[-1].nodes if isinstance(n.op, Permute)]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("ignored", [None, 1, -100])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(reduction: str, ignored: int | None, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, 2, 5))
    if ignored is not None:
        labels[:, 0] = ignored
    more = {} if ignored is None else {"ignore_index": ignored}
    names = "x l w" if weighted else "x l"
    nodes = [
        node("SoftmaxCrossEntropyLoss", names, "a b", reduction=reduction, **more),
        node("LogSoftmax", "x", "p", axis=1),
        node(
            "NegativeLogLikelihoodLoss", names.replace("x", "p"), "c", reduction=reduction, **more
        ),
    ]
    constants = {"w": np.abs(numbers(4, seed=9)) + 0.1} if weighted else {}
    inputs = {"x": SHAPE, "l": (3, 2, 5)}
    data = made(nodes, inputs, list("abc"), constants, opset=13, types={"l": "int64"})
    agree(data, {"x": numbers(*SHAPE), "l": labels})


def test_the_running_statistics_of_a_batch() -> None:
    from onnx.reference import ReferenceEvaluator

    names = ("g", "s", "m", "v")
    given = {n: np.abs(numbers(4, seed=i)) + 0.1 for i, n in enumerate(names)}
    attributes = {"training_mode": 1, "momentum": 0.7, "epsilon": 1e-2}
    nodes = [node("BatchNormalization", "x g s m v", "y a b", **attributes)]
    data = made(nodes, {"x": SHAPE}, list("yab"), given, opset=15)
    x = numbers(*SHAPE)
    for got, want in zip(load(data)(x), ReferenceEvaluator(data).run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_sample_alone_has_the_same_bits() -> None:
    nodes = [
        node("ReduceSum", "x a", "s", keepdims=0),
        node("Softmax", "x", "p", axis=2),
        node("LayerNormalization", "x g", "n", axis=1),
    ]
    constants = {"a": np.array([1, 2]), "g": np.ones((300, 70), np.float32)}
    data = made(nodes, {"x": ("N", 300, 70)}, list("spn"), constants, opset=17)
    model, x = load(data), numbers(5, 300, 70)
    for whole, alone in zip(model(x), model(x[3:4].copy()), strict=True):
        assert whole[3:4].tobytes() == alone.tobytes()


def test_what_is_refused() -> None:
    data = made([node("TopK", "x k", "a b")], {"x": (2, 3)}, ["a"], {"k": np.array([4])}, opset=11)
    with pytest.raises(ValueError, match=r"k=\(4,\): must be one number from 1 to 3"):
        load(data)(numbers(2, 3))
