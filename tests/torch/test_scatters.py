"""What is put into tensors, from ATen, against PyTorch: its own samples and hand-made cases."""

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch_aten import check, check_gradients
from torch_opinfo import check_samples

OPS = """
    select_scatter diagonal_scatter as_strided_scatter index_put scatter scatter_add index_add
    index_copy index_fill fill
""".split()
GAPS = {"scatter[": "reduce=multiply", "index_put": "without elements"}


@pytest.mark.parametrize("op", [op for op in OPS if op not in ("scatter", "index_put")])
def test_samples(op: str) -> None:
    check_samples([op], most=3, known=True)


ROWS = torch.tensor([0, 2])
PUTS: dict[str, Callable[[torch.Tensor], object]] = {
    "slice": lambda x: x.slice_scatter(x[:, :2], 1, 0, 2),
    "every second": lambda x: x.slice_scatter(x[:, 1:] * 2, 1, 0, 3, 2),
    "index": lambda x: x.index_put((ROWS - 1, ROWS), x[0, :2]),
    "added": lambda x: x.index_put((torch.tensor([0, 0]), ROWS), x[0, :2], accumulate=True),
    "same entry twice": lambda x: x.index_add(1, torch.tensor([1, 1]), x[:, :2], alpha=2),
    "scatter": lambda x: x.scatter(1, torch.tensor([[[0, 1, 2, 0]]] * 2), x[:, :1] * 3),
    "number": lambda x: x.scatter(1, torch.tensor([[[0, 1, 2, 0]]] * 2), 1.5),
    "scatter_add": lambda x: x.scatter_add(1, torch.zeros(2, 3, 4, dtype=torch.long), x),
    "mask": lambda x: torch.ops.aten.index_put(x, (x > 0,), torch.zeros((), dtype=x.dtype)),
    "zeros with signs": lambda x: (x * 0).select_scatter(-x[:, 0] * 0, 1, 1),
}


@pytest.mark.parametrize("put", PUTS)
def test_puts(put: str) -> None:
    x = torch.randn(2, 3, 4)
    check(PUTS[put], x)
    check_gradients(PUTS[put], [x])


def test_into_a_part_of_what_is_trained() -> None:
    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return w.select_scatter(x[0], 0, 1) * 2

    check_gradients(function, [torch.randn(2, 4)], [torch.randn(3, 4)])
