"""Raw text: folders of ``.txt`` files with a subfolder per class, and tables with a text a line.

Texts become numbers of words (``tokenizer.py``), of a vocabulary that is learned here or, for a
network that is trained already, its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import tokenizer
from faltung.data.folder import Broken, class_folders, examine_all, hidden, walk
from faltung.data.header import LABELS, WEAK_LABEL
from faltung.data.limits import regular
from faltung.data.names import as_word, inside, listing, number_classes, printable
from faltung.data.options import Options
from faltung.data.source import ArraySource
from faltung.data.text_lines import is_missing, is_number, opened, records
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

SUFFIX = ".txt"
TABLES = (".csv", ".tsv")
# What the column of texts is called, whatever its case.
COLUMNS = (
    *("text", "texts", "sentence", "sentences", "review", "comment", "message", "tweet"),
    *("body", "content", "document", "description", "title", "question", "utterance"),
)
MAX_FILE_BYTES = 1 << 24  # of one text; a novel has a tenth
# Words of a text that are read, if nothing is said; and the fewest, for windows of five words.
LONGEST, SHORTEST = 256, 8
# Characters of a text that are looked at for each word of it that is read: no more can matter.
CHARACTERS_PER_WORD = 64


@dataclass(frozen=True)
class Table:
    """Texts in the lines of a table, and their labels, where it has any."""

    lines: list[int]
    texts: list[str]
    labels: list[str] | None
    column: str
    label: str | None
    skipped: list[str]


def is_raw(path: Path) -> bool:
    """Whether a file is one text, by its name."""
    return path.suffix.lower() == SUFFIX


def is_folder(path: Path) -> bool:
    """Whether it is a folder with class folders of ``.txt`` files. A note beside pictures, volumes
    or clips is none: in one class folder most of what is there must be texts.
    """
    if not path.is_dir():
        return False
    for folder in class_folders(path):
        files = [each for each in folder.iterdir() if not hidden(each)]
        if 2 * sum(map(is_raw, files)) > len(files):
            return True
    return False


def is_table(path: Path) -> bool:
    """Whether it is a table whose header has a column of texts, by its name."""
    if not path.is_file() or _suffix(path) not in TABLES:
        return False
    try:
        head = _head(path)
    except FaltungError:
        return False  # which its reader says in other words
    return len(head) > 1 and any(cell.lower() in COLUMNS for cell in head)


def open_folder(root: Path, options: Options) -> ArraySource:
    """A folder of texts (length,) with one subfolder per class; every file is one text.

    A file that is no text is skipped, or with ``strict`` an error. ValueError: a class without one.
    """
    _check_kind(options, "a folder of .txt files")
    found = walk(root, options)
    texts: list[str] = examine_all(found, _examine, "text")
    labels, classes = number_classes(found.words, printable(root.name), options.classes)
    names = [inside(path, root) for path in found.files]
    return _source(texts, labels, classes, names, options, found.skipped, printable(root.name))


def open_texts(path: Path, options: Options) -> ArraySource:
    """A table with a text and a label in each line. ValueError names the line."""
    where = printable(path.name)
    _check_kind(options, where)
    found = read_table(path, where, options.x, _asked(options), strict=options.strict)
    if found.labels is None:
        raise FaltungError(
            f"{where}: has no column of labels: call one label, or name it with label (--label)"
        )
    names = [f"line {line}" for line in found.lines]
    for line, label in zip(found.lines, found.labels, strict=True):
        if is_missing(label):
            raise FaltungError(f"{where}: line {line} has no label (column {found.label!r})")
    if options.targets == "numbers":
        made = _source(
            found.texts, _numbers(found, where), None, names, options, found.skipped, where
        )
    else:
        words = [as_word(float(w)) if is_number(w) else as_word(w) for w in found.labels]
        labels, classes = number_classes(words, where, options.classes, names)
        made = _source(found.texts, labels, classes, names, options, found.skipped, where)
    made.label, made.column = found.label, found.column
    return made


def read_file(path: Path, where: str) -> str:
    """The text of a file. ValueError: it is none."""
    try:
        return _examine(path, where)
    except Broken as error:
        raise FaltungError(f"{where}: {error}") from None


def read_table(
    path: Path,
    where: str,
    column: str | None = None,
    label: str | None = None,
    *,
    strict: bool = False,
) -> Table:
    """The texts of a table, and the labels if there are any. ``column``, ``label``: what these are
    called, if that is known. ValueError.
    """
    with opened(path, where) as file:
        rows = records(file, _suffix(path), where)
        number, head = next(rows, (0, [""]))
        at = _column(head, column, where)
        labels = _label(head, label, at, where)
        found = Table([], [], None if labels is None else [], head[at], None, [])
        for number, cells in rows:
            if len(cells) > len(head):
                raise FaltungError(
                    f"{where}: line {number} has {len(cells)} cells, the header {len(head)}: a "
                    'text with a separator in it needs quotes (")'
                )
            text = cells[at] if at < len(cells) else ""
            if not text:
                if strict:
                    raise FaltungError(f"{where}: line {number} has no text")
                found.skipped.append(f"line {number}: has no text")
                continue
            found.lines.append(number)
            found.texts.append(text)
            if found.labels is not None and labels is not None:
                found.labels.append(cells[labels] if labels < len(cells) else "")
    if not found.texts:
        raise FaltungError(f"{where}: contains no samples")
    return Table(
        found.lines,
        found.texts,
        found.labels,
        found.column,
        None if labels is None else head[labels],
        found.skipped,
    )


def encoded(
    texts: Sequence[str], words: tuple[str, ...], length: int | None = None
) -> npt.NDArray[Any]:
    """``tokenizer.encode``; of a long text no more is looked at than can be read of it."""
    most = CHARACTERS_PER_WORD * (LONGEST if length is None else length)
    return tokenizer.encode([text[:most] for text in texts], words, length)


def _source(
    texts: Sequence[str],
    targets: npt.NDArray[Any],
    classes: tuple[str, ...] | None,
    names: Sequence[str],
    options: Options,
    skipped: Sequence[str],
    where: str,
) -> ArraySource:
    """Texts as a source, of the length that is asked for, or else of the longest within reason."""
    space = options.space(1)
    words = options.words
    if words is None and options.like is not None:
        words = options.like.words
    if words is None:
        if options.like is not None:
            raise FaltungError(
                f"{where}: is text, but the network knows numbers of words alone: give these"
            )
        words = tokenizer.learn(texts)
    length = None if space is None else space[0]
    if options.like is not None:
        length = options.like.shape[0]
    x = encoded(texts, words, length)
    if length is None:
        wide = min(max(x.shape[1], SHORTEST), LONGEST)
        x = np.pad(x[:, :wide], ((0, 0), (0, wide - min(wide, x.shape[1]))))
    made = ArraySource(
        x,
        targets,
        kind="text",
        classes=classes,
        names=names,
        skipped=skipped,
        partial=options.classes is not None,
        where=f"{where}: ",
    )
    made.words = words
    return made


def _examine(path: Path, where: str) -> str:
    """The text of a file. Broken: it is none, or empty."""
    try:
        length = regular(path, where)
    except FaltungError as error:
        raise Broken(str(error).removeprefix(f"{where}: ")) from None
    if not is_raw(path):
        raise Broken(f"is no {SUFFIX} file")
    if length > MAX_FILE_BYTES:
        raise Broken(f"has {length:,} bytes; a text has at most {MAX_FILE_BYTES:,}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Broken(f"is not UTF-8 text, at byte {error.start}") from None
    if "\0" in text:
        raise Broken("is not text: it has bytes of 0 in it")
    if not text.strip():
        raise Broken("is empty")
    return text


def _check_kind(options: Options, what: str) -> None:
    if options.kind not in (None, "text"):
        raise FaltungError(f"kind={options.kind!r}: {what} holds text")


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _head(path: Path) -> list[str]:
    """The cells of the first line. ValueError."""
    where = printable(path.name)
    with opened(path, where) as file:
        return next(records(file, _suffix(path), where), (0, [""]))[1]


def _asked(options: Options) -> str | None:
    if options.label is None and options.like is not None:
        return options.like.label
    return options.label


def _column(head: Sequence[str], asked: str | None, where: str) -> int:
    """Where the texts are. ValueError: that is not known."""
    if asked is not None and asked in head:
        return list(head).index(asked)
    if asked is not None:
        raise FaltungError(
            f"x={show(asked)}: {where} has no such column; it has {listing(list(head))}"
        )
    known = [i for i, cell in enumerate(head) if cell.lower() in COLUMNS]
    if len(known) != 1:
        others = [i for i, cell in enumerate(head) if cell.lower() not in (*LABELS, WEAK_LABEL)]
        known = others if not known and len(others) == 1 else known
    if len(known) != 1:
        raise FaltungError(
            f"{where}: which column holds the texts is not known: it has {listing(list(head))}; "
            "call it text, or name it with x (--x)"
        )
    return known[0]


def _label(head: Sequence[str], asked: str | None, text: int, where: str) -> int | None:
    """Where the labels are; None: there are none. ValueError: there is no such column."""
    lower = [cell.lower() for cell in head]
    if asked is not None and asked in head:
        return list(head).index(asked)
    for name in (*LABELS, WEAK_LABEL):
        if name in lower and lower.index(name) != text:
            return lower.index(name)
    others = [i for i in range(len(head)) if i != text]
    return others[0] if len(others) == 1 and asked is None else None


def _numbers(found: Table, where: str) -> npt.NDArray[Any]:
    """Labels as numbers to be estimated. ValueError: one is none."""
    assert found.labels is not None
    for line, label in zip(found.lines, found.labels, strict=True):
        if not is_number(label):
            raise FaltungError(
                f"{where}: line {line}: the label '{printable(label)}' is not a number"
            )
    return np.array([float(label) for label in found.labels])
