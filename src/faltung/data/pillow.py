"""Pictures that Pillow reads, and where it would keep 8 bits of 16, how all of them are got.

A picture of 8 bits stays a picture of Pillow's until its channels and size are known. In a PNG of
16-bit colour Pillow unpacks all bytes but keeps the upper of every two: it is asked twice, the
second time as if their order were the other way round. Other formats of more than 8 bits are left
to ``netpbm.py`` and ``deep.py``.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.data import deep, heif, netpbm
from faltung.data.folder import Broken
from faltung.data.layers import DEEP, Layers, other_channels, turned
from faltung.data.limits import needs
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

# Pillow knows other formats, some of which start other programs (EPS) or are not pictures.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "AVIF", "JPEG2000", "HEIF")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
CLEAR = ("RGBA", "LA", "PA")
ORIENTATION = 0x0112  # EXIF
# Raw modes of PNG with 16 bits: the mode that gives the bytes which the first leaves out.
LOWER_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}


@dataclass(frozen=True)
class EightBits:
    """A picture of 8 bits a value, which Pillow has decoded and turned."""

    image: "Image.Image"
    grey: bool
    white = 255.0
    convertible = True

    @property
    def space(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    @property
    def channels(self) -> int:
        return 1 if self.grey else 3

    def arranged(self, channels: int, space: tuple[int, ...] | None) -> npt.NDArray[np.uint8]:
        """uint8 (channels, *space). ValueError: it cannot have as many channels."""
        from PIL import Image, ImageOps

        if channels not in MODES:
            raise other_channels(self.channels, channels)
        flat = _eight(self.image, channels)
        if space is not None and space != self.space:
            height, width = space
            flat = ImageOps.fit(flat, (width, height), Image.Resampling.BILINEAR)
        values = np.asarray(flat).reshape(flat.height, flat.width, channels)
        return values.transpose(2, 0, 1)


def load(path: Path, where: str, near: tuple[int, ...] | None) -> EightBits | Layers:
    """A decoded picture. ``near``: the size to which it will be scaled, if any.

    Broken: it cannot be read. ValueError: a decompression bomb.
    """
    from PIL import ImageOps

    with path.open("rb") as file:
        numbers = netpbm.read_header(file)
        if numbers is not None:
            check_pixels(numbers.space, where)
            return netpbm.read(file, numbers)
        packed = deep.read_header(file)
        if packed is not None:
            check_pixels(packed.space, where)
            return deep.read(file, packed, _turn_of(file, packed, where))
        with opened(file, where) as image:
            if image.format == "PNG":
                image.verify()  # the check sums; after that it must be opened again
        with opened(file, where) as image:
            turn = _orientation(image)
            if image.format == "PNG" and "16B" in _raw_mode(image):
                return _deep_png(file, image, where, turn)
            if near is not None:  # a JPEG may be decoded at 1/2, 1/4 or 1/8, to twice the size
                image.draft(None, (2 * max(near),) * 2)
            image.load()
            seen = ImageOps.exif_transpose(image) if turn != 1 else image.copy()
            return EightBits(_plain(seen), image.mode in GREY or _grey_palette(image))


# Pillow -------------------------------------------------------------------------------------------


def pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise needs("train", "Pillow", "a folder of pictures") from None
    Image.init()  # all formats, not only the five most common
    return Image


@contextmanager
def opened(file: IO[bytes], where: str) -> "Iterator[Image.Image]":
    """A picture, with only its header read. ValueError: larger than Pillow's limit."""
    image_module = pillow()
    most = image_module.MAX_IMAGE_PIXELS
    heif.plug_in(file, image_module)
    file.seek(0)
    known = [name for name in FORMATS if name in image_module.OPEN]
    try:
        image = image_module.open(file, formats=known)
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        raise FaltungError(f"{where}: has over {most:,} pixels: a decompression bomb?") from None
    except image_module.UnidentifiedImageError:
        raise Broken(f"is no picture ({', '.join(known)})") from None
    with image:  # the file stays open, it is ours
        check_pixels(image.size[::-1], where)
        yield image


def check_pixels(space: tuple[int, int], where: str) -> None:
    """ValueError: more pixels than Pillow's limit."""
    most = pillow().MAX_IMAGE_PIXELS
    if most is not None and space[0] * space[1] > most:
        raise FaltungError(
            f"{where}: {space[0]}x{space[1]} is over {most:,} pixels: a decompression bomb?"
        )


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation of a picture, 1 to 8. Pillow applies that of a TIFF itself; a PNG that
    has it after its pixels is read as it is.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the picture may be fine even if its EXIF is not
        return 1
    return turn if turn in range(1, 9) else 1


def _turn_of(file: IO[bytes], packed: deep.Header, where: str) -> int:
    """The orientation of a picture that Pillow does not decode, and of a JPEG not even opens."""
    if packed.kind != "jpeg":
        with opened(file, where) as image:
            return _orientation(image)
    exif = pillow().Exif()
    try:
        exif.load(packed.exif)
        turn = exif.get(ORIENTATION, 1)
    except Exception:
        return 1
    return turn if turn in range(1, 9) else 1


def _grey_palette(image: "Image.Image") -> bool:
    """Whether a palette has only greys in it, as in most GIFs of grey pictures."""
    if image.mode != "P" or image.palette is None:
        return False
    order, colours = image.palette.getdata()
    if order == "RGB;L":  # in a TIFF, all reds first
        third = len(colours) // 3
        return colours[:third] == colours[third : 2 * third] == colours[2 * third :]
    if order not in ("RGB", "BGR", "RGBX", "BGRX", "RGBA"):
        return False
    red, green, blue = (colours[i :: len(order)] for i in range(3))
    return red == green == blue


def _plain(image: "Image.Image") -> "Image.Image":
    """A picture in a mode that every other can be made from. Broken: it is in none of 8 bits."""
    aside = {"La": "LA", "RGBa": "RGBA", "LAB": "RGB", "HSV": "RGB"}.get(image.mode)
    plain = image if aside is None else image.convert(aside)
    if plain.mode[0] in "IF":
        raise Broken(f"is in Pillow's mode {image.mode}, which is not read")
    corner = plain.crop((0, 0, 1, 1))
    for channels in MODES:  # what cannot be done to a corner is known before it must be
        _eight(corner, channels)
    return plain


def _eight(image: "Image.Image", channels: int) -> "Image.Image":
    """8-bit values in this many channels."""
    from PIL import Image

    clear = "transparency" in image.info or image.mode in CLEAR
    if clear and channels != 4:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


# More than 8 bits ---------------------------------------------------------------------------------


def _raw_mode(image: Any) -> str:
    args = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _deep_png(file: IO[bytes], image: "Image.Image", where: str, turn: int) -> Layers:
    """A PNG of 16 bits a value, whole."""
    raw, key = _raw_mode(image), image.info.get("transparency")
    values: npt.NDArray[Any]
    if raw == "I;16B":
        values = np.asarray(image).astype(np.uint16)[np.newaxis]
    elif raw == "LA;16B":  # four bytes a pixel, as they are
        values = _unpacked(image, "RGBA").reshape(*image.size[::-1], 4).view(">u2")
        values = values.transpose(2, 0, 1).astype(np.uint16)
    elif raw in LOWER_BYTES:
        high = _unpacked(image, raw).astype(np.uint16)
        with opened(file, where) as again:
            low = _unpacked(again, LOWER_BYTES[raw])
        values = (high << 8 | low).transpose(2, 0, 1)
    else:
        raise Broken(f"has 16 bits a value in an order ({raw}) that this Pillow does not name")
    clear = raw[:2] == "LA" or raw[:4] == "RGBA"
    if not clear and key is not None:
        wanted = np.array(key, np.uint16).reshape(-1, 1, 1)
        seen = (values != wanted).any(0, keepdims=True)
        values, clear = np.concatenate([values, seen * np.uint16(DEEP)]), True
    grey = len(values) - clear == 1
    meaning: Any = "grey" if grey else "colour"
    return Layers(turned(values, turn), DEEP, meaning, "straight" if clear else None)


def _unpacked(image: Any, raw: str) -> npt.NDArray[np.uint8]:
    """The bytes of a picture, read as if they were stored in this raw mode."""
    if len(image.tile) != 1:
        raise Broken("has 16 bits a value and no pixels")
    image.tile = [(*image.tile[0][:3], raw)]
    return np.asarray(image)
