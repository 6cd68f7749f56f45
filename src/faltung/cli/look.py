"""``faltung look RUN FILE``: draw what a trained network sees in a file."""

import argparse
from pathlib import Path

from faltung.cli.line import line
from faltung.cli.options import RUN

# Arguments of functions that have another name here.
ARGUMENTS = {"class": "label"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``look``."""
    parser.epilog = """\
files written to FOLDER (by default look-FILE in the folder of the run):
  filters.png         the weights of the first convolution
  maps-NN-LAYER.png   the feature maps of each layer
  grad-cam.png        which parts of the input speak for the class (Grad-CAM,
                      Selvaraju et al., 2017)
"""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument("file", metavar="FILE", help="a picture, series or volume")
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="class for Grad-CAM (default: the likeliest)"
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="layer for Grad-CAM (default: the last with maps)"
    )
    parser.add_argument(
        "--labels",
        choices=("first", "none"),
        help="where the labels are in text files without a header: first, or none",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write the pictures")


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures."""
    from faltung.train.explain import explain

    found = explain(
        arguments.run_folder,
        arguments.file,
        None if arguments.out is None else Path(arguments.out),
        arguments.label,
        layer=arguments.layer,
        labels=arguments.labels,
    )
    value = f"{found.label} {found.value:.1%}" if found.is_class else f"{found.value:.6g}"
    print(f"{line(arguments.file)}: {value}")
    for path in found.files:
        print(line(path))
    return 0
