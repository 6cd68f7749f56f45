"""Files answered by a network: read, some at a time, predicted together, written and copied."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from faltung.cli.errors import MISTAKES, about, complain
from faltung.cli.given import Given
from faltung.cli.line import DONE, IN_PART, line
from faltung.cli.predict_table import Write
from faltung.cli.sorting import Sorted
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    from faltung.train.model import Model

# Samples that are predicted together, and bytes of small files that are in memory together.
MAX_SAMPLES, MAX_BYTES = 256, 1 << 28
NOT_FINITE = "the network's output for it is not finite; are its values too large?"

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


class Later(Exception):
    """A file cannot be read yet, and may still be on its way."""


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


class Job:
    """Answers files: reads them, some at a time, predicts them together, and writes."""

    def __init__(
        self,
        model: "Model",
        read: Read,
        copies: Sorted | None,
        failed: Failed,
    ) -> None:
        self.model, self.read, self.copies, self.failed = model, read, copies, failed

    def answer(self, files: Iterable[Given], write: Write) -> int:
        """Answer files, and write what the network says; returns how many samples were answered."""
        done = 0

        def written(part: Part, names: Sequence[str], outputs: Any) -> None:
            nonlocal done
            if self.copies is not None:  # first: what a table has is done
                self._copy(part, outputs)
            write(names, outputs)
            done += len(names)

        for group in groups(files, self.read, self.failed):
            answered(self.model, group, written, self.failed)
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


def groups(files: Iterable[Given], read: Read, failed: Failed) -> Iterator[list[Part]]:
    """Samples that are predicted together: small files together, a large one in several parts."""
    group: list[Part] = []
    for file in files:
        try:
            x, names = read(file)
        except Later:
            continue
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


def answered(model: "Model", group: list[Part], write: Written, failed: Failed) -> None:
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
            answered(model, half, write, failed)
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
