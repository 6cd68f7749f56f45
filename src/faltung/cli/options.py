"""What several commands take: sizes as 3x224x224, and options of a network as NAME=VALUE."""

import argparse
import ast
from collections.abc import Sequence
from typing import Any

from faltung.geometry.errors import FaltungError


def shape(name: str, text: str) -> tuple[int, ...]:
    """3x224x224 as numbers. ValueError: anything else."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise FaltungError(f"{name}={text!r}: must be sizes as 3x224x224")
    return tuple(map(int, parts))


def options(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words, the value as Python reads it, or as text. ValueError: anything else."""
    made: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise FaltungError(f"set={text!r}: must be OPTION=VALUE")
        if name in made:
            raise FaltungError(f"set={text!r}: {name} is given twice")
        try:
            read = {"true": "True", "false": "False", "none": "None"}.get(value.lower(), value)
            made[name] = ast.literal_eval(read)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            made[name] = value
    return made


def names(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where samples and labels are in other data than those of a run."""
    parser.add_argument("--x", metavar="NAME", help="the array of samples in an .npz file")
    parser.add_argument("--y", metavar="NAME", help="the array of targets in an .npz file")
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="column of a text file that holds the labels (default: as in the run)",
    )
