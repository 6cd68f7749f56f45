"""Entries of tensors of ATen, against PyTorch: its own samples, and indices of every kind."""

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

OPS = """
    cat stack hstack vstack dstack column_stack block_diag meshgrid cartesian_prod kron repeat tile
    repeat_interleave flip fliplr flipud roll rot90 tril triu index_select gather take_along_dim
    take __getitem__
""".split()
GAPS = {"repeat[": "without elements", "tile": "without elements"}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    gaps = {key: why for key, why in GAPS.items() if key.split("[")[0] == op}
    check_samples([op], gaps, 4, known=True)


ROWS, MASK = torch.tensor([0, 2]), torch.tensor([True, False, True])
INDICES: dict[str, Callable[[torch.Tensor], object]] = {
    "one": lambda x: x[:, ROWS],
    "negative": lambda x: x[:, ROWS - 3],
    "twice": lambda x: x[:, [0, 0, 2, 1]],
    "mask": lambda x: x[:, MASK],
    "mask of two axes": lambda x: x[torch.ones(2, 3, dtype=torch.bool).tril()],
    "neighbours": lambda x: x[:, ROWS, ROWS],
    "apart": lambda x: x[ROWS - 1, :, ROWS],
    "broadcast": lambda x: x[[[0], [1]], [[0, 2]]],
    "with slices": lambda x: x[..., None, ROWS][:, 1:],
    "matrix": lambda x: x[0][torch.tensor([[0, 1], [2, 0]])],
}


@pytest.mark.parametrize("index", INDICES)
def test_indices(index: str) -> None:
    x = torch.randn(2, 3, 4)
    check(INDICES[index], x)
    check_gradients(INDICES[index], [x])


def test_computed_indices_are_gaps() -> None:
    x = torch.randn(3, 4)
    part = part_of(traced(lambda x: x[x.argmax(0)], x), [x])
    assert any("selection by values" in gap.reason for gap in part.gaps)


def test_a_class_token() -> None:
    """A trained token in front of the patches, and trained positions."""

    def function(x: torch.Tensor, w: torch.Tensor, cls: torch.Tensor, at: torch.Tensor) -> object:
        patches = F.conv2d(x, w, None, 2).flatten(2).transpose(1, 2)
        return torch.cat([cls.expand(2, -1, -1), patches], 1) + at

    leaves = [torch.randn(4, 3, 2, 2), torch.randn(1, 1, 4), torch.randn(1, 7, 4)]
    check_gradients(function, [torch.randn(2, 3, 4, 6)], leaves)


def test_shifted_windows() -> None:
    w = torch.randn(4, 3, 3, 3)

    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = torch.roll(F.conv2d(x, w, None, 1, 1).permute(0, 2, 3, 1), (-1, 1), (1, 2))
        y = y.view(2, 2, 3, 2, 2, 4).transpose(2, 3).reshape(-1, 6, 4)
        return y.flip(1)

    check(lambda x: function(x, w.to(x.dtype)), torch.randn(2, 3, 6, 4))
    check_gradients(function, [torch.randn(2, 3, 6, 4)], [w])
