"""What other back ends get wrong: each case gives what eager gives, or says why not."""

import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import faltung.torch


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    ).eval()


def double_weights(model):
    model[0].weight.data.mul_(2)


def write_with_numpy(model):
    model[4].weight.detach().numpy()[:] *= 2


def shift_statistics(model):
    model[1].running_mean.data.add_(1)


@pytest.mark.parametrize("write", [double_weights, write_with_numpy, shift_statistics])
def test_writes_that_no_counter_of_pytorch_sees(write):
    model, x = network(), torch.randn(2, 3, 8, 8)
    fast = faltung.torch.compile(copy.deepcopy(model))
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
            write(model)
            write(fast)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)


class Does(nn.Module):
    """A convolution, and what a function does with it."""

    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 4, 3), act
        self.factor = nn.Parameter(torch.full((4, 1, 1), 2.0))

    def forward(self, x):
        return self.act(self, x)


def hooked(model, x):
    y = model.conv(x)
    y.register_hook(lambda grad: grad * 0.1)
    return y * 2


def clamped(model, x):
    model.factor.data.clamp_(-0.5, 0.5)
    return model.conv(x) * model.factor


def assigned(model, x):
    model.conv.weight.data = model.conv.weight.data / 2
    return model.conv(x)


def shrunk(model, x):
    with torch.no_grad():
        model.factor.mul_(0.9)
    return model.conv(x) * model.factor


def data_read(model, x):
    y = model.conv(x)
    return y.data * y


def forces(model, x):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        energy = model.conv(x).pow(2).sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
    return energy + force.pow(2).sum()


def without_inference_tensors(model, x):
    with torch.inference_mode():
        y = model.conv(x)
    return model.conv(x) * y.sum().item()


@pytest.mark.parametrize(
    "act", [hooked, clamped, assigned, shrunk, data_read, forces, without_inference_tensors]
)
def test_what_a_graph_does_not_show(act):
    model, x = Does(act), torch.randn(2, 3, 8, 8)
    other = copy.deepcopy(model)
    fast = faltung.torch.compile(other, fallback=True)
    fast._faltung_engine.prices = False
    for _ in range(2):
        a, b = model(x), fast(x)
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
        a.sum().backward()
        b.sum().backward()
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(q.detach(), p.detach())
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_random_numbers_of_python_are_drawn_at_each_call(draw):
    fast = faltung.torch.compile(Does(lambda m, x: m.conv(x) * float(draw())), fallback=True)
    x = torch.randn(2, 3, 8, 8)
    random.seed(0)
    np.random.seed(0)
    first = [fast(x).sum().item() for _ in range(4)]
    random.seed(0)
    np.random.seed(0)
    assert len(set(first)) == 4
    assert first == [fast(x).sum().item() for _ in range(4)]


def test_what_follows_from_parameters_alone_has_gradients():
    model = Does(lambda m, x: m.factor.exp() * 2)
    fast = faltung.torch.compile(model)
    fast(torch.zeros(1)).sum().backward()
    torch.testing.assert_close(model.factor.grad, 2 * model.factor.exp().detach())


def test_numbers_that_change_at_each_call_are_not_compiled_without_end():
    class Times(nn.Conv2d):
        def forward(self, x, factor):
            return super().forward(x) * factor

    model, x = Times(3, 4, 3).eval(), torch.randn(2, 3, 8, 8)
    fast = faltung.torch.compile(model)
    for factor in [float("nan")] * 3 + [float(i) for i in range(14)]:
        torch.testing.assert_close(
            fast(x, factor), model(x, factor), rtol=1e-4, atol=1e-4, equal_nan=True
        )
    assert fast._faltung_engine.captures == 12


class Scaled(nn.Module):
    """Reads numbers that lie in objects."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.config, self.table = SimpleNamespace(scale=2.0), {"a": [3.0]}
        self.array = np.ones(2)

    def forward(self, x):
        return self.conv(x) * self.config.scale * self.table["a"][0] * float(self.array[1])


def test_settings_within_objects_are_read_again():
    model, x = Scaled(), torch.randn(2, 3, 8, 8)
    fast = faltung.torch.compile(model)
    for _ in range(2):
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
        model.config.scale += 1
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
        model.table["a"][0] += 1
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
        model.array[1] += 1
    made = fast._faltung_engine.captures
    fast(x)
    fast(x)
    assert fast._faltung_engine.captures <= made + 1
