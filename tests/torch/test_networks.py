"""Small networks of different kinds at inference and in training; many more: torch_networks.py."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch_against_eager import inference, lies, prepared, training  # noqa: E402
from torch_handwritten import NETWORKS  # noqa: E402

import faltung.torch  # noqa: E402
from faltung.geometry.errors import FaltungError  # noqa: E402


class Asking(nn.Module):
    """Queries that are learned, the same for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, 16))
        self.look = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.look(self.queries.expand(len(x), -1, -1), x, x)[0]
        return found


class Masked(nn.Module):
    """A mask at whose numbers PyTorch looks, to find out whether it is causal."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 8, 0.0)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        made: torch.Tensor = self.layers(x.transpose(0, 1), mask.to(x.dtype)).transpose(0, 1)
        return made


@pytest.mark.parametrize(
    ("make", "shapes"), [(Asking, ((5, 16),)), (Masked, ((5, 8),)), NETWORKS["gpt"]]
)
def test_inference(make: Any, shapes: Any) -> None:
    torch.manual_seed(0)
    run = inference(prepared(make()), shapes)
    assert run.ratio <= 6 and run.alone and run.strides


# Tied weights; two results, transposed convolutions; an LSTM along the width of maps.
@pytest.mark.parametrize("name", ["gpt", "variational", "reader"])
def test_training(name: str) -> None:
    torch.manual_seed(0)
    make, shapes = NETWORKS[name]
    step = training(prepared(make()), shapes)
    assert step.ratio <= 6 and step.buffers <= 6 and step.whole and not step.missing


class Orders(nn.Module):
    """Results in all orders of memory that PyTorch leaves them in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(3, 4, 1), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        y = torch.tanh(self.conv(x))
        z = self.linear(y.permute(2, 0, 1))
        return [y, z.transpose(0, 1), z.permute(1, 2, 0), y.transpose(1, 2), y.mean(0).t()]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("grad", [False, True])
def test_results_lie_as_in_eager(batch: int, grad: bool) -> None:
    torch.manual_seed(0)
    module, x = Orders(), torch.randn(batch, 3, 7)
    made = faltung.torch.compile(module)
    with torch.set_grad_enabled(grad):
        for ours, theirs in zip(made(x), module(x), strict=True):
            assert lies(ours) == lies(theirs)
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_weights_that_follow_from_buffers_that_each_step_changes() -> None:
    torch.manual_seed(0)
    norm = nn.utils.parametrizations.spectral_norm
    theirs = nn.Sequential(norm(nn.Linear(6, 5)), nn.Tanh(), norm(nn.Linear(5, 4))).double()
    ours = copy.deepcopy(theirs)
    made, x = faltung.torch.compile(ours), torch.randn(3, 6, dtype=torch.float64)
    for _ in range(3):
        for call, net in ((theirs, theirs), (made, ours)):
            net.zero_grad()
            call(x).square().sum().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.1 * p.grad
    for a, b in zip(theirs.state_dict().items(), ours.state_dict().items(), strict=True):
        assert a[0] == b[0]
        torch.testing.assert_close(a[1], b[1], rtol=1e-9, atol=1e-11)
    with pytest.raises(FaltungError, match="changes buffers"):
        torch.autograd.grad(made(x).sum(), list(ours.parameters()), create_graph=True)
    theirs(x)  # which changes its buffers, too
    with torch.no_grad():
        ours.eval(), theirs.eval()
        torch.testing.assert_close(made(x), theirs(x), rtol=1e-9, atol=1e-11)


def test_batches_are_counted_once_where_gradients_have_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())
    made, x = faltung.torch.compile(model), torch.randn(4, 6)
    (found,) = torch.autograd.grad(made(x).square().sum(), [model[0].weight], create_graph=True)
    found.square().sum().backward()
    assert int(model[1].num_batches_tracked) == 1
