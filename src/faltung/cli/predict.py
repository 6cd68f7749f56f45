"""``faltung predict RUN FILES...``: predict the classes of files with a trained network."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from faltung.cli.errors import MISTAKES, refuse

if TYPE_CHECKING:
    from faltung.data.like import Like
    from faltung.train.model import Model

# Classes, or numbers, shown of each sample.
SHOWN_CLASSES, SHOWN_NUMBERS = 3, 8
# Samples that are in memory together.
MAX_SAMPLES = 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    parser.epilog = """\
Prints one line per sample: the likeliest classes and their probabilities, or
the numbers of a network that predicts numbers; where every position has a
class, the most frequent ones and their shares. Files that cannot be read are
reported and skipped, and the exit status is 2.

--csv prints everything: name, class and probabilities, or the numbers, or the
class of every position.
"""
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="pictures, .npy, .npz, IDX, series or volumes"
    )
    parser.add_argument("--x", metavar="NAME", help="the array of samples in .npz files")
    parser.add_argument("--csv", action="store_true", help="print a table, one line per sample")


def run(arguments: argparse.Namespace) -> int:
    """Print one line per sample; 2, and one line on stderr for each file that cannot be read."""
    try:
        from faltung.train.run_dataset import like
        from faltung.train.run_model import load_model

        model, folder = load_model(arguments.run_folder)
        wanted = like(model, folder)
    except MISTAKES as error:
        return refuse("predict", error)
    failed: list[str] = []
    table = _table(model) if arguments.csv else None
    for x, names in _samples(arguments.files, wanted, failed, arguments.x):
        outputs = model.outputs(x)
        if table is not None:
            table(names, outputs)
            continue
        width = max(map(len, names))
        for name, output in zip(names, outputs, strict=True):
            print(f"{name.ljust(width)}  {_words(model, output)}")
    return 2 if failed else 0


def _samples(
    files: Sequence[str], wanted: "Like", failed: list[str], array: str | None
) -> Iterator[tuple[Any, list[str]]]:
    """Samples and their names, a few files at a time; unreadable ones are added to ``failed``."""
    import numpy as np

    from faltung.data.files import read_files

    parts: list[Any] = []
    names: list[str] = []
    for file in files:
        try:
            x, found = read_files([file], wanted, x=array, note=_note)
        except MISTAKES as error:
            refuse("predict", error)
            failed.append(file)
            continue
        parts.append(x)
        names += found
        if len(names) >= MAX_SAMPLES:
            yield np.concatenate(parts), names
            parts, names = [], []
    if names:
        yield np.concatenate(parts), names


def _note(said: str) -> None:
    print(f"note: {said}", file=sys.stderr)


# CSV ----------------------------------------------------------------------------------------------


def _table(model: "Model") -> Callable[[list[str], Any], None]:
    """Print the header of a table; returns the function that prints its lines."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    classes, output = _classes(model), model.graph.output
    places = [" ".join(map(str, place)) for place in product(*map(range, output.space))]
    if classes is None:
        writer.writerow(["name", *(f"output{i}" for i in range(output.size))])
    elif output.space:
        writer.writerow(["name", *places])
    else:
        writer.writerow(["name", "class", *classes])

    def write(names: list[str], outputs: Any) -> None:
        for name, each in zip(names, outputs, strict=True):
            best = each.argmax(0)
            if classes is None:
                writer.writerow([name, *map(_number, each.ravel())])
            elif output.space:
                writer.writerow([name, *(classes[i] for i in best.ravel())])
            else:
                writer.writerow([name, classes[best], *map(_number, each)])

    return write


def _number(value: Any) -> str:
    """The shortest form that reads back to the same float32."""
    return str(value)


# For reading --------------------------------------------------------------------------------------


def _words(model: "Model", output: Any) -> str:
    """The likeliest classes and their probabilities, or the numbers."""
    import numpy as np

    classes = _classes(model)
    if classes is None:
        flat = output.ravel()
        shown = "  ".join(f"{value:.6g}" for value in flat[:SHOWN_NUMBERS])
        return shown + ("  ..." if flat.size > SHOWN_NUMBERS else "")
    if output.ndim > 1:  # the share of positions where each is the likeliest
        best = output.argmax(0)
        output = np.bincount(best.ravel(), minlength=len(output)) / best.size
    order = (-output).argsort(kind="stable")[:SHOWN_CLASSES]
    return "  ".join(f"{classes[i]} {output[i]:.1%}" for i in order)


def _classes(model: "Model") -> Sequence[str] | None:
    """The names of the classes; None where outputs are numbers."""
    if model.loss != "cross_entropy":
        return None
    return model.classes or tuple(map(str, range(model.graph.output.channels)))
