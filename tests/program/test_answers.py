"""Training steps that learn from another network's answers: losses and gradients."""

from typing import Any

import numpy as np
import pytest
from graph import interpreter
from program.programs import threads

from faltung import nn, reference
from faltung.geometry.errors import FaltungError
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.program.optimizer import SGD
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

VECTOR = (
    nn.Sequential(nn.Conv(3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4)),
    (2, 5, 6),
)
MAP = (nn.Sequential(nn.Conv(3, 3, padding=1), nn.Tanh(), nn.Conv(4, 1)), (2, 5, 6))
WIDE = (nn.Sequential(nn.Flatten(), nn.Linear(40)), (2, 3))
HEADS = (
    nn.Sequential(
        nn.Conv(3, 3),
        nn.Tanh(),
        nn.Auxiliary(nn.Sequential(nn.Flatten(), nn.Linear(4)), weight=0.3),
        nn.Flatten(),
        nn.Linear(4),
    ),
    (2, 5, 6),
)
BATCH, PART, T = 3, 0.7, 3.0


class Given:
    """A step in float64 with its batch; one row of the labels does not count."""

    def __init__(self, net: nn.Layer, shape: tuple[int, ...], weighted: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.graph = nn.build(net, shape, training=True, dtype="float64")
        self.state = State(self.graph.parameters, "float64")
        self.state.update(parameters(self.graph, 1))
        self.slots = Slots(self.state, SGD(momentum=0.0))
        output = self.graph.output
        self.weights = np.linspace(0.5, 2, output.channels) if weighted else None
        self.x = rng.standard_normal((BATCH, *shape))
        self.labels = rng.integers(0, output.channels, (BATCH, *output.space))
        self.labels.flat[1] = -1
        logits = 2 * rng.standard_normal((BATCH, *output.shape))
        self.answers = reference.softmax(logits / T)
        self.step = TrainingStep(
            differentiate(self.graph, weighted=weighted, distilled=True),
            self.state,
            self.slots,
            BATCH,
            smoothing=0.1,
            class_weight=self.weights,
            distil=PART,
            temperature=T,
            keep_gradients=True,
        )

    def run(self) -> tuple[float, dict[str, np.ndarray]]:
        """The loss and the gradients, without learning anything."""
        loss, _ = self.step(self.x, self.labels, self.answers, lr=0.0)
        gradients = self.slots.gradients
        return loss, {n: self.state.get(n, gradients) for n in self.slots.trained}

    def formula(self, heads: bool = False) -> float:
        """The loss by its definition; with ``heads`` what the gradients are of."""
        known = interpreter.values(self.graph, self.state.all(), self.x)
        ends = [(self.graph.output, 1.0)]
        ends += [(each.output, each.weight) for each in self.graph.auxiliaries] if heads else []
        counts, total = self.labels >= 0, 0.0
        words = {"smoothing": 0.1, "weights": self.weights}
        weight = counts.sum() if self.weights is None else self.weights[self.labels[counts]].sum()
        for value, factor in ends:
            z = known[value.name]
            hard = reference.cross_entropy(z, self.labels, **words).losses.sum() / weight  # type: ignore[arg-type]
            q, log = self.answers, reference.log_softmax(z / T)
            each = (q * (np.log(q) - log)).sum(1)
            soft = each[counts].sum() / counts.sum()
            total += factor * ((1 - PART) * hard + PART * T**2 * soft)
        return total


CASES = {"vector": VECTOR, "map": MAP, "wide": WIDE, "heads": HEADS}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_slope_of_the_loss(name: str, weighted: bool) -> None:
    given = Given(*CASES[name], weighted)
    loss, gradients = given.run()
    assert loss == pytest.approx(given.formula(), rel=1e-12)
    rng, step = np.random.default_rng(1), 1e-5
    for parameter, gradient in gradients.items():
        before, way = given.state.get(parameter), rng.standard_normal(gradient.shape)
        ends = []
        for sign in (1, -1):
            given.state.update({parameter: before + sign * step * way})
            ends.append(given.formula(heads=True))
        given.state.update({parameter: before})
        slope = (ends[0] - ends[1]) / (2 * step)
        assert (gradient * way).sum() == pytest.approx(slope, rel=1e-6, abs=1e-9), parameter


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_by_any_number_of_threads(name: str) -> None:
    found = []
    for number in (1, 2, 5):
        with threads(number):
            loss, gradients = Given(*CASES[name]).run()
            found.append((loss, *(g.tobytes() for g in gradients.values())))
    assert found[0] == found[1] == found[2]


def test_its_own_answers_teach_nothing() -> None:
    """With all of the loss from them, and no temperature, the gradient is zero."""
    given = Given(*VECTOR)
    given.step = TrainingStep(
        differentiate(given.graph, distilled=True),
        given.state,
        given.slots,
        BATCH,
        distil=1.0,
        temperature=1.0,
        keep_gradients=True,
    )
    made = interpreter.run(given.graph, given.state.all(), given.x)
    given.answers = reference.softmax(made)
    loss, gradients = given.run()
    assert abs(loss) < 1e-14
    assert max(np.abs(g).max() for g in gradients.values()) < 1e-14


def test_as_pytorch_has_it() -> None:
    torch = pytest.importorskip("torch")
    from nn import twin

    given = Given(*HEADS)
    loss, gradients = given.run()
    tensors = {
        p.name: torch.tensor(given.state.get(p.name), requires_grad=True)
        for p in given.graph.parameters
    }
    walk = twin.Walk(iter(tensors.values()), training=True)
    output = walk(HEADS[0], torch.tensor(given.x))
    labels, answers = torch.tensor(given.labels), torch.tensor(given.answers)
    counts = labels >= 0

    def of(z: Any) -> Any:
        hard = torch.nn.functional.cross_entropy(z, labels, ignore_index=-1, label_smoothing=0.1)
        soft = torch.nn.functional.kl_div(
            torch.log_softmax(z[counts] / T, 1), answers[counts], reduction="batchmean"
        )
        return (1 - PART) * hard + PART * T**2 * soft

    total = of(output)
    assert loss == pytest.approx(total.item(), rel=1e-12)
    (total + 0.3 * of(walk.heads[0])).backward()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, tensors[name].grad.numpy(), rtol=1e-9, atol=1e-12)


def test_answers_are_given_where_something_learns_from_them() -> None:
    given = Given(*VECTOR)
    with pytest.raises(FaltungError, match="answers: must be given if the graph has them"):
        given.step(given.x, given.labels, lr=0.1)
    with pytest.raises(FaltungError, match=r"answers.shape=\(3, 2\): must be \(3, 4\)"):
        given.step(given.x, given.labels, given.answers[:, :2], lr=0.1)
    with pytest.raises(FaltungError, match="answers are probabilities"):
        differentiate(given.graph, "mse", distilled=True)
