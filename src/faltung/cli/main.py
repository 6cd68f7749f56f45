"""``faltung COMMAND ...``: the table of commands and what all of them share.

A command is a row of ``COMMANDS`` and a file of its name here, with ``configure(parser)`` and
``run(arguments) -> exit status``. The file is loaded only when its command is asked for, and it
loads NumPy and llvmlite only when it runs, so that help is immediate.

Exit status: 0 done, 1 something is wrong (``doctor``), 2 bad arguments, 130 interrupted, 141 nobody
reads our output any more.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

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


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    from faltung import __version__

    parser = argparse.ArgumentParser(
        prog="faltung",
        description="A convolution compiler. Each command has its own --help.",
    )
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
    return parser


@contextmanager
def _warnings_on_one_line(command: str) -> Iterator[None]:
    """Print warnings as "faltung train: warning: ...", without the place in the source."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        from faltung.cli.errors import line

        print(f"faltung {command}: warning: {line(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _quiet_end() -> None:
    """Let the interpreter flush to nowhere at exit, since nobody reads the output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``argv`` is by default what the user typed."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(next((word for word in words if not word.startswith("-")), None))
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return 2
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # A terminal that cannot show a character shows a question mark, not a traceback.
        reconfigure(errors="replace")
    try:
        with _warnings_on_one_line(arguments.command):
            status = _load(arguments.command).run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _quiet_end()
        return 141
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
