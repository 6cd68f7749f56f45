"""Layers whose numbers lie on grids: what they compute, their gradients, their text."""

from typing import Any

import numpy as np
import pytest
from graph.interpreter import run
from optional import optional

from faltung import Model, nn
from faltung.graph.scales import levels
from faltung.nn.text import parse
from faltung.train import loop
from faltung.train.levels import follow

torch = optional("torch")
NETS = [
    (
        nn.Sequential(
            nn.Quantise(1 / 32, zero=100),
            nn.Conv(6, 3, padding=1, bits=8),
            nn.ReLU(),
            nn.Quantise(1 / 16),
            nn.MaxPool(2),
            nn.Conv(6, 3, groups=6, bits=8),
            nn.Flatten(),
            nn.Linear(4, bits=4),
        ),
        (2, 8, 8),
    ),
    (
        nn.Sequential(
            nn.ConvTranspose(4, 2, stride=2, bits=8, groups=2),
            nn.GlobalAvgPool(),
            nn.Quantise(0.01, zero=128),
            nn.Linear(3, bits=8),
        ),
        (4, 5, 5),
    ),
    (
        nn.Sequential(nn.Quantise(0.03), nn.Conv(6, 3, bits=3, bias=False), nn.BatchNorm()),
        (2, 9),
    ),
    (
        nn.Sequential(nn.Quantise(0.03), nn.Conv(6, 2, bits=8, groups=2, flip=True), nn.ReLU()),
        (4, 5, 4, 3),
    ),
]


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_programs_compute_what_the_graph_says(net: nn.Layer, shape: tuple[int, ...]) -> None:
    model = Model(net, shape, seed=1)
    x = np.random.default_rng(0).normal(0, 2, (5, *shape)).astype(np.float32)
    assert repr(parse(repr(net))) == repr(net)
    want = run(model.graph, model.parameters, x)
    np.testing.assert_allclose(model.predict(x), want, rtol=1e-5, atol=1e-5)


def test_weights_lie_on_their_grids() -> None:
    """In a program, whose weights are packed anew when they have changed."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(5, bias=False, bits=4))
    model = Model(net, (2, 3))
    for seed in range(2):
        w = np.random.default_rng(seed).normal(size=(5, 6)).astype(np.float32)
        model.set_parameters({"linear1.weight": w})
        follow(model)
        scale = model.parameters["linear1.weight_scale"][:, None]
        found = model.predict(np.eye(6, dtype=np.float32).reshape(6, 2, 3)).T
        want = np.clip(np.rint(w / scale), -levels(4), levels(4)) * scale
        np.testing.assert_array_equal(found, want)
        assert len(np.unique(found / scale)) <= 15


def test_gradients_are_those_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weights through their grid, and through that of an activation."""
    net = nn.Sequential(
        nn.Conv(4, 3, bits=4),
        nn.ReLU(),
        nn.Quantise(0.125, zero=0, low=0, high=15),
        nn.Flatten(),
        nn.Linear(3),
    )
    model = Model(net, (2, 5, 5))
    x = np.random.default_rng(0).normal(size=(8, 2, 5, 5)).astype(np.float32)
    y = np.arange(8) % 3
    p = {name: torch.from_numpy(v).requires_grad_() for name, v in model.parameters.items()}
    before = model.parameters
    monkeypatch.setattr(loop, "settle", lambda model: None)  # the weights, not their levels
    model.fit(x, y, epochs=1, batch=8, lr=1.0, optimizer="sgd", momentum=0.0, decay=0.0, show=False,
              schedule="constant", warmup=0.0)  # fmt: skip
    scale = p["conv1.weight_scale"].detach()
    zero = torch.zeros(4, dtype=torch.int32)
    w = torch.fake_quantize_per_channel_affine(p["conv1.weight"], scale, zero, 0, -7, 7)
    standard = torch.from_numpy(model.standard(x))
    made = torch.relu(torch.nn.functional.conv2d(standard, w, p["conv1.bias"]))
    made = torch.fake_quantize_per_tensor_affine(made, 0.125, 0, 0, 15).flatten(1)
    made = made @ p["linear1.weight"].T + p["linear1.bias"]
    torch.nn.functional.cross_entropy(made, torch.from_numpy(y)).backward()
    for name in ("conv1.weight", "conv1.bias", "linear1.weight"):
        moved = before[name] - model.parameters[name]
        np.testing.assert_allclose(moved, p[name].grad.numpy(), atol=2e-6, err_msg=name)
    assert np.abs(p["conv1.weight"].grad.numpy()).max() > 1e-3


def test_scales_follow_the_weights_in_training() -> None:
    x = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    model = Model(
        nn.Sequential(nn.Quantise(0.25, zero=0, low=-128, high=127), nn.Linear(2, bits=8)), (4,)
    )
    before = model.parameters
    assert before["linear1.weight_scale"].shape == (2,)
    how = {"epochs": 2, "lr": 0.2, "scale_targets": False, "show": False}
    model.fit(x, x[:, :2] * 9, loss="mse", **how)
    after = model.parameters
    assert (after["linear1.weight_scale"] > before["linear1.weight_scale"]).all()
    most = np.abs(after["linear1.weight"]).max(1) / after["linear1.weight_scale"]
    assert ((most <= 127) & (most > 110)).all()


def test_biases_are_whole_numbers_of_products() -> None:
    net = nn.Sequential(nn.Quantise(0.25, zero=3), nn.MaxPool(2), nn.Conv(2, 1, bits=8))
    model = Model(net, (1, 2, 2))
    model.set_parameters({"conv1.bias": [0.3, -0.7]})
    unit = 0.25 * model.parameters["conv1.weight_scale"]
    found = model.predict(np.zeros((1, 1, 2, 2), np.float32)).ravel() / unit
    np.testing.assert_array_equal(found, np.rint(np.float32([0.3, -0.7]) / unit))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Quantise(0.0), "scale=0.0"),
        (nn.Quantise(float("nan")), "must be finite"),
        (nn.Quantise(1.0, zero=300), "zero=300"),
        (nn.Quantise(1.0, zero=0, low=-1, high=255), "low=-1"),
        (nn.Quantise(1.0, high=256), "high=256"),
        (nn.Conv(2, 1, bits=1), "bits=1: must be from 2 to 8"),
        (nn.Conv(2, 1, bits=True), "bits=True: must be an int"),
        (nn.ConvTranspose(2, 1, bits=9), "bits=9"),
    ],
)
def test_what_is_refused(layer: nn.Layer, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        nn.build(layer, (2, 4, 4))


def test_bits_do_not_change_the_first_weights() -> None:
    plain, levelled = (Model(nn.Conv(4, 3, bits=bits), (2, 5, 5)).parameters for bits in (None, 8))
    same: Any = {name: levelled[name] for name in plain}
    for name, value in plain.items():
        np.testing.assert_array_equal(value, same[name])
