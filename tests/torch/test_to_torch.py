"""``Model.to_torch`` against the meaning of graphs: every layer, in evaluation and in training."""

import copy
import io
import sys
from typing import Any

import numpy as np
import pytest
from graph.interpreter import run
from nn.networks import GRIDS, NETWORKS, TOKENS

from faltung import Model, nn
from faltung.data import Standard
from faltung.geometry.errors import UnsupportedError
from faltung.graph import ops

pytest.importorskip("torch")

import torch

from faltung.torch.to_torch import EMIT


def model_of(net: nn.Layer, shape: tuple[int, ...], **options: Any) -> Model:
    """A model in float64 whose running statistics say something."""
    made = Model(net, shape, dtype="float64", seed=3, **options)
    rng = np.random.default_rng(5)
    made.set_parameters(
        {name: rng.uniform(0.5, 1.5, array.shape) for name, array in made.parameters.items()
         if array.ndim == 1}
    )  # fmt: skip
    return made


def samples(model: Model, count: int = 2) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    shape = (count, *model.input_shape)
    return rng.integers(0, 11, shape) if model.tokens else rng.standard_normal(shape)


def outputs(module: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found: np.ndarray[Any, Any] = module(torch.from_numpy(x)).numpy()
    return found


def own_operators(module: Any) -> set[str]:
    """What the code of a module calls that is not PyTorch's or Python's."""
    return {
        str(node.target)
        for node in module.graph.nodes
        if node.op == "call_function"
        and not node.target.__module__.startswith(("torch", "_operator", "builtins"))
    } | {
        type(part).__module__
        for part in module.modules()
        if not type(part).__module__.startswith("torch")
    }


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in GRIDS])
def test_every_layer_gives_the_same_numbers(name: str) -> None:
    net, shape = NETWORKS[name]
    model = model_of(net, shape, tokens=name in TOKENS)
    module, x = model.to_torch(), samples(model)
    wanted = run(model.graph, model.parameters, x)
    found = outputs(module, x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
    assert not own_operators(module)
    assert not module.training


@pytest.mark.parametrize("name", GRIDS)
def test_grids_are_refused_by_name(name: str) -> None:
    net, shape = NETWORKS[name]
    with pytest.raises(UnsupportedError, match=r"layer '.*1' has no form in torch"):
        model_of(net, shape).to_torch()


def test_the_parameters_have_the_names_that_they_have_here() -> None:
    net = nn.Sequential(nn.Residual(nn.Conv(3, 3, padding=1)), nn.BatchNorm(name="norm"), nn.GRU(4))
    model = model_of(net, (3, 8))
    state = model.to_torch().state_dict()
    held = {name: array.numpy() for name, array in state.items() if "num_batches" not in name}
    assert held.keys() == model.parameters.keys()
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(held[name], array)
    other = Model(model.net, (3, 8), dtype="float64")
    other.set_parameters(held)
    x = samples(model)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))


def test_it_consists_of_modules_of_pytorch() -> None:
    net = nn.Sequential(nn.Conv(4, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2))
    module = Model(net, (3, 8, 8)).to_torch()
    kinds = [type(part) for part in module.children()]
    wanted = [torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU, torch.nn.MaxPool2d]
    assert kinds == wanted
    assert module.conv1.padding == (1, 1)


STEPS = {
    "convolutions": (
        nn.Sequential(
            nn.Conv(6, 3, padding=1, name="first"),
            nn.BatchNorm(),
            nn.ReLU(),
            nn.Residual(nn.Sequential(nn.Conv(6, 3, padding="same"), nn.GroupNorm(2), nn.SiLU())),
            nn.MaxPool(2),
            nn.SqueezeExcite(3),
            nn.Flatten(),
            nn.Linear(3),
        ),
        (2, 6, 6),
    ),
    "attention": (
        nn.Sequential(
            nn.Conv(8, 2, stride=2),
            nn.ClassToken(),
            nn.PositionEmbedding(),
            nn.Residual(nn.Sequential(nn.LayerNorm(), nn.Attention(2))),
            nn.Position(0),
            nn.Linear(3),
        ),
        (2, 6, 6),
    ),
    "recurrence": (nn.Sequential(nn.LSTM(5, bidirectional=True, last=True), nn.Linear(3)), (4, 7)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_training_agrees(name: str) -> None:
    """Gradients, batch statistics and the running ones, by one step of SGD from one place."""
    net, shape = STEPS[name]
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((6, *shape)), rng.integers(0, 3, 6)
    plain = Standard((0.0,) * shape[0], (1.0,) * shape[0])
    model = Model(net, shape, dtype="float64", seed=3, standard=plain)
    module = model.to_torch().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    optimizer.step()
    given = {"epochs": 1, "batch": 6, "optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "decay": 0.0}
    before = model.parameters
    model.fit(x, y, show=False, schedule="constant", **given)  # type: ignore[arg-type]
    state = module.state_dict()
    moved = 0
    for key, array in model.parameters.items():
        np.testing.assert_allclose(state[key].numpy(), array, rtol=1e-6, atol=1e-8, err_msg=key)
        moved += not np.array_equal(array, before[key])
    assert moved > len(before) / 2


def test_what_drops_in_training_does_nothing_in_evaluation() -> None:
    block = nn.Residual(nn.Sequential(nn.Dropout(0.5), nn.StochasticDepth(0.5)))
    model = Model(block, (3, 4), dtype="float64")
    module, x = model.to_torch(), torch.ones(400, 3, 4, dtype=torch.float64)
    assert torch.equal(module(x), 2 * x)
    found = module.train()(x)
    # A sample is left out as a whole, or each element is dropped or four times as large.
    assert set(found.unique().tolist()) == {1.0, 5.0}
    left_out = (found == 1).flatten(1).all(1).double().mean().item()
    assert 0.4 < left_out < 0.6


def test_the_standard_is_part_of_it() -> None:
    standard = Standard((0.5, -1.0), (2.0, 0.25))
    model = model_of(nn.Conv(3, 2), (2, 4, 4), standard=standard)
    x = samples(model).astype(np.float32)
    found = outputs(model.to_torch(), x.astype(np.float64))
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-6)


def test_any_size_of_batch() -> None:
    net = nn.Sequential(
        nn.Conv(8, 2, stride=2), nn.Patches(nn.Attention(2), size=2), nn.ClassToken()
    )
    model = model_of(net, (2, 8, 8))
    module, x = model.to_torch(), samples(model, 5)
    found = outputs(module, x)
    for count in (0, 1, 3):
        np.testing.assert_allclose(outputs(module, x[:count]), found[:count], rtol=1e-12)


def test_it_is_saved_and_copied_without_faltung() -> None:
    """Also what is no parameter: it is part of the module, not of its state."""
    model = model_of(nn.Sequential(nn.Upsample(scale=2, mode="bicubic"), nn.Conv(3, 2)), (2, 4, 4))
    module, x = model.to_torch(), samples(model)
    twin = copy.deepcopy(module)
    np.testing.assert_array_equal(outputs(twin, x), outputs(module, x))
    assert set(module.state_dict()) == {"conv1.weight", "conv1.bias"}
    buffer = io.BytesIO()
    torch.save(module, buffer)
    assert b"faltung" not in buffer.getvalue()
    again = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    np.testing.assert_array_equal(outputs(again, x), outputs(module, x))


def test_float32_and_other_dtypes() -> None:
    model = Model(
        nn.Sequential(nn.Upsample(scale=2), nn.Conv(3, 2), nn.AvgPool(3, ceil=True)), (2, 4, 4)
    )
    module, x = model.to_torch(), samples(model)
    single = module(torch.from_numpy(x).float())
    assert single.dtype == torch.float32
    double = module.double()(torch.from_numpy(x))
    assert double.dtype == torch.float64
    assert (double - single).abs().max().item() < 1e-5


@pytest.mark.parametrize("name", ["a b", "train", "x'); import os", 'q"]', "ünï", "1"])
def test_a_name_of_a_layer_is_no_code(name: str) -> None:
    """``torch.fx`` writes names into Python code."""
    net = nn.Sequential(nn.Conv(2, 2, name=name.replace(".", "")), nn.ReLU())
    model = model_of(net, (1, 4, 4))
    module, x = model.to_torch(), samples(model)
    assert "import os" not in module.code
    np.testing.assert_allclose(outputs(module, x), model.predict(x), rtol=1e-12)


def test_four_axes_and_more() -> None:
    net = nn.Sequential(
        nn.Conv(4, 2, padding=1, stride=(1, 2, 1, 1), groups=2),
        nn.MaxPool(2, padding=1),
        nn.BatchNorm(),
    )
    model = model_of(net, (2, 3, 4, 3, 3))
    x = samples(model)
    wanted = run(model.graph, model.parameters, x)
    np.testing.assert_allclose(outputs(model.to_torch(), x), wanted, rtol=1e-11, atol=1e-12)


def test_what_has_no_form_is_named() -> None:
    model = Model(nn.ConvTranspose(2, 2), (2, 3, 3, 3, 3))
    with pytest.raises(UnsupportedError, match=r"transposed .* 4 axes of layer 'convtranspose1'"):
        model.to_torch()


def test_every_operation_of_inference_has_a_row() -> None:
    """What only gradients, losses and programs have is not among them."""
    backward = {
        "ConvolveWeight", "LocallyConnectedInput", "LocallyConnectedWeight", "LocallyConnectedBias",
        "TopKGrad", "GroupMean", "PoolGrad", "ToChannelsLast", "GridSampleInput", "GridSampleGrid",
        "EmbedGrad", "CrossEntropy", "Recurrence", "RecurrenceGrad", "ConvolveInteger",
    }  # fmt: skip
    every = {kind.__name__ for kind in ops.Op.__args__}
    assert {kind.__name__ for kind in EMIT} == every - backward


def test_without_pytorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "faltung.torch.to_torch", raising=False)
    with pytest.raises(ImportError, match="torch: not installed; pip install"):
        Model(nn.ReLU(), (3,)).to_torch()
