"""``faltung predict RUN FILES...``: predict the classes of files with a trained network."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from faltung.cli import predict_stored
from faltung.cli.answering import Failed, Job
from faltung.cli.given import Given, given, is_file, is_sentence
from faltung.cli.line import line
from faltung.cli.options import RUN
from faltung.cli.parser import Instead
from faltung.cli.predict_table import classes_of, lines, table, text_of
from faltung.cli.sorting import Sorted
from faltung.cli.watching import watch
from faltung.formats.files import write_whole
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.data.like import Like
    from faltung.train.model import Model

PRINTED = "-"  # the table goes to standard output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``."""
    parser.epilog = """\
Prints one line per sample: the likeliest classes and their probabilities, or
the numbers of a network that predicts numbers; where every position has a
class, the most frequent ones and their shares.

Files that cannot be read, or hold what the network cannot take, are reported
one by one on standard error; all others are answered, and the exit status is 1.
It is 2 if nothing could be tried, because RUN is no run, say.

A FILE may be a folder: all files within it are answered. --sort OUT copies each
to a folder OUT/CLASS, under the path that it has in its folder; nothing is
moved or replaced.

--csv out.csv writes everything to a file, whole or not at all: file, class and
probabilities, or the numbers, or the class of every position; --csv alone, as
the last word, prints it. A name that a spreadsheet would take for a formula (it
begins with = + - @ and is no number) gets an apostrophe in front.

--watch FOLDER answers what is there, and then each file when it has arrived,
which is when it has not changed for a second. FILE may be left out. Lines come
as they are known; --csv out.csv appends to a table, and files that are in it
already are not answered again.

With --out, one picture or volume of any size, larger than memory too, is read
and answered tile by tile, with the bits of the whole at once: from Zarr,
OME-Zarr or (Big)TIFF to a Zarr array, or for OME-Zarr to an OME-Zarr.
Interrupted, the same command goes on where it was.
"""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    files = parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="pictures, .npy, .npz, IDX, series, volumes or texts, and folders of them; of a "
        "network that reads texts also a sentence",
    )
    parser.add_argument("--x", metavar="NAME", help="the array of samples in .npz files")
    parser.add_argument(
        "--labels",
        choices=("first", "none"),
        help="where the labels are in text files without a header: first, or none",
    )
    parser.add_argument(
        "--csv",
        nargs="?",
        const=PRINTED,
        metavar="out.csv",
        help="write a table, one line per sample; without a name print it",
    )
    parser.add_argument(
        "--sort", metavar="OUT", help="copy each file to a folder of its class in this one"
    )
    parser.add_argument(
        "--watch",
        action=Instead.of(files),
        metavar="FOLDER",
        help="answer files as they arrive in this folder, until Ctrl-C",
    )
    predict_stored.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per sample, and one on stderr for each file that cannot be answered."""
    if arguments.out is not None:
        return predict_stored.run(arguments)
    from faltung.data.clips import is_clip
    from faltung.train.opened import opened
    from faltung.train.run_dataset import like

    path = _csv_path(arguments)
    found = opened(arguments.run_folder)
    model = found.model
    wanted = like(model, found.folder)
    failed = Failed()
    read = partial(_read, like=wanted, x=arguments.x, labels=arguments.labels, note=_note)
    job = Job(model, read, _sorted(model, arguments.sort), failed)
    files = partial(
        given,
        is_sample=is_file if wanted.frames is None else is_clip,
        is_typed=(lambda _: False) if wanted.words is None else is_sentence,
        leave_out=tuple(each for each in (arguments.sort, path) if each is not None),
    )
    named = files(arguments.files or (), lambda path, error: failed(path, path, error))
    if arguments.watch is not None:
        return watch(job, arguments.watch, named, files, path, bool(arguments.csv))
    if path is None:
        job.answer(named, table(model, sys.stdout) if arguments.csv else lines(model))
    else:
        _write(job, named, path)
    if job.copies is not None:
        print(job.copies.said())
    return failed.end()


def _write(job: Job, files: Iterable[Given], path: str) -> None:
    """Write the table to a file, whole or not at all."""
    rows = 0

    def written(file: IO[bytes]) -> None:
        nonlocal rows
        with text_of(file) as text:
            rows = job.answer(files, table(job.model, text))

    write_whole(path, written)
    print(f"{line(path)}: {rows:,} rows")


def _read(file: Given, like: "Like", **how: Any) -> tuple[Any, Sequence[str]]:
    """The samples of a file, or one that was typed, and their names."""
    if file.under is not None:
        from faltung.data.files import read_files

        return read_files([file.path], like, **how)
    from faltung.data.texts import encoded

    assert like.words is not None
    return encoded([file.path], like.words, like.shape[0]), [file.said]


def _csv_path(arguments: argparse.Namespace) -> str | None:
    """The file for the table; None where it is printed. FileExistsError, ValueError."""
    path: str | None = arguments.csv
    if path in (None, PRINTED):
        return None
    assert path is not None
    if not path.lower().endswith(".csv"):
        raise FaltungError(f"csv={path}: must end in .csv; to print a table put --csv last")
    if arguments.watch is None and os.path.lexists(path) and not arguments.overwrite:
        raise FileExistsError(f"{line(path)}: already exists; --overwrite replaces it")
    return path


def _sorted(model: "Model", folder: str | None) -> Sorted | None:
    if folder is None:
        return None
    classes = classes_of(model)
    if classes is None or model.graph.output.space:
        raise FaltungError(f"sort={folder}: needs a network that names one class for each file")
    return Sorted(folder, classes)


def _note(said: str) -> None:
    print(f"note: {line(said)}", file=sys.stderr)
