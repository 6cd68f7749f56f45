"""What every layer is: a frozen description that adds itself to a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, field, fields
from typing import ClassVar

from faltung.geometry.calls import explained, wrapped
from faltung.geometry.check import show, typed
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.geometry.words import layer_meant
from faltung.graph.builder import Builder
from faltung.graph.value import Value

# Layers that may stand within each other: Python walks through them by calls within calls, and
# reads no text of many more.
DEEPEST = 100
# Errors whose message gets the name of the layer: ours, and those of people's own layers.
_REPHRASED = (FaltungError, FaltungTypeError, ValueError, TypeError)


@dataclass(frozen=True, slots=True, repr=False)
class Layer:
    """A layer as data, such as ``Conv(64, 3, padding="same")``; the base class of layers.

    It says what it makes of its input, not what the input is: channels and sizes are known when a
    network meets an input shape.

    Parameters
    ----------
    name : str, optional
        What it is called in summaries, parameters and errors; by default its kind and a number.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.Conv(64, 3, padding="same", name="stem")
    Conv(64, 3, padding='same', name='stem')
    """

    name: str | None = field(default=None, kw_only=True)
    # Whether its parts are not named after it where it is a whole network.
    bare: ClassVar[bool] = False

    wrapped_init = staticmethod(wrapped)  # what ``record`` does with the ``__init__`` that it makes

    def __init_subclass__(cls) -> None:
        if "__init__" in cls.__dict__:  # of somebody else's layer
            explained(cls)

    def __call__(self, b: Builder, x: Value) -> Value:
        """Add the layer to a graph.

        Parameters
        ----------
        b : Builder
            Of the graph.
        x : Value
            What the layer reads.

        Returns
        -------
        Value
            What the layer makes of it.

        Raises
        ------
        TypeError, ValueError
            Arguments that do not make a layer, or not one for ``x``; the message names the layer.
        """
        kind = type(self).__name__
        with b.layer(kind, self.name, self) as name:
            try:
                self._check_fields()
                return self.build(b, x)
            except (TypeError, ValueError) as error:
                if type(error) not in _REPHRASED or said(name, str(error)):
                    raise
                raise type(error)(f"{error} (in {kind} {name!r})") from error

    def _check_fields(self) -> None:
        """TypeError, ValueError: a field of another type than its annotation."""
        for each in fields(self):
            value = getattr(self, each.name)
            typed(each.name, each.type, value)
            wanted = each.type == "Layer" or (each.type == "Layer | None" and value is not None)
            if wanted and not isinstance(value, Layer):
                said = instead(value)
                raise FaltungTypeError(f"{each.name}={show(value)}: must be a layer{said}")

    def build(self, b: Builder, x: Value) -> Value:
        """The nodes of the layer, within its name."""
        raise FaltungTypeError(f"layer={type(self).__name__}: has no build")

    def __repr__(self) -> str:
        words = [*self._words()]
        if self.name is not None:
            words.append(f"name={self.name!r}")
        return f"{type(self).__name__}({', '.join(words)})"

    def _words(self) -> Iterator[str]:
        """The arguments that make an equal layer, without those at their defaults."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.default is MISSING:
                yield repr(value)
            elif each.name != "name" and value != each.default:
                yield f"{each.name}={value!r}"


def checked(net: Layer) -> Layer:
    """The network itself. TypeError, ValueError: no layer, or too many within each other."""
    if not isinstance(net, Layer):
        raise FaltungTypeError(f"net={show(net)}: must be a layer of faltung.nn{instead(net)}")
    here = {id(net): net}
    for _ in range(DEEPEST):
        here = {id(part): part for layer in here.values() for part in _parts(layer)}
        if not here:
            return net
    raise FaltungError(f"net: layers must not stand more than {DEEPEST} deep within each other")


def instead(value: object) -> str:
    """What to write instead of what is no layer; empty where nobody knows."""
    if isinstance(value, type):
        return f"; call it: nn.{value.__name__}()" if issubclass(value, Layer) else ""
    if isinstance(value, list | tuple):
        return "; write nn.Sequential(*layers)"
    if isinstance(value, str):
        known = {each.__name__: each for each in _kinds(Layer)}
        said = layer_meant(value, known)
        return said or f"; a network is made by its name with nets.get({show(value)})"
    if any(kind.__module__.startswith("torch.nn.") for kind in type(value).__mro__):
        return "; faltung.torch.to_model makes a Model of a module of PyTorch"
    return ""


def _kinds(kind: type[Layer]) -> Iterator[type[Layer]]:
    """The layers of this package that are of a kind."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("faltung.nn.") and not each.__name__.startswith("_"):
            yield each
        yield from _kinds(each)


def _parts(layer: Layer) -> Iterator[Layer]:
    """The layers that a layer is made of."""
    for each in fields(layer):
        value = getattr(layer, each.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Layer):
                yield part


def numbers(b: Builder, x: Value) -> None:
    """ValueError where ``x`` is tokens."""
    if x.kind != "float":
        raise FaltungError(f"{b.current!r} needs numbers, got tokens {b.after(x)}")


def said(name: str, message: str) -> bool:
    """Whether a message names this layer, or one inside it."""
    return re.search(f"'{re.escape(name)}['.]", message) is not None
