"""``torch.compile(backend="faltung")``: graphs of TorchDynamo."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch_models import Odd, assert_near, conv, gradients, pictures

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.torch import backend, versions


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(versions, "_told", set())
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(model: Any, seen: list[Any] | None = None, **options: Any) -> Any:
    """Through Dynamo; the graphs that our back end makes are added to ``seen``."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        made = backend.faltung(*args, **kwargs)
        if seen is not None:
            seen.append(made)
        return made

    return torch.compile(model, backend=noted, options=options)


def test_entry_point() -> None:
    from importlib.metadata import entry_points

    found = entry_points(group="torch_dynamo_backends")
    if "faltung" not in found.names:
        pytest.skip("installed before there was an entry point")
    assert found["faltung"].load() is backend.faltung
    assert "faltung" in torch._dynamo.list_backends()


def test_inference_and_training() -> None:
    model, x, seen = nn.Sequential(conv(3, 32), nn.ReLU(), conv(32, 8)), pictures(4, 24), []
    made = compiled(model, seen)
    with torch.no_grad():
        assert_near(made(x), model(x))
    assert_near(gradients(made, model, x), gradients(model, model, x), 5e-5)
    assert all(any(p.ours for p in graph.cuts[key].pieces) for graph in seen for key in graph.cuts)


def test_parameters_are_leaves_and_read_at_each_call() -> None:
    model, x, seen = nn.Sequential(conv(3, 32), nn.BatchNorm2d(32)).eval(), pictures(4, 24), []
    made = compiled(model, seen)
    with torch.no_grad():
        made(x)
        assert len(seen[0].inputs) == 1 and len(seen[0].leaves) >= 6
        for _ in range(2):
            model[0].weight.mul_(1.5)
            model[1].running_mean.add_(1)
            assert_near(made(x), model(x))
    assert len(seen) == 1


def test_running_statistics() -> None:
    model = nn.Sequential(conv(bias=False), nn.BatchNorm2d(4))
    other = copy.deepcopy(model)
    made, x = compiled(model, fallback=False), pictures(4)
    for _ in range(2):
        assert_near(gradients(made, model, x), gradients(other, other, x), 1e-4)
        assert_near(dict(model.state_dict()), dict(other.state_dict()), 1e-5)


def test_blocks_with_writes_in_place() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.n, self.relu = conv(3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(True)

        def forward(self, x: Any) -> Any:
            y = self.relu(self.n(self.a(x)))
            y = y + x
            return self.relu(y)

    model, x = nn.Sequential(Block(), Block()), pictures(4)
    other = copy.deepcopy(model)
    made = compiled(model, fallback=False)
    for _ in range(2):
        assert_near(made(x), other(x), 1e-5)
    made(x).sum().backward()
    other(x).sum().backward()
    ours, theirs = model[0].a.weight.grad, other[0].a.weight.grad
    assert_near(ours, theirs, 1e-4)


def test_free_sizes_need_two_graphs() -> None:
    model, seen = nn.Sequential(conv(3, 32), nn.MaxPool2d(2), nn.Flatten(2)).eval(), []
    made = compiled(model, seen, fallback=False)
    with torch.no_grad():
        for batch in (8, 3, 5, 2):
            x = pictures(batch, 12)
            assert_near(made(x), model(x))
    assert len(seen) == 2


def test_sizes_that_are_results_and_arguments() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(3, 16)

        def forward(self, x: Any, scale: int) -> Any:
            return self.conv(x).flatten(2).mean(2) * scale, x.shape[0], x

    model = Model().eval()
    made = compiled(model)
    with torch.no_grad():
        for batch in (2, 4, 6):
            x = pictures(batch, 16)
            assert_near(made(x, batch), model(x, batch))
            assert made(x, batch)[2] is x


def test_gaps_are_eager_with_one_warning() -> None:
    model, x = nn.Sequential(conv(3, 32), Odd(), conv(32, 32), Odd()), pictures(8, 24)
    made = compiled(model)
    with pytest.warns(UserWarning, match=r"faltung_tests.odd, 2 times: no such operator") as told:
        found = made(x)
    ours = [each for each in told if "faltung" in str(each.message)]
    assert len(ours) == 1 and "torch_models.py:" in str(ours[0].message)
    assert_near(found, model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(x)
    assert_near(gradients(made, model, x), gradients(model, model, x), 5e-5)


def test_strict_on_request() -> None:
    model = nn.Sequential(conv(), Odd())
    with pytest.raises(UnsupportedError, match=r"1 \(torch_models\.py:.*faltung_tests\.odd"):
        compiled(model, fallback=False)(pictures())


def test_breaks_of_dynamo_are_pieces() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = conv(3, 32), conv(32, 4)

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            return self.second(y) if y.mean() > 0 else self.second(-y)

    model, x, seen = Model().eval(), pictures(4, 24), []
    made = compiled(model, seen)
    for sign in (1, -1):
        assert_near(made(x * sign), model(x * sign))
    assert len(seen) >= 2


def test_complex_tensors_go_to_pytorch() -> None:
    x = torch.randn(4, 4, dtype=torch.complex64)
    with pytest.warns(UserWarning, match="complex"):
        assert torch.equal(compiled(lambda x: x * 2)(x), x * 2)


def test_results_that_are_views() -> None:
    def function(x: Any) -> Any:
        return x[0], x.t(), torch.tanh(x)

    x = torch.randn(3, 4)
    view, turned, _ = compiled(function)(x)
    assert view.data_ptr() == x.data_ptr() and turned.stride() == (1, 4)


def test_an_untested_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "TESTED", ((1, 0), (1, 0)))
    model, x = conv(), pictures()
    with pytest.warns(UserWarning, match=r"tested with 1\.0 alone, so everything runs in eager"):
        assert_near(compiled(model)(x), model(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"fast": True}, "options='fast': must be one of"), ({"precision": 1}, "precision=1: must")],
)
def test_wrong_options(options: Any, words: str) -> None:
    graph = torch.fx.symbolic_trace(nn.ReLU())
    with pytest.raises(FaltungError, match=words):
        backend.faltung(graph, [torch.ones(2)], options=options)
