"""Whether parameters have been written where PyTorch's own counters do not see it.

``p.data.mul_(0.9)``, which averages of weights are often kept with, and writes through NumPy leave
the counter of a parameter as it was. So a few of its numbers are kept and compared, too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# Numbers of each tensor that are looked at: neighbours in its memory, which are quickly joined.
COUNT = 16


class Samples:
    """A few numbers of each of some tensors, where they lie."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self._views = [_view(x) for x in tensors if x.is_floating_point() and x.numel()]
        self._kept = self._read()

    def _read(self) -> bytes:
        return np.concatenate(self._views).tobytes() if self._views else b""

    def changed(self) -> bool:
        """Whether there are other numbers than at first."""
        return self._read() != self._kept


def _view(x: torch.Tensor) -> npt.NDArray[Any]:
    """Bytes of numbers from the middle of a tensor's memory."""
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    count = min(COUNT, span)
    found = x.detach().as_strided((count,), (1,), x.storage_offset() + (span - count) // 2)
    return found.view(torch.uint8).numpy()
