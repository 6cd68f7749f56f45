"""What a caller has asked PyTorch to do with saved tensors, put aside while a program is made."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def no_saved_tensors_hooks() -> Iterator[None]:
    """Within it nobody sees which tensors are saved: making a program differentiates some, once,
    and a checkpoint counts those of the model.
    """
    hooks = []
    while (top := torch._C._autograd._top_saved_tensors_default_hooks(False)) is not None:
        hooks.append(top)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)
