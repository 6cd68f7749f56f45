"""What handlers read of a call, by the names of PyTorch's schemas."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch_aten import check


def test_forms_that_write_call_their_input_self() -> None:
    def function(x: Any) -> Any:
        return torch.ops.aten.dropout_(x * 2, 0.2, False) + 1

    check(function, torch.randn(3, 4))
