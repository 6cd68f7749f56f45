"""The first line of a text file: whether it is a header, and which column holds the label.

A line is a header or a sample by what is in it, never by how many cells it has. A sample has one
word at most, its label, first. What could be either is refused: no sample is lost, and no header
becomes one.

| the first line | is |
|---|---|
| words alone | a header |
| ``label`` or ``class`` (or the name asked for) and other cells | a header |
| ``target`` or ``y`` and 0, 1, 2, ... or 1, 2, 3, ... | a header |
| 0, 1, 2, ... in three or more cells, as pandas names columns | a header |
| a word that labels another line too, and numbers | a sample |
| another word, first, and numbers that are not 0, 1, 2, ... | a sample |
| other numbers | a sample |
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from faltung.data.names import listing, printable
from faltung.data.text_lines import DECIMAL_COMMA, POINT, Line, is_missing, is_number
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# Names of the column of labels, whatever their case; and one that is a coordinate where any other
# column can be the label.
LABELS, WEAK_LABEL = ("label", "class", "target"), "y"
# Of these, words that could be the name of a class.
CLASS_WORDS = ("target", WEAK_LABEL)
# What columns of row numbers are called; they are refused where they count the lines.
ROW_NUMBERS = tuple("id index idx row rowid row_id rownames row_names row_number nr no #".split())
MIN_COUNTED = 3  # lines, or columns, that a run of 0, 1, 2, ... must have to be told from values


@dataclass(frozen=True)
class Header:
    """The names of columns, and the number of their line; ``label``: the column of labels that the
    format itself tells, if it does.
    """

    line: int
    names: tuple[str, ...]
    label: int | None = None


def is_header(
    number: int,
    cells: Sequence[str],
    lines: Sequence[Line],
    where: str,
    *,
    asked: str | None = None,
    sample: bool = False,
) -> bool:
    """Whether the first line, of this number, is a header.

    ``lines``: the others. ``asked``: the label's name, if it is known. ``sample``: what could be
    either is a sample; otherwise ValueError.
    """
    comma = next((cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)), None)
    if comma is not None:
        raise FaltungError(f"{where}: line {number}: '{comma}' is not a number: {POINT}")
    words = [i for i, cell in enumerate(cells) if not is_number(cell) and not is_missing(cell)]
    numbers = [cell for cell in cells if is_number(cell)]
    if not words:
        if cells[0] == "" and _counts(cells[1:], 0):
            return True  # and refused, for its column without a name
        if len(cells) == MIN_COUNTED - 1 and _counts(cells, 0) and not sample:
            raise _either(number, cells, where)
        return len(cells) >= MIN_COUNTED and _counts(cells, 0)
    if len(words) + cells.count("") == len(cells) > 1:
        return True
    known = (*LABELS, WEAK_LABEL, *(() if asked is None else (asked.lower(),)))
    named = any(cells[i].lower() in known for i in words)
    if len(words) > 1:
        if not named:
            raise FaltungError(
                f"{where}: line {number} is neither a header nor a sample: "
                f"'{printable(cells[words[1]])}' is not a number; if it is a header, call the "
                "column of labels label"
            )
        return True
    word = cells[words[0]]
    others = {line.words[0] for line in lines if 0 in line.words}
    if words[0] == 0 and word in others:
        return False
    counts = _counts(numbers, 0) or _counts(numbers, 1)
    if named:
        if counts or word.lower() not in CLASS_WORDS or word == asked:
            return True
    elif words[0] or not (_counts(numbers, 0) and len(numbers) == len(cells) - 1 > 1):
        return False  # a word elsewhere is no number, which the caller says
    elif lines and not others:
        return True
    if not sample:
        raise _either(number, cells, where)
    return False


def _counts(cells: Sequence[str], start: int) -> bool:
    """Whether cells are start, start + 1, ... as whole numbers."""
    return bool(cells) and all(cell == str(i) for i, cell in enumerate(cells, start))


def _either(number: int, cells: Sequence[str], where: str) -> FaltungError:
    return FaltungError(
        f"{where}: line {number}, {_shown(cells)}, may be a header or a sample: if it is a header, "
        "call the column of labels label; if a sample, put a header above it"
    )


def _shown(cells: Sequence[str]) -> str:
    shown = ",".join(cells[:4])
    return printable(shown if len(cells) <= 4 else shown + ",...")


def as_names(cells: Sequence[str], number: int, where: str) -> tuple[str, ...]:
    """The names of columns. ValueError: one without a name, or two of the same."""
    names = tuple(printable(cell) for cell in cells)
    for i, name in enumerate(names):
        if name and not re.fullmatch(r"Unnamed: \d+(_level_\d+)?", name):
            continue
        here = f"{where}: line {number}: column {i + 1}" if number else f"{where}: column {i + 1}"
        if i == 0:
            raise FaltungError(
                f"{here} has no name, as the row numbers that pandas and R write: save without "
                "them (pandas: index=False, R: row.names=FALSE), or name the column"
            )
        raise FaltungError(
            f"{here} has no name: name it, or remove the separator at the end of the line"
        )
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise FaltungError(f"{where}: {times} columns are called {name!r}: give each its own name")
    return names


def label_column(
    header: Header,
    lines: Sequence[Line],
    where: str,
    *,
    asked: str | None = None,
    features: Collection[str] = (),
) -> int | None:
    """The column of the label: the one called ``asked``; else by a name of ``LABELS``; else what
    the format tells; else the only column that holds words, if it is the first or the last; else
    ``WEAK_LABEL``. None: there is none. ``features`` are no labels, whatever they are called.
    ValueError: several.
    """
    names = header.names
    if asked is not None and asked in names:
        return names.index(asked)
    lower = [name.lower() if name not in features else "" for name in names]
    if asked is not None and asked.lower() in lower:
        return _only(lower, asked.lower(), where)
    rivals = [i for i, name in enumerate(lower) if name in LABELS]
    if rivals:
        found = [_only(lower, lower[i], where) for i in rivals]
        if len(found) > 1:
            raise FaltungError(
                f"{where}: {len(found)} columns could be the label, "
                f"{listing([names[i] for i in found])}: choose one with label (--label NAME), or "
                "remove the others"
            )
        return found[0]
    if header.label is not None and names[header.label] not in features:
        return header.label
    worded = _of_words(len(names), lines)
    if worded is not None:
        return worded
    return _only(lower, WEAK_LABEL, where) if WEAK_LABEL in lower else None


def _only(names: Sequence[str], name: str, where: str) -> int:
    """The place of a name. ValueError: there are several."""
    if names.count(name) > 1:
        raise FaltungError(
            f"{where}: {names.count(name)} columns are called {name!r}: give each its own name"
        )
    return names.index(name)


def _of_words(count: int, lines: Sequence[Line]) -> int | None:
    """The only column that holds words, in every line, if it is the first or the last."""
    columns = set().union(*(line.words for line in lines))
    if len(columns) != 1 or not all(line.words for line in lines):
        return None
    only = columns.pop()
    return only if only in (0, count - 1) else None


def the_label(
    header: Header,
    lines: Sequence[Line],
    where: str,
    asked: str | None,
    features: Collection[str],
    *,
    strict: bool,
) -> int:
    """The column of the label. ValueError: there is none; with ``strict`` none that is called
    ``asked``.
    """
    found = label_column(header, lines, where, asked=asked, features=features)
    if strict and asked is not None and (found is None or not _same(header, found, asked)):
        raise FaltungError(
            f"label={show(asked)}: {where} has no such column; it has {listing(header.names)}"
        )
    if found is None:
        names = f"{_shown(header.names)}, is a header and" if header.line else "the header"
        line = f"line {header.line}, {names}" if header.line else names
        raise FaltungError(
            f"{where}: {line} names no label: call its column label, class, target or y, or choose "
            "it with label (--label NAME); if it is a sample, put a header above it"
        )
    return found


def _same(header: Header, column: int, asked: str) -> bool:
    return header.names[column].lower() == asked.lower()


def refuse_row_numbers(
    header: Header, columns: Sequence[int], lines: Sequence[Line], where: str
) -> None:
    """ValueError: a column that is called like row numbers, and counts the lines."""
    for column in columns:
        if header.names[column].lower() not in ROW_NUMBERS or len(lines) < MIN_COUNTED:
            continue
        values = np.array([line.values[column] if column < len(line) else -1 for line in lines])
        if values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0]):
            raise FaltungError(
                f"{where}: column {header.names[column]!r} counts the lines, which is no "
                "measurement: remove it (pandas: index=False, R: row.names=FALSE)"
            )


def in_training_order(
    header: Header,
    columns: Sequence[int],
    wanted: Sequence[str] | None,
    where: str,
    *,
    strict: bool,
) -> list[int]:
    """The columns in the order that training had, by their names. ``strict``: those of a table,
    which must be the same; those of a series may be other times. ValueError names what is missing
    and what is too much.
    """
    if wanted is None:
        return list(columns)
    place = {header.names[i]: i for i in columns}
    missing = [name for name in wanted if name not in place]
    further = [name for name in place if name not in set(wanted)]
    if not missing and not further:
        return [place[name] for name in wanted]
    if not strict:
        return list(columns)
    parts = [f"lacks the columns {listing(missing)}"] * bool(missing)
    parts += [f"has further columns {listing(further)}"] * bool(further)
    raise FaltungError(
        f"{where}: {' and '.join(parts)}: must have those of training, {listing(wanted)}"
    )
