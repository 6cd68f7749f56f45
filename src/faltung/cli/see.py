"""``faltung see``: a page on which a convolution moves, or a network, to learn from and pass on."""

import argparse
import re
from collections.abc import Callable
from typing import NamedTuple

from faltung.cli import see_network
from faltung.cli.line import line

# Arguments of functions that have another name here.
ARGUMENTS = {"class": "label"}

HELP = """\
The page shows the window over the numbers, the formula of the size with the
numbers in it, and the same mapping as a matrix; every number can be changed
there. It is one file that loads nothing: it works offline, on a phone, and in
a message. Quote the line because of the '>'; `faltung explain --help` says
what its words mean.

Of a network the page shows what its units see of the input; of a run and a file
also the maps of every layer, which parts of the file speak for the class, and
the receptive fields measured by gradients.

examples:
  faltung see
  faltung see "n1 c3>8 12x12 k3 s2 p1"
  faltung see "c1>1 8x16 k3 p1 m:replicate,circular" --out globe.html --open
"""
HELP += see_network.EXAMPLES


class Kind(NamedTuple):
    """One kind of what can be seen."""

    takes: Callable[[list[str]], bool]
    # What was typed -> the name of the file, without its ending; and the page.
    name: Callable[[argparse.Namespace], str]
    page: Callable[[argparse.Namespace], str]


def _name(arguments: argparse.Namespace) -> str:
    from faltung.geometry.text import parse

    text = " ".join(arguments.what)
    name = re.sub("[^a-z0-9]+", "-", str(parse(text))).strip("-") if text else ""
    return f"see-{name}" if name else "see"


def _convolution(arguments: argparse.Namespace) -> str:
    from faltung.explore.page import page
    from faltung.geometry.text import parse

    text = " ".join(arguments.what)
    return page(parse(text) if text else None)


# The first that takes the words makes the page; a convolution takes what is left.
KINDS = (
    Kind(see_network.takes, see_network.name, see_network.page),
    Kind(lambda words: True, _name, _convolution),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``see``."""
    parser.epilog = HELP
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="*",
        help="a convolution, e.g. 'n1 c3>8 12x12 k3 s2 p1' (default: a small one); a run, and a "
        "file; model.onnx; or a network of `faltung nets`",
    )
    parser.add_argument("--out", metavar="PAGE", help="the page (default: see-WHAT.html)")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--open", action="store_true", help="open it in the browser, too")
    see_network.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from pathlib import Path

    from faltung.explore.page import write

    see_network.check(arguments)
    kind = next(each for each in KINDS if each.takes(arguments.what))
    name = kind.name(arguments)
    path = Path(arguments.out or f"{name}.html")
    if path.is_dir():
        path /= f"{name}.html"
    if path.exists() and not arguments.force:
        raise FileExistsError(f"{path}: already exists; --force overwrites it")
    write(path, kind.page(arguments))
    print(line(path))
    if arguments.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0
