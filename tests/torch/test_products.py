"""Products of ATen, against PyTorch: its own samples, and weights that are read where they lie."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients, part_of, traced
from torch_opinfo import check_samples

OPS = """
    nn.functional.linear matmul __rmatmul__ mm bmm mv dot vdot addmm addmv baddbmm addbmm addr outer
    inner linalg.vecdot tensordot einsum nn.functional.bilinear linalg.multi_dot
    linalg.matrix_power
""".split()
GAPS = {"linalg.matrix_power": "an inverse", "addr": "alpha=0"}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    gaps = {key: why for key, why in GAPS.items() if key == op}
    check_samples([op], gaps, most=6 if gaps else 4)


Case = tuple[Callable[..., object], tuple[int, ...], list[tuple[int, ...]]]
WEIGHTS: dict[str, Case] = {
    "linear": (lambda x, w, b: F.linear(x, w, b), (2, 3, 4), [(5, 4), (5,)]),
    "of a vector": (lambda x, w, b: F.linear(x, w, b), (4,), [(5, 4), (5,)]),
    "one feature": (lambda x, w: F.linear(x, w), (2, 3, 4), [(1, 4)]),
    "a vector as weight": (lambda x, w: F.linear(x, w), (2, 3, 4), [(4,)]),
    "addmm": (lambda x, w, b: torch.addmm(b, x, w.t()), (3, 4), [(5, 4), (5,)]),
    "addmm of rows": (lambda x, w, b: torch.addmm(b, x, w), (3, 4), [(4, 5), (1, 5)]),
    "addmm scaled": (
        lambda x, w, b: torch.addmm(b, x, w, beta=2, alpha=3),
        (3, 4),
        [(4, 5), (1,)],
    ),
    "from the left": (lambda x, w: w @ x, (2, 4, 3), [(5, 4)]),
    "row times matrices": (lambda x, w: w @ x, (2, 4, 3), [(4,)]),
    "matrices times column": (lambda x, w: x @ w, (2, 3, 4), [(4,)]),
    "stack": (lambda x, w: torch.bmm(x, w), (2, 3, 4), [(2, 4, 5)]),
    "stack of one": (lambda x, w: x @ w, (2, 3, 4), [(1, 4, 5)]),
    "einsum": (lambda x, w: torch.einsum("bij,oj->boi", x, w), (2, 3, 4), [(5, 4)]),
    "heads": (lambda x, w: torch.einsum("btd,dhe->bhte", x, w), (2, 3, 4), [(4, 2, 5)]),
    "bilinear": (lambda x, w, b: F.bilinear(x, x, w, b), (3, 4), [(5, 4, 4), (5,)]),
    "a part of a weight": (lambda x, w: x @ w.chunk(2, 1)[1], (2, 3, 4), [(4, 6)]),
    "a weight twice": (lambda x, w: F.linear(F.linear(x, w), w.t()), (3, 4), [(5, 4)]),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case: str) -> None:
    function, shape, shapes = WEIGHTS[case]
    x, leaves = torch.randn(shape), [torch.randn(each) for each in shapes]
    check(lambda x: function(x, *(w.to(x.dtype) for w in leaves)), x)
    check_gradients(function, [x], leaves)


@pytest.mark.parametrize("turned", [False, True])
def test_a_flattened_map(turned: bool) -> None:
    """The columns of the weight are channels first; the map lies channels last."""

    def function(x: torch.Tensor, w: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        y = F.conv2d(x, w, None, 1, 1)
        return F.linear((y.transpose(2, 3) if turned else y).flatten(1), matrix)

    x, leaves = torch.randn(2, 3, 6, 4), [torch.randn(4, 3, 3, 3), torch.randn(5, 96)]
    check(lambda x: function(x, *(w.to(x.dtype) for w in leaves)), x)
    check_gradients(function, [x], leaves)


def test_weights_are_not_copied() -> None:
    w = torch.randn(5, 4, requires_grad=True)
    x = torch.randn(3, 4)
    for function in (
        lambda x: F.linear(x, w),
        lambda x: x @ w.t(),
        lambda x: w @ x.t(),
        lambda x: torch.addmm(x[:, :1] * 0, x, w.mT),
    ):
        part = part_of(traced(function, x), [x], training=True)
        assert not part.gaps
        (bound,) = [b for b in part.bound.values() if b.leaf is not None]
        assert bound.shared and np.shares_memory(bound.array, w.detach().numpy())


def test_whole_numbers_are_gaps() -> None:
    x = torch.ones(3, 4, dtype=torch.long)
    part = part_of(traced(lambda x: x @ x.T, x), [x])
    assert "whole numbers" in part.gaps[0].reason
