"""``to_model`` against the module that it comes from: predictions, training, files, and back."""

import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import Model
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.train.transfer import with_outputs

pytest.importorskip("torch")

import torch
from torch import nn

import faltung.torch
from faltung.torch import as_model, to_model

F = nn.functional


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, momentum=0.3)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=2)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))) + x)


class Residuals(nn.Module):
    """Names within names, functions between modules, a mean of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect")
        self.layer1 = nn.Sequential(Block(4), Block(4))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.flatten(self.pool(self.layer1(self.stem(x))), 1))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(10, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.lstm(self.table(x))[0][:, -1])


class Tokens(nn.Module):
    """A small vision transformer, with a parameter of its own in the root."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 8, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 5, 8))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.places
        read = self.norm(x)
        x = x + self.attention(read, read, read, need_weights=False)[0]
        return self.head(x[:, 0])


NETWORKS: dict[str, tuple[Any, Any]] = {
    "residuals": (Residuals, lambda: torch.randn(3, 3, 8, 8)),
    "sequence": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3, padding="same"), nn.GELU(), nn.MaxPool1d(2), nn.Flatten(),
            nn.Linear(16, 3),
        ),
        lambda: torch.randn(3, 2, 8),
    ),
    "volumes": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.SiLU(), nn.AvgPool3d(2),
            nn.Flatten(), nn.Linear(32, 3),
        ),
        lambda: torch.randn(3, 1, 4, 4, 4),
    ),
    "words": (Words, lambda: torch.randint(0, 20, (3, 7))),
    "tokens": (Tokens, lambda: torch.randn(3, 2, 8, 8)),
    "numbers": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)),
        lambda: torch.randn(3, 5),
    ),
}  # fmt: skip


def made(name: str) -> tuple[Any, Any]:
    torch.manual_seed(3)
    build, example = NETWORKS[name]
    return settled(build()), wide(example())


def settled(module: Any) -> Any:
    """In float64, with running statistics that say something."""
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return module.double().eval()


def wide(x: Any) -> Any:
    return x.double() if x.is_floating_point() else x


def numbers(module: Any, x: Any) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found: np.ndarray[Any, Any] = module.eval()(x).numpy()
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_numbers_there_and_back(name: str, tmp_path: Path) -> None:
    module, x = made(name)
    model = to_model(module, x)
    wanted = numbers(module, x)
    np.testing.assert_allclose(model.predict(x.numpy()), wanted, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(numbers(model.to_torch(), x), wanted, rtol=1e-10, atol=1e-11)
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x.numpy()), model.predict(x.numpy()))


@pytest.mark.parametrize("name", ["residuals", "sequence", "volumes", "numbers"])
def test_parameters_keep_their_names(name: str) -> None:
    module, x = made(name)
    model = to_model(module, x)
    state = {k: v.numpy() for k, v in module.state_dict().items() if "num_batches" not in k}
    assert model.parameters.keys() == state.keys()
    for key, array in model.parameters.items():
        np.testing.assert_array_equal(array, state[key])
    assert {k for k in model.to_torch().state_dict() if "num_batches" not in k} == state.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_training_agrees(name: str) -> None:
    module, x = made(name)
    model = to_model(module, x)
    before, y = numbers(module, x), torch.tensor([0, 2, 1])
    optimizer = torch.optim.SGD(module.train().parameters(), lr=0.1)
    F.cross_entropy(module(x), y).backward()
    optimizer.step()
    from faltung.data import Standard

    model.standard = None if model.tokens else Standard(
        (0.0,) * model.input_shape[0], (1.0,) * model.input_shape[0]
    )  # fmt: skip
    model.fit(x.numpy(), y.numpy(), epochs=1, batch=3, optimizer="sgd", lr=0.1, momentum=0.0,
              decay=0.0, schedule="constant", show=False)  # fmt: skip
    after = numbers(module, x)
    assert np.abs(after - before).max() > 1e-3
    found = model.predict(x.numpy(), softmax=False)
    np.testing.assert_allclose(found, after, rtol=1e-6, atol=1e-7)


def test_it_runs_without_pytorch(tmp_path: Path) -> None:
    module, x = made("residuals")
    model = to_model(module, x)
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", x.numpy())
    code = (
        "import sys, numpy as np\n"
        "for name in ('torch', 'onnx'): sys.modules[name] = None\n"
        "from faltung import Model\n"
        f"model = Model.load({str(tmp_path / 'model.safetensors')!r})\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "model.fit(x, [0, 1, 2], epochs=1, show=False)\n"
        "print(model.predict(x, softmax=False).shape)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "(3, 3)", ran.stderr


def test_it_has_a_name_beside_its_file() -> None:
    assert faltung.torch.to_model is as_model.to_model


def test_the_module_is_left_as_it_was() -> None:
    module, x = made("residuals")
    module.train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    to_model(module, x)
    assert module.training and not module.layer1[0].bn1._forward_hooks
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_softmax_at_the_end_is_left_to_predict() -> None:
    torch.manual_seed(1)
    module = settled(nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=-1)))
    x = torch.randn(2, 4).double()
    model = to_model(module, x, classes=["a", "b", "c"])
    np.testing.assert_allclose(model.predict(x.numpy()), numbers(module, x), rtol=1e-12)
    logits = numbers(module[0], x)
    np.testing.assert_allclose(model.predict(x.numpy(), softmax=False), logits, rtol=1e-12)
    assert model.classes == ("a", "b", "c")


def test_dropout_is_there_in_training() -> None:
    module = settled(nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)))
    model = to_model(module, torch.randn(2, 4).double())
    kinds = [type(node.op).__name__ for node in model.training_graph.nodes]
    assert "Dropout" in kinds
    back = model.to_torch()
    x = torch.ones(2, 4).double()
    assert torch.equal(back(x), back(x)) and not torch.equal(back.train()(x), back(x))


def test_other_classes_for_transfer() -> None:
    module, x = made("residuals")
    model = to_model(module, x)
    net = with_outputs(model.net, 7)
    assert net is not None
    other = Model(net, model.input_shape, dtype="float64")
    assert other.start_from(model) == ("fc",)
    assert other.predict(x.numpy()).shape == (3, 7)


def test_float32_and_half() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    x = torch.randn(2, 1, 6, 6)
    model = to_model(module, x)
    assert model.dtype == "float32"
    np.testing.assert_allclose(model.predict(x.numpy()), numbers(module, x), rtol=1e-5, atol=1e-6)
    half = to_model(module.bfloat16(), x.bfloat16())
    assert half.dtype == "float32"
    wanted = numbers(module.float(), x)
    np.testing.assert_allclose(half.predict(x.numpy()), wanted, rtol=1e-5, atol=1e-6)


class OfBatches(nn.Module):
    """What it gives for a sample depends on the others."""

    def forward(self, x: Any) -> Any:
        return x - x.mean(0, keepdim=True)


class Two(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1, x * 2


class Branches(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Eigen())

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Eigen(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.svdvals(x) * 2


WRONG: dict[str, tuple[Any, Any, str]] = {
    "no module": (lambda x: x, torch.ones(1, 2), "module=.*: must be a torch.nn.Module"),
    "no tensor": (nn.ReLU(), 3, "example=3: must be a tensor"),
    "two inputs": (nn.ReLU(), (torch.ones(1, 2), torch.ones(1, 2)), "example: has 2 entries"),
    "no batch": (nn.ReLU(), torch.ones(3), r"example.shape=\(3,\): must be \(n, \*input_shape\)"),
    "empty": (nn.ReLU(), torch.ones(0, 3), r"example.shape=\(0, 3\): must be"),
    "complex": (nn.ReLU(), torch.ones(1, 3).cfloat(), "example.dtype=torch.complex64"),
    "two outputs": (Two(), torch.ones(1, 3), "module: returns tuple of 2 tensors"),
    "depends on data": (Branches(), torch.ones(1, 3), "module: cannot be traced"),
    "of batches": (OfBatches(), torch.ones(1, 3), "module: "),
    "unknown": (Odd(), torch.ones(1, 3, 3), r"svd.* in 'inner.0' \(Eigen\)"),
    "cumulative": (nn.BatchNorm1d(3, momentum=None), torch.ones(2, 3), "'' has momentum=None"),
    "elsewhere": (nn.Linear(3, 2, device="meta"), torch.ones(2, 3), "on meta; move the module"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_stands_in_the_way_is_said_in_one_line(name: str) -> None:
    module, example, message = WRONG[name]
    with pytest.raises(FaltungError, match=message) as caught:
        to_model(module, example)
    assert "\n" not in str(caught.value)


def test_all_that_stands_in_the_way_is_named_at_once() -> None:
    module = nn.Sequential(Odd(), nn.Unflatten(1, (3, 1)), nn.ReLU(), Odd())
    with pytest.raises(UnsupportedError, match=r"2 operations .*'0.inner.0'.*'3.inner.0'"):
        to_model(module, torch.ones(1, 3, 3))


def test_a_weight_that_is_read_in_two_ways_stays_as_it_is() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, x: Any) -> Any:
            return F.linear(self.table(x).mean(1), self.table.weight)

    with pytest.warns(RuntimeWarning, match="'table.weight.*stays as it is"):
        model = to_model(settled(Tied()), torch.randint(0, 9, (2, 5)))
    assert not any(p.trained for p in model.training_graph.parameters)


def test_what_training_leaves_out_is_said() -> None:
    layer = settled(nn.LSTM(3, 4, num_layers=2, dropout=0.5, batch_first=True))

    class Only(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = layer

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0]

    with pytest.warns(RuntimeWarning, match="dropout of 0.5 inside 'lstm' is left out"):
        to_model(Only(), torch.randn(2, 5, 3).double())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_model(
            settled(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.2))), torch.ones(2, 3).double()
        )


# Networks of others -------------------------------------------------------------------------------

VISION = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf"]
TIMM = ["resnet10t", "ghostnet_050", "mobilevit_xxs", "vit_tiny_patch16_224", "poolformer_s12"]


def _known(name: str) -> Any:
    from onnx_networks import vision

    wanted = ["torchvision"] if name in VISION else ["timm", "torchvision"]  # timm imports it
    missing = [each for each in wanted if find_spec(each) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    models = vision()
    if name in VISION:
        return getattr(models, name)(weights=None)
    sized = {"img_size": 32} if name.startswith("vit_") else {}
    return import_module("timm").create_model(name, num_classes=10, **sized)


@pytest.mark.parametrize("name", VISION + TIMM)
def test_networks_of_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By way of ``to_torch``, which has an oracle of its own, so that nothing is compiled."""
    torch.manual_seed(2)
    module = _known(name).double().eval()
    for key, buffer in module.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.8, 1.2)
    monkeypatch.setattr(as_model, "_compared", lambda *given: None)
    x = torch.randn(2, 3, 32, 32).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_model(module, x)
    wanted = numbers(module, x)
    size = np.abs(wanted).max()
    assert size > 0
    np.testing.assert_allclose(numbers(model.to_torch(), x), wanted, rtol=0, atol=1e-9 * size)
    state = {key for key in module.state_dict() if "num_batches" not in key}
    missing = state - set(model.parameters)
    alone = {f"{key}.weight" for key in missing if "." not in key}
    assert alone <= set(model.parameters) and all("." not in key for key in missing), missing
