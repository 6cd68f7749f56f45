"""The format ``.ts`` of the UEA and UCR archives: series of one or several channels, and labels.

Format (A. Bagnall et al., "The UEA multivariate time series classification archive", 2018, and the
package aeon): lines of ``@name value``, then ``@data``; then a sample on each line, its channels
and at last its label separated by colons, values by commas. ``#`` and ``%`` begin comments.
"""

from collections.abc import Sequence
from typing import TextIO

import numpy as np

from faltung.data.names import listing, printable
from faltung.data.text_lines import (
    NUMBER,
    Memory,
    Values,
    as_line,
    not_a_number,
    unpadded,
)
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Series:
    """Samples (channels, length), the line of each, and their labels if there are any;
    ``estimated``: these are numbers to be estimated.
    """

    lines: Sequence[int]
    labels: Sequence[str | float] | None
    rows: Sequence[Values]
    estimated: bool = False


@dataclass
class _Told:
    """What the lines before ``@data`` tell, as far as it decides anything."""

    labelled: bool | None = None  # None: nothing said
    classes: tuple[str, ...] = ()
    estimated: bool = False
    channels: int | None = None
    length: int | None = None
    equal: bool = False


def read_ts(file: TextIO, where: str, memory: Memory) -> Series:
    """The samples of a file. ValueError: the line that is wrong, or not as the header says."""
    told, begin = _header(file, where)
    lines: list[int] = []
    labels: list[str | float] = []
    rows: list[Values] = []
    for number, line in enumerate(file, begin + 1):
        text = line.strip()
        if not text or text[0] in "#%":
            continue
        here = f"{where}: line {number}"
        parts = [part.strip() for part in text.split(":")]
        if told.labelled:
            labels.append(_label(parts.pop(), told, here))
        memory.add(text.count(",") + len(parts))
        lines.append(number)
        rows.append(_channels(parts, number, told, where))
    if not rows:
        raise FaltungError(f"{where}: contains no samples")
    return Series(lines, labels if told.labelled else None, rows, told.estimated)


def _header(file: TextIO, where: str) -> tuple[_Told, int]:
    """What is told up to ``@data``, and the number of that line."""
    told = _Told()
    for number, line in enumerate(file, 1):
        words = line.split()
        if not words or words[0][0] in "#%":
            continue
        here = f"{where}: line {number}"
        if not words[0].startswith("@"):
            raise FaltungError(
                f"{here}: a .ts file of series begins with lines such as '@classLabel true 1 2' "
                "and '@data'; for values alone use .csv"
            )
        name = words[0][1:].lower()
        if name == "data":
            if told.labelled is None:
                raise FaltungError(
                    f"{here}: neither @classLabel nor @targetLabel is told: add '@classLabel true' "
                    "and the classes, or '@classLabel false' for series without labels"
                )
            return told, number
        _tell(told, name, words[1:], here)
    raise FaltungError(f"{where}: has no line '@data'")


def _tell(told: _Told, name: str, words: Sequence[str], here: str) -> None:
    """One line of the header; others, such as ``@problemName``, decide nothing."""
    if name in ("timestamps", "univariate", "equallength", "classlabel", "targetlabel"):
        said = words[0].lower() if words else ""
        if said not in ("true", "false"):
            raise FaltungError(f"{here}: @{name} must be true or false")
        true = said == "true"
    if name == "timestamps" and true:
        raise FaltungError(
            f"{here}: @timeStamps true: values with times are not read; bring them to equal steps, "
            "and write the values alone"
        )
    if name == "univariate" and true:
        told.channels = 1
    if name == "equallength":
        told.equal = true
    if name in ("dimensions", "dimension", "serieslength"):
        if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
            raise FaltungError(f"{here}: @{name} must be a whole number")
        if name == "serieslength":
            told.length = int(words[0][:9])
        else:
            told.channels = int(words[0][:9])
    if name in ("classlabel", "targetlabel"):
        told.labelled = told.labelled or true
        told.estimated = told.estimated or (true and name == "targetlabel")
        told.classes = told.classes if name == "targetlabel" else tuple(words[1:])


def _label(word: str, told: _Told, here: str) -> str | float:
    if told.estimated:
        if not NUMBER.fullmatch(word) or not np.isfinite(float(word)):
            raise FaltungError(f"{here}: the target '{printable(word)}' is not a number")
        return float(word)
    if not word or word == "?":
        raise FaltungError(f"{here} has no label: add it after the last colon")
    if told.classes and word not in told.classes:
        raise FaltungError(
            f"{here}: the label '{printable(word)}' is none of @classLabel: {listing(told.classes)}"
        )
    return word


def _channels(parts: Sequence[str], number: int, told: _Told, where: str) -> Values:
    """(channels, length) of a sample without its padding."""
    here = f"{where}: line {number}"
    if len(parts) != (told.channels or len(parts)) or not parts:
        raise FaltungError(
            f"{here} has {len(parts)} channels, but @dimensions or @univariate says "
            f"{told.channels or 1}"
        )
    rows, cells = [], 0
    for i, part in enumerate(parts):
        line = as_line(number, [cell.strip() for cell in part.split(",")])
        if line.words:
            raise not_a_number(line, min(line.words), None, f"{where}, channel {i + 1}")
        cells = max(cells, len(line))
        rows.append(unpadded(line.values, f"{here}, channel {i + 1}"))
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise FaltungError(
                f"{here}: channel {i + 1} has {len(row)} values, channel 1 has {len(rows[0])}: a "
                "sample's channels must be equally long"
            )
    if told.equal and told.length is not None and cells != told.length:
        raise FaltungError(f"{here} has {cells} values, but @seriesLength says {told.length}")
    return np.stack(rows)
