"""Weka's ARFF: a header of named attributes, then lines of their values, dense or sparse.

Format (I. H. Witten, E. Frank, "Data Mining", 2005; weka.sourceforge.net, "ARFF (stable)"). Numeric
attributes are values; the label is a nominal one. A relational attribute, as in the UEA archive,
holds a series of several channels, each on a line of its own within the quotes.

docs/decisions/text-files.md says why no library reads it. Tests compare with scipy.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np

from faltung.data.header import Header, as_names
from faltung.data.names import listing, printable
from faltung.data.text_lines import (
    NUMBER,
    Line,
    Memory,
    Values,
    as_line,
    is_missing,
    not_a_number,
    unpadded,
)
from faltung.data.ucr import Series
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# A value: in quotes, with \ before a character that would end them, or without.
_TOKEN = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,'"{}%]+)""", re.DOTALL)
# The values of a nominal attribute.
_LISTED = re.compile(r"""\{((?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"}])*)\}\s*(?:%.*)?$""")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_NUMERIC = ("numeric", "real", "integer")


@dataclass
class _Attribute:
    """``classes``: of a nominal one; ``inner``: how many values a relational one has."""

    name: str
    classes: tuple[str, ...] | None = None
    inner: int | None = None

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers: also those that are listed, such as {0, 1}."""
        if self.classes is None:
            return self.inner is None
        return all(NUMBER.fullmatch(word) for word in self.classes)


def read_arff(file: TextIO, where: str, memory: Memory) -> tuple[Header, Sequence[Line]] | Series:
    """The lines of a file under their header, or its series. ValueError: the line that is wrong."""
    numbered = enumerate(file, 1)
    attributes = _attributes(numbered, where)
    names = as_names([a.name for a in attributes], 0, where)
    if any(a.inner is not None for a in attributes):
        return _series(attributes, numbered, where, memory)
    lines = []
    for number, text in numbered:
        here = f"{where}: line {number}"
        cells = _cells(text, attributes, here)
        if cells is None:
            continue
        memory.add(len(cells))
        lines.append(_line(number, cells, attributes, here))
    if not lines:
        raise FaltungError(f"{where}: contains no samples")
    last = len(attributes) - 1
    return Header(0, names, last if attributes[last].classes is not None else None), lines


# Header -------------------------------------------------------------------------------------------


def _attributes(numbered: Iterator[tuple[int, str]], where: str) -> list[_Attribute]:
    """The attributes up to ``@data``."""
    found: list[_Attribute] = []
    relation: _Attribute | None = None  # that is open
    for number, text in numbered:
        text, here = text.strip(), f"{where}: line {number}"
        if not text or text.startswith("%"):
            continue
        word, _, rest = text.partition(" ") if " " in text else text.partition("\t")
        word = word.split("\t")[0].lower()
        rest = text[len(word) :].strip()
        if word == "@attribute":
            made = _attribute(rest, here)
            if relation is None:
                found.append(made)
                relation = made if made.inner is not None else None
            elif made.classes is not None or made.inner is not None:
                raise FaltungError(f"{here}: an attribute of a relation must be numeric")
            else:
                assert relation.inner is not None
                relation.inner += 1
        elif word == "@end":
            relation = None
        elif word == "@data":
            if not found or relation is not None:
                raise FaltungError(f"{here}: attributes are missing before @data")
            return found
        elif word != "@relation":
            raise FaltungError(
                f"{here}: '{printable(text)}' is not a line of an ARFF header, such as @relation, "
                "@attribute or @data"
            )
    raise FaltungError(f"{where}: has no line '@data'")


def _attribute(text: str, here: str) -> _Attribute:
    match = _TOKEN.match(text)
    if match is None:
        raise FaltungError(f"{here}: @attribute must have a name and a type")
    name, kind = _value(match).strip(), text[match.end() :].strip()
    if (listed := _LISTED.match(kind)) is not None:
        classes = tuple(_split(listed[1], here))
        if not classes:
            raise FaltungError(f"{here}: attribute {printable(name)!r} lists no values")
        return _Attribute(name, classes)
    word = kind.split()[0].lower() if kind else ""
    if word in _NUMERIC:
        return _Attribute(name)
    if word == "relational":
        return _Attribute(name, inner=0)
    raise FaltungError(
        f"{here}: attribute {printable(name)!r} is {printable(kind) or 'of no type'}; numeric and "
        "nominal ones are read: remove or convert it (in Weka: Remove, StringToNominal)"
    )


# Lines --------------------------------------------------------------------------------------------


def _cells(text: str, attributes: Sequence[_Attribute], here: str) -> list[str] | None:
    """The values of a line, of a sparse one all of them; None: it is blank or a comment."""
    text = text.strip()
    if not text or text.startswith("%"):
        return None
    if text.startswith("{"):
        return _sparse(text, attributes, here)
    cells = _split(text, here)
    if len(cells) != len(attributes):
        raise FaltungError(
            f"{here} has {len(cells)} values for {len(attributes)} attributes: quote values with "
            "blanks or commas"
        )
    return cells


def _sparse(text: str, attributes: Sequence[_Attribute], here: str) -> list[str]:
    """``{index value, ...}``: what is not there is 0, or the first of the listed values."""
    if not text.endswith("}"):
        raise FaltungError(f"{here}: a sparse line must end with }}; weights are not read")
    cells = [a.classes[0] if a.classes is not None else "0" for a in attributes]
    parts = _split(text[1:-1], here)
    told = set()
    for index, value in zip(parts[::2], parts[1::2], strict=False):
        place = int(index) if index.isascii() and index.isdigit() and len(index) < 9 else -1
        if not 0 <= place < len(cells) or place in told:
            raise FaltungError(
                f"{here}: the index '{printable(index)}' must be one of 0 to {len(cells) - 1}, once"
            )
        told.add(place)
        cells[place] = value
    if len(parts) % 2:
        raise FaltungError(f"{here}: a sparse line must have an index before each value")
    return cells


def _split(text: str, here: str) -> list[str]:
    """Values separated by commas or blanks, without quotes; ends at a comment."""
    values, at, due = [], 0, True  # due: a value must come, as after a comma
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] == "%":
            break
        elif text[at] == ",":
            if due:
                raise FaltungError(f"{here}: a value is missing: write ?")
            at, due = at + 1, True
        else:
            match = _TOKEN.match(text, at)
            if match is None:
                what = "weights of samples are not read" if text[at] == "{" else "a quote is open"
                raise FaltungError(
                    f"{here}: cannot be read from '{printable(text[at : at + 20])}': {what}"
                )
            values.append(_value(match))
            at, due = match.end(), False
    if due and values:
        raise FaltungError(f"{here}: a value is missing: write ?")
    return values


def _value(match: "re.Match[str]") -> str:
    if match[3] is not None:
        return match[3]
    quoted = match[1] if match[1] is not None else match[2]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), quoted, flags=re.DOTALL)


def _line(number: int, cells: Sequence[str], attributes: Sequence[_Attribute], here: str) -> Line:
    """Numbers and words; the values of nominal attributes must be among those that are listed."""
    for cell, attribute in zip(cells, attributes, strict=True):
        if attribute.classes is not None and cell != "?" and cell not in attribute.classes:
            raise FaltungError(
                f"{here}: '{printable(cell)}' is none of the values of {attribute.name!r}: "
                f"{listing(attribute.classes)}"
            )
    line = as_line(number, cells)
    for i, attribute in enumerate(attributes):
        if attribute.classes is not None and not attribute.numeric and cells[i] != "?":
            line.words[i] = cells[i]
            line.values[i] = np.nan
    return line


def _series(
    attributes: Sequence[_Attribute],
    numbered: Iterator[tuple[int, str]],
    where: str,
    memory: Memory,
) -> Series:
    """One relational attribute, and perhaps a label."""
    inner = [i for i, a in enumerate(attributes) if a.inner is not None]
    if len(inner) != 1 or len(attributes) > 2:
        raise FaltungError(
            f"{where}: a file with a relational attribute may have one other, the label; has "
            f"{listing([a.name for a in attributes])}"
        )
    place = inner[0]
    lines: list[int] = []
    labels: list[str | float] = []
    rows: list[Values] = []
    for number, text in numbered:
        here = f"{where}: line {number}"
        cells = _cells(text, attributes, here)
        if cells is None:
            continue
        memory.add(cells[place].count(",") + 1)
        rows.append(_channels(cells[place], attributes[place].inner or 0, number, where))
        lines.append(number)
        if len(cells) == 2:
            label = cells[1 - place]
            if is_missing(label) or label not in (attributes[1 - place].classes or (label,)):
                raise FaltungError(
                    f"{here}: '{printable(label)}' is none of the values of "
                    f"{attributes[1 - place].name!r}"
                )
            labels.append(label)
    if not rows:
        raise FaltungError(f"{where}: contains no samples")
    return Series(lines, labels if len(attributes) == 2 else None, rows)


def _channels(text: str, length: int, number: int, where: str) -> Values:
    """(channels, length) of the text of a relational attribute, a channel on each line."""
    rows = []
    for i, part in enumerate(text.strip().split("\n")):
        here = f"{where}: line {number}, channel {i + 1}"
        cells = _split(part, here)
        if len(cells) != length:
            raise FaltungError(f"{here} has {len(cells)} values for {length} attributes")
        line = as_line(number, cells)
        if line.words:
            raise not_a_number(line, min(line.words), None, f"{where}, channel {i + 1}")
        rows.append(unpadded(line.values, here))
    if len({len(row) for row in rows}) > 1:
        raise FaltungError(f"{where}: line {number}: its channels are not equally long")
    return np.stack(rows)
