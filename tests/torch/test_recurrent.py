"""LSTM, GRU and RNN of ATen, against PyTorch in float64: results, last states and gradients."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch_aten import check, check_gradients, part_of, region_of, traced

OPS = {"LSTM": torch._VF.lstm, "GRU": torch._VF.gru, "RNN": torch._VF.rnn_tanh}
# (layers, both directions, batch first, biases)
FORMS = [(1, False, False, True), (2, True, True, True), (2, False, True, False)]


def _called(kind: str, layers: int, both: bool, first: bool, bias: bool) -> Any:
    """The operator as a function of the input, the first states and the weights."""

    def function(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *weights: torch.Tensor) -> Any:
        hx = [h, c] if kind == "LSTM" else h
        rest = (bias, layers, 0.0, True, both, first)
        return OPS[kind](x, hx, list(weights), *rest)

    return function


def _weights(kind: str, layers: int, both: bool, first: bool, bias: bool) -> list[torch.Tensor]:
    module = getattr(torch.nn, kind)(4, 3, layers, bidirectional=both, bias=bias)
    return [p.detach() for p in module.parameters()]


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize("form", FORMS)
def test_layers(kind: str, form: tuple[int, bool, bool, bool]) -> None:
    layers, both, first, _ = form
    shape = layers * (1 + both), 2 if first else 5, 3
    given = [torch.randn(2, 5, 4), torch.randn(shape), torch.randn(shape)]
    function, weights = _called(kind, *form), _weights(kind, *form)
    check(lambda x, h, c: function(x, h, c, *(w.to(x.dtype) for w in weights)), *given)
    check_gradients(function, given, weights)


@pytest.mark.parametrize("kind", OPS)
def test_new_zeros_as_first_states(kind: str) -> None:
    weights = _weights(kind, 1, False, False, True)

    def function(x: torch.Tensor, *weights: torch.Tensor) -> Any:
        zeros = torch.zeros(1, 5, 3, dtype=x.dtype)
        return _called(kind, 1, False, False, True)(x, zeros, zeros, *weights)

    x = torch.randn(2, 5, 4)
    check_gradients(function, [x], weights)
    part = part_of(traced(lambda x: function(x, *weights), x), [x])
    (node,) = [n for n in part.graph.nodes if type(n.op).__name__ == "Recurrent"]
    assert not node.op.layer.initial_h


def test_a_module_without_a_batch() -> None:
    module = torch.nn.GRU(4, 3).double()
    check(lambda x: module.to(x.dtype)(x), torch.randn(5, 4))


@pytest.mark.parametrize("kind", OPS)
def test_cells(kind: str) -> None:
    cell = getattr(torch.nn, f"{kind}Cell")(4, 3)
    weights = [p.detach() for p in cell.parameters()]
    names = {"LSTM": "lstm_cell", "GRU": "gru_cell", "RNN": "rnn_tanh_cell"}
    op = getattr(torch._VF, names[kind])

    def function(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *w: torch.Tensor) -> Any:
        return op(x, [h, c] if kind == "LSTM" else h, *w)

    given = [torch.randn(5, 4), torch.randn(5, 3), torch.randn(5, 3)]
    check(lambda x, h, c: function(x, h, c, *(w.to(x.dtype) for w in weights)), *given)
    check_gradients(function, given, weights)


def test_dropout_between_layers() -> None:
    """PyTorch's numbers, where they are asked for, are drawn as PyTorch draws them."""
    weights = _weights("GRU", 3, True, True, True)
    zeros = torch.zeros(6, 2, 3)

    def function(x: torch.Tensor) -> Any:
        return torch._VF.gru(x, zeros, weights, True, 3, 0.5, True, True, True)

    x = torch.randn(2, 5, 4)
    part = part_of(traced(function, x), [x], their_random=True)
    assert not part.gaps
    assert [draw.tensor.shape for draw in part.draws] == [(5, 2, 6)] * 2
    region = region_of(function, x)
    torch.manual_seed(1)
    first, again = region([x], [])[0], region([x], [])[0]
    torch.manual_seed(1)
    assert torch.equal(first, region([x], [])[0])
    assert not torch.equal(first, again)


def test_what_is_left_to_pytorch() -> None:
    x = torch.randn(2, 5, 4)
    for options, reason in (
        ({"dropout": 1.0, "num_layers": 2}, "dropout=1 between recurrent layers"),
        ({"proj_size": 2}, "projections"),
    ):
        module = torch.nn.LSTM(4, 3, **options)
        weights = [p.detach() for p in module.parameters()]
        states = [torch.zeros(module.num_layers, 5, n) for n in (module.proj_size or 3, 3)]
        rest = (True, module.num_layers, module.dropout, True, False, False)

        def function(x: torch.Tensor) -> Any:
            return torch._VF.lstm(x, states, weights, *rest)  # noqa: B023

        part = part_of(traced(function, x), [x])
        assert reason in part.gaps[0].reason
