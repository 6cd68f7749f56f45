"""``faltung look RUN FILE``: a page about what a trained network sees in a file."""

import argparse
from pathlib import Path

from faltung.cli.line import line
from faltung.cli.options import RUN

# Arguments of functions that have another name here.
ARGUMENTS = {"class": "label"}

HELP = """\
The page shows the sample, which parts of it speak for the class (Grad-CAM,
Selvaraju et al., 2017), the likeliest classes, the first filters, and the maps
of every layer on one scale, the branches of a block side by side. It is one
file: it can be sent, and opened anywhere.

examples:
  faltung look runs/digits-lenet5-001 four.png
  faltung look model.safetensors photo.jpg --class cat --out cat.html
  faltung look runs/digits-lenet5-001 four.png --pictures pictures/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``look``."""
    parser.epilog = HELP
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument("file", metavar="FILE", help="a picture, series, volume or text")
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="class for Grad-CAM (default: the likeliest)"
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="layer for Grad-CAM, as `faltung summary` names it (default: the last with maps)",
    )
    parser.add_argument(
        "--labels",
        choices=("first", "none"),
        help="where the labels are in text files without a header: first, or none",
    )
    parser.add_argument(
        "--out",
        metavar="PAGE",
        help="the page, or a folder for it (default: look-FILE.html in the folder of the run)",
    )
    parser.add_argument(
        "--pictures", metavar="FOLDER", help="also write maps, filters and Grad-CAM as PNG files"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from faltung.train.explain import explain

    found = explain(
        arguments.run_folder,
        arguments.file,
        None if arguments.out is None else Path(arguments.out),
        arguments.label,
        layer=arguments.layer,
        labels=arguments.labels,
        pictures=None if arguments.pictures is None else Path(arguments.pictures),
    )
    value = f"{found.label} {found.value:.1%}" if found.is_class else f"{found.value:.6g}"
    print(f"{line(arguments.file)}: {value}")
    for path in found.files:
        print(line(path))
    return 0
