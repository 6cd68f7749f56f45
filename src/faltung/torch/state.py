"""What a trace takes from modules: their tensors (leaves), and everything else that it relied on.

A trace sees numbers once: ``training``, the rate of a dropout, which modules there are. At each
call all of that is compared with what it was, and tensors are read where the modules keep them, so
that one that was replaced is seen (``State.now``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import getitem, is_, itemgetter
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.modules import module as hooks

from faltung.torch.contents import containers, copied

# Entries of a module's dictionary that are told apart otherwise, or change nothing.
_OWN = frozenset(nn.Module().__dict__) - {"training"}
# What recurrent layers derive from their parameters, whenever these are others.
_DERIVED = frozenset(["_flat_weights", "_flat_weight_refs"])
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)
# Hooks that only compute a weight from other leaves, each time in the same way.
_HARMLESS = (
    "torch.nn.utils.weight_norm.WeightNorm",
    "torch.nn.utils.spectral_norm.SpectralNorm",
    "torch.nn.utils.prune.",
)
# Levels of lists and dictionaries in which tensors of a module are looked for.
_DEPTH = 3

Held = list[Any] | tuple[Any, ...] | dict[Any, Any]


def harmless(hook: Any) -> bool:
    kind = type(hook)
    return f"{kind.__module__}.{kind.__qualname__}".startswith(_HARMLESS)


class State:
    """Modules as they are now.

    leaves: each tensor once, in the order in which modules name them. names: of the leaves.
    obstacle: why these modules cannot be traced, or "".
    """

    def __init__(self, roots: Mapping[str, nn.Module]) -> None:
        self.modules = _modules(roots)
        self.names: list[str] = []
        self.leaves: list[torch.Tensor] = []
        self._number: dict[int, int] = {}
        dicts: list[dict[str, Any]] = []
        keys: list[str] = []
        numbers: list[int] = []
        for path, module in self.modules:
            tensors = {k: v for k, v in vars(module).items() if isinstance(v, torch.Tensor)}
            for held, found in (
                (module._parameters, module._parameters),
                (module._buffers, module._buffers),
                (vars(module), tensors),
            ):
                for key, x in found.items():
                    if x is None:
                        continue
                    dicts.append(held)
                    keys.append(key)
                    numbers.append(self._numbered(x, f"{path}.{key}" if path else key))
        self._dicts, self._keys, self._numbers = dicts, keys, numbers
        for path, module in self.modules:
            for key, x in vars(module).items():
                if key not in _OWN and isinstance(x, list | tuple | dict):
                    for each in _tensors(x, _DEPTH):
                        self._numbered(each, f"{path}.{key}" if path else key)
        self._count = len(set(numbers))  # those beyond lie in lists, and are read as they were
        self._where = [numbers.index(i) for i in range(self._count)]
        self._first = [self._where[i] for i in numbers]
        self._tied = any(first != i for i, first in enumerate(self._first))
        self._take_snapshot()

    def _numbered(self, x: torch.Tensor, name: str) -> int:
        number = self._number.setdefault(id(x), len(self.leaves))
        if number == len(self.leaves):
            self.leaves.append(x)
            self.names.append(name)
        return number

    def _take_snapshot(self) -> None:
        modules = [module for _, module in self.modules]
        held = [module._modules for module in modules]
        self._children = [(d, key, child) for d in held for key, child in d.items()]
        self._child_dicts = [d for d, _, _ in self._children]
        self._child_keys = [key for _, key, _ in self._children]
        self._child_is = [child for _, _, child in self._children]
        self._held = [
            each for m in modules for each in (vars(m), m._modules, m._parameters, m._buffers)
        ]
        self._sizes = list(map(len, self._held))
        self._hooks = [
            vars(m)[name]
            for m in modules
            for name in _HOOKS
            if not any(harmless(hook) for hook in vars(m)[name].values())
        ]
        self._hooks += [getattr(hooks, name) for name in _GLOBAL_HOOKS]
        self._hook_counts = list(map(len, self._hooks))
        self._getters: list[Callable[[dict[str, Any]], Any]] = []
        self._attributes: list[dict[str, Any]] = []
        for module in modules:
            names = [k for k, v in vars(module).items() if _is_setting(module, k, v)]
            self._getters.append(itemgetter(*names))
            self._attributes.append(vars(module))
        self._settings = [_kept(get(d)) for get, d in self._rows()]
        settings = [
            (d, k) for m in modules for d in (vars(m),) for k in d if _is_setting(m, k, d[k])
        ]
        self._deep = containers([d[k] for d, k in settings])
        self._deep_kept = list(map(copied, self._deep))

    def _rows(self) -> Iterator[tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]]:
        return zip(self._getters, self._attributes, strict=True)

    @property
    def is_lazy(self) -> bool:
        """Whether there are parameters that get their shapes in the first call."""
        return any(
            nn.parameter.is_lazy(x)
            for _, m in self.modules
            for x in m._parameters.values()
            if x is not None
        )

    @property
    def obstacle(self) -> str:
        """Why these modules run in eager; empty if they need not."""
        for path, module in self.modules:
            where = path or "the model"
            if any(nn.parameter.is_lazy(x) for x in module._parameters.values() if x is not None):
                return f"{where} has parameters without a shape yet"
            for name in _HOOKS:
                found = [hook for hook in vars(module)[name].values() if not harmless(hook)]
                if found:
                    return f"{where} has a hook ({name.strip('_').removesuffix('s')})"
        if any(getattr(hooks, name) for name in _GLOBAL_HOOKS):
            return "there are hooks on all modules"
        return ""

    def now(self) -> list[torch.Tensor] | None:
        """The leaves as the modules have them now; None: something else has changed, too."""
        try:
            if list(map(len, self._hooks)) != self._hook_counts:
                return None
            if list(map(len, self._held)) != self._sizes:
                return None
            settings = [get(d) for get, d in self._rows()]
            if settings != self._settings:
                return None
            if self._deep and list(map(copied, self._deep)) != self._deep_kept:
                return None
            children = map(getitem, self._child_dicts, self._child_keys)
            if not all(map(is_, children, self._child_is)):
                return None
            found = list(map(getitem, self._dicts, self._keys))
        except (KeyError, ValueError, RuntimeError, TypeError):
            return None  # an entry is gone, or cannot be compared
        if self._tied:
            if not all(map(is_, found, [found[i] for i in self._first])):
                return None
            found = [found[i] for i in self._where]
        found += self.leaves[self._count :]
        if not all(map(is_, found, self.leaves)):
            if not all(map(_alike, found, self.leaves)):
                return None
            self.leaves = found  # those that were replaced are not kept
        return found

    @contextmanager
    def swapped(self, others: Sequence[Any]) -> Iterator[None]:
        """Within it the modules have other tensors in the place of the leaves.

        Side effects on modules are undone; ``changes`` tells what they were.
        """
        put = {id(x): y for x, y in zip(self.leaves, others, strict=True)}
        before = [(module, dict(vars(module))) for _, module in self.modules]
        inner = [
            (held, dict(held))
            for _, module in self.modules
            for held in (module._parameters, module._buffers, module._modules)
        ]
        lists = []
        try:
            for held, own in inner:
                for key, x in own.items():
                    if isinstance(x, torch.Tensor):
                        held[key] = put.get(id(x), x)
            for module, own in before:
                for key, x in own.items():
                    if key in _OWN:
                        continue
                    if isinstance(x, torch.Tensor):
                        vars(module)[key] = put.get(id(x), x)
                    elif _has_tensors(x):
                        vars(module)[key] = _with(x, put, _DEPTH)
            lists = [(m, dict(vars(m))) for m, _ in before]
            swapped = [(held, dict(held)) for held, _ in inner]
            yield
            self.changes = self._changes(lists, swapped)
        finally:
            for held, own in [*inner, *((vars(module), own) for module, own in before)]:
                _restore(held, own)

    def _changes(self, before: Sequence[Any], inner: Sequence[Any]) -> list[str]:
        """What the modules have set while they ran, as "path.name"."""
        paths = {id(module): path for path, module in self.modules}
        found = []
        for module, own in before:
            loose = any(harmless(h) for name in _HOOKS for h in vars(module)[name].values())
            now = vars(module)
            for key in {**own, **now}:
                if key in own and key in now and now[key] is own[key]:
                    continue
                derived = key in _DERIVED and isinstance(module, nn.RNNBase)
                if not (derived or (loose and isinstance(now.get(key), torch.Tensor))):
                    path = paths[id(module)]
                    found.append(f"{path}.{key}" if path else key)
        for held, own in inner:
            if held.keys() != own.keys():
                found.append("its modules or tensors")
                continue
            found += [key for key in own if held[key] is not own[key]]
        return found


def _modules(roots: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, root in roots.items():
        for path, module in root.named_modules(prefix=name):
            found.setdefault(id(module), (path, module))
    return list(found.values())


def _alike(x: Any, y: torch.Tensor) -> bool:
    """Whether a trace that saw ``y`` is right for ``x``."""
    if x is y:
        return True
    if type(x) not in (torch.Tensor, nn.Parameter):
        return False
    return bool(
        x.shape == y.shape
        and x.dtype == y.dtype
        and x.device == y.device
        and x.requires_grad == y.requires_grad
    )


def _restore(held: dict[str, Any], own: Mapping[str, Any]) -> None:
    for key in [key for key in held if key not in own]:
        del held[key]
    for key, x in own.items():
        if held.get(key, held) is not x:
            held[key] = x


def _is_setting(module: nn.Module, name: str, x: Any) -> bool:
    if name in _OWN or isinstance(x, torch.Tensor | nn.Module):
        return False
    if name in _DERIVED and isinstance(module, nn.RNNBase):
        return False
    return not _has_tensors(x)


def _kept(settings: Any) -> Any:
    """Settings as they are now: short lists are copied, because they may change in place."""
    if not isinstance(settings, tuple):
        return settings
    if not any(isinstance(x, list | dict | set) for x in settings):
        return settings
    return tuple(
        type(x)(x) if type(x) in (list, dict, set) and len(x) <= 64 else x for x in settings
    )


def _has_tensors(x: Any) -> TypeGuard[Held]:
    return isinstance(x, list | tuple | dict) and any(True for _ in _tensors(x, _DEPTH))


def _tensors(held: Held, depth: int) -> Iterator[torch.Tensor]:
    for x in held.values() if isinstance(held, dict) else held:
        if isinstance(x, torch.Tensor):
            yield x
        elif depth and type(x) in (list, tuple, dict):
            yield from _tensors(x, depth - 1)


def _with(held: Held, put: Mapping[int, Any], depth: int) -> Any:
    """The same list, or tuple, or dictionary with other tensors."""

    def one(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return put.get(id(x), x)
        return _with(x, put, depth - 1) if depth and type(x) in (list, tuple, dict) else x

    if isinstance(held, dict):
        return {key: one(x) for key, x in held.items()}
    return type(held)(map(one, held)) if type(held) in (list, tuple) else held
