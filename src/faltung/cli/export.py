"""``faltung export RUN model.onnx``: export a trained network for other programs."""

import argparse
from pathlib import Path

from faltung.cli.line import line
from faltung.cli.options import RUN
from faltung.geometry.conv import KEPT
from faltung.geometry.errors import FaltungError

FORMS = ("plain", "packed", "coded")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``."""
    parser.epilog = """\
In ONNX, "input" takes samples as `faltung predict` reads them (pictures from 0
to 1), since standardisation is part of the network; "output" is the result of
the last layer, before any softmax.

In safetensors, --as packed keeps weights on grids as I8 with their scales and
weights of few values as U8 with their palette; --as coded is the smallest.
Both have the same numbers as plain, bit for bit.
"""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument(
        "file", metavar="FILE", help="model.onnx, or model.safetensors for faltung.Model.load"
    )
    parser.add_argument(
        "--dtype",
        choices=KEPT,
        help="what the file keeps the weights in; in 16 bits (float16, bfloat16) it is half as "
        "large (default: that of the run)",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=FORMS,
        help="how a safetensors file has the numbers (default: packed if weights are on grids, "
        "else plain)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    from faltung.train.exchange import check_suffix
    from faltung.train.opened import open_model
    from faltung.train.run_model import export

    path = Path(arguments.file)
    check_suffix(path)
    if path.exists() and not arguments.force:
        raise FileExistsError(f"{path}: already exists; --force overwrites it")
    form = arguments.form
    if form in ("packed", "coded") and path.suffix.lower() == ".onnx":
        raise FaltungError(f"--as {form}: is for model.safetensors, not for ONNX")
    model = open_model(arguments.run_folder)
    if form is None:
        form = "packed" if any(p.follows for p in model.graph.parameters) else "plain"
    export(model, path, arguments.dtype, coded=form == "coded", packed=form == "packed")
    print(f"{line(path)}: {path.stat().st_size:,} bytes")
    return 0
