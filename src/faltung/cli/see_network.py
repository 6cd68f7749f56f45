"""``faltung see`` of networks: a run, a file in it, an ONNX file, a network by its name."""

import argparse
import os
from difflib import get_close_matches
from pathlib import Path

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

EXAMPLES = """\
  faltung see runs/digits-lenet5-001 four.png
  faltung see model.onnx
  faltung see googlenet
"""


def takes(words: list[str]) -> bool:
    """Whether words name a network and not a convolution, whose words have no folder."""
    from faltung import nets

    if not words or len(words) > 2:
        return False
    first = words[0]
    if os.sep in first or "." in first or Path(first).exists():
        return True
    # What nearly is the name of a network is none of a convolution either.
    return first.isalnum() and bool(get_close_matches(first, nets.NETS, 1, 0.8))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that are for a file in a run."""
    parser.add_argument(
        "--input",
        metavar="3x224x224",
        help="shape of a sample of a network or of model.onnx (default: the paper's)",
    )
    some = parser.add_argument_group("of a run and a file")
    some.add_argument(
        "--class", dest="label", metavar="NAME", help="class for Grad-CAM (default: the likeliest)"
    )
    some.add_argument("--layer", metavar="NAME", help="layer for Grad-CAM (default: as for look)")
    some.add_argument(
        "--labels", choices=("first", "none"), help="where the labels are in text files"
    )


def check(arguments: argparse.Namespace) -> None:
    """ValueError: an option that is for something else."""
    words = arguments.what
    if arguments.input is not None and (len(words) != 1 or not takes(words)):
        raise FaltungError(
            f"input={show(arguments.input)}: is for a network of `faltung nets` or model.onnx"
        )
    if len(words) == 2 and takes(words):
        return
    for option, name in (("class", "label"), ("layer", "layer"), ("labels", "labels")):
        given = getattr(arguments, name)
        if given is not None:
            raise FaltungError(
                f"{option}={show(given)}: is for a run and a file: faltung see RUN FILE"
            )


def name(arguments: argparse.Namespace) -> str:
    """What the page is called: after the file, or the network."""
    return f"see-{Path(arguments.what[-1]).stem or 'network'}"


def page(arguments: argparse.Namespace) -> str:
    """The page."""
    from faltung.cli.options import sample
    from faltung.explore import page as pages
    from faltung.explore.seen import named, shaped

    what, file = (*arguments.what, None)[:2]
    if arguments.input is not None:
        return pages.page(**shaped(what, sample(what, arguments.input)))
    given = {option: getattr(arguments, option) for option in ("label", "layer", "labels")}
    return pages.page(**named(what, file, **given))
