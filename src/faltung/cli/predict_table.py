"""What ``faltung predict`` writes: a table, in a file or on standard output, or lines to read."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from faltung.train.model import Model

# Classes, or numbers, shown of each sample.
SHOWN_CLASSES, SHOWN_NUMBERS = 3, 8

# Called with the names of samples and what the network says of them.
Write = Callable[[Sequence[str], Any], None]


def header(model: "Model") -> list[str]:
    """The first line of a table: the file, its class and the probability of each, or numbers; of
    several labels at once, the probability of each.
    """
    from faltung.data.names import spreadsheet_text as text

    classes, output = classes_of(model), model.graph.output
    if classes is None:
        return ["file", *(f"output{i}" for i in range(output.size))]
    if _each_by_itself(model):
        return ["file", *map(text, classes)]
    if output.space:
        return ["file", *(" ".join(map(str, at)) for at in product(*map(range, output.space)))]
    return ["file", "class", *map(text, classes)]


def table(model: "Model", out: TextIO, *, head: bool = True) -> Write:
    """Print the header of a table; returns the function that prints its lines."""
    from faltung.data.names import spreadsheet_text as text

    writer = csv.writer(out, lineterminator="\n")
    classes, output = classes_of(model), model.graph.output
    if head:
        writer.writerow(header(model))

    def write(names: Sequence[str], outputs: Any) -> None:
        for name, each in zip(map(text, names), outputs, strict=True):
            best = each.argmax(0)
            if classes is None or _each_by_itself(model):
                writer.writerow([name, *map(_number, each.ravel())])
            elif output.space:
                writer.writerow([name, *(text(classes[i]) for i in best.ravel())])
            else:
                writer.writerow([name, text(classes[best]), *map(_number, each)])

    return write


def _number(value: Any) -> str:
    """The shortest form that reads back to the same float32."""
    return str(value)


@contextmanager
def text_of(file: IO[bytes]) -> Iterator[TextIO]:
    """A file of bytes as one of text, UTF-8 with the line ends that are written."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
        text.flush()
    finally:
        text.detach()  # or it would close the file


def lines(model: "Model") -> Write:
    """Print a line for each sample, those of a file below each other."""

    def write(names: Sequence[str], outputs: Any) -> None:
        width = max(map(len, names))
        for name, output in zip(names, outputs, strict=True):
            print(f"{name.ljust(width)}  {_words(model, output)}")

    return write


def _words(model: "Model", output: Any) -> str:
    """The likeliest classes and their probabilities, or the numbers."""
    import numpy as np

    classes = classes_of(model)
    if classes is None:
        flat = output.ravel()
        shown = "  ".join(f"{value:.6g}" for value in flat[:SHOWN_NUMBERS])
        return shown + ("  ..." if flat.size > SHOWN_NUMBERS else "")
    if _each_by_itself(model):
        order = (-output).argsort(kind="stable")
        likely = [i for i in order if output[i] > 0.5][:SHOWN_NUMBERS]
        return "  ".join(f"{classes[i]} {output[i]:.1%}" for i in likely or order[:1])
    if output.ndim > 1:  # the share of positions where each is the likeliest
        best = output.argmax(0)
        output = np.bincount(best.ravel(), minlength=len(output)) / best.size
    order = (-output).argsort(kind="stable")[:SHOWN_CLASSES]
    return "  ".join(f"{classes[i]} {output[i]:.1%}" for i in order)


def classes_of(model: "Model") -> Sequence[str] | None:
    """The names of the classes; None where outputs are numbers."""
    if model.targets not in ("labels", "flags"):
        return None
    return model.classes or tuple(map(str, range(model.graph.output.channels)))


def _each_by_itself(model: "Model") -> bool:
    """Whether a sample may have several labels at once."""
    return model.targets == "flags" and not model.graph.output.space
