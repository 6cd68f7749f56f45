"""``faltung see``: a page on which a convolution moves, or a network, to learn from and pass on."""

import argparse
import re
from collections.abc import Callable
from typing import NamedTuple

from faltung.cli import see_network
from faltung.cli.line import line
from faltung.geometry.errors import FaltungError

# Arguments of functions that have another name here.
ARGUMENTS = {"class": "label"}

HELP = """\
The page shows the window over the numbers, the formula of the size with the
numbers in it, and the same mapping as a matrix; every number can be changed
there. It is one file that loads nothing: it works offline, on a phone, and in
a message. Quote the line because of the '>'; `faltung explain --help` says
what its words mean.

Of a convolution that is named the page also shows what a processor does for it:
the method and why no other, the tile in registers, the assembly, the roofline.

Of a network the page shows what its units see of the input; of a run and a file
also the maps of every layer, which parts of the file speak for the class, and
the receptive fields measured by gradients.

examples:
  faltung see
  faltung see "n1 c3>8 12x12 k3 s2 p1"
  faltung see "c1>1 8x16 k3 p1 m:replicate,circular" --out globe.html --open
  faltung see "c64>64 56x56 k3 p1" --machine avx512
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
    if not text:
        return page()
    from faltung.explore.processor import processor
    from faltung.machine.table import row

    spec = parse(text)
    given = arguments.machine
    try:
        facts = processor(
            spec,
            machine=None if given is None else row(given),
            channels_last=not arguments.channels_first,
            measured=arguments.measure,
        )
    except MemoryError:  # its geometry can be seen all the same
        if arguments.measure:
            raise
        return page(spec)
    return page(spec, processor=[facts])


def _check(arguments: argparse.Namespace, kind: Kind) -> None:
    """FaltungError: options of a convolution where none is named."""
    if kind is KINDS[-1] and arguments.what:
        return
    for name in ("machine", "channels_first", "measure"):
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise FaltungError(f"--{option}: is for a convolution; name one, or leave it out")


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
    parser.add_argument(
        "--machine",
        metavar="NAME",
        help="explain a convolution on this processor: avx512, avx2, sse, neon, ... (default: this "
        "one)",
    )
    parser.add_argument(
        "--channels-first",
        action="store_true",
        help="explain it for arrays (batch, channels, *space) (default: channels last)",
    )
    parser.add_argument("--measure", action="store_true", help="time it here, too, on one thread")
    see_network.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from pathlib import Path

    from faltung.explore.page import write

    see_network.check(arguments)
    kind = next(each for each in KINDS if each.takes(arguments.what))
    _check(arguments, kind)
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
