"""What the layers have in common: made from PyTorch's, and arguments for one axis or for each."""

from typing import Any, ClassVar, TypeVar

from torch import nn

from faltung.geometry.check import PerAxis, is_sequence, per_axis, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError

M = TypeVar("M", bound=nn.Module)


class Layer:
    """What layers have in common: made from PyTorch's, and turned into it."""

    RANK: ClassVar[int] = 0  # 0: any

    @classmethod
    def from_torch(cls: Any, module: nn.Module) -> Any:
        """This layer with the parameters, hooks and state of one of ``torch.nn``.

        Parameters
        ----------
        module : torch.nn.Module
            Of the class that this one takes the place of. It is left as it is, and shares its
            parameters with the result.

        Returns
        -------
        a layer of this class

        Raises
        ------
        TypeError
            A layer of another class.
        """
        theirs = cls.__bases__[-1]
        if type(module) is not theirs:
            raise FaltungTypeError(
                f"module={type(module).__name__}: must be a torch.nn.{theirs.__name__}, no subclass"
            )
        return _like(cls, module)


def _like(cls: type[M], module: nn.Module) -> M:
    """A module of another class with the same contents, in dictionaries of its own."""
    made: M = object.__new__(cls)
    for name, value in module.__dict__.items():
        made.__dict__[name] = value.copy() if isinstance(value, (dict, set, list)) else value
    return made


def sizes_of(kernel_size: PerAxis, rank: int, name: str) -> tuple[int, ...]:
    """The kernel, one int for each axis. ValueError, TypeError: another number of axes."""
    if not rank:
        if not is_sequence(kernel_size):
            raise FaltungTypeError(
                f"kernel_size={kernel_size!r}: must be a sequence, one int for each axis of {name}"
            )
        rank = len(kernel_size)  # type: ignore[arg-type]
    return per_axis("kernel_size", single(kernel_size), rank, 1)


def single(value: Any) -> Any:
    """A sequence of one number, which PyTorch takes for all axes, as the number."""
    return value[0] if is_sequence(value) and len(value) == 1 else value


def axes_of(name: str, value: PerAxis, rank: int, least: int = 1) -> tuple[int, ...]:
    """One int for each axis."""
    return per_axis(name, single(value), rank, least)


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """In the words of Faltung what PyTorch would refuse, too."""
    whole("in_channels", in_channels, 1)
    whole("out_channels", out_channels, 1)
    whole("groups", groups, 1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise FaltungError(f"groups={groups}: must divide {name}={channels}")
