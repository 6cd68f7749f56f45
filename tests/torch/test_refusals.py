"""What ``faltung.torch.compile`` refuses, with all reasons and places, or leaves to PyTorch."""

import warnings
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch_models import Odd, assert_near, check, conv, engine, pictures

import faltung.torch
from faltung.geometry.errors import UnsupportedError
from faltung.torch import versions


def test_strict_names_all_gaps_with_their_place() -> None:
    model = nn.Sequential(conv(), Odd(), nn.Sequential(conv(4, 4), Odd())).eval()
    with pytest.raises(UnsupportedError) as error:
        faltung.torch.compile(model, pictures())
    text = str(error.value)
    assert "1 (torch_models.py:" in text and "faltung_tests.odd, 2 times" in text
    assert "fallback=True" in text and "\n" not in text
    check(model, pictures(), fallback=True)


def test_a_model_of_numbers_is_refused_or_eager() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Any) -> Any:
            return self.conv(x) if x.sum() > 0 else x

    model = Model()
    with pytest.raises(UnsupportedError, match=r"test_refusals.py:\d+: what it does depends on"):
        faltung.torch.compile(model)(pictures())
    made = faltung.torch.compile(model, fallback=True)
    for x in (pictures().abs(), -pictures().abs()):
        assert_near(made(x), model(x))


def test_hooks_run_in_eager() -> None:
    model, x, seen = nn.Sequential(conv(), conv(4, 4)), pictures(), []
    made = faltung.torch.compile(model, fallback=True)
    made(x)
    handle = model[1].register_forward_hook(lambda *_: seen.append(1))
    made(x)
    made(x)
    assert len(seen) == 2
    with pytest.raises(UnsupportedError, match="1 has a hook"):
        faltung.torch.compile(model)(x)
    handle.remove()
    before = engine(made).captures
    made(x)
    assert len(seen) == 2 and engine(made).captures == before
    # Hooks of tensors and of the compiled module are PyTorch's own affair.
    model[0].weight.register_hook(lambda grad: seen.append(2))
    made.register_forward_hook(lambda *_: seen.append(3))
    made(x).sum().backward()
    assert seen == [1, 1, 3, 2]


def test_a_model_that_counts_runs_in_eager() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    model = Model()
    made = faltung.torch.compile(model, fallback=True)
    assert [float(made(torch.ones(1))) for _ in range(4)] == [1, 2, 3, 4]


def test_a_model_that_keeps_a_table_is_compiled_once_it_is_there() -> None:
    class Model(nn.Module):
        table: Any = None

        def forward(self, x: Any) -> Any:
            if self.table is None:
                self.table = torch.arange(9.0)
            return x * self.table

    model, x = Model(), pictures()
    made = faltung.torch.compile(model)
    for _ in range(3):
        assert_near(made(x), Model()(x))
    assert engine(made).found((x,), {})[0].plan is not None


def test_lazy_modules() -> None:
    model = nn.Sequential(nn.LazyConv2d(32, 3), nn.ReLU())
    made, x = faltung.torch.compile(model, fallback=True), pictures(8, 32)
    for _ in range(3):
        assert_near(made(x), model(x))
    assert engine(made).found((x,), {})[0].plan is not None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.randn(2, 3, dtype=torch.complex64), "complex argument"),
        (lambda: torch.randn(3, 3).relu().to_sparse(), "sparse argument"),
        (lambda: torch.randn(3, 3, device="meta"), "on meta"),
        (lambda: torch.imag(torch.randn(3, dtype=torch.complex64).conj()), "negative of its"),
        (lambda: object(), "of type object"),
    ],
)
def test_arguments_that_go_to_pytorch(make: Any, words: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return [x * 2 if isinstance(x, torch.Tensor) else 1]

    made = faltung.torch.compile(Model(), fallback=True)
    x = make()
    entry, _, _ = engine(made).found((x,), {})
    assert entry.plan is None and words in entry.reason
    found, expected = made(x)[0], Model()(x)[0]
    if isinstance(x, torch.Tensor) and x.device.type == "cpu":
        assert torch.equal(
            found.to_dense() if x.is_sparse else found,
            expected.to_dense() if x.is_sparse else expected,
        )
    with pytest.raises(UnsupportedError, match=words):
        faltung.torch.compile(Model())(x)


def test_wrong_shapes_raise_what_pytorch_raises() -> None:
    made = faltung.torch.compile(conv())
    with pytest.raises(RuntimeError, match="expected input"):
        made(pictures(channels=5))


def test_an_untested_pytorch_warns_once_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "TESTED", ((1, 0), (1, 1)))
    monkeypatch.setattr(versions, "_told", set())
    model, x = nn.Sequential(conv(), Odd()), pictures()
    made = faltung.torch.compile(model)
    with pytest.warns(UserWarning, match=r"tested with 1\.0 to 1\.1, so everything runs in eager"):
        assert_near(made(x), model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(pictures(3))
