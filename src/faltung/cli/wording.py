"""Messages of the library in the words of the command line.

A message begins with the argument of a function: ``fraction=0.0: must lie between 0 and 1``. Here
it becomes what was typed: ``--held-out 0: must lie between 0 and 1``. That needs no list of
messages: a command says which argument an option became, where their names differ.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from faltung.cli.line import line
from faltung.cli.parser import Typed

_PAIRS = {"(": ")", "[": "]", "{": "}"}


def in_typed_words(
    message: str,
    typed: Mapping[str, Sequence[Typed]],
    options: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    """``message`` with arguments called by their options.

    ``typed``: the argument of the parser -> what was typed. ``options``: -> its option. ``names``:
    the argument of a function -> that of the parser, where they differ.
    """
    message = _without_python(_without_others(message, options))
    if name := _named_file(message, typed):
        return name + _in_rule(message[len(name) :], typed, options, names)
    data = typed.get("data")
    if data and re.match(r"[xy](\.|\[|: )", message):  # an array of the data
        return f"{data[-1]}: {message}"
    match = re.match(r"(--[\w-]+|\w+)(?:=|\[[^\]]*\]=?|(?=: ))", message)
    if not match:
        return _in_rule(message, typed, options, names)
    name, end = match[1], match.end()
    if name.startswith("--"):  # an option already, though not as it was typed
        name = next((dest for dest, option in options.items() if option == name), name)
    value = message[end : _end_of_value(message, end)]
    rule = message[end + len(value) :]
    called = _called(name, value, typed, options, names)
    if called is None:
        return _in_rule(message, typed, options, names)
    return called + _in_rule(rule, typed, options, names)


def _without_others(message: str, options: Mapping[str, str]) -> str:
    """Without the remedies in brackets that are options of other commands."""

    def change(match: re.Match[str]) -> str:
        named = re.findall(r"--[a-z-]+", match[0])
        return match[0] if set(named) <= set(options.values()) else ""

    return re.sub(r" \(--[a-z][^()]*\)", change, message)


def _without_python(message: str) -> str:
    """Without the remedies that are calls in Python, unless they name a command too."""
    said, *rest = message.split("; ")
    return "; ".join([said, *(r for r in rest if "`faltung " in r or not _PYTHON.search(r))])


# What is written in Python alone.
_PYTHON = re.compile(r"\b(Model|nn|nets|np)\.[A-Za-z_]\w*|\bfit\(")


def _called(
    name: str,
    value: str,
    typed: Mapping[str, Sequence[Typed]],
    options: Mapping[str, str],
    names: Mapping[str, str],
) -> str | None:
    """What was typed for an argument of a function; None if it is no argument of the command."""
    argument = names.get(name, name)
    if argument == "set":
        return next((str(t) for t in typed.get("set", ()) if repr(t.text) == value), None)
    set_here = [t for t in typed.get("set", ()) if (t.text or "").partition("=")[0].strip() == name]
    given = typed.get(argument, ())
    if set_here and not any(_same(t.text, value) for t in given):
        return str(set_here[-1])
    if given:
        fits = [t for t in given if _same(t.text, value)]
        return str((fits or given)[-1])
    if argument in options:
        return f"{options[argument]} {value}".strip()
    return None


def _in_rule(
    rule: str,
    typed: Mapping[str, Sequence[Typed]],
    options: Mapping[str, str],
    names: Mapping[str, str],
) -> str:
    """Options in the rest of a message: ``loss='mse'``, and ``size=`` without a value."""

    def change(match: re.Match[str]) -> str:
        argument, value = names.get(match[1], match[1]), match[2]
        if argument not in options or argument == "set":
            return match[0]
        if not value:
            return options[argument]
        fits = [t for t in typed.get(argument, ()) if _same(t.text, value)]
        return str(fits[-1]) if fits else match[0]

    changed = re.sub(
        r"(?<![\w.'\"/-])([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.+-]*)(?![\w(\[/])", change, rule
    )
    if any(re.fullmatch(r"c?\d+(x\d+)+", t.text or "") for each in typed.values() for t in each):
        # Sizes are typed as 3x32x32 here.
        changed = re.sub(r"\((\d+(?:, \d+)+)\)", lambda found: found[1].replace(", ", "x"), changed)
    return changed


def _same(text: str | None, value: str) -> bool:
    """Whether a value in a message is what was typed."""
    if text is None:
        return False
    if text == value or repr(text) == value:
        return True
    try:
        return float(text) == float(value)
    except ValueError:
        return False


def _named_file(message: str, typed: Mapping[str, Sequence[Typed]]) -> str | None:
    """The typed file that the message begins with, if it does; it may be called "lr=3.csv"."""
    for given in (given for each in typed.values() for given in each):
        said = line(given.text or "-")
        for name in (said, PurePath(said).name):
            may = not given.name or ("=" in name and given.name != "--set")
            if may and name and message.startswith(f"{name}:"):
                return name
    return None


def _end_of_value(text: str, start: int) -> int:
    """Where the value that starts there ends: before the first ": " outside brackets and quotes."""
    closing: list[str] = []
    quote = ""
    for i in range(start, len(text)):
        c = text[i]
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "'\"" and (i == start or not text[i - 1].isalnum()):
            quote = c
        elif c in _PAIRS:
            closing.append(_PAIRS[c])
        elif closing and c == closing[-1]:
            closing.pop()
        elif not closing and text.startswith(": ", i):
            return i
    place = text.find(": ", start)  # cut off within quotes or brackets
    return place if place >= 0 else start
