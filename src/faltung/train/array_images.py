"""Arrays as images: inputs, filters and feature maps, alone, in a grid, or under a heat map.

Every array is (channels, *space), as samples and filters are. A series is drawn as curves, or with
many channels as an image with one row per channel; of a volume the middle slice is shown. One
channel is grey, three are red, green and blue, two or four are shown next to each other, and of
other numbers the mean. Images are PNG, written by Pillow.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.geometry.errors import FaltungError
from faltung.train.curves import unit
from faltung.train.grad_cam import interpolated

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]  # (height, width, 3)

SERIES = 144, 64  # width and height of a drawn series
_NEXT_TO_EACH_OTHER = (2, 4)  # channels
_OVERSAMPLING = 3  # a series is drawn this many times larger, then reduced, for smooth lines
# Curves on white, distinguishable for the colour-blind too (Okabe and Ito, 2008).
_CURVES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (0, 0, 0))
# Below zero, zero, above: dark blue, white, dark red.
SIGNED = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))
# From cold to hot, each lighter than the one before it.
HEAT = ((40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39))
_STRONGEST = 0.65  # opacity of the hottest place


# One picture --------------------------------------------------------------------------------------


def picture(array: npt.ArrayLike, *, signed: bool = False) -> Pixels:
    """(channels, *space) as (height, width, 3), one pixel per entry.

    ``signed``: for values around zero, such as filters: one channel in blue, white and red.
    Otherwise the least is black and the largest white; uint8 is shown as it is. ValueError if the
    array is empty.
    """
    values = np.asarray(array)
    if values.ndim < 2 or not values.size:
        raise FaltungError(f"array.shape={values.shape}: must be (channels, *space), not empty")
    if is_series(values):
        return plot(values)
    values = middle(values[np.newaxis] if values.ndim == 2 else values)
    if values.shape[0] in _NEXT_TO_EACH_OTHER:
        return _grid([_planes(v[np.newaxis], signed) for v in values], len(values), 1)[..., :3]
    if values.shape[0] not in (1, 3):
        values = values.mean(0, keepdims=True, dtype=np.float64)
    return _planes(values, signed)


def is_series(values: Array) -> bool:
    """Whether an array is (channels, length) and drawn as curves."""
    return values.ndim == 2 and len(values) <= len(_CURVES)


def middle(values: Array) -> Array:
    """The slice in the middle of every axis of space but the last two."""
    while values.ndim > 3:
        values = values[:, values.shape[1] // 2]
    return values


def _planes(values: Array, signed: bool) -> Pixels:
    """(1 or 3, height, width) as pixels."""
    if values.dtype != np.uint8:
        level = _level(values, signed)
        if signed and len(level) == 1:
            return colours(level[0], SIGNED)
        values = np.rint(255 * level).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values.transpose(1, 2, 0), (*values.shape[1:], 3)))


def _level(values: Array, signed: bool) -> npt.NDArray[np.float64]:
    """Values scaled to 0 to 1; ``signed``: zero becomes 1/2. What is not finite counts as zero."""
    level = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = np.abs(level).max()
    if largest:
        level /= largest  # so that no difference overflows
    if signed:
        return (level + 1) / 2
    low, high = level.min(), level.max()
    return (level - low) / (high - low) if high > low else np.full_like(level, 0.5)


def colours(level: npt.NDArray[np.float64], table: Sequence[tuple[int, int, int]]) -> Pixels:
    """Levels from 0 to 1 as colours, interpolated in a table."""
    at = np.linspace(0, 1, len(table))
    channels = [np.interp(level, at, column) for column in zip(*table, strict=True)]
    made: Pixels = np.rint(np.stack(channels, -1)).astype(np.uint8)
    return made


def plot(channels: npt.ArrayLike, heat: npt.ArrayLike | None = None) -> Pixels:
    """A series (channels, length) as curves on white, or on the colours of ``heat`` (length,)."""
    pillow = _pillow()
    from PIL import ImageDraw

    width, height = (size * _OVERSAMPLING for size in SERIES)
    ground = np.full((height, width, 3), 255, np.uint8)
    if heat is not None:
        ground = _mixed(ground, np.broadcast_to(_resized(heat, (width,)), (height, width)))
    image = pillow.fromarray(ground)
    pen = ImageDraw.Draw(image)
    places = unit(channels, SERIES[0])
    length = places.shape[1]
    xs = np.linspace(0.03, 0.97, length) * width if length > 1 else np.array([0.2, 0.8]) * width
    for i, series in enumerate(places):
        ys = (0.93 - 0.86 * series) * height
        ys = ys if length > 1 else np.repeat(ys, 2)
        colour = _CURVES[i % len(_CURVES)]
        pen.line(list(zip(xs, ys, strict=True)), fill=colour, width=_OVERSAMPLING + 1)
    return np.asarray(image.resize(SERIES, pillow.Resampling.BOX))


# A grid -------------------------------------------------------------------------------------------


def tile_images(
    arrays: Sequence[npt.ArrayLike],
    *,
    columns: int | None = None,
    size: int = 64,
    signed: bool = False,
) -> bytes:
    """PNG of a grid of ``picture``s with transparent gaps.

    ``columns``: by default as many as make the grid square; ``size``: small images are enlarged to
    about this many pixels, by a whole factor, with sharp edges.
    """
    if not len(arrays):
        raise FaltungError("arrays=[]: must hold at least one")
    tiles = [enlarged(picture(array, signed=signed), size) for array in arrays]
    return png(_grid(tiles, columns or math.ceil(math.sqrt(len(tiles))), 4))


def enlarged(pixels: Pixels, size: int) -> Pixels:
    """Every pixel as a square of pixels, so that the longer side is ``size`` or just less."""
    times = max(size // max(pixels.shape[:2]), 1)
    return pixels.repeat(times, 0).repeat(times, 1)


def reduced(pixels: Pixels, size: int) -> Pixels:
    """Reduced to ``size`` on the longer side, if it is larger."""
    height, width = pixels.shape[:2]
    if max(height, width) <= size:
        return pixels
    share = size / max(height, width)
    wanted = max(round(width * share), 1), max(round(height * share), 1)
    return np.asarray(_pillow().fromarray(pixels).resize(wanted, reducing_gap=2.0))


def _grid(tiles: Sequence[Pixels], columns: int, gap: int) -> Pixels:
    """Red, green, blue and opacity of images in rows, each at the upper left of its cell."""
    high, wide = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = max(min(columns, len(tiles)), 1)
    rows = -(-len(tiles) // columns)
    made = np.zeros((rows * (high + gap) - gap, columns * (wide + gap) - gap, 4), np.uint8)
    for n, tile in enumerate(tiles):
        y, x = n // columns * (high + gap), n % columns * (wide + gap)
        place = made[y : y + tile.shape[0], x : x + tile.shape[1]]
        place[..., :3], place[..., 3] = tile, 255
    return made


# A heat map ---------------------------------------------------------------------------------------


def overlay(array: npt.ArrayLike, heat: npt.ArrayLike, *, size: int = 256) -> bytes:
    """PNG of an input (channels, *space) under the colours of a heat map, such as Grad-CAM.

    ``heat``: as many axes as space, of any size, resized to the input by linear interpolation;
    values up to zero leave the image as it is. Of a volume the hottest slice is shown. ``size``: as
    for ``tile_images``.
    """
    return png(overlaid(array, heat, size))


def overlaid(array: npt.ArrayLike, heat: npt.ArrayLike, size: int) -> Pixels:
    """The pixels of ``overlay``."""
    values, warm = np.asarray(array), np.asarray(heat, np.float64)
    if warm.ndim != values.ndim - 1 or not warm.size:
        raise FaltungError(
            f"heat.shape={warm.shape}: must have the axes of space of {values.shape}"
        )
    if is_series(values):
        return enlarged(plot(values, warm), size)
    if values.ndim == 2:  # a row for each channel, all under the same heat
        values, warm = values[np.newaxis], np.broadcast_to(warm, (len(values), len(warm)))
    while values.ndim > 3:
        warm = interpolated(warm, values.shape[1], 0)
        hottest = int(np.nan_to_num(warm).reshape(len(warm), -1).max(1).argmax())
        values, warm = values[:, hottest], warm[hottest]
    pixels = enlarged(picture(values), size)
    return _mixed(pixels, _resized(warm, pixels.shape[:2]))


def _mixed(pixels: Pixels, warm: npt.NDArray[np.float64]) -> Pixels:
    """Colours over pixels, more opaque where it is hotter."""
    cover = _STRONGEST * warm[..., np.newaxis]
    return np.rint(pixels * (1 - cover) + colours(warm, HEAT) * cover).astype(np.uint8)


def _resized(heat: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """A heat map resized, from 0 to 1."""
    warm = np.nan_to_num(np.asarray(heat, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    warm = np.maximum(warm, 0)
    for axis, size in enumerate(shape):
        warm = interpolated(warm, size, axis)
    return warm / (warm.max() or 1.0)


# PNG ----------------------------------------------------------------------------------------------


def _pillow() -> Any:
    """Pillow's module Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("PIL", "train") from error
    return Image


def png(pixels: Pixels) -> bytes:
    """(height, width, 3), or 4 with opacity, as the bytes of a PNG file; grey ones as grey."""
    if pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    made = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(pixels)).save(made, "PNG")
    return made.getvalue()
