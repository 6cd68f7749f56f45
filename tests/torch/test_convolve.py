"""Convolutions of ATen as operations of a graph, against PyTorch in float64."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402
from torch_aten import check, check_gradients  # noqa: E402


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions(rank: int) -> None:
    conv = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
    w = torch.randn(6, 2, *(3,) * rank, dtype=torch.float64)

    def function(x: torch.Tensor) -> torch.Tensor:
        return conv(x, w.to(x.dtype), None, 2, 1, 1, 2)

    check(function, torch.randn(3, 4, *(9, 7, 5)[:rank]))


def test_gradients_of_a_convolution() -> None:
    def function(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, w, b, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)

    inputs = [torch.randn(3, 4, 9, 7)]
    check_gradients(function, inputs, [torch.randn(6, 2, 3, 2), torch.randn(6)])
