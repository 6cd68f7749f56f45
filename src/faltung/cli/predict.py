"""``faltung predict RUN FILES...``: predict the classes of files with a trained network."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from faltung.cli import predict_stored
from faltung.cli.errors import MISTAKES, about, complain
from faltung.cli.given import Given, given, is_file, is_sentence
from faltung.cli.line import DONE, IN_PART, line
from faltung.cli.options import RUN
from faltung.cli.predict_table import Write, classes_of, lines, table, text_of
from faltung.cli.sorting import Sorted
from faltung.formats.files import write_whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    from faltung.data.like import Like
    from faltung.train.model import Model

# Samples that are predicted together, and bytes of small files that are in memory together.
MAX_SAMPLES, MAX_BYTES = 256, 1 << 28
PRINTED = "-"  # the table goes to standard output
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

A FILE may be a folder: all files within it are answered. --sort OUT copies each
to a folder OUT/CLASS, under the path that it has in its folder; nothing is moved
or replaced.

--csv out.csv writes everything to a file, whole or not at all: file, class and
probabilities, or the numbers, or the class of every position; --csv alone, as
the last word, prints it. A name that a spreadsheet would take for a formula (it
begins with = + - @ and is no number) gets an apostrophe in front.

With --out, one picture or volume of any size, larger than memory too, is read
and answered tile by tile, with the bits of the whole at once: from Zarr,
OME-Zarr or (Big)TIFF to a Zarr array, or for OME-Zarr to an OME-Zarr.
Interrupted, the same command goes on where it was.
"""
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument(
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
    copies = _sorted(model, arguments.sort)
    wanted = like(model, found.folder)
    read = partial(_read, like=wanted, x=arguments.x, labels=arguments.labels, note=_note)
    files = partial(
        given,
        arguments.files,
        is_sample=is_file if wanted.frames is None else is_clip,
        is_typed=(lambda _: False) if wanted.words is None else is_sentence,
        leave_out=arguments.sort,
    )
    job = _Job(model, read, files, copies)
    if path is None:
        job.answer(table(model, sys.stdout) if arguments.csv else lines(model))
    else:
        rows = 0

        def written(file: IO[bytes]) -> None:
            nonlocal rows
            with text_of(file) as text:
                rows = job.answer(table(model, text))

        write_whole(path, written)
        print(f"{line(path)}: {rows:,} rows")
    if copies is not None:
        print(copies.said())
    return job.failed.end()


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
    if os.path.lexists(path) and not arguments.overwrite:
        raise FileExistsError(f"{line(path)}: already exists; --overwrite replaces it")
    return path


def _sorted(model: "Model", folder: str | None) -> Sorted | None:
    if folder is None:
        return None
    classes = classes_of(model)
    if classes is None or model.graph.output.space:
        raise FaltungError(f"sort={folder}: needs a network that names one class for each file")
    return Sorted(folder, classes)


Read = Callable[[Given], tuple[Any, Sequence[str]]]
Written = Callable[["Part", Sequence[str], Any], None]


@dataclass
class Part:
    """Samples of one file, and their names. ``single``: whether there is one in it."""

    file: Given
    x: Any
    names: Sequence[str]
    single: bool

    def __getitem__(self, some: slice) -> "Part":
        return Part(self.file, self.x[some], self.names[some], self.single)

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


class _Job:
    """Answers files: reads them, some at a time, predicts them together, and writes."""

    def __init__(
        self,
        model: "Model",
        read: Read,
        files: Callable[[Callable[[str, BaseException], None]], Iterable[Given]],
        copies: Sorted | None,
    ) -> None:
        self.model, self.read, self.copies = model, read, copies
        self.failed = Failed()
        self.files = files(lambda path, error: self.failed(path, path, error))

    def answer(self, write: Write) -> int:
        """Returns how many samples were answered."""
        done = 0

        def written(part: Part, names: Sequence[str], outputs: Any) -> None:
            nonlocal done
            write(names, outputs)
            done += len(names)
            if self.copies is not None:
                self._copy(part, outputs)

        for group in _groups(self.files, self.read, self.failed):
            _answer(self.model, group, written, self.failed)
        return done

    def _copy(self, part: Part, outputs: Any) -> None:
        """Copy a file to the folder of its class."""
        assert self.copies is not None
        file = part.file
        try:
            if file.under is None:
                raise FaltungError("is no file, so it is not copied")
            if not part.single:
                raise FaltungError("holds several samples, so it is not copied to one class")
            self.copies.copy(file.path, file.under, int(outputs[0].argmax()))
        except MISTAKES as error:
            self.failed(file.said, file.path, error)


def _groups(files: Iterable[Given], read: Read, failed: Failed) -> Iterator[list[Part]]:
    """Samples that are predicted together: small files together, a large one in several parts."""
    group: list[Part] = []
    for file in files:
        try:
            x, names = read(file)
        except MISTAKES as error:
            failed(file.said, file.path, error)
            continue
        part = Part(file, x, names, len(names) == 1)
        group.append(part[:MAX_SAMPLES])
        samples, size = sum(map(len, group)), sum(each.x.nbytes for each in group)
        if samples >= MAX_SAMPLES or size >= MAX_BYTES:
            yield group
            group = []
        for start in range(MAX_SAMPLES, len(part), MAX_SAMPLES):
            yield [part[start : start + MAX_SAMPLES]]
    if group:
        yield group


def _answer(model: "Model", group: list[Part], write: Written, failed: Failed) -> None:
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
            failed(group[0].file.said, group[0].names[0], error)
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
                failed(part.file.said, name, FaltungError(NOT_FINITE))
        names = [name for name, fine in zip(part.names, good, strict=True) if fine]
        if names:
            write(part, names, outputs[start:end][good])
        start = end


def _halves(group: list[Part]) -> tuple[list[Part], list[Part]]:
    """Some of the files and the others, or some samples of the only file and the others."""
    if len(group) > 1:
        return group[: len(group) // 2], group[len(group) // 2 :]
    middle = len(group[0]) // 2
    return [group[0][:middle]], [group[0][middle:]]


def _note(said: str) -> None:
    print(f"note: {line(said)}", file=sys.stderr)
