"""What several commands take: sizes as 3x224x224, and options of a network as NAME=VALUE."""

import argparse
import ast
import re
from collections.abc import Sequence
from typing import Any

from faltung.geometry.errors import FaltungError

# What RUN may be.
RUN = "the folder of a run, its best.safetensors, or a file that Model.save wrote"


def shape(name: str, text: str) -> tuple[int, ...]:
    """3x224x224 as numbers. ValueError: anything else."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise FaltungError(f"{name}={text!r}: must be sizes as 3x224x224")
    return tuple(map(int, parts))


def sample(net: str, text: str) -> tuple[int, ...]:
    """The argument --input of a network: the shape of a sample. ValueError: none, or one of which
    nobody can tell what is meant.

    Two sizes, of a network for pictures, are a series, or a picture whose channels were forgotten:
    there a series says its channels, as in c12x1000.
    """
    from faltung.nets.table import NETS

    said = text.removeprefix("c")
    sizes = shape("input", said)
    row = NETS.get(re.sub("[-_ ]", "", net).lower())
    if len(sizes) == 2 and min(sizes) and said == text and row is not None and row.rank == 2:
        raise FaltungError(
            f"input={text!r}: has no channels; write 3x{text} or 1x{text} for a picture, or "
            f"c{text} for a series of {sizes[1]} steps with {sizes[0]} channels"
        )
    return sizes


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


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How DATA are read, for commands that may do without."""
    parser.add_argument("--strict", action="store_true", help="fail on a file that cannot be read")
    parser.add_argument("--x", metavar="NAME", help="the array of samples in an .npz file")
    parser.add_argument("--y", metavar="NAME", help="the array of targets in an .npz file")
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="column of a text file that holds the labels (default: as in the run)",
    )


def check_reading(arguments: argparse.Namespace) -> None:
    """ValueError: how to read DATA, without DATA."""
    for name in ("x", "y", "label"):
        if arguments.data is None and getattr(arguments, name) is not None:
            raise FaltungError(
                f"{name}={getattr(arguments, name)}: applies to DATA, which is not given; the "
                "run's own samples are read as in training"
            )
