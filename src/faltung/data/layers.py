"""A decoded picture or volume as an array: its channels, transparency, turning, size and units.

Numbers stay as they are stored. ``white`` is the number that stands for white: 255 or 65535, and
None where numbers have units of their own (floats and signed numbers: heights, densities).
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data.resize import resize
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]
# Products of two 16-bit numbers, and a half of one of them for rounding, fit into 32 bits.
# The shares of red, green and blue in grey (ITU-R BT.601), as Pillow has them, of 65536.
LUMA = (19595, 38470, 7471)
DEEP = 65535.0  # white in 16 bits


@dataclass(frozen=True)
class Layers:
    """Channels of one size. ``values``: (channels, height, width) or (channels, depth, height,
    width), uint8, uint16 or float32; the last channel is transparency if there is ``alpha``, by
    which colours are already multiplied if it is "associated".
    """

    values: Array
    white: float | None
    meaning: Literal["grey", "colour", "data"]
    alpha: Literal["straight", "associated"] | None = None

    @property
    def space(self) -> tuple[int, ...]:
        return self.values.shape[1:]

    @property
    def channels(self) -> int:
        """How many there are if nothing else is asked for; transparency is not one."""
        return len(self.values) - (self.alpha is not None)

    @property
    def convertible(self) -> bool:
        """Whether it is grey or colour and nothing more, so that one can become the other."""
        return self.meaning != "data" and self.channels <= 3

    def arranged(self, channels: int, space: tuple[int, ...] | None) -> Array:
        """(channels, *space). ValueError: it cannot have as many channels."""
        values = self._as_channels(channels)
        if space is None or space == self.space:
            return values
        return resize(values, space) if len(space) == 3 else _fit(values, space)

    def _as_channels(self, channels: int) -> Array:
        if channels == self.channels and not self.convertible:
            return self.values
        if self.meaning == "data" or channels not in (1, 3, 4):
            raise other_channels(self.channels, channels)
        if channels == 4:
            colours, alpha = self._apart()
            return np.concatenate([_three(colours), alpha])
        colours = self._on_white()[:3]
        return _three(colours) if channels == 3 else _one(colours)

    def _apart(self) -> tuple[Array, Array]:
        """Colours and transparency, which is separate from them."""
        colours, white = self.values[: self.channels][:3], self.white or 1.0
        if self.alpha is None:
            return colours, np.full_like(colours[:1], white)
        alpha = self.values[-1:]
        if self.alpha == "associated":
            most, through = np.uint32(white), np.maximum(alpha, 1).astype(np.uint32)
            wide = (colours.astype(np.uint32) * most + through // 2) // through
            colours = np.minimum(wide, most).astype(colours.dtype)
        return colours, alpha

    def _on_white(self) -> Array:
        """The colours, blended with white where they are transparent."""
        if self.alpha is None:
            return self.values
        assert self.white is not None
        white = np.uint32(self.white)
        colours, alpha = self.values[:-1].astype(np.uint32), self.values[-1:].astype(np.uint32)
        if self.alpha == "straight":
            colours = (colours * alpha + white // 2) // white
        flat = np.minimum(colours + (white - alpha), white)
        return flat.astype(self.values.dtype)


def other_channels(there: int, wanted: int) -> FaltungError:
    """The error for a file that cannot have as many channels as are wanted."""
    return FaltungError(f"has {there} channel{'s' if there != 1 else ''}, must have {wanted}")


def _three(colours: Array) -> Array:
    return np.repeat(colours, 3, axis=0) if len(colours) == 1 else colours


def _one(colours: Array) -> Array:
    """Grey from colours: of whole numbers rounded."""
    if len(colours) == 1:
        return colours
    if colours.dtype.kind == "f":
        wide = (colour * (share / 65536) for colour, share in zip(colours, LUMA, strict=True))
        return np.asarray(sum(wide), np.float32)[np.newaxis]
    total = np.full(colours.shape[1:], 1 << 15, np.uint32)
    for colour, share in zip(colours, LUMA, strict=True):
        total += colour * np.uint32(share)
    return (total >> 16).astype(colours.dtype)[np.newaxis]


def _fit(values: Array, space: tuple[int, ...]) -> Array:
    """Each channel scaled until it covers a size, and its centre cut out, by Pillow: 8 bits are
    rounded to 8 bits, as those of a picture are, all else becomes float32.
    """
    from PIL import Image, ImageOps

    kept = values if values.dtype == np.uint8 else values.astype(np.float32)
    height, width = space
    return np.stack(
        [
            np.asarray(
                ImageOps.fit(Image.fromarray(one), (width, height), Image.Resampling.BILINEAR)
            )
            for one in np.ascontiguousarray(kept)
        ]
    )


def turned(values: Array, turn: int) -> Array:
    """The last two axes as they are to be seen, from an orientation of 1 to 8 (EXIF)."""
    if turn in (3, 4, 6, 7):
        values = values[..., ::-1, :]
    if turn in (2, 3, 7, 8):
        values = values[..., ::-1]
    if turn in (5, 6, 7, 8):
        values = values.swapaxes(-1, -2)
    return np.ascontiguousarray(values)


def same_bits(values: Array, bits: int) -> Array:
    """Whole numbers of other than 8 or 16 bits, stretched to the next of these: white stays white.

    The division is exact for 1, 2 and 4 bits and rounded for all others, so that no two numbers
    become the same.
    """
    own, wide = (1 << bits) - 1, 255 if bits <= 8 else 65535
    if own == wide:
        return values
    exact = np.minimum(values, own).astype(np.uint32) * np.uint32(2 * wide) + np.uint32(own)
    return (exact // np.uint32(2 * own)).astype(np.uint8 if bits <= 8 else np.uint16)


def with_white(values: Array, own: float | None, white: float | None) -> Array:
    """Stored numbers of which ``own`` is white, as numbers of which ``white`` is.

    With ``white=None`` they stay as they are. ValueError: numbers without a white cannot be
    brought to one.
    """
    if white is None or white == own:
        return values
    if own is None:
        raise FaltungError(
            "has floats or signed numbers, of which none is white; what is wanted are pictures of "
            "8 or 16 bits"
        )
    if (own, white) == (255.0, 65535.0):
        return values * np.float32(257) if values.dtype.kind == "f" else values.astype("u2") * 257
    if white == 1:
        return np.divide(values, np.float32(own), dtype=np.float32)
    if (own, white) == (65535.0, 255.0):
        return np.divide(values, np.float32(257), dtype=np.float32)
    return (values.astype(np.float64) * white / own).astype(np.float32)
