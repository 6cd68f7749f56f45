"""Reductions, extremes, running sums, sorting and softmax, from ATen: PyTorch's own samples."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch_aten import check_gradients
from torch_opinfo import check_samples

OPS = """
    sum mean prod logsumexp nansum nanmean count_nonzero all any amax amin aminmax max min argmax
    argmin var std var_mean std_mean norm linalg.vector_norm linalg.norm dist cumsum cumprod topk
    sort argsort msort kthvalue softmax log_softmax nn.functional.softmin
    nn.functional.cosine_similarity nn.functional.pairwise_distance nn.functional.normalize
""".split()
GAPS = {
    "norm.nuc": "no such operator",  # singular values
    "linalg.norm": "norm of matrices",
    "softmax.with_dtype": "float64 within",
    "log_softmax.with_dtype": "float64 within",
    "nn.functional.softmin.with_dtype": "float64 within",
}


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    gaps = {key: why for key, why in GAPS.items() if key == op or key.startswith(f"{op}.")}
    check_samples([op], gaps, most=4)


def gradients(function: Callable[..., Any], *args: torch.Tensor, times: float) -> None:
    check_gradients(lambda x: function(x, *args[1:]), args[:1])


# All of what the operators are made of.
DIFFERENTIATED = """
    prod amax max min std var_mean linalg.vector_norm dist cumsum topk sort kthvalue log_softmax
    nn.functional.cosine_similarity nn.functional.pairwise_distance logsumexp
""".split()


@pytest.mark.parametrize("op", DIFFERENTIATED)
def test_gradients(op: str) -> None:
    check_samples([op], most=1, dtype=torch.float64, checked=gradients)


def test_gradients_of_equal_numbers_and_zeros() -> None:
    x = torch.tensor([[2.0, 5, 5, 1], [0, 0, 0, 0]])
    check_gradients(lambda x: [x.amax(1), x.max(1)[0], x.min(1)[0], x.max(), x.argmax(1)], [x])
    check_gradients(lambda x: [x.norm(dim=1), x.std(1), x.norm(3, dim=1), x.norm(1)], [x])
    check_gradients(lambda x: [x.sort(1, descending=True)[0], x.prod(1)], [x])
