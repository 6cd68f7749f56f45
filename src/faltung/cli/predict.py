"""`faltung predict RUN FILES...`: what a trained network says of files."""

import argparse
import csv
import sys
from typing import Any

from faltung.cli.errors import MISTAKES, refuse

# Classes that are named for each file.
BEST = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `predict`."""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="pictures, .npy, .npz, IDX, series or volumes"
    )
    parser.add_argument(
        "--csv", action="store_true", help="a line a sample: name, class, and all probabilities"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line a sample; 2, and one line on stderr, where something is wrong."""
    try:
        from faltung.data.files import read_files
        from faltung.train.session import like, load_model

        model, folder = load_model(arguments.run_folder)
        x, names = read_files(arguments.files, like(model, folder))
        outputs = model.predict(x)
    except MISTAKES as error:
        return refuse("predict", error)
    if arguments.csv:
        _table(model, outputs, names)
        return 0
    width = max(map(len, names))
    for name, output in zip(names, outputs, strict=True):
        print(f"{name.ljust(width)}  {_words(model, output)}")
    return 0


def _table(model: Any, outputs: Any, names: Any) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    flat = outputs.reshape(len(outputs), -1)
    if model.classes is not None and outputs.ndim == 2:
        writer.writerow(["name", "class", *model.classes])
        for name, row in zip(names, flat, strict=True):
            writer.writerow([name, model.classes[int(row.argmax())], *map(_number, row)])
        return
    writer.writerow(["name", *(f"output{i}" for i in range(flat.shape[1]))])
    for name, row in zip(names, flat, strict=True):
        writer.writerow([name, *map(_number, row)])


def _number(value: Any) -> str:
    """In the shortest form that reads back to the same float32."""
    return str(value)


def _words(model: Any, output: Any) -> str:
    """The likeliest classes and how likely they are, or the numbers."""
    if model.classes is None or output.ndim > 1:
        flat = output.ravel()
        shown = "  ".join(f"{value:.6g}" for value in flat[:8])
        return shown + ("  ..." if flat.size > 8 else "")
    order = (-output).argsort(kind="stable")[:BEST]
    return "  ".join(f"{model.classes[i]} {output[i]:.1%}" for i in order)
