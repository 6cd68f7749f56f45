"""Casts, copies, detached tensors and constants of the shape of a tensor, from ATen."""

import pytest

pytest.importorskip("torch")
import torch
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

OPS = """
    bool half bfloat16 float clone contiguous zeros_like ones_like full_like new_zeros new_ones
    new_full fill conj positive real resolve_conj resolve_neg
""".split()
GAPS = {op: "without elements" for op in ("new_zeros", "new_ones", "new_full")}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    gaps = {op: GAPS[op]} if op in GAPS else {}
    check_samples([op], gaps, most=2, dtype=torch.float32 if op == "float" else None)


def test_a_shorter_format_rounds() -> None:
    x = torch.randn(3, 5)
    check(lambda x: x.to(torch.bfloat16).float() + x.half().to(x.dtype), x)
    check(lambda x: (x > 0).to(x.dtype) * x + (x > 0).bool().float().type_as(x), x)


def test_whole_numbers_become_real_ones() -> None:
    n = torch.randint(-5, 5, (3, 5))
    check(lambda x, n: x * n + n.to(x.dtype) + (n > 0), torch.randn(3, 5), n)
    check(lambda x, n: x + (n != 3) * (n.bool() | (n >= 2)), torch.randn(3, 5), n)


def test_masks_of_whole_numbers() -> None:
    def function(x: torch.Tensor, n: torch.Tensor) -> list[torch.Tensor]:
        mask = torch.arange(5) < n[:, None]
        count = mask.sum(1, keepdim=True)
        mean = (x * mask).sum(1, keepdim=True) / count
        return [
            mean.masked_fill(~mask, float("-inf")),
            count,
            x.argmax(1) == n,
            mask & (n > 2)[:, None],
        ]

    check(function, torch.randn(3, 5), torch.tensor([5, 1, 3]))
    large = torch.tensor([2**24 + 1, 2**24, 0])
    check(lambda x, n: x * (n == 2**23) + (n != 0), torch.randn(3), large)
    part = part_of(
        traced(lambda x, n: x * (n == 2**24), *(given := (torch.randn(3), large))), given
    )
    assert "compared" in part.gaps[0].reason


def test_double_precision_inside_of_single_is_left_to_pytorch() -> None:
    x = torch.randn(3)
    part = part_of(traced(lambda x: x.double() * 2, x), [x])
    assert "float64 within" in part.gaps[0].reason


def test_whole_numbers_of_real_ones_are_left_to_pytorch() -> None:
    x = torch.randn(3)
    part = part_of(traced(lambda x: x.long(), x), [x])
    assert "needs whole numbers" in part.gaps[0].reason


def test_no_gradient_passes_through_what_is_detached() -> None:
    w = torch.randn(4)
    check_gradients(lambda x, w: (x * w).detach() * x + w.detach() * x, [torch.randn(3, 4)], [w])
    check(lambda x: x.detach().exp() + x, torch.randn(3, 4))


def test_constants_are_part_of_formulas() -> None:
    x = torch.randn(3, 4)
    check(lambda x: torch.max(x, torch.zeros_like(x)) + x.new_full((4,), 0.5), x)
    part = part_of(traced(lambda x: torch.max(x, torch.zeros_like(x)), x), [x])
    assert part.graph is not None
    assert not part.graph.parameters
    check(lambda x: torch.zeros_like(x) + x.new_ones(3, 1), x)
    check(lambda x: torch.zeros_like(x).fill_(2.0).add_(x), x)
