"""Whether parameters have been written where PyTorch's own counters do not see it.

``p.data.mul_(0.9)``, which averages of weights are often kept with, and writes through NumPy leave
the counter of a parameter as it was. So a few of its numbers are kept and compared, too.
"""

from collections.abc import Sequence

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
        if not self._views:
            return b""
        with torch.no_grad():
            found: bytes = torch.cat(self._views).view(torch.uint8).numpy().tobytes()
        return found

    def changed(self) -> bool:
        """Whether there are other numbers than at first."""
        return self._read() != self._kept


def _view(x: torch.Tensor) -> torch.Tensor:
    """Numbers from the middle of a tensor's memory."""
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    count = min(COUNT, span)
    return x.detach().as_strided((count,), (1,), x.storage_offset() + (span - count) // 2)
