"""Pictures in files, by Pillow: headers are checked when a folder is opened, the rest when read.

Values are 0 (black) to 1 (white), from 8 or 16 bits. One channel if every file is grey, else three;
with ``channels=4`` also alpha. Otherwise transparent pixels are blended with white. The orientation
in EXIF is applied. Of an animation the first picture is read.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.data.folder import Broken, FileSource, Listing, examine_all, walk
from faltung.data.limits import complaints, described, needs
from faltung.data.names import inside
from faltung.data.options import Options
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

# Pillow knows other formats, some of which start other programs (EPS) or are not pictures.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112  # EXIF
DEEP = 65535.0  # white in 16 bits
JPEG_END, TAIL = b"\xff\xd9", 64


@dataclass(frozen=True)
class Facts:
    """The header of a picture. ``space``: (height, width), with its orientation applied."""

    space: tuple[int, int]
    grey: bool
    deep: bool


def matches(path: Path) -> bool:
    return path.is_dir()


def open_pictures(root: Path, options: Options) -> FileSource:
    """A folder of pictures (channels, height, width) with one subfolder per class.

    With ``size`` each is scaled until it covers that size, and its centre is cut out. ValueError:
    pictures of different sizes without ``size``, a class without a picture, a decompression bomb.
    """
    _pillow()
    if options.kind not in (None, "picture"):
        raise FaltungError(f"kind={options.kind!r}: a folder holds pictures or volumes")
    if options.channels not in (None, *MODES):
        raise FaltungError(f"channels={options.channels}: pictures have 1, 3 or 4")
    found = walk(root, options)
    with warnings.catch_warnings():  # of Pillow; bombs are refused here
        warnings.simplefilter("ignore")
        facts: list[Facts] = examine_all(found, examine, "picture")
    space = options.space(2) or _common(found, facts)
    channels = options.channels or (1 if all(fact.grey for fact in facts) else 3)
    deep = any(fact.deep for fact in facts)
    shape = (channels, *space)
    return FileSource(
        found,
        options,
        kind="picture",
        shape=shape,
        dtype=np.dtype(np.float32 if deep else np.uint8),
        decode=partial(decode, shape=shape, fit=options.size is not None, deep=deep),
    )


def examine(path: Path, where: str) -> Facts:
    """The header of a file, after a quick check that the file is complete.

    Broken: not a complete picture. ValueError: a decompression bomb.
    """
    try:
        with path.open("rb") as file, _opened(file, where) as image:
            turned = _orientation(image) >= 5
            if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
                raise Broken("has 32 bits a value; save such data as .npz")
            grey = image.mode in GREY or _grey_palette(image)
            if image.format in ("JPEG", "MPO"):
                file.seek(-min(TAIL, path.stat().st_size), 2)
                if JPEG_END not in file.read():
                    file.seek(0)
                    image.load()
            elif image.format == "PNG":
                image.verify()  # checks the checksums without unpacking
            else:
                image.load()
            width, height = image.size
            deep = image.mode.startswith("I")
            space = (width, height) if turned else (height, width)
            return Facts(space, grey, deep)
    except Broken:
        raise
    except Exception as error:  # see ``complaints``
        if str(error).startswith(where):
            raise
        raise Broken(_in_words(error)) from error


def decode(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool, deep: bool
) -> npt.NDArray[Any]:
    """A picture (channels, height, width): uint8, or float32 in 0..1 if ``deep``. ValueError."""
    from PIL import ImageOps

    channels, height, width = shape
    with complaints(where), path.open("rb") as file, _opened(file, where) as image:
        turn = _orientation(image)
        if fit:  # a JPEG may be decoded at 1/2, 1/4 or 1/8, to twice the size at least
            image.draft(None, (2 * max(height, width),) * 2)
        image.load()
        seen = ImageOps.exif_transpose(image) if turn != 1 else image
        flat = _sixteen(seen) if seen.mode.startswith("I") else _eight(seen, channels)
        if fit and flat.size != (width, height):
            flat = ImageOps.fit(flat, (width, height), _bilinear())
        if flat.size != (width, height):
            raise FaltungError(f"{where}: is {flat.height}x{flat.width}, must be {height}x{width}")
        values = np.asarray(flat)
    if flat.mode == "F":
        grey = np.divide(values, np.float32(DEEP), dtype=np.float32)
        values = np.stack([grey] * min(channels, 3) + [np.ones_like(grey)] * (channels == 4), -1)
    elif deep:
        values = np.divide(values, np.float32(255), dtype=np.float32)
    return values.reshape(height, width, channels).transpose(2, 0, 1)


# Pillow -------------------------------------------------------------------------------------------


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise needs("train", "Pillow", "a folder of pictures") from None
    return Image


@contextmanager
def _opened(file: IO[bytes], where: str) -> "Iterator[Image.Image]":
    """A picture, with only its header read. ValueError: larger than Pillow's limit."""
    image_module = _pillow()
    most = image_module.MAX_IMAGE_PIXELS
    try:
        image = image_module.open(file, formats=FORMATS)
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        raise FaltungError(f"{where}: has over {most:,} pixels: a decompression bomb?") from None
    with image:
        if most is not None and image.width * image.height > most:
            raise FaltungError(
                f"{where}: {image.height}x{image.width} is over {most:,} pixels: a decompression "
                "bomb?"
            )
        yield image


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


def _eight(image: "Image.Image", channels: int) -> "Image.Image":
    """8-bit values in this many channels."""
    from PIL import Image

    clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "La", "PA", "RGBa")
    if clear and channels != 4:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def _sixteen(image: "Image.Image") -> "Image.Image":
    """16-bit grey as floats, which Pillow scales without loss."""
    from PIL import Image

    return Image.fromarray(np.asarray(image).astype(np.float32))


def _bilinear() -> Any:
    from PIL import Image

    return Image.Resampling.BILINEAR


def _in_words(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return f"is no picture ({', '.join(FORMATS)})"
    return f"cannot be read, {described(error)}"


def _common(found: Listing, facts: Sequence[Facts]) -> tuple[int, int]:
    """The size of all pictures. ValueError: they have several."""
    sizes = Counter(fact.space for fact in facts)
    usual = sizes.most_common(1)[0][0]
    for path, fact in zip(found.files, facts, strict=True):
        if fact.space != usual:
            raise FaltungError(
                f"{inside(path, found.root)}: is {fact.space[0]}x{fact.space[1]}, most are "
                f"{usual[0]}x{usual[1]} ({len(sizes)} sizes in all); pass size=, e.g. "
                f"{usual[0]}x{usual[1]}, to scale every picture and cut out its centre"
            )
    return usual
