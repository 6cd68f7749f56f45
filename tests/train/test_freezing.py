"""Which parameters are frozen, and that they stay as they are while the others train."""

import re

import numpy as np
import pytest
from optional import optional
from runs import net, shapes

from faltung import Model, nets, nn
from faltung.graph.ops import ConvolveWeight
from faltung.train.freezing import frozen, layers
from faltung.train.loop import Loop
from faltung.train.samples import as_source
from faltung.train.settings import Settings

torch = optional("torch")
X, Y = shapes(40)
NET = nn.Sequential(
    *(nn.Conv(6, 3, padding=1, bias=False, name="stem"), nn.BatchNorm(name="norm"), nn.ReLU()),
    nn.Sequential(
        *(nn.Conv(6, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Conv(6, 3)),
        name="body",
    ),
    *(nn.GlobalAvgPool(), nn.Linear(4), nn.ReLU(), nn.Linear(2, name="head")),
)


def names(model: Model, *words: str) -> set[str]:
    found = frozen(model.training_graph, model.graph, words)
    return {name.rpartition(".")[0] for name in found}


def test_words() -> None:
    model = Model(NET, (1, 8, 8))
    every = ["stem", "norm", "body.conv1", "body.batchnorm1", "body.conv2", "linear1", "head"]
    assert layers(model.graph) == every
    assert names(model) == set()
    assert names(model, "all-but-last") == set(every[:-1])
    assert names(model, "2") == {"stem", "norm"}
    assert names(model, "body") == {"body.conv1", "body.batchnorm1", "body.conv2"}
    assert names(model, "body.conv*", "stem") == {"body.conv1", "body.conv2", "stem"}
    assert names(model, "body.conv[2]", "linear?") == {"body.conv2", "linear1"}
    assert "norm.running_mean" in frozen(model.training_graph, model.graph, ["norm"])


def test_auxiliary_classifiers_are_not_the_last_layer() -> None:
    net = nets.get("googlenet", classes=3, input_shape=(1, 32, 32), width=0.125)
    model = Model(net, (1, 32, 32))
    assert layers(model.training_graph) != layers(model.graph)
    assert set(layers(model.training_graph)) - names(model, "all-but-last") == {"linear1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["conv7"], "freeze='conv7': no layer with parameters has this name; there are stem, norm"),
        (["0"], "freeze=0: must be from 1 to 6, one less than the layers with parameters"),
        (["7"], "freeze=7: must be from 1 to 6"),
        (
            ["6", "head"],
            "freeze='6 head': leaves nothing to train: the network has the layers stem",
        ),
        (["relu1"], "freeze='relu1': no layer with parameters"),
    ],
)
def test_words_that_say_nothing(words: list[str], message: str) -> None:
    model = Model(NET, (1, 8, 8))
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, Y, epochs=1, freeze=words, show=False)


@pytest.mark.parametrize("words", ["all-but-last", 2, ["body"], ["norm", "linear1"], "stem"])
@pytest.mark.parametrize("how", [{}, {"optimizer": "sgd", "lr": 0.1, "clip": 0.1}])
def test_what_is_frozen_stays_bit_for_bit(words: object, how: dict) -> None:
    """Weights, decay, running statistics; what is not frozen moves, all of it."""
    model = Model(NET, (1, 8, 8))
    before = model.parameters
    model.fit(X, Y, epochs=2, batch=16, decay=0.1, freeze=words, show=False, **how)  # type: ignore[arg-type]
    after = model.parameters
    fixed = set(
        frozen(
            model.training_graph,
            model.graph,
            [str(w) for w in (words if isinstance(words, list) else [words])],
        )
    )
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == fixed
    model.fit(X, Y, epochs=1, batch=16, show=False)  # what was frozen once is not frozen for ever
    assert not any(np.array_equal(after[name], value) for name, value in model.parameters.items())


def test_no_gradient_is_computed_for_what_is_frozen() -> None:
    """Nor one for the input of the first layer that is trained."""
    model = Model(NET, (1, 8, 8))
    source = as_source(X, Y, model, "cross_entropy")

    def work(*words: str) -> list[type]:
        loop = Loop(model, Settings(freeze=words), source, None, show=False)
        return [type(node.op) for node in loop.step(16).nodes]

    assert work().count(ConvolveWeight) == 5
    assert work("all-but-last").count(ConvolveWeight) == 1
    assert work("body").count(ConvolveWeight) == 3
    assert len(work("all-but-last")) < len(work()) / 2


def test_as_in_pytorch() -> None:
    """Three steps with a frozen body, its normalisation in evaluation mode."""
    model = Model(NET, (1, 8, 8), dtype="float64")
    rng = np.random.default_rng(5)
    drawn = {
        name: value + 0.1 * rng.random(value.shape) for name, value in model.parameters.items()
    }
    model.set_parameters(drawn)
    p = {name: torch.tensor(value) for name, value in drawn.items()}
    trained = ["stem.weight", "norm.weight", "norm.bias", "linear1.weight", "linear1.bias"]
    trained += ["head.weight", "head.bias"]
    for name in trained:
        p[name].requires_grad_(True)
    functional = torch.nn.functional

    def norm(x: object, name: str, training: bool) -> object:
        words = (p[f"{name}.running_mean"], p[f"{name}.running_var"])
        return functional.batch_norm(x, *words, p[f"{name}.weight"], p[f"{name}.bias"], training)

    optimizer = torch.optim.SGD([p[name] for name in trained], lr=0.1, momentum=0.9)
    x, y = torch.tensor(X.astype(np.float64)), torch.tensor(Y)
    standard = model.standard
    assert standard is None
    for _ in range(3):
        h = functional.relu(norm(functional.conv2d(x, p["stem.weight"], padding=1), "norm", True))
        h = functional.conv2d(h, p["body.conv1.weight"], padding=1)
        h = functional.relu(norm(h, "body.batchnorm1", False))
        h = functional.conv2d(h, p["body.conv2.weight"], p["body.conv2.bias"]).mean((2, 3))
        h = functional.relu(functional.linear(h, p["linear1.weight"], p["linear1.bias"]))
        h = functional.linear(h, p["head.weight"], p["head.bias"])
        optimizer.zero_grad()
        functional.cross_entropy(h, y).backward()
        optimizer.step()
    settings = Settings(
        epochs=3, batch=40, optimizer="sgd", lr=0.1, decay=0, schedule="constant", freeze=("body",)
    )
    source = as_source(X, Y, model, "cross_entropy")
    Loop(model, settings, source, None, show=False).run()
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, p[name].detach().numpy(), rtol=1e-9, atol=1e-11)


def test_dropout_stays_at_work_in_what_is_frozen() -> None:
    """As in PyTorch, where it has no parameters that could be frozen."""
    found = []
    for seed in (1, 2):
        model = Model(net(), (1, 8, 8))
        model.fit(X, Y, epochs=1, batch=40, freeze="all-but-last", seed=seed, show=False)
        found.append(model.parameters["linear1.weight"])
    assert not np.array_equal(*found)
