"""``faltung COMMAND ...``: what all commands share.

A command is a row of ``COMMANDS`` in main.py and a file of its name here, with
``configure(parser)`` and ``run(arguments) -> exit status``. The file is loaded only when its
command is asked for, and it loads NumPy and llvmlite only when it runs, so that help is immediate.
Mistakes of the user that ``run`` raises (``errors.MISTAKES``) are caught here and nowhere else, and
told in the words that were typed: ``ARGUMENTS``, if the command has it, is for options that became
an argument of another name.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from faltung.cli import ending
from faltung.cli.line import NO_READER, REFUSED, line
from faltung.cli.parser import Parser
from faltung.cli.wording import in_typed_words


class Command(Protocol):
    """What the file of a command provides."""

    def configure(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, arguments: argparse.Namespace) -> int: ...


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"faltung.cli.{name}"))


def parsers(table: Mapping[str, str], chosen: str | None) -> tuple[Parser, Parser]:
    """The parser of the command line, and that of the chosen command."""
    from faltung import __version__

    parser = Parser(
        prog="faltung",
        description="A convolution compiler. Each command has its own --help.",
    )
    own = parser
    parser.add_argument("--version", action="version", version=f"faltung {__version__}")
    rows = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in table.items():
        row = rows.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            _load(name).configure(row)
            own = row
    return parser, own


def _quiet_end() -> None:
    """Let the interpreter flush to nowhere at exit, since nobody reads the output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(words: Sequence[str], table: Mapping[str, str]) -> int:
    """Run the command that these words are; returns the exit status. ``table``: name -> summary."""
    if ending.ours():  # a warning is a line, as all else that a command says
        warnings.formatwarning = lambda message, *_: f"faltung: warning: {line(message)}\n"
    parser, own = parsers(table, next((word for word in words if not word.startswith("-")), None))
    arguments, rest = parser.parse_known_args(words)
    if rest:
        own.refuse_rest(rest)
    if arguments.command is None:
        parser.print_help()
        return REFUSED
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # A terminal that cannot show a character shows a question mark, not a traceback.
        reconfigure(errors="replace")
    command = _load(arguments.command)
    from faltung.cli.errors import MISTAKES, complain, told

    try:
        try:
            status = command.run(arguments)
            sys.stdout.flush()
            return status
        except MISTAKES as error:
            complain(arguments.command, error, _in_words(command, own, told(error)))
            return REFUSED
    except BrokenPipeError:
        _quiet_end()
        return NO_READER


def _in_words(command: Command, own: Parser, message: str) -> str:
    """What is wrong, in the words that were typed."""
    names: Mapping[str, str] = getattr(command, "ARGUMENTS", {})
    return in_typed_words(message, own.typed, own.options(), names)
