"""PyTorch's layers in a model become ours where they are, and theirs again.

A layer stays the object that it is and gets another class, which is a subclass of its own: so its
parameters are the same objects, optimizers, hooks and names go on to hold, and a layer that a model
uses twice is replaced once. What would not compute the same is left alone, and the result says why.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from faltung.geometry.errors import FaltungTypeError
from faltung.torch import modules, poolings
from faltung.torch.layouts import DTYPES

_RANKS = ("1d", "2d", "3d")
OURS: dict[type[nn.Module], type[nn.Module]] = {
    getattr(nn, base + rank): getattr(home, base + rank)
    for home, bases in ((modules, ("Conv", "ConvTranspose")), (poolings, ("MaxPool", "AvgPool")))
    for base in bases
    for rank in _RANKS
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
# Modes that PyTorch's convolutions have; the transposed ones have the first.
_MODES = ("zeros", "reflect", "replicate", "circular")


class Replacement:
    """What ``replace`` or ``restore`` did.

    Attributes
    ----------
    changed : dict of str to str
        The paths of the layers that have another class now, and which.
    left : dict of str to str
        The paths of those that were left alone, and why.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> done = faltung.torch.replace(model)
    >>> done
    <Replacement: 1 changed, 0 left alone>
    >>> done.undo()
    >>> type(model[0]).__module__
    'torch.nn.modules.conv'
    """

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self.left: dict[str, str] = {}
        self._modules: list[nn.Module] = []

    def undo(self) -> None:
        """Give the layers that were changed their former classes again.

        Layers that cannot be PyTorch's any more, because they were given what it does not have,
        stay as they are. Called again it changes nothing.
        """
        for module in self._modules:
            _turn(module, _former)
        self._modules.clear()

    def __repr__(self) -> str:
        return f"<Replacement: {len(self.changed)} changed, {len(self.left)} left alone>"

    def __str__(self) -> str:
        lines = [f"{path or '(the model)'}: {text}" for path, text in self.changed.items()]
        lines += [f"{path or '(the model)'}: left, {why}" for path, why in self.left.items()]
        return "\n".join(lines)


def replace(model: nn.Module) -> Replacement:
    """Replace the convolutions and poolings of a model by Faltung's, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Its ``Conv1d`` to ``Conv3d``, ``ConvTranspose1d`` to ``3d``, ``MaxPool1d`` to ``3d`` and
        ``AvgPool1d`` to ``3d`` are replaced, also those with parametrizations. Subclasses with code
        of their own, layers without parameters yet, on other devices or compiled by ``torch.jit``
        are left alone.

    Returns
    -------
    Replacement
        Which layers were changed, which were left and why; ``undo()`` takes it back.

    Raises
    ------
    TypeError
        Not a module.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2))
    >>> weight = model[0].weight
    >>> print(faltung.torch.replace(model))
    0: faltung.torch.Conv2d
    1: faltung.torch.MaxPool2d
    >>> model[0].weight is weight
    True
    """
    return _each(model, _ours, tuple(OURS), "faltung.torch")


def restore(model: nn.Module) -> Replacement:
    """Turn Faltung's layers in a model into PyTorch's, in place.

    Parameters
    ----------
    model : torch.nn.Module
        It may be a copy of one that ``replace`` changed, or have been made of Faltung's layers.

    Returns
    -------
    Replacement
        Which layers were changed; and which are left, because PyTorch's have not what they have.

    Raises
    ------
    TypeError
        Not a module.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> from faltung.torch import Conv2d
    >>> model = torch.nn.Sequential(Conv2d(3, 8, 3), Conv2d(8, 8, 3, stride=2, padding="same"))
    >>> print(faltung.torch.restore(model))
    0: torch.nn.Conv2d
    1: left, padding='same' with a stride, which torch.nn.Conv2d has not
    """
    return _each(model, _former, (*THEIRS, modules.Conv, modules.ConvTranspose), "torch.nn")


def _each(
    model: nn.Module,
    change: Callable[[nn.Module, type[nn.Module]], "type[nn.Module] | str"],
    kinds: tuple[type[nn.Module], ...],
    home: str,
) -> Replacement:
    if not isinstance(model, nn.Module):
        raise FaltungTypeError(f"model={type(model).__name__}: must be a torch.nn.Module")
    done = Replacement()
    for path, module in model.named_modules():
        if not isinstance(module, kinds) or (change is _ours and _class(module) in THEIRS):
            continue
        found = _turn(module, change)
        if isinstance(found, str):
            done.left[path] = found
        else:
            done.changed[path] = f"{home}.{found.__name__}"
            done._modules.append(module)
    return done


def _class(module: nn.Module) -> type[nn.Module]:
    """The class of a layer; below that which ``torch.nn.utils.parametrize`` puts over it."""
    made: type[nn.Module] = type(module)
    return made.__bases__[0] if parametrize.is_parametrized(module) else made


def _turn(
    module: nn.Module, change: Callable[[nn.Module, type[nn.Module]], "type[nn.Module] | str"]
) -> "type[nn.Module] | str":
    """Give a layer the class that ``change`` says; or what it says against it."""
    kind = _class(module)
    found = change(module, kind)
    if isinstance(found, str):
        return found
    if kind is type(module):
        module.__class__ = found
    else:
        over = type(module)
        contents = {n: v for n, v in vars(over).items() if n not in ("__dict__", "__weakref__")}
        module.__class__ = type(f"Parametrized{found.__name__}", (found,), contents)
    return found


def _ours(module: nn.Module, kind: type[nn.Module]) -> "type[nn.Module] | str":
    """The class that takes the place of this one, or why there is none."""
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return "it has no parameters yet: run the model once, then replace again"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by torch.jit"
    if kind not in OURS:
        return f"{kind.__module__}.{kind.__qualname__} is a subclass, which may compute otherwise"
    for name in ("forward", "_conv_forward"):
        if name in module.__dict__:
            return f"its {name} has been replaced"
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.device.type not in ("cpu", "meta"):
            return f"its {name} is on {tensor.device}; Faltung computes on the CPU"
        if tensor.dtype not in DTYPES:
            return f"its {name} is of {tensor.dtype}, which is not computed with"
    return OURS[kind]


def _former(module: Any, kind: type[nn.Module]) -> "type[nn.Module] | str":
    """The class of PyTorch that computes the same, or why there is none."""
    if kind in OURS:
        return kind  # it is PyTorch's already
    if kind not in THEIRS:
        return f"torch.nn has no {kind.__name__}"
    theirs = THEIRS[kind]
    found = _more(module, theirs.__name__)
    return f"{found}, which torch.nn.{theirs.__name__} has not" if found else theirs


def _more(module: Any, name: str) -> str:
    """What a layer has that PyTorch's has not; "" for nothing."""
    padding = module.padding
    if name.startswith(("MaxPool", "AvgPool")):
        entries = padding if isinstance(padding, tuple | list) else (padding,)
        return "" if all(isinstance(p, int) for p in entries) else f"padding={padding!r}"
    if module.flip:
        return "flip=True"
    modes = _MODES if name.startswith("Conv") and "Transpose" not in name else _MODES[:1]
    if module.padding_mode not in modes:
        return f"padding_mode={module.padding_mode!r}"
    if isinstance(padding, str):
        if padding not in ("valid", "same") or "Transpose" in name:
            return f"padding={padding!r}"
        strided = padding == "same" and any(s != 1 for s in module.stride)
        return "padding='same' with a stride" if strided else ""
    return "" if all(isinstance(p, int) for p in padding) else f"padding={padding!r}"
