"""Integers as users pass them, one for all axes or one per axis; the wording of errors."""

import operator
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from typing import Any, cast

from faltung.geometry.errors import FaltungError, FaltungTypeError

# One number for all axes, or one per axis.
PerAxis = int | Sequence[int]


def show(value: object) -> str:
    """``value`` on one short line, for an error message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def is_sequence(value: object) -> bool:
    """Whether this is a tuple, list or array: sized and ordered, but no text or mapping, and no
    array without axes, which is a number.
    """
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not isinstance(value, str | bytes | Mapping | type)
        and getattr(value, "shape", None) != ()
    )


def one_of(name: str, value: object, choices: Iterable[str]) -> str:
    """The argument ``name``, which must be one of these words. ValueError."""
    listed = tuple(choices)
    if not isinstance(value, str) or value not in listed:
        from faltung.geometry.words import VALUES, meant

        said = meant(value, listed, VALUES.get(name))
        raise FaltungError(f"{name}={show(value)}: must be one of {', '.join(listed)}{said}")
    return value


def integer(value: object) -> int | None:
    """``value`` as a Python int; None if it is not an integer, as True and 1.0 are not."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole(name: str, value: object, least: int) -> int:
    """The argument ``name`` as an int of at least ``least``. TypeError, ValueError."""
    number = integer(value)
    if number is None:
        raise FaltungTypeError(f"{name}={show(value)}: must be an int")
    if number < least:
        raise FaltungError(f"{name}={show(value)}: must be at least {least}")
    return number


def truth(name: str, value: object) -> bool:
    """The argument ``name``, which must be True or False. TypeError."""
    if type(value) is not bool:
        raise FaltungTypeError(f"{name}={show(value)}: must be True or False")
    return value


def real(name: str, value: object) -> float:
    """The argument ``name`` as a finite float. TypeError, ValueError."""
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise FaltungTypeError(f"{name}={show(value)}: must be a number")
    try:
        number = float(value)
    except (TypeError, ValueError):  # an array of several numbers
        raise FaltungTypeError(f"{name}={show(value)}: must be a number") from None
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise FaltungError(f"{name}={show(value)}: must be finite")
    return number


def typed(name: str, annotation: object, value: object) -> None:
    """The argument ``name`` against what its parameter is annotated with: a word, a truth, a
    number, or one of these and None; other annotations say nothing. TypeError, ValueError.
    """
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if not words or "[" in str(annotation):
        words = str(annotation)
    if words.endswith("| None"):
        if value is None:
            return
        words = words.removesuffix("| None").strip()
    if words.startswith("Literal["):
        if not isinstance(value, str):  # which words there are, each says in its own way
            one_of(name, value, re.findall(r"'([^']*)'", words))
    elif words == "bool":
        truth(name, value)
    elif words == "float":
        real(name, value)
    elif words == "int" and integer(value) is None:
        raise FaltungTypeError(f"{name}={show(value)}: must be an int")
    elif words.endswith("Sequence[int]"):
        integers(name, value)
    elif words == "str" and not isinstance(value, str):
        raise FaltungTypeError(f"{name}={show(value)}: must be a str")


def path(name: str, value: object) -> str:
    """The argument ``name``, a path, as text. TypeError."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise FaltungTypeError(f"{name}={show(value)}: must be a path")
    return os.fsdecode(value)


def no_array(name: str, value: object) -> None:
    """TypeError: None, or the name of a file, where an array is wanted."""
    if value is None:
        raise FaltungTypeError(f"{name}=None: must be an array")
    if isinstance(value, str | bytes | os.PathLike):
        raise FaltungTypeError(
            f"{name}={show(value)}: must be an array, not the name of a file; "
            "faltung.data.open_source reads files and folders, numpy.load an array"
        )


def sequence(name: str, value: object) -> Sequence[Any]:
    """The argument ``name``, which must be a tuple, list or array. TypeError."""
    if not is_sequence(value):
        raise FaltungTypeError(f"{name}={show(value)}: must be a sequence")
    return cast(Sequence[Any], value)


def integers(name: str, value: object) -> tuple[int, ...]:
    """The argument ``name``, a sequence of ints of any length. TypeError."""
    items: list[object] = list(value) if is_sequence(value) else [None]  # type: ignore[call-overload]
    numbers = [integer(item) for item in items]
    if any(number is None for number in numbers):
        raise FaltungTypeError(f"{name}={show(value)}: must be a sequence of ints")
    return tuple(number for number in numbers if number is not None)


def per_axis(name: str, value: object, rank: int, least: int) -> tuple[int, ...]:
    """The argument ``name``, one int or one per axis, as ``rank`` ints. TypeError, ValueError."""
    one = integer(value)
    if one is None and not is_sequence(value):
        raise FaltungTypeError(f"{name}={show(value)}: must be an int or a sequence of {rank} ints")
    numbers = (one,) * rank if one is not None else integers(name, value)
    if len(numbers) != rank:
        raise FaltungError(f"{name}={show(value)}: must be one int or {rank}, one for each axis")
    if any(number < least for number in numbers):
        raise FaltungError(f"{name}={show(value)}: every {name} must be at least {least}")
    return numbers
