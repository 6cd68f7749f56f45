"""What the settings of modules hold: lists, dictionaries, arrays and plain objects, also nested."""

import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

# Levels that are looked into, and containers that are looked at.
_DEPTH, _MOST = 3, 256
_OPAQUE = (torch.Tensor, nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType)


def containers(values: Sequence[Any]) -> list[Any]:
    """Containers among some values, and within them, each once."""
    found: dict[int, Any] = {}
    level = list(values)
    for _ in range(_DEPTH):
        new = [x for x in level if id(x) not in found and _is_container(x)]
        found |= {id(x): x for x in new}
        level = [y for x in new for y in _within(x)]
        if len(found) > _MOST:
            break
    return [x for x in found.values() if not isinstance(x, tuple)][:_MOST]


def _is_container(x: Any) -> bool:
    if isinstance(x, list | tuple | dict | set):
        return len(x) <= _MOST
    if isinstance(x, np.ndarray):
        return x.dtype != object and x.nbytes <= 1 << 16
    if isinstance(x, _OPAQUE) or type(x).__module__.split(".")[0] in ("builtins", "torch"):
        return False
    return isinstance(getattr(x, "__dict__", None), dict)


def _within(x: Any) -> Iterator[Any]:
    if isinstance(x, list | tuple | set):
        yield from x
    elif isinstance(x, dict):
        yield from x.values()
    elif not isinstance(x, np.ndarray):
        yield from vars(x).values()


def copied(x: Any) -> Any:
    """What a container holds now."""
    if isinstance(x, list | set):
        return list(x)
    if isinstance(x, dict):
        return dict(x)
    return x.tobytes() if isinstance(x, np.ndarray) else dict(vars(x))
