"""Tensors of PyTorch at the edges of a program: how their memory is read and written."""

import torch

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.methods.rows.embedding import check_tokens
from faltung.torch.importer import lies_last
from faltung.torch.part import DTYPES


@dataclass(frozen=True, slots=True)
class Read:
    """How a program reads an input: as this dtype, and in the order of ``memory`` or of its axes.
    rows: of a table that its numbers select from.
    """

    name: str
    dtype: torch.dtype
    last: bool
    rows: int | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != self.dtype:
            x = x.detach().to(self.dtype)
        if not self.last:
            if not x.is_contiguous():
                x = x.detach().contiguous()
        elif not lies_last(x):
            x = _last(x.detach())
        if self.rows is not None:
            check_tokens(x.detach().numpy(), self.rows)
        return x


def _last(x: torch.Tensor) -> torch.Tensor:
    """With the channels last in memory."""
    order = (0, *range(2, x.dim()), 1)
    back = (0, x.dim() - 1, *range(1, x.dim() - 1))
    return x.permute(order).contiguous().permute(back)


@dataclass(frozen=True, slots=True)
class Written:
    """How a program writes a tensor: its axes in the order of memory."""

    shape: tuple[int, ...]
    memory: tuple[int, ...]
    back: tuple[int, ...]
    straight: bool
    dtype: torch.dtype
    wanted: torch.dtype

    @staticmethod
    def of(x: Tensor, dtype: torch.dtype) -> "Written":
        memory = x.memory
        back = tuple(sorted(range(x.rank), key=memory.__getitem__))
        wanted = next((t for t, name in DTYPES.items() if name == x.dtype), dtype)
        straight = memory == tuple(range(x.rank))
        return Written(tuple(x.shape[i] for i in memory), memory, back, straight, dtype, wanted)

    def empty(self) -> torch.Tensor:
        made = torch.empty(self.shape, dtype=self.dtype)
        return (
            made
            if self.memory == self.back == tuple(range(len(self.memory)))
            else (made.permute(self.back))
        )

    def told(self, x: torch.Tensor) -> torch.Tensor:
        """In the dtype that PyTorch gives it."""
        if self.wanted == self.dtype:
            return x
        return x > 0.5 if self.wanted == torch.bool else x.to(self.wanted)
