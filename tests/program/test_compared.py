"""Training steps on every kind of target: losses and gradients by definition and by PyTorch."""

from typing import Any

import numpy as np
import pytest
from program.programs import threads

from faltung import nn
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.graph.losses import KINDS, LOSSES
from faltung.program.optimizer import SGD
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

torch = pytest.importorskip("torch")

Array = Any
BATCH, CLASSES = 5, 4
NETS: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "vector": (nn.Sequential(nn.Linear(CLASSES, name="end")), (6,)),
    "map": (nn.Sequential(nn.Conv(CLASSES, 1, name="end")), (3, 5, 7)),
}
WEIGHT = np.array([1.0, 0.25, 0.0, 2.0, 3.0])


def step_of(name: str, loss: str, **more: Any) -> TrainingStep:
    """A layer with a loss, in float64; further arguments of ``TrainingStep`` and of the graph."""
    net, shape = NETS[name]
    graph = nn.build(net, shape, training=True, dtype="float64")
    state = State(graph.parameters, "float64")
    state.update(parameters(graph, 1))
    of_graph = {key: more.pop(key) for key in ("soft", "sample_weights") if key in more}
    training = differentiate(graph, loss, weighted="class_weight" in more, **of_graph)
    slots = Slots(state, SGD(0.0))
    return TrainingStep(training, state, slots, BATCH, keep_gradients=True, **more)


def found(step: TrainingStep, x: Array, y: Array, **more: Any) -> tuple[float, Array, Array]:
    """The loss, and the gradients of weight and bias."""
    loss, _ = step(x, y, lr=0.0, **more)
    weight, bias = (step.state.get(f"end.{p}", step.slots.gradients) for p in ("weight", "bias"))
    return loss, weight, bias


def outputs(step: TrainingStep, x: Array) -> tuple[Any, Any, Any]:
    """The outputs by PyTorch, and its weight and bias."""
    w, b = (
        torch.tensor(step.state.get(f"end.{part}"), requires_grad=True)
        for part in ("weight", "bias")
    )
    x = torch.tensor(x)
    z = x @ w.T + b if x.ndim == 2 else torch.nn.functional.conv2d(x, w, b)
    return z, w, b


def same(ours: tuple[float, Array, Array], theirs: Any, w: Any, b: Any) -> None:
    theirs.backward()
    assert ours[0] == pytest.approx(theirs.item(), rel=1e-12)
    for got, tensor in zip(ours[1:], (w, b), strict=True):
        np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=1e-10, atol=1e-14)


def samples(name: str) -> tuple[Array, tuple[int, ...]]:
    """Samples, and the shape of their outputs."""
    shape = NETS[name][1]
    return np.random.default_rng(0).normal(size=(BATCH, *shape)), (BATCH, CLASSES, *shape[1:])


def probabilities(shape: tuple[int, ...]) -> Array:
    drawn = np.random.default_rng(1).exponential(size=shape)
    return drawn / drawn.sum(1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", NETS)
def test_cross_entropy_of_probabilities(name: str, smoothing: float) -> None:
    x, shape = samples(name)
    t = probabilities(shape)
    step = step_of(name, "cross_entropy", soft=True, smoothing=smoothing)
    z, w, b = outputs(step, x)
    theirs = torch.nn.functional.cross_entropy(z, torch.tensor(t), label_smoothing=smoothing)
    same(found(step, x, t), theirs, w, b)


@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 0.5, 2.0)])
@pytest.mark.parametrize("name", NETS)
def test_labels_and_their_one_hot_rows_are_the_same(name: str, weights: Any) -> None:
    """With smoothing, weights of the classes, and labels that do not count."""
    x, shape = samples(name)
    labels = np.random.default_rng(2).integers(-1, CLASSES, (BATCH, *shape[2:]))
    labels.flat[0] = -1
    rows = np.moveaxis(labels[..., np.newaxis] == np.arange(CLASSES), -1, 1).astype(np.float64)
    more = {"smoothing": 0.2} | ({} if weights is None else {"class_weight": weights})
    hard = step_of(name, "cross_entropy", **more)
    soft = step_of(name, "cross_entropy", soft=True, **more)
    want = found(hard, x, labels)
    for target in (labels, rows):
        for got, wanted in zip(found(soft, x, target), want, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
        assert (soft.correct, soft.rows) == (hard.correct, hard.rows)
        assert soft.weight == pytest.approx(hard.weight)


@pytest.mark.parametrize("name", NETS)
def test_weights_of_samples_multiply_their_losses(name: str) -> None:
    x, shape = samples(name)
    labels = np.random.default_rng(3).integers(0, CLASSES, (BATCH, *shape[2:]))
    step = step_of(name, "cross_entropy", sample_weights=True)
    z, w, b = outputs(step, x)
    each = torch.nn.functional.cross_entropy(z, torch.tensor(labels), reduction="none")
    weight = torch.tensor(WEIGHT).reshape(-1, *(1,) * (each.ndim - 1)).expand(each.shape)
    same(found(step, x, labels, weight=WEIGHT), (each * weight).mean(), w, b)


def dice(z: Any, t: Any) -> Any:
    """The loss of each sample and class: 1 - (2 both + 1) / (all + 1)."""
    p = z.softmax(1)
    axes = tuple(range(2, z.ndim))
    return 1 - (2 * (p * t).sum(axes) + 1) / (p.sum(axes) + t.sum(axes) + 1)


def theirs(loss: str, z: Any, t: Any) -> Any:
    """What PyTorch makes of every output, or of every sample and class."""
    functional = torch.nn.functional
    if loss == "dice":
        return dice(z, t)
    made = {
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
    }
    return made[loss](z, t, reduction="none")


OTHERS = [
    (name, loss)
    for loss in LOSSES
    for name in NETS
    if loss != "cross_entropy" and (name, loss) != ("vector", "dice")
]


def target_of(loss: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(4)
    if KINDS[loss].targets == "numbers":
        return rng.normal(size=shape)
    if KINDS[loss].targets == "flags":
        return rng.integers(0, 2, shape).astype(np.float64)
    labels = rng.integers(0, CLASSES, (shape[0], 1, *shape[2:]))
    return (labels == np.arange(CLASSES).reshape(1, -1, 1, 1)).astype(np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "loss"), OTHERS)
def test_other_losses_are_those_of_pytorch(name: str, loss: str, weighted: bool) -> None:
    x, shape = samples(name)
    t = target_of(loss, shape)
    step = step_of(name, loss, sample_weights=weighted)
    z, w, b = outputs(step, x)
    each = theirs(loss, z, torch.tensor(t))
    weight = torch.tensor(WEIGHT if weighted else np.ones(BATCH))
    weight = weight.reshape(-1, *(1,) * (each.ndim - 1)).expand(each.shape)
    want = (each * weight).mean()
    same(found(step, x, t, weight=WEIGHT if weighted else None), want, w, b)


@pytest.mark.parametrize(("name", "loss"), [*OTHERS, ("map", "cross_entropy")])
def test_gradients_are_slopes(name: str, loss: str) -> None:
    """By differences, with weights of samples."""
    x, shape = samples(name)
    t = probabilities(shape) if loss == "cross_entropy" else target_of(loss, shape)
    step = step_of(name, loss, sample_weights=True)
    _, gradient, _ = found(step, x, t, weight=WEIGHT)
    before, size = step.state.get("end.weight"), 1e-5
    way = np.random.default_rng(5).normal(size=before.shape)
    ends = []
    for sign in (1, -1):
        step.state.update({"end.weight": before + sign * size * way})
        ends.append(found(step, x, t, weight=WEIGHT)[0])
    slope = (ends[0] - ends[1]) / (2 * size)
    assert (gradient * way).sum() == pytest.approx(slope, rel=1e-6)


def test_an_output_of_zero_has_the_slope_of_its_loss() -> None:
    """Where the formula of binary cross-entropy has kinks that cancel."""
    step = step_of("vector", "binary_cross_entropy")
    step.state.update({"end.weight": np.zeros((CLASSES, 6)), "end.bias": np.zeros(CLASSES)})
    t = np.zeros((BATCH, CLASSES))
    loss, _, bias = found(step, np.ones((BATCH, 6)), t)
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(bias, 0.5 / CLASSES)


def test_dice_weighs_classes_and_leaves_out_what_does_not_count() -> None:
    x, shape = samples("map")
    labels = np.random.default_rng(6).integers(-1, CLASSES, (BATCH, *shape[2:]))
    weights = np.array([1.0, 0.5, 2.0, 0.0])
    step = step_of("map", "dice", class_weight=weights)
    z, w, b = outputs(step, x)
    counted = torch.tensor((labels >= 0)[:, None])
    t = torch.tensor((labels[:, None] == np.arange(CLASSES).reshape(1, -1, 1, 1)) * 1.0)
    p = z.softmax(1) * counted
    each = 1 - (2 * (p * t).sum((2, 3)) + 1) / ((p + t).sum((2, 3)) + 1)
    want = (each * torch.tensor(weights)).sum() / (BATCH * weights.sum())
    right = int(((z.argmax(1).numpy() == labels) & (labels >= 0)).sum())
    same(found(step, x, labels), want, w, b)
    assert (step.correct, step.rows) == (right, int((labels >= 0).sum()))


def test_flags_are_right_where_all_of_them_are() -> None:
    x, shape = samples("vector")
    t = target_of("binary_cross_entropy", shape)
    step = step_of("vector", "binary_cross_entropy")
    z, _, _ = outputs(step, x)
    t[:2] = z.detach().numpy()[:2] > 0
    found(step, x, t)
    right = ((z.detach().numpy() > 0) == (t > 0.5)).all(1)
    assert step.correct == right.sum() >= 2
    assert step.rows == BATCH


@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_bits_by_any_number_of_threads(loss: str) -> None:
    x, shape = samples("map")
    t = probabilities(shape) if loss == "cross_entropy" else target_of(loss, shape)
    made = []
    for number in (1, 3):
        with threads(number):
            step = step_of("map", loss, sample_weights=True)
            made.append([np.asarray(a).tobytes() for a in found(step, x, t, weight=WEIGHT)])
    assert made[0] == made[1]


def test_without_any_weight_there_is_nothing_to_learn() -> None:
    x, shape = samples("vector")
    step = step_of("vector", "mae", sample_weights=True)
    loss, *gradients = found(step, x, np.ones(shape), weight=np.zeros(BATCH))
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    ("words", "error", "more", "target", "weight"),
    [
        ("target: probabilities of classes need a graph", FaltungTypeError, {}, None, None),
        ("weight: samples have weights only if", FaltungError, {}, "labels", WEIGHT),
        ("weight.shape=(2,): must be (5,)", FaltungError, {"soft": True}, None, WEIGHT[:2]),
        ("weight: must be at least 0 and finite", FaltungError, {"soft": True}, None, -WEIGHT),
        ("target: label 9: must be below 4", FaltungError, {"soft": True}, "large", None),
        ("target: probabilities of classes must be at", FaltungError, {"soft": True}, "low", None),
    ],
)
def test_what_does_not_fit_is_refused(
    words: str, error: type[Exception], more: dict[str, Any], target: str | None, weight: Any
) -> None:
    x, shape = samples("vector")
    given = {"labels": np.zeros(BATCH, int), "large": np.full(BATCH, 9), "low": -np.ones(shape)}
    y = probabilities(shape) if target is None else given[target]
    step = step_of("vector", "cross_entropy", **more)
    with pytest.raises(error, match=r"^" + words.replace("(", r"\(").replace(")", r"\)")):
        step(x, y, lr=0.0, weight=weight)


def test_dice_needs_an_output_for_every_position() -> None:
    with pytest.raises(FaltungError, match="needs an output for every position"):
        step_of("vector", "dice")
