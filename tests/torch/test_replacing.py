"""Layers replaced in a model, and back: nothing of it but the class of a layer changes."""

import copy
import io
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

import faltung
import faltung.torch as ft
from faltung.torch.replacing import OURS, THEIRS


def rand(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


class Block(nn.Module):
    """A layer that is used twice, one with a hook, and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.alias = self.shared
        self.pool = nn.MaxPool2d(3, 2, 1, return_indices=True)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2, groups=2)

    def forward(self, x: Any) -> Any:
        y, places = self.pool(self.alias(self.shared(x).relu()))
        assert places.dtype == torch.int64
        return self.up(y)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4),
        Block(),
        nn.AvgPool2d(2, ceil_mode=True, divisor_override=3),
        nn.Flatten(2),
        nn.Conv1d(4, 2, 3, padding="same"),
        nn.MaxPool1d(2),
    )


def test_replaced_and_undone() -> None:
    model, x = network(), rand(2, 3, 9, 11)
    want, state = model(x), copy.deepcopy(model.state_dict())
    parameters, objects = list(model.parameters()), list(model.modules())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    done = ft.replace(model)
    assert (
        list(done.changed) == ["0", "2.shared", "2.pool", "2.up", "3", "5", "6"] and not done.left
    )
    assert done.changed["2.up"] == "faltung.torch.ConvTranspose2d"
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(a is b for a, b in zip(objects, model.modules(), strict=True))
    assert model[2].alias is model[2].shared and list(model.state_dict()) == list(state)
    with torch.no_grad():
        model[1].train(False)
    model.load_state_dict(state)
    model.train()
    assert torch.allclose(model(x), want, atol=1e-5)
    model(x).square().sum().backward()
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, model[0].weight)
    assert not ft.replace(model).changed  # once is enough
    mine = model.eval()(x)
    done.undo()
    assert all(type(m).__module__.startswith("torch.nn") for m in model[2].children())
    assert torch.allclose(model(x), mine, atol=1e-5)
    done.undo()


def test_hooks_flags_and_the_model_itself() -> None:
    layer = nn.Conv2d(3, 4, 3)
    seen: list[Any] = []
    layer.register_forward_hook(lambda module, given, result: seen.append(result))
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    layer.eval()
    layer.weight.requires_grad_(False)
    x = rand(1, 3, 6, 6)
    want = layer(x)
    assert list(ft.replace(layer).changed) == [""]
    assert torch.allclose(layer(x), want, atol=1e-6) and len(seen) == 2 and not layer.training
    assert str(ft.restore(layer)) == "(the model): torch.nn.Conv2d"
    assert type(layer) is nn.Conv2d


class Symmetric(nn.Module):
    def forward(self, w: Any) -> Any:
        return (w + w.transpose(-1, -2)) / 2


@pytest.mark.filterwarnings("ignore")
def test_parametrizations() -> None:
    """Those of ``parametrize``, put on before or afterwards, and the older ones by hooks."""
    before, after, old = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
    parametrize.register_parametrization(before, "weight", Symmetric())
    model = nn.Sequential(
        before, parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), after, weight_norm(old)
    )
    x = rand(2, 3, 5, 5)
    want, names = model(x), list(model.state_dict())
    done = ft.replace(model)
    assert len(done.changed) == 4 and isinstance(model[0], ft.Conv2d)
    assert torch.allclose(model(x), want, atol=1e-5) and list(model.state_dict()) == names
    parametrize.register_parametrization(after, "weight", Symmetric())
    both = model(x)
    both.sum().backward()
    assert before.parametrizations.weight.original.grad is not None
    done.undo()
    assert not any(isinstance(m, tuple(THEIRS)) for m in model.modules())
    assert torch.allclose(model(x), both, atol=1e-5)
    ft.replace(model)
    parametrize.remove_parametrizations(before, "weight")
    assert type(before) is ft.Conv2d and "weight" in dict(before.named_parameters())
    # A copy of a parametrized layer has the class that it was copied with.
    twin = copy.deepcopy(after)
    assert torch.equal(twin(x), after(x)) and isinstance(twin, ft.Conv2d)


class Halved(nn.Conv2d):
    def forward(self, x: Any) -> Any:
        return super().forward(x) / 2


@pytest.mark.filterwarnings("ignore")
def test_what_is_left_alone_and_why() -> None:
    patched = nn.Conv2d(2, 2, 1)
    patched.forward = lambda x: x
    scripted = torch.jit.script(nn.Conv2d(2, 2, 1))
    odd = nn.Conv2d(2, 2, 1)
    odd.weight.data = odd.weight.data.to(torch.float8_e4m3fn)
    model = nn.ModuleDict(
        {
            **{"halved": Halved(2, 2, 1), "patched": patched, "lazy": nn.LazyConv2d(2, 1)},
            **{
                "scripted": scripted,
                "odd": odd,
                "fine": nn.Conv2d(2, 2, 1),
                "linear": nn.Linear(2, 2),
            },
        }
    )
    done = ft.replace(model)
    assert list(done.changed) == ["fine"]
    assert {path: why[:30] for path, why in done.left.items()} == {
        "halved": done.left["halved"][:30],
        "patched": "its forward has been replaced",
        "lazy": "it has no parameters yet: run ",
        "odd": "its weight is of torch.float8_",
    }
    assert "Halved is a subclass" in done.left["halved"]
    assert "halved: left, " in str(done) and repr(done) == "<Replacement: 1 changed, 4 left alone>"
    x = rand(1, 2, 3, 3)
    assert torch.equal(patched(x), x) and scripted(x).shape == x.shape
    # One that has its parameters by then is a layer like others.
    model["lazy"](x)
    assert list(ft.replace(model).changed) == ["lazy"]


def test_copies_and_files() -> None:
    model, x = network().eval(), rand(1, 3, 9, 11)
    ft.replace(model)
    want = model(x)
    twin = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for again in (twin, loaded):
        assert torch.equal(again(x), want)
        assert len(ft.restore(again).changed) == 7
        assert torch.allclose(again(x), want, atol=1e-5)
    assert torch.equal(model(x), want)


def test_restore_leaves_what_pytorch_has_not() -> None:
    model = nn.Sequential(
        *(ft.Conv2d(1, 1, 3), ft.Conv2d(1, 1, 3, flip=True), ft.Conv2d(1, 1, 3, 2, "same")),
        *(ft.Conv2d(1, 1, 3, padding="causal"), ft.Conv2d(1, 1, 3, padding=((0, 1), 1))),
        *(ft.Conv2d(1, 1, 3, padding_mode="symmetric"), ft.MaxPool2d(2, padding="same")),
        *(ft.ConvTranspose2d(1, 1, 3, padding=1, padding_mode="reflect"), ft.AvgPool3d(2)),
        *(ft.Conv(1, 1, (3, 3)), ft.Conv1d(1, 1, 3, padding="same", padding_mode="circular")),
    )
    done = ft.restore(model)
    assert list(done.changed) == ["0", "8", "10"]
    assert done.left["1"] == "flip=True, which torch.nn.Conv2d has not"
    assert done.left["2"] == "padding='same' with a stride, which torch.nn.Conv2d has not"
    assert done.left["9"] == "torch.nn has no Conv"
    assert len(done.left) == 8
    # Made by our constructor, and computed by PyTorch's code.
    layer, x = ft.Conv1d(1, 1, 3, padding="same", padding_mode="circular"), rand(1, 1, 6)
    want = layer(x)
    ft.restore(layer)
    assert type(layer) is nn.Conv1d and torch.allclose(layer(x), want, atol=1e-6)
    done.undo()  # PyTorch's already
    assert type(model[0]) is nn.Conv2d


def test_every_class_has_its_counterpart() -> None:
    assert len(OURS) == len(THEIRS) == 12
    with pytest.raises(faltung.FaltungError, match=r"model=list: must be a torch.nn.Module"):
        ft.replace([])


def test_other_devices_are_refused_in_one_line() -> None:
    """What cannot be tried without one: what the kernel for other tensors says."""
    from faltung.torch.operators import refusal

    class Elsewhere:
        is_quantized = is_nested = False
        layout, device = torch.strided, torch.device("cuda:0")

    assert "a tensor on cuda:0: Faltung computes on the CPU; move it" in refusal(Elsewhere())
