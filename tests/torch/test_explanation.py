"""``faltung.torch.explain``: pieces, reasons, edges and times, in fields and in words."""

import copy
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch_models import Odd, assert_near, conv, pictures

import faltung.torch
from faltung.geometry.errors import FaltungError


def test_pieces_reasons_edges_and_times() -> None:
    model = nn.Sequential(conv(3, 32), Odd(), conv(32, 32), Odd()).eval()
    x = pictures(8, 32)
    with torch.no_grad():
        seen = faltung.torch.explain(model, x)
    assert [piece.ours for piece in seen.pieces] == [True, False, True, False]
    assert seen.pieces[0].operators == {"aten.conv2d": 1} and seen.pieces[0].first == "0"
    assert len(seen.reasons) == 1 and "faltung_tests.odd, 2 times" in seen.reasons[0]
    assert not seen.training and seen.us > 0 and seen.eager_us > 0
    assert all(piece.us > 0 and piece.expected_us > 0 for piece in seen.pieces)
    text = str(seen)
    assert text.startswith("4 pieces: 2 of ours, 2 eager")
    for words in (
        "piece 1, faltung, 1 nodes, 0: 1 aten.conv2d",
        "channels first",
        "torch_models.py:",
        "measured",
        "expected",
        "in eager",
        "same bits for any number of threads",
    ):
        assert words in text, words


def test_layouts_at_the_edge() -> None:
    model = nn.Sequential(conv(8, 32), nn.ReLU(), conv(32, 8)).eval()
    x = pictures(4, 24, 8)
    with torch.no_grad():
        last = faltung.torch.explain(model, x.to(memory_format=torch.channels_last))
        first = faltung.torch.explain(model, x)
    assert "channels last: in place" in last.pieces[0].edges[0]
    assert "channels first" in first.pieces[0].edges[0]


def test_the_model_is_as_it_was() -> None:
    model = nn.Sequential(conv(3, 32, bias=False), nn.BatchNorm2d(32), nn.Dropout(0.5), Odd())
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    seen = faltung.torch.explain(faltung.torch.compile(model, fallback=True), pictures(8, 32))
    assert seen.training and "forward pass of training" in str(seen)
    assert_near(dict(model.state_dict()), dict(before), 0)
    assert torch.equal(state, torch.get_rng_state())


def test_a_model_that_is_eager_says_why() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * x.sum().item()

    seen = faltung.torch.explain(Model(), pictures())
    assert seen.pieces == [] and "numbers in a tensor" in seen.reason
    assert str(seen).startswith("PyTorch runs the whole model: test_explanation.py:")


def test_of_torch_compile() -> None:
    model = torch.compile(nn.Sequential(conv(3, 32), nn.ReLU()).eval(), backend="eager")
    with torch.no_grad():
        assert str(faltung.torch.explain(model, pictures(8, 32))).startswith(
            "1 piece, all of it ours"
        )


def test_wrong_model() -> None:
    with pytest.raises(FaltungError, match="model=int"):
        faltung.torch.explain(3)  # type: ignore[arg-type]
