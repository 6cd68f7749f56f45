"""``faltung predict RUN FILES...``: predict the classes of files with a trained network."""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from faltung.cli import predict_stored
from faltung.cli.errors import MISTAKES, about, complain
from faltung.cli.line import DONE, IN_PART, line
from faltung.cli.options import RUN
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    from faltung.train.model import Model

# Classes, or numbers, shown of each sample.
SHOWN_CLASSES, SHOWN_NUMBERS = 3, 8
# Samples that are predicted together, and bytes of small files that are in memory together.
MAX_SAMPLES, MAX_BYTES = 256, 1 << 28
NOT_FINITE = "the network's output for it is not finite; are its values too large?"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    parser.epilog = """\
Prints one line per sample: the likeliest classes and their probabilities, or
the numbers of a network that predicts numbers; where every position has a
class, the most frequent ones and their shares.

Files that cannot be read, or hold what the network cannot take, are reported
one by one on standard error; all others are answered, and the exit status is 1.
It is 2 if nothing could be tried, because RUN is no run, say.

--csv prints everything: name, class and probabilities, or the numbers, or the
class of every position. A name that a spreadsheet would take for a formula (it
begins with = + - @ and is no number) gets an apostrophe in front.

With --out, one picture or volume of any size, larger than memory too, is read
and answered tile by tile, with the bits of the whole at once: from Zarr,
OME-Zarr or (Big)TIFF to a Zarr array, or for OME-Zarr to an OME-Zarr.
Interrupted, the same command goes on where it was.
"""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="pictures, .npy, .npz, IDX, series or volumes"
    )
    parser.add_argument("--x", metavar="NAME", help="the array of samples in .npz files")
    parser.add_argument(
        "--labels",
        choices=("first", "none"),
        help="where the labels are in text files without a header: first, or none",
    )
    parser.add_argument("--csv", action="store_true", help="print a table, one line per sample")
    predict_stored.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per sample, and one on stderr for each file that cannot be answered."""
    if arguments.out is not None:
        return predict_stored.run(arguments)
    from faltung.data.files import read_files
    from faltung.train.opened import opened
    from faltung.train.run_dataset import like

    found = opened(arguments.run_folder)
    model = found.model
    failed = Failed()
    write = _table(model) if arguments.csv else _lines(model)
    read = partial(
        read_files,
        like=like(model, found.folder),
        x=arguments.x,
        labels=arguments.labels,
        note=_note,
    )
    for group in _groups(arguments.files, read, failed):
        _answer(model, group, write, failed)
    return failed.end()


Write = Callable[[Sequence[str], Any], None]
Read = Callable[[Sequence[str]], tuple[Any, Sequence[str]]]


@dataclass
class Part:
    """Samples of one file, and their names."""

    file: str
    x: Any
    names: Sequence[str]

    def __getitem__(self, some: slice) -> "Part":
        return Part(self.file, self.x[some], self.names[some])

    def __len__(self) -> int:
        return len(self.names)


class Failed:
    """Reports files that could not be answered: the first mistake in each, and how many more."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()

    def __call__(self, file: str, said_of: str, error: BaseException) -> None:
        self.files[file] += 1
        if self.files[file] == 1:
            complain("predict", error, about(said_of, error))

    def end(self) -> int:
        """Say how many samples were not named; returns the exit status."""
        for file, count in self.files.items():
            if count > 1:
                more = f"{line(file)}: {count - 1} more of its samples could not be answered"
                print(f"faltung predict: {more}", file=sys.stderr)
        return IN_PART if self.files else DONE


# Answering ----------------------------------------------------------------------------------------


def _groups(files: Sequence[str], read: Read, failed: Failed) -> Iterator[list[Part]]:
    """Samples that are predicted together: small files together, a large one in several parts."""
    group: list[Part] = []
    for file in files:
        try:
            part = Part(file, *read([file]))
        except MISTAKES as error:
            failed(file, file, error)
            continue
        group.append(part[:MAX_SAMPLES])
        samples, size = sum(map(len, group)), sum(each.x.nbytes for each in group)
        if samples >= MAX_SAMPLES or size >= MAX_BYTES:
            yield group
            group = []
        for start in range(MAX_SAMPLES, len(part), MAX_SAMPLES):
            yield [part[start : start + MAX_SAMPLES]]
    if group:
        yield group


def _answer(model: "Model", group: list[Part], write: Write, failed: Failed) -> None:
    """Predict samples together. If that fails, halves of them, down to each by itself, so that
    a mistake, or too little memory, costs no answer that can be had.
    """
    import numpy as np

    try:
        x = group[0].x if len(group) == 1 else np.concatenate([part.x for part in group])
        with np.errstate(all="ignore"):  # what is not finite is found below
            outputs = model.outputs(x)
    except MISTAKES as error:
        if len(group) == len(group[0]) == 1:
            failed(group[0].file, group[0].names[0], error)
            return
        for half in _halves(group):
            _answer(model, half, write, failed)
        return
    finite = np.asarray(np.isfinite(outputs.reshape(len(outputs), -1)).all(1))
    start = 0
    for part in group:
        end = start + len(part)
        good = finite[start:end]
        for name, fine in zip(part.names, good, strict=True):
            if not fine:
                failed(part.file, name, FaltungError(NOT_FINITE))
        names = [name for name, fine in zip(part.names, good, strict=True) if fine]
        if names:
            write(names, outputs[start:end][good])
        start = end


def _halves(group: list[Part]) -> tuple[list[Part], list[Part]]:
    """Some of the files and the others, or some samples of the only file and the others."""
    if len(group) > 1:
        return group[: len(group) // 2], group[len(group) // 2 :]
    middle = len(group[0]) // 2
    return [group[0][:middle]], [group[0][middle:]]


def _note(said: str) -> None:
    print(f"note: {line(said)}", file=sys.stderr)


# CSV ----------------------------------------------------------------------------------------------


def _table(model: "Model") -> Write:
    """Print the header of a table; returns the function that prints its lines."""
    from faltung.data.names import spreadsheet_text as text

    writer = csv.writer(sys.stdout, lineterminator="\n")
    classes, output = _classes(model), model.graph.output
    places = [" ".join(map(str, place)) for place in product(*map(range, output.space))]
    if classes is None:
        writer.writerow(["name", *(f"output{i}" for i in range(output.size))])
    elif model.targets == "flags" and not output.space:
        writer.writerow(["name", *map(text, classes)])
    elif output.space:
        writer.writerow(["name", *places])
    else:
        writer.writerow(["name", "class", *map(text, classes)])

    def write(names: Sequence[str], outputs: Any) -> None:
        for name, each in zip(map(text, names), outputs, strict=True):
            best = each.argmax(0)
            if classes is None or (model.targets == "flags" and not output.space):
                writer.writerow([name, *map(_number, each.ravel())])
            elif output.space:
                writer.writerow([name, *(text(classes[i]) for i in best.ravel())])
            else:
                writer.writerow([name, text(classes[best]), *map(_number, each)])

    return write


def _number(value: Any) -> str:
    """The shortest form that reads back to the same float32."""
    return str(value)


# For reading --------------------------------------------------------------------------------------


def _lines(model: "Model") -> Write:
    """Print a line for each sample, those of a file below each other."""

    def write(names: Sequence[str], outputs: Any) -> None:
        width = max(map(len, names))
        for name, output in zip(names, outputs, strict=True):
            print(f"{name.ljust(width)}  {_words(model, output)}")

    return write


def _words(model: "Model", output: Any) -> str:
    """The likeliest classes and their probabilities, or the numbers."""
    import numpy as np

    classes = _classes(model)
    if classes is None:
        flat = output.ravel()
        shown = "  ".join(f"{value:.6g}" for value in flat[:SHOWN_NUMBERS])
        return shown + ("  ..." if flat.size > SHOWN_NUMBERS else "")
    if model.targets == "flags" and output.ndim == 1:  # each label by itself
        order = (-output).argsort(kind="stable")
        likely = [i for i in order if output[i] > 0.5][:SHOWN_NUMBERS]
        return "  ".join(f"{classes[i]} {output[i]:.1%}" for i in likely or order[:1])
    if output.ndim > 1:  # the share of positions where each is the likeliest
        best = output.argmax(0)
        output = np.bincount(best.ravel(), minlength=len(output)) / best.size
    order = (-output).argsort(kind="stable")[:SHOWN_CLASSES]
    return "  ".join(f"{classes[i]} {output[i]:.1%}" for i in order)


def _classes(model: "Model") -> Sequence[str] | None:
    """The names of the classes; None where outputs are numbers."""
    if model.targets not in ("labels", "flags"):
        return None
    return model.classes or tuple(map(str, range(model.graph.output.channels)))
