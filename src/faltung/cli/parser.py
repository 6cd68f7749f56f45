"""The parser of the command line: it remembers what was typed, and refuses in one line.

Options are declared as for ``argparse``. ``type=int`` takes every way to write a whole number (32,
32.0, 1e3), ``type=float`` every way to write a number. Every message begins with the option and the
text that was typed: ``--epochs many: must be a whole number``.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from faltung.cli.line import REFUSED, line

LONGEST_TEXT = 100  # characters of a typed text in a message
LONGEST_WHOLE = 30  # digits of a whole number; no argument takes as many
FILES = ("DATA", "RUN", "FILE", None)  # arguments without a name: their text says what they are


class Typed(NamedTuple):
    """An argument as it was typed: ``--held-out``, ``0`` and the ``sign`` between them. ``name``
    is empty for a file, which is called by its own name; ``text`` is None for a switch.
    """

    name: str
    text: str | None = None
    sign: str = " "

    def __str__(self) -> str:
        if self.text is None:
            return self.name
        said = line(self.text) if self.text.strip() else repr(self.text)
        if len(said) > LONGEST_TEXT:
            said = said[: LONGEST_TEXT - 3] + "..."
        return f"{self.name}{self.sign}{said}" if self.name else said


def whole_number(text: str) -> int:
    """32, 32.0 or 1e3. ValueError: the rule."""
    rule = "must be a whole number"
    if re.fullmatch(r"\s*[-+]?[0-9]+\s*", text):
        if len(text) > LONGEST_WHOLE:
            raise ValueError(f"{rule} of at most {LONGEST_WHOLE} digits")
        return int(text)
    number = real_number(text, rule)
    if not number.is_integer() or abs(number) > 2**53:
        raise ValueError(rule)
    return int(number)


def real_number(text: str, rule: str = "must be a number") -> float:
    """0.003, 3e-3 or .003. ValueError: the rule."""
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        if re.fullmatch(r"\s*[-+]?[0-9]*,[0-9]+\s*", text):
            rule += ", with a point and no comma"
        raise ValueError(rule) from None


_CONVERT: dict[Any, Callable[[str], Any]] = {int: whole_number, float: real_number}


class _Store(argparse.Action):
    """Store a value, after noting how it was typed. ``argparse`` would convert before that."""

    append = False

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        type: Any = None,
        choices: Sequence[str] | None = None,
        metavar: str | None = None,
        **more: Any,
    ) -> None:
        self.convert = _CONVERT.get(type, type)
        self.accepted = choices
        if choices is not None and metavar is None:
            metavar = f"{{{','.join(choices)}}}"
        super().__init__(option_strings, dest, metavar=metavar, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values is None:  # a positional argument that was left out
            return
        several = isinstance(values, list)
        made = [self._converted(parser, text, option_string) for text in _listed(values)]
        found: Any = made if several else made[0]
        if self.append:
            found = [*(getattr(namespace, self.dest) or []), found]
        setattr(namespace, self.dest, found)

    def _converted(self, parser: Any, text: str, option: str | None) -> Any:
        name = option or ("" if self.metavar in FILES else str(self.metavar))
        typed = Typed(name, text, "=" if f"{name}={text}" in parser.words else " ")
        parser.typed.setdefault(self.dest, []).append(typed)
        try:
            if self.accepted is not None and text not in self.accepted:
                raise ValueError(f"must be one of {', '.join(self.accepted)}")
            return text if self.convert is None else self.convert(text)
        except ValueError as error:
            parser.refuse(f"{typed}: {error}")


class Instead(_Store):
    """An option that names what a positional argument would: that one may then be left out."""

    other: argparse.Action

    @classmethod
    def of(cls, other: argparse.Action) -> "type[Instead]":
        """The option beside this argument, which comes after it."""
        return type(cls.__name__, (cls,), {"other": other})

    def __call__(self, *given: Any, **more: Any) -> None:
        self.other.nargs = "*"
        super().__call__(*given, **more)


class _Append(_Store):
    """Add a value to a list."""

    append = True


class _Switch(argparse.Action):
    """True if the option is there."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, default: Any = False, **more: Any
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, const=True, default=default, **more)

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        parser.typed.setdefault(self.dest, []).append(Typed(option or ""))
        setattr(namespace, self.dest, True)


class Parser(argparse.ArgumentParser):
    """``typed``: for each argument all that was typed for it; ``words``: all words."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.words: Sequence[str] = ()
        self.typed: dict[str, list[Typed]] = {}
        self.register("action", None, _Store)
        self.register("action", "store", _Store)
        self.register("action", "append", _Append)
        self.register("action", "store_true", _Switch)
        # argparse takes -1e-3 and -inf for options.
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it; the words are kept."""
        self.words = tuple(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def options(self) -> dict[str, str]:
        """Every option by the name of its argument."""
        return {
            action.dest: action.option_strings[-1]
            for action in self._actions
            if action.option_strings
        }

    def refuse(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        print(f"{self.prog}: {line(message)}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(REFUSED)

    def refuse_rest(self, rest: Sequence[str]) -> NoReturn:
        """Refuse words that nothing takes."""
        word = rest[0]
        if not word.startswith("-"):
            self.refuse(f"{word}: is one argument too many")
        name = word.partition("=")[0]
        known = [option for action in self._actions for option in action.option_strings]
        self.refuse(f"{name}: there is no such option{_option_meant(name, known)}")

    def error(self, message: str) -> NoReturn:
        """What argparse refuses, in our words."""
        for pattern, ours in _ARGPARSE:
            if match := re.fullmatch(pattern, message, re.DOTALL):
                self.refuse(ours(*match.groups()))
        self.refuse(message)


def _listed(values: Any) -> list[str]:
    return values if isinstance(values, list) else [values]


def _option_meant(name: str, known: Sequence[str]) -> str:
    """What to say after an option that there is not."""
    from faltung.geometry import words

    names = {option.lstrip("-").replace("-", "_"): option for option in known[::-1]}
    said = words.meant(name.lstrip("-").replace("-", "_"), names, words.ARGUMENTS)
    if re.search(r"[(.]", said):  # what to write in Python
        return ""
    return _in_brackets(
        re.sub(r"\w+(?= or |\?)", lambda found: names.get(found[0], found[0]), said)
    )


def _in_brackets(said: str) -> str:
    return re.sub(r"^; (did you mean .*\?)$", r" (\1)", said)


def _command(_: str, word: str, known: str) -> str:
    from faltung.geometry import words

    said = words.meant(word, re.findall(r"[\w-]+", known), words.COMMANDS)
    return f"{word}: there is no such command{_in_brackets(said)}"


# What argparse says, and what we say instead.
_OPTION = r"argument (\S+?)(?:/\S+)?"  # ``--lr/-l`` is called by its first name
_ARGPARSE: tuple[tuple[str, Callable[..., str]], ...] = (
    (rf"{_OPTION}: expected (?:at least )?one argument", "{}: needs a value".format),
    (rf"{_OPTION}: ignored explicit argument '?(.*?)'?", "{}={}: takes no value".format),
    (r"the following arguments are required: (.*)", "{}: must be given".format),
    (r"ambiguous option: (\S+) could match (.*)", "{}: could be {}".format),
    (r"argument (COMMAND): invalid choice: '?(.*?)'? \(choose from (.*)\)", _command),
)
