"""Names of samples and classes, and how names from a disk are written in messages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError, FaltungTypeError

LONGEST_NAME = 200  # characters of a name in a message


def printable(name: object) -> str:
    r"""A name on one line of printable characters: all others are escaped.

    A file can be called ``"\x1b[2J\n.png"``; a terminal or a CSV file must not obey it.
    """
    text = str(name)
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode()
            for c in text
        )
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 3] + "..."


def inside(path: PurePath, root: PurePath) -> str:
    """The path of a file relative to the folder that the user gave."""
    return printable(path.relative_to(root).as_posix())


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: as numbers if all are whole numbers ("2" before "10"), else as text."""
    listed = list(names)
    try:
        return tuple(sorted(listed, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(listed))


def class_list(classes: Sequence[str]) -> tuple[str, ...]:
    """The argument ``classes`` as a tuple without duplicates. TypeError, ValueError."""
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise FaltungTypeError("classes: must be a sequence of str")
    listed = tuple(classes)
    if not listed:
        raise FaltungError("classes=(): must name at least one class")
    name, times = Counter(listed).most_common(1)[0]
    if times > 1:
        raise FaltungError(f"classes: '{printable(name)}' is named {times} times")
    return listed


def number_classes(
    words: Sequence[str],
    where: str,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels 0, 1, ... (n,) of samples from the names of their classes, and the classes in order.

    ``classes``: those that are allowed, in order; by default all that occur. ``where``: the file.
    ``names``: of the samples. ValueError names the first sample of another class.
    """
    known = in_order(set(words)) if classes is None else class_list(classes)
    number = {name: i for i, name in enumerate(known)}
    for i, word in enumerate(words):
        if word not in number:
            raise FaltungError(
                f"{where}: sample {names[i] if names else i} has the label '{printable(word)}', "
                f"which is not one of the classes {listing(known)}"
            )
    return np.array([number[word] for word in words], np.int64), known


def as_word(label: Any) -> str:
    """The name of the class of a label; 3, "3" and 3.0 are the same class."""
    if isinstance(label, float | np.floating):
        return str(int(label)) if float(label).is_integer() else repr(float(label))
    return str(label)


def listing(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
