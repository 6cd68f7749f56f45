"""Names of samples and classes, and how names from a disk are written in messages.

Names are made fit to be shown where they enter, and nowhere else: ``printable`` for samples and
files, ``class_name`` for classes.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import is_sequence
from faltung.geometry.errors import FaltungError, FaltungTypeError

LONGEST_NAME = 200  # characters of a name in a message


def printable(name: object) -> str:
    r"""A name on one line of printable characters: all others are escaped.

    A file can be called ``"\x1b[2J\n.png"``; a terminal or a CSV file must not obey it.
    """
    text = escaped(name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 3] + "..."


def escaped(name: object) -> str:
    """``printable``, whole: what a table calls a file must still be the name of that file."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text
    )


def natural(name: str) -> tuple[tuple[int, str] | str, ...]:
    """A key to sort names by as people do: frame 2 before frame 10.

    >>> sorted(["10.png", "2.png", "b", "02.png"], key=natural)
    ['02.png', '2.png', '10.png', 'b']
    """
    parts = re.split(r"(\d+)", name)  # text and numbers by turns, text first
    key: list[tuple[int, str] | str] = []
    for i, part in enumerate(parts):
        key.append((int(part), part) if i % 2 else part)
    return tuple(key)


def class_name(name: object) -> str:
    """The name of a class as it is kept: ``printable``, and in Unicode's composed form (NFC).

    "Käfer" is the same class with its "ä" written as one character or as two (NFD), as macOS
    writes names of files.
    """
    return printable(unicodedata.normalize("NFC", str(name)))


# A name with one of these in front is a formula for a spreadsheet (OWASP, "CSV injection"), also
# with the wide forms of the first four, which some spreadsheets read alike.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


def spreadsheet_text(name: str) -> str:
    """A name as a cell of a CSV file: an apostrophe in front of what would be a formula. Numbers
    stay as they are: -1 may be the name of a class.
    """
    return f"'{name}" if _FORMULA.match(name) and not _NUMBER.fullmatch(name) else name


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


def class_list(classes: Sequence[str], where: str = "classes") -> tuple[str, ...]:
    """The argument ``classes``, as they are kept, as a tuple without duplicates. ``where``: what
    they are, for messages. TypeError, ValueError.
    """
    if not is_sequence(classes) or not all(isinstance(name, str) for name in classes):
        raise FaltungTypeError(f"{where}: must be a sequence of str")
    if not len(classes):
        raise FaltungError(f"{where}=(): must name at least one class")
    seen: dict[str, str] = {}
    for given in classes:
        name = class_name(given)
        if name in seen:
            if seen[name] == given:
                times = list(classes).count(given)
                raise FaltungError(f"{where}: '{name}' is named {times} times")
            raise FaltungError(
                f"{where}: '{name}' is one class with two spellings, {seen[name]!a} and {given!a}; "
                "keep one"
            )
        seen[name] = given
    return tuple(seen)


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
    kept = {word: class_name(word) for word in set(words)}
    if classes is None:
        known = in_order(set(kept.values()))
    else:
        known = class_list(classes, f"{where}: classes")
    number = {name: i for i, name in enumerate(known)}
    for i, word in enumerate(words):
        if kept[word] not in number:
            raise FaltungError(
                f"{where}: sample {names[i] if names else i} has the label '{kept[word]}', "
                f"which is not one of the classes {listing(known)}"
            )
    return np.array([number[kept[word]] for word in words], np.int64), known


def as_word(label: Any) -> str:
    """The name of the class of a label; 3, "3" and 3.0 are the same class, as are 1 and True."""
    if isinstance(label, bool | np.bool_):
        return str(int(label))
    if isinstance(label, float | np.floating):
        return str(int(label)) if float(label).is_integer() else repr(float(label))
    return class_name(label)


def listing(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
