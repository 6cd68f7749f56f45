"""Layers: the same state as PyTorch's, the same numbers, and what PyTorch's have not."""

import copy
import pickle
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional as F

import faltung
import faltung.torch as ft
from faltung.torch.replacing import OURS

SIZES = {1: (11,), 2: (9, 8), 3: (6, 5, 7)}


def rand(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def options(name: str) -> list[dict[str, Any]]:
    """Arguments that PyTorch's layer takes, too."""
    if name.startswith("ConvTranspose"):
        found: list[dict[str, Any]] = [
            {},
            {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": False},
        ]
        return [{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **each} for each in found]
    if name.startswith("Conv"):
        found = [
            {"stride": 2, "padding": 1, "groups": 2},
            {"padding": "same", "dilation": 2, "bias": False},
            {"padding": "valid"},
            *(
                {"padding": 1, "padding_mode": mode}
                for mode in ("reflect", "replicate", "circular")
            ),
        ]
        return [{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **each} for each in found]
    if name.startswith("MaxPool"):
        return [
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel_size": 2},
        ]
    return [
        {"kernel_size": 3, "padding": 1, "count_include_pad": False},
        {"kernel_size": 2, "stride": 3},
    ]


@pytest.mark.parametrize("theirs", OURS, ids=lambda kind: kind.__name__)
def test_in_the_place_of_pytorchs(theirs: Any) -> None:
    """Drawn alike, with the same state, text and numbers."""
    name = theirs.__name__
    ours = getattr(ft, name)
    assert ours is OURS[theirs] and issubclass(ours, theirs)
    x = rand(2, 4, *SIZES[int(name[-2])])
    for given in options(name):
        torch.manual_seed(5)
        want = theirs(**given).double()
        torch.manual_seed(5)
        layer = ours(**given).double()
        assert repr(layer) == repr(want)
        assert list(layer.state_dict()) == list(want.state_dict())
        assert all(map(torch.equal, layer.parameters(), want.parameters()))
        assert torch.allclose(layer(x), want(x)) and torch.allclose(layer(x[0]), want(x[0]))
        want.load_state_dict(layer.state_dict())
        layer.load_state_dict(want.state_dict())
        again = pickle.loads(pickle.dumps(layer))
        assert type(again) is ours and torch.equal(again(x), layer(x))
        assert torch.equal(copy.deepcopy(layer)(x), layer(x))
        made = ours.from_torch(want)
        assert type(made) is ours and torch.allclose(made(x), want(x))
        assert all(a is b for a, b in zip(made.parameters(), want.parameters(), strict=True))


def test_positional_arguments_have_pytorchs_order() -> None:
    given = (4, 6, 3, 2, 1, 1, 2, True, "zeros", None, torch.float64)
    assert repr(ft.Conv2d(*given)) == repr(nn.Conv2d(*given))
    given = (4, 6, 3, 2, 1, 1, 2, True, 2, "zeros", None, torch.float64)
    assert repr(ft.ConvTranspose2d(*given)) == repr(nn.ConvTranspose2d(*given))
    assert ft.Conv2d(*given[:3], device="meta").weight.device.type == "meta"


def test_output_size_of_a_transposed_convolution() -> None:
    layer = ft.ConvTranspose2d(4, 2, 3, 2, 1).double()
    want = nn.ConvTranspose2d(4, 2, 3, 2, 1).double()
    want.load_state_dict(layer.state_dict())
    x = rand(2, 4, 5, 6)
    for size in ((9, 11), (10, 12), (9, 12), (2, 2, 10, 11)):
        assert torch.allclose(layer(x, size), want(x, size))
    with pytest.raises(faltung.FaltungError, match="must be from"):
        layer(x, (8, 11))
    with pytest.raises(faltung.FaltungError, match="must be 2 ints, or the whole shape"):
        layer(x, (8,))


def test_what_pytorchs_layers_have_not() -> None:
    x = rand(2, 4, 9, 8)
    layer = ft.Conv2d(4, 6, 3, 2, ((0, 2), "same"), padding_mode=("circular", "zeros"), flip=True)
    layer = layer.double()
    want = ft.conv2d(
        *(x, layer.weight, layer.bias, 2, ((0, 2), "same"), 1, 1, ("circular", "zeros")), flip=True
    )
    assert torch.equal(layer(x), want)
    assert "padding=((0, 2), 'same')" in repr(layer) and "flip=True" in repr(layer)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), want)
    back = ft.ConvTranspose2d(4, 6, 3, padding=1, padding_mode="reflect").double()
    assert back(x).shape == (2, 6, 9, 8)
    strict = ft.Conv2d(4, 6, 3, precision="strict", method="direct").double()
    assert torch.allclose(strict(x), F.conv2d(x, strict.weight, strict.bias))
    assert "precision='strict', method='direct'" in repr(strict)
    deep = ft.Conv(2, 3, (2, 2, 2, 2), padding="same").double()
    assert deep(rand(1, 2, 3, 3, 3, 3)).shape == (1, 3, 3, 3, 3, 3)
    up = ft.ConvTranspose(2, 3, (2, 2, 2, 2), 2).double()
    assert up(rand(1, 2, 3, 2, 2, 2)).shape == (1, 3, 6, 4, 4, 4)
    assert ft.AvgPool((2, 2, 2, 2))(rand(1, 2, 4, 4, 4, 4)).shape == (1, 2, 2, 2, 2, 2)
    indices = ft.MaxPool((2, 2, 2, 2), return_indices=True)(rand(1, 2, 4, 4, 4, 4))[1]
    assert indices.shape == (1, 2, 2, 2, 2, 2)


def test_local_layers() -> None:
    torch.manual_seed(1)
    layer = ft.ConvLocal2d(4, 6, 3, (9, 8), 2, 1, groups=2).double()
    assert layer.weight.shape == (5, 4, 6, 2, 3, 3) and layer.bias.shape == (5, 4, 6)
    bound = 1 / (2 * 9) ** 0.5
    assert float(layer.weight.detach().abs().max()) <= bound
    x = rand(2, 4, 9, 8)
    want = ft.conv_local(x, layer.weight, layer.bias, 2, 1, groups=2)
    assert torch.equal(layer(x), want)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert again.weight.stride() == layer.weight.stride() and torch.equal(again(x), want)
    other = ft.ConvLocal2d(4, 6, 3, (9, 8), 2, 1, groups=2).double()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), want) and other.weight.stride() == layer.weight.stride()
    layer(x).square().sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9).step()
    assert layer.weight.grad.stride() == layer.weight.stride()
    assert "input_size=(9, 8), stride=(2, 2), padding=1, groups=2" in repr(layer)
    assert ft.ConvLocal((2), 3, 2, (4, 4, 4, 4), bias=False).bias is None
    with pytest.raises(faltung.FaltungError, match="must begin with the output sizes"):
        layer(rand(2, 4, 12, 8))


WRONG = {
    "channels": (lambda: ft.Conv2d(0, 4, 3), "in_channels=0: must be at least 1"),
    "groups": (lambda: ft.Conv2d(4, 6, 3, groups=4), "groups=4: must divide out_channels=6"),
    "kernel": (lambda: ft.Conv2d(4, 6, (3, 3, 3)), "kernel_size=.*must be one int or 2"),
    "rank": (lambda: ft.Conv(4, 6, 3), "must be a sequence, one int for each axis of Conv"),
    "padding": (lambda: ft.Conv2d(4, 6, 3, padding="sam"), "padding='sam'"),
    "mode": (lambda: ft.Conv2d(4, 6, 3, padding_mode="wrap"), "must be one of zeros, reflect"),
    "flip": (lambda: ft.Conv2d(4, 6, 3, flip=1), "flip=1: must be True or False"),
    "class": (lambda: ft.Conv2d.from_torch(nn.Conv1d(1, 1, 1)), "must be a torch.nn.Conv2d"),
    "subclass": (lambda: ft.Conv2d.from_torch(ft.Conv2d(1, 1, 1)), "no subclass"),
}


@pytest.mark.parametrize("what", WRONG)
def test_refused(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(faltung.FaltungError, match=message):
        make()
