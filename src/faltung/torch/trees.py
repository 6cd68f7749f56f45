"""What goes into a model and comes out: nested arguments and results as flat lists and back."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

# What a trace may take as it is, as part of its key.
PLAIN = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device, torch.memory_format)

_KEPT = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool, *PLAIN)


class Strange(Exception):
    """An object that may hide tensors: what it is, in words."""


def flat_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """All entries of the arguments, and their tree."""
    return pytree.tree_flatten((args, kwargs))


def nested_arguments(flat: Sequence[Any], tree: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments again."""
    args, kwargs = pytree.tree_unflatten(list(flat), tree)
    return args, kwargs


def taken_apart(made: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The entries of a result, dataclasses among them, and what puts such a result together."""
    flat, tree = pytree.tree_flatten(made)
    parts: list[Any] = []
    rebuild: list[Callable[[Sequence[Any]], Any] | None] = []
    counts: list[int] = []
    for x in flat:
        if dataclasses.is_dataclass(x) and not isinstance(x, type | torch.Tensor):
            inner, again = _of_dataclass(x)
            parts += inner
            rebuild.append(again)
            counts.append(len(inner))
            continue
        if not isinstance(x, _KEPT):
            raise Strange(f"a result of type {type(x).__name__}")
        parts.append(x)
        rebuild.append(None)
        counts.append(1)
    if all(each is None for each in rebuild):
        if isinstance(made, torch.Tensor):
            return parts, _only
        if type(made) is tuple and all(not isinstance(x, tuple | list | dict) for x in made):
            return parts, tuple
        return parts, lambda found: pytree.tree_unflatten(list(found), tree)

    def together(found: Sequence[Any]) -> Any:
        start, entries = 0, []
        for again, count in zip(rebuild, counts, strict=True):
            entries.append(found[start] if again is None else again(found[start : start + count]))
            start += count
        return pytree.tree_unflatten(entries, tree)

    return parts, together


def _only(found: Sequence[Any]) -> Any:
    return found[0]


def _of_dataclass(x: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    names = [each.name for each in dataclasses.fields(x)]
    if not all(each.init for each in dataclasses.fields(x)):
        raise Strange(f"a result of type {type(x).__name__}, whose fields cannot all be given")
    inner, again = taken_apart([getattr(x, name) for name in names])
    kind = type(x)
    return inner, lambda found: kind(**dict(zip(names, again(found), strict=True)))


def kind_of(family: Any) -> Any:
    """The same for arguments that differ in numbers and strings alone."""
    tree, switches, given = family
    return tree, switches, [x[:1] if len(x) == 2 else x for x in given]
