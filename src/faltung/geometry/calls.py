"""Wrong calls of public functions and classes, in words that help: an unknown keyword, an option
that is not said by name, an argument that is missing.

``explained`` wraps a function; the call costs a tenth of a microsecond more, and what is said is
found out only after Python has refused it. Signatures stay what they are, for people, editors and
type checkers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import WRAP, is_record

F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound=type)
LONGEST_VALUE = 24  # characters of a value in a call that a message proposes


def explained(function: F) -> F:
    """The same function or class, whose wrong calls raise a ``FaltungTypeError`` that says what to
    write instead.
    """
    if isinstance(function, type):
        kind: Any = function
        if is_record(kind):  # whose ``__init__`` is not there yet
            setattr(kind, WRAP, staticmethod(wrapped))
        else:
            kind.__init__ = wrapped(kind.__init__, kind.__name__)
        return cast(F, kind)
    return cast(F, wrapped(function, function.__name__))


def explained_methods(kind: K) -> K:
    """A class whose public methods, own and inherited ones, and constructor are ``explained``."""
    made: Any = kind
    for name in dir(kind):
        if name.startswith("_"):
            continue
        found = next(vars(each)[name] for each in kind.__mro__ if name in vars(each))
        if isinstance(found, classmethod):
            setattr(made, name, classmethod(wrapped(found.__func__, name)))
        elif isinstance(found, FunctionType):
            setattr(made, name, wrapped(found, name))
    return explained(kind)


def wrapped(function: Callable[..., Any], called: str) -> Callable[..., Any]:
    """A function that explains its wrong calls, under the name that people call it by."""

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except FaltungTypeError:
            raise
        except TypeError:
            from inspect import signature

            try:
                signature(function).bind(*given, **named)
            except TypeError:
                said = refusal(function, called, given, named)
            else:  # the call is right, and the error another
                raise
        raise FaltungTypeError(said)

    return call


def refusal(
    function: Callable[..., Any], called: str, given: Sequence[Any], named: Mapping[str, Any]
) -> str:
    """What is wrong with a call that Python has refused."""
    from inspect import signature

    from faltung.geometry import words

    each = signature(function).parameters
    positional = [p.name for p in each.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    options = [p.name for p in each.values() if p.kind == p.KEYWORD_ONLY]
    own = positional[0] if positional[:1] == ["self"] else None
    known = [*positional[own is not None :], *options]
    for name, value in named.items():
        if name not in known:
            said = words.meant(name, known, words.ARGUMENTS)
            said = said or f"; it takes {', '.join(known) or 'nothing'}"
            return f"{name}={show(value)}: {called} has no such argument{said}"
    values = list(given[own is not None :])
    positional = positional[own is not None :]
    if len(values) > len(positional):
        said = _too_many(called, values, positional, options, named)
        # A method's options are in no order that anybody knows.
        return said.partition("; write ")[0] if own and function.__name__ == called else said
    twice = [name for name in positional[: len(values)] if name in named]
    if twice:
        return f"{twice[0]}={show(named[twice[0]])}: {called} is given it twice"
    missing = [
        p.name
        for p in each.values()
        if p.default is p.empty
        and p.name in known
        and p.name not in (*named, *positional[: len(values)])
    ]
    example = ", ".join(p for p in positional if each[p].default is each[p].empty)
    return f"{', '.join(missing)}: must be given, as in {called}({example})"


def _too_many(
    called: str,
    values: list[Any],
    positional: list[str],
    options: list[str],
    named: Mapping[str, Any],
) -> str:
    """What to write instead of a call with options that are not called by their names."""
    from faltung.geometry.words import CHANNELS_IN

    count = len(positional)
    takes = f"{' and '.join(positional)} by position, options by name" if positional else ""
    free = [name for name in options if name not in named and name != "name"]
    rule = f"{called}: takes {takes or ('options by name' if free else 'no arguments')}"
    place = CHANNELS_IN.get(called)
    if place is not None and place < len(values):
        values = [value for i, value in enumerate(values) if i != place]
        rule += "; it finds out how many channels its input has"
    if len(values) - count > len(free):
        return rule
    plain = [
        text if len(text := repr(value)) <= LONGEST_VALUE and text.isprintable() else name
        for value, name in zip(values[:count], positional, strict=False)
    ]
    said = [f"{name}={show(value)}" for name, value in zip(free, values[count:], strict=False)]
    said += [f"{name}={show(value)}" for name, value in named.items()]
    return f"{rule}; write {called}({', '.join([*plain, *said])})"
