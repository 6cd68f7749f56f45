"""The maps of a layer as pictures on one scale: what is zero everywhere looks unlike the rest.

Of a picture or a volume (its middle slice) each map is a tile; of a series or text each map is a
row; numbers without positions are cells, row by row. Tiles and cells come in strips, which a page
puts side by side where it is wide enough. All are PNG with a palette.
"""

import base64
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.geometry.record import dataclass
from faltung.train.array_images import HEAT, SIGNED, colours, middle

Array = npt.NDArray[Any]
Index = npt.NDArray[np.uint8]  # (height, width), entries of the palette

_SHADES = 61  # of a scale; odd, so that zero has one where values have both signs
_DEAD, _GAP = _SHADES, _SHADES + 1  # further entries of the palette
_DEAD_COLOUR, _GAP_COLOUR = (128, 128, 128), (255, 255, 255)  # of which the gap is transparent
_GAP_PIXELS = 4
_CELL, _CELLS = 16, 32  # pixels of a cell; cells of a strip
_LONGEST = 512  # entries of a row that are shown of a long series
_MANY = 16  # times more numbers without positions are shown than maps


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as a data URI, and its size on a page."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """The maps of a layer. low, high: the ends of the scale, ``signed`` if zero is in its middle.
    shown, maps: how many there are. dead: which of all are zero everywhere. unit: what a map is
    called. rows: whether a picture is as wide as the page.
    """

    pictures: tuple[Picture, ...]
    low: float
    high: float
    signed: bool
    shown: int
    maps: int
    dead: tuple[int, ...]
    unit: str
    rows: bool

    @property
    def bytes(self) -> int:
        return sum(len(picture.uri) for picture in self.pictures)


def sheet(
    maps: Array, *, most: int = 64, tile: int = 56, strip: int = 510, end: float | None = None
) -> Sheet:
    """Maps (C, *space) of one sample. most: how many are shown; tile: pixels of the longer side of
    each; strip: of several side by side; end: of the scale, by default the largest size of all.
    """
    values = np.nan_to_num(np.asarray(maps, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    flat = values.reshape(len(values), -1)
    unit = "maps" if flat.shape[1] > 1 else "numbers"
    dead = np.flatnonzero(~flat.any(1))
    largest = float(np.abs(flat).max(initial=0.0)) if end is None else end
    signed = bool(flat.min(initial=0.0) < 0)
    shown = values[: most if unit == "maps" else most * _MANY]

    def shaded(parts: Array) -> Index:
        index = _shades(parts, signed, largest)
        index[dead[dead < len(index)]] = _DEAD
        return index

    if unit == "numbers":
        drawn = list(_cells(shaded(shown.reshape(-1))))
    elif values.ndim == 2:
        drawn = [_rows(shaded(shrunk(shown, _LONGEST)))]
    else:
        drawn = list(_strips(shaded(shrunk(middle(shown), tile)), tile, strip))
    return Sheet(
        tuple(_picture(index, signed) for index in drawn),
        -largest if signed else 0.0,
        largest,
        signed,
        len(shown),
        len(values),
        tuple(map(int, dead)),
        unit,
        unit == "maps" and values.ndim == 2,
    )


def _shades(values: Array, signed: bool, largest: float) -> Index:
    """Values as entries of the palette: from 0 on, or where some are below, around zero."""
    level = values / (largest or 1.0)
    if signed:
        level = (level + 1) / 2
    return np.rint((_SHADES - 1) * np.clip(level, 0, 1)).astype(np.uint8)


def shrunk(values: Array, most: int) -> Array:
    """Means of neighbours, equally many along each axis of space, so that none is longer than
    ``most``.
    """
    step = math.ceil(max(values.shape[1:], default=1) / most)
    for axis in range(1, values.ndim if step > 1 else 1):
        starts = np.arange(0, values.shape[axis], step)
        counts = np.diff(np.append(starts, values.shape[axis])).astype(values.dtype)
        counts = counts.reshape(-1, *[1] * (values.ndim - 1 - axis))
        values = np.add.reduceat(values, starts, axis) / counts
    return values


def _cells(index: Index) -> Iterator[Index]:
    """Numbers (count,) as cells, in strips."""
    for start in range(0, len(index), _CELLS):
        yield index[start : start + _CELLS].repeat(_CELL)[np.newaxis].repeat(_CELL, 0)


def _rows(index: Index) -> Index:
    """Maps (count, length) below each other, as high as they can be read."""
    times = max(3, min(14, 180 // len(index)))
    wide = max(1, 2 * _LONGEST // index.shape[1])
    made = index.repeat(times, 0).repeat(wide, 1)
    if times > 4:
        made[times - 1 :: times] = _GAP
    return made


def _strips(index: Index, tile: int, strip: int) -> Iterator[Index]:
    """Maps (count, height, width) enlarged, in strips."""
    times = max(round(tile / max(index.shape[1:])), 1)
    index = index.repeat(times, 1).repeat(times, 2)
    gap = _GAP_PIXELS if len(index) > 1 else 0
    high, wide = index.shape[1:]
    columns = max(strip // (wide + gap), 1)
    for start in range(0, len(index), columns):
        some = index[start : start + columns]
        made = np.full((high + gap, len(some) * (wide + gap)), _GAP, np.uint8)
        for number, one in enumerate(some):
            left = number * (wide + gap)
            made[:high, left : left + wide] = one
        yield made


def _picture(index: Index, signed: bool) -> Picture:
    height, width = index.shape
    return Picture(_png(index, SIGNED if signed else HEAT), width, height)


def _png(index: Index, scale: Sequence[tuple[int, int, int]]) -> str:
    """Entries of the palette as a data URI."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("PIL", "train") from error
    image = Image.fromarray(index, "P")
    shades = colours(np.linspace(0, 1, _SHADES), scale)
    palette = np.concatenate([shades, [_DEAD_COLOUR, _GAP_COLOUR]]).astype(np.uint8)
    image.putpalette(palette.tobytes())
    made = io.BytesIO()
    image.save(made, "PNG", transparency=_GAP, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(made.getvalue()).decode()}"
