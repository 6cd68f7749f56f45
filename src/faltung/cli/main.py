"""``faltung COMMAND ...``: the table of commands and what all of them share.

A command is a row of ``COMMANDS`` and a file of its name here, with ``configure(parser)`` and
``run(arguments) -> exit status``. The file is loaded only when its command is asked for, and it
loads NumPy and llvmlite only when it runs, so that help is immediate. Mistakes of the user that
``run`` raises (``errors.MISTAKES``) are caught here and nowhere else, and told in the words that
were typed: ``ARGUMENTS``, if the command has it, is for options that became an argument of another
name.

Exit status: 0 done; 1 done in part (``predict``: some files could not be answered) or something is
wrong (``doctor``); 2 refused; 130 interrupted; 141 nobody reads our output any more.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from faltung.cli.ending import interruptible, stopped
from faltung.cli.errors import INTERRUPTED, MISTAKES, NO_READER, REFUSED, complain, told
from faltung.cli.parser import Parser
from faltung.cli.wording import in_typed_words

COMMANDS = {
    "train": "train a network, show its progress, and keep the run in a folder",
    "evaluate": "evaluate a trained network on other data",
    "predict": "predict the classes of files with a trained network",
    "look": "draw what a trained network sees in a file",
    "export": "export a trained network for other programs: ONNX, safetensors",
    "nets": "list the networks that come with faltung, and their papers",
    "summary": "show a network layer by layer: shapes, parameters, cost",
    "explain": "explain a convolution: what it costs, and how it would run",
    "doctor": "check what this computer can do, and report problems",
    "cache": "show the compiled code kept on disk, or clear it",
}


class Command(Protocol):
    """What the file of a command provides."""

    def configure(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, arguments: argparse.Namespace) -> int: ...


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"faltung.cli.{name}"))


def _parser(chosen: str | None) -> tuple[Parser, Parser]:
    """The parser of the command line, and that of the chosen command."""
    from faltung import __version__

    parser = Parser(
        prog="faltung",
        description="A convolution compiler. Each command has its own --help.",
    )
    own = parser
    parser.add_argument("--version", action="version", version=f"faltung {__version__}")
    rows = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``argv`` is by default what the user typed."""
    words = list(sys.argv[1:] if argv is None else argv)
    with interruptible(argv is None or words == sys.argv[1:]):
        try:
            return _run(words)
        except KeyboardInterrupt:
            return stopped()
    return INTERRUPTED


def _run(words: Sequence[str]) -> int:
    parser, own = _parser(next((word for word in words if not word.startswith("-")), None))
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


if __name__ == "__main__":
    sys.exit(main())
