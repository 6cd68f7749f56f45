"""Attention of ATen, against PyTorch in float64."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients, region_of, traced
from torch_opinfo import samples

NAME = "nn.functional.scaled_dot_product_attention"


def test_samples() -> None:
    """Those without dropout."""
    taken = 0
    for sample in samples([NAME], most=8):
        nodes = traced(sample.function, *sample.args).graph.nodes
        (node,) = [n for n in nodes if "attention" in str(n.target)]
        rate = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p")
        if not rate:
            check(sample.function, *sample.args)
            taken += 1
    assert taken > 2


def test_dropout_of_weights() -> None:
    """Values that are the identity show the weights: as they are, larger, or 0."""
    q, k, v = numbers(2, 4, 5, 3), numbers(2, 2, 6, 3), torch.eye(6).double().expand(2, 2, 6, 6)

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, p: float) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, None, p, enable_gqa=True)

    q.requires_grad_()
    region = region_of(lambda *x: function(*x, 0.25), q, k, v)
    torch.manual_seed(1)
    (y,) = region([q, k, v], [])
    whole = function(q, k, v, 0.0)
    kept = y != 0
    torch.testing.assert_close(y[kept], whole[kept] / 0.75)
    assert 0.6 < kept.double().mean() < 0.9
    seed = numbers(*y.shape)
    (grad,) = torch.autograd.grad(y, q, seed)
    (wanted,) = torch.autograd.grad(whole * kept / 0.75, q, seed)
    torch.testing.assert_close(grad, wanted)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("lead", [(2, 3), (3,), (2, 1, 2), ()])
@pytest.mark.parametrize("mask", ["none", "added", "truth", "whole", "causal"])
def test_masks(lead: tuple[int, ...], mask: str) -> None:
    q, k, v = numbers(*lead, 5, 4), numbers(*lead, 6, 4), numbers(*lead, 6, 3)
    masks = {
        "added": numbers(5, 6),
        "truth": torch.rand(*(1,) * len(lead), 5, 6) > 0.3,
        "whole": torch.rand(*lead, 5, 6) > 0.4,
    }
    given = masks.get(mask)
    causal = mask == "causal"

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        m = given if given is None or given.dtype == torch.bool else given.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, m, is_causal=causal, scale=0.3)

    check(function, q.float(), k.float(), v.float())
    check_gradients(function, [q, k, v])
    if given is not None:  # a mask that comes from outside
        check_gradients(F.scaled_dot_product_attention, [q, k, v, given])


def test_a_query_that_sees_nothing() -> None:
    hidden = torch.ones(4, 5, dtype=torch.bool)
    hidden[1] = False
    given = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    check(lambda q, k: F.scaled_dot_product_attention(q, k, k, hidden), *given)


def test_heads_that_share_keys() -> None:
    def function(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    q, k = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 6, 3)
    check(function, q, k)
    check_gradients(function, [q, k])


def test_broadcast() -> None:
    given = torch.randn(2, 4, 5, 3), torch.randn(4, 6, 3), torch.randn(2, 1, 6, 7)
    check(F.scaled_dot_product_attention, *given)
    check_gradients(F.scaled_dot_product_attention, given)


def test_a_trained_bias() -> None:
    """Relative positions: what is added to the scores is trained."""

    def function(q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, k, bias)

    given = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 6, 4)
    check_gradients(function, given, [numbers(3, 5, 6)])
