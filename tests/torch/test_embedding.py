"""Rows of tables by numbers from outside, from ATen, against PyTorch."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check_gradients, part_of, region_of, traced

TOKENS = torch.tensor([[1, 0, 6, 1], [2, 2, 5, 3]])


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding(padding: int | None) -> None:
    """Rows that occur twice, and one that is not trained."""
    check_gradients(lambda t, w: F.embedding(t, w, padding), [TOKENS], [torch.randn(7, 3)])


def test_in_other_forms() -> None:
    table = torch.randn(7, 3)
    check_gradients(lambda t, w: F.embedding(t.view(4, 2), w), [TOKENS], [table])
    check_gradients(lambda t, w: torch.index_select(w, 0, t.view(-1)), [TOKENS], [table])
    check_gradients(lambda t, w: F.embedding(t, w), [TOKENS.int()], [table])
    check_gradients(lambda t, w: F.embedding(t, w) @ w.T, [TOKENS], [table])  # tied weights
    known = torch.tensor([3, 1])
    check_gradients(lambda x: F.embedding(known, x), [table])


def test_a_number_beyond_the_table() -> None:
    table = torch.randn(7, 3)
    region = region_of(lambda t: F.embedding(t, table), TOKENS)
    assert torch.equal(region([TOKENS], [])[0], F.embedding(TOKENS, table))
    for bad in (7, -1):
        with pytest.raises((ValueError, IndexError), match="0 to 6"):
            region([torch.full((2, 4), bad)], [])


def test_the_smaller_of_two_tables_counts() -> None:
    wide, small = torch.randn(9, 3), torch.randn(7, 3)
    for first, second in ((wide, small), (small, wide)):
        region = region_of(lambda t: F.embedding(t, first) + F.embedding(t, second), TOKENS)  # noqa: B023
        region([TOKENS], [])
        with pytest.raises((ValueError, IndexError), match="0 to 6"):
            region([torch.full((2, 4), 8)], [])


def test_numbers_that_are_computed_are_gaps() -> None:
    table = torch.randn(7, 3)
    part = part_of(traced(lambda t: F.embedding(t + 1, table), TOKENS), [TOKENS])
    assert part.gaps
