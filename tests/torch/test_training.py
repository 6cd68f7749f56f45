"""Curves of trainings by our programs beside PyTorch's: two hundred steps from the same weights."""

import copy
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional as F

import faltung.torch
from faltung.data import open_source

STEPS = 200
BATCH = 32


def pictures() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.SiLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)),
    )


def signals() -> nn.Module:
    """The same pictures, read row by row as a signal."""
    return nn.Sequential(
        *(nn.Flatten(2), nn.Conv1d(1, 16, 5, stride=2, padding=2), nn.GroupNorm(4, 16), nn.GELU()),
        *(nn.Conv1d(16, 16, 3, padding=2, dilation=2, groups=4), nn.ReLU()),
        *(nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(64, 10)),
    )


class Tokens(nn.Module):
    """A transformer over the rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.where = nn.Parameter(0.1 * torch.randn(8, 16))
        self.body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.last = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(self.first(x[:, 0]) + self.where).mean(1))


def _sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)


def _adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), 1e-3)


@pytest.mark.parametrize("made, optimizer", [(pictures, _sgd), (signals, _adam), (Tokens, _adam)])
def test_curves(
    made: Callable[[], nn.Module], optimizer: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    torch.manual_seed(0)
    theirs = made()
    ours = copy.deepcopy(theirs)
    nets = [(theirs, theirs), (faltung.torch.compile(ours), ours)]
    digits = open_source("digits")
    x, y = torch.from_numpy(digits.read(range(1797))), torch.from_numpy(digits.targets)
    curves = []
    for call, net in nets:
        step, losses = optimizer(net), []
        for i in range(STEPS):
            at = torch.arange(i * BATCH, (i + 1) * BATCH) % len(x)
            loss = F.cross_entropy(call(x[at]), y[at])
            step.zero_grad()
            loss.backward()
            step.step()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    theirs_loss, ours_loss = curves
    assert ours_loss[-20:].mean() < 0.75 * ours_loss[:5].mean()
    # Later the two may part: a rounding moves one number across a kink, and all steps after it.
    assert (theirs_loss - ours_loss).abs()[: STEPS // 2].max() < 1e-3
    assert abs(theirs_loss[-20:].mean() / ours_loss[-20:].mean() - 1) < 0.05
