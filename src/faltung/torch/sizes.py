"""Free sizes of a graph: what they are in the call that is under way."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx


class _Bound(threading.local):
    sizes: Mapping[Any, int] | None = None


_bound = _Bound()


@contextmanager
def bound(sizes: Mapping[Any, int]) -> Iterator[None]:
    """Within it ``settled`` knows these symbols."""
    before, _bound.sizes = _bound.sizes, sizes
    try:
        yield
    finally:
        _bound.sizes = before


def settled(size: Any) -> Any:
    """A size as a number: that of the call under way where it is free; None: it is not known."""
    if isinstance(size, int | float):
        return size
    if _bound.sizes is None or not isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool):
        return None
    found = size.node._expr.xreplace(_bound.sizes)
    found = size.node.shape_env.simplify(found) if found.free_symbols else found
    if found.free_symbols:
        return None
    if isinstance(size, torch.SymBool):
        return bool(found)
    return int(found) if isinstance(size, torch.SymInt) else float(found)


def shape_of(x: torch.Tensor) -> tuple[int, ...] | None:
    """The shape of a tensor in the call under way; None: it is not known."""
    shape = tuple(map(settled, x.shape))
    return None if None in shape else shape


def like(x: Any) -> Any:
    """A tensor without numbers of the same kind, in the sizes of the call under way."""
    if not isinstance(x, torch.Tensor):
        return settled(x)
    shape, stride = shape_of(x), tuple(map(settled, x.stride()))
    assert shape is not None and None not in stride
    return torch.empty_strided(shape, stride, dtype=x.dtype, device="meta")


def value(node: fx.Node) -> Any:
    """What a trace notes of a node's results, in the sizes of the call under way."""
    found = node.meta.get("val")
    if isinstance(found, list | tuple):
        return [_value(x) for x in found]
    return _value(found)


def _value(x: Any) -> Any:
    if not isinstance(x, torch.Tensor) or _bound.sizes is None:
        return x
    free = any(isinstance(n, torch.SymInt) for n in (*x.shape, *x.stride()))
    return like(x) if free else x
