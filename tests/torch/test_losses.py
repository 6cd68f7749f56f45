"""Losses of ATen, against PyTorch: its own samples, and labels that are none."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch.nn import functional as F
from torch_aten import check, check_gradients, computed
from torch_opinfo import check_samples

OPS = """
    cross_entropy nll_loss multi_margin_loss mse_loss l1_loss smooth_l1_loss huber_loss
    binary_cross_entropy binary_cross_entropy_with_logits kl_div poisson_nll_loss
    hinge_embedding_loss soft_margin_loss margin_ranking_loss cosine_embedding_loss
    triplet_margin_loss multilabel_soft_margin_loss
    triplet_margin_with_distance_loss
""".split()


@pytest.mark.parametrize("op", OPS)
def test_samples(op: str) -> None:
    check_samples([f"nn.functional.{op}"], most=8 if op in ("cross_entropy", "nll_loss") else 4)


def gradients(function: Callable[..., Any], *args: torch.Tensor, times: float) -> None:
    check_gradients(lambda x: function(x, *args[1:]), args[:1])


@pytest.mark.parametrize(
    "op",
    """
    cross_entropy nll_loss multi_margin_loss smooth_l1_loss huber_loss binary_cross_entropy
    binary_cross_entropy_with_logits kl_div poisson_nll_loss cosine_embedding_loss
    triplet_margin_loss
    """.split(),
)
def test_gradients(op: str) -> None:
    most = 4 if op == "cross_entropy" else 1
    check_samples([f"nn.functional.{op}"], most=most, dtype=torch.float64, checked=gradients)


def test_gradients_of_inputs_and_weights() -> None:
    x, label = torch.randn(5, 3), torch.tensor([0, 2, -100, 1, 1])
    check_gradients(lambda x, t, w: F.cross_entropy(x @ w, t), [x, label], [torch.randn(3, 4)])


def test_a_label_that_is_no_class_makes_nan() -> None:
    x = torch.randn(3, 4)
    for labels in ([0, 4, 1], [0, -1, 1]):
        (loss,) = computed(lambda x, t: F.cross_entropy(x, t), x, torch.tensor(labels))
        assert loss.isnan()


@pytest.mark.parametrize("kind", ["mean", "sum", "none"])
def test_ignored_labels(kind: str) -> None:
    x, label = torch.randn(4, 3, 5), torch.randint(0, 3, (4, 5))
    label[0, 2] = label[3] = -100

    def function(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        smooth = F.cross_entropy(x, t, reduction=kind, label_smoothing=0.1)
        return [smooth, F.cross_entropy(x, t, w, reduction=kind)]

    check(function, x, label, torch.rand(3))
    check(function, x, torch.full((4, 5), -100), torch.rand(3))


def test_scores_that_are_infinite() -> None:
    x = torch.randn(4, 3)
    x[0, 1], x[2] = float("-inf"), float("-inf")
    for rows in (2, 4):
        label = torch.tensor([1, 1, 0, 0])[:rows]
        check(lambda x, t: F.cross_entropy(x, t), x[:rows], label)


def test_classes_as_rows() -> None:
    label = torch.randint(0, 4, (2, 3))
    check(lambda x, t: F.one_hot(t, 4).to(x.dtype) * x, torch.randn(2, 3, 4), label)
    check(lambda t: F.one_hot(t, 5), label)
