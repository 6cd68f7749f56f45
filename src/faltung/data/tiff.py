"""TIFF files: microscopes' stacks, satellites' channels, floats and 16 bits, by tifffile.

What Pillow reads whole (one page of 8 bits, grey or in colour) is left to Pillow. Pages of one size
are a stack; what they are is said by ImageJ, by OME (``axes.py``), or else by the option ``kind``.
Other files that an OME file names are never opened.
"""

import io
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data import ifd, pillow
from faltung.data.axes import PAGES, Axes, claimed_pages, page_axes
from faltung.data.folder import Broken
from faltung.data.ifd import Page
from faltung.data.layers import DEEP, Layers, same_bits, turned
from faltung.data.limits import quiet
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
Meaning = Literal["grey", "colour", "data"]
# Numbers of TIFF: what 0 and the samples are, what numbers are, how they are packed.
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
PLAIN, JPEG = 1, 7
ASSOCIATED, STRAIGHT = 1, 2
FLAT = "is a picture, not a volume: it has no pages along its depth"
# Ways of packing that Pillow unpacks, and how many samples of 8 bits it reads of each kind, with
# which samples beyond the colours. Corel Draw writes 999 for alpha.
BY_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34676, 34677, 34925, 50000, 50001)
BY_SOME_PILLOWS = (34925, 50000, 50001)  # LZMA, Zstandard, WebP: as libtiff was built
EIGHT_BITS = {
    (MIN_IS_WHITE, 1): ((),),
    (MIN_IS_BLACK, 1): ((),),
    (MIN_IS_BLACK, 2): ((STRAIGHT,),),
    (RGB, 3): ((),),
    (RGB, 4): ((), (ASSOCIATED,), (STRAIGHT,), (999,)),
    (PALETTE, 1): ((),),
    (CMYK, 4): ((),),
    (YCBCR, 1): ((),),
    (YCBCR, 3): ((),),
    (LAB, 3): ((),),
}


def matches(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in ifd.MAGIC


def load(
    path: Path,
    where: str,
    near: tuple[int, ...] | None,
    kind: str | None,
    channels: int | None,
) -> pillow.EightBits | Layers:
    """A decoded picture or volume. ``kind`` and ``channels`` decide what its pages are, where the
    file does not say it.

    Broken: it cannot be read. ValueError: a decompression bomb.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        pages = ifd.read_pages(file, length)
    stack, times = _stack(pages)
    count = max(times, len(stack))
    if count == 1 and _is_plain(stack[0]):
        if kind == "volume":
            raise Broken(FLAT)
        try:
            return pillow.load(path, where, near)
        except FaltungError:
            raise
        except Exception:
            if stack[0].one(ifd.COMPRESSION, PLAIN) not in BY_SOME_PILLOWS:
                raise
    for page in stack:
        pillow.check_pixels(page.space, where)
        ifd.check_page(page, length, times)
    ifd.check_total(count * stack[0].claimed, length, where)
    axes = page_axes(stack[0].texts.get(ifd.DESCRIPTION, b""), count)
    planes, palette = _planes(path, stack, times)
    return _as_layers(stack[0], planes, palette, _decided(axes, kind, channels, stack[0].samples))


def _stack(pages: Sequence[Page]) -> tuple[list[Page], int]:
    """The pages that are like the first, without thumbnails and masks; and, if there is one alone,
    how many lie one after the other in its strip.
    """
    if pages[0].stacked:
        raise Broken("is a stack of MetaMorph; save it as an ImageJ or OME TIFF")
    aside = ifd.THUMBNAIL | ifd.MASK
    own = [page for page in pages if not page.one(ifd.SUBFILE, 0) & aside] or list(pages)
    if own[0].one(ifd.SUBFILE, 0) & aside and ifd.PARTS in own[0].numbers:
        raise Broken("has only a thumbnail of a picture, perhaps a camera's raw one")
    stack = [page for page in own if page.layout == own[0].layout]
    times, first = 1, stack[0]
    if len(stack) == 1:
        page = prod(first.space) * first.samples
        times = claimed_pages(first.texts.get(ifd.DESCRIPTION, b""), page)
    if times > 1 and (first.one(ifd.COMPRESSION, PLAIN) != PLAIN or first.pieces != 1):
        raise Broken(f"claims {times:,} pages, but has one")
    return stack, times


def _is_plain(page: Page) -> bool:
    """Whether Pillow reads all of a file of this page."""
    bits = page.numbers.get(ifd.BITS, (1,))
    wanted = EIGHT_BITS.get((page.one(ifd.PHOTOMETRIC, MIN_IS_BLACK), page.samples), ())
    return (
        page.index == 0
        and set(page.numbers.get(ifd.FORMAT, (UNSIGNED,))) == {UNSIGNED}
        and len(set(bits)) == 1
        and bits[0] in (1, 2, 4, 8)
        and page.extra in wanted
        and page.one(ifd.COMPRESSION, PLAIN) in BY_PILLOW
    )


def _decided(axes: Axes, kind: str | None, channels: int | None, samples: int) -> Axes:
    """Axes with "Z" for what becomes the depth and "C" for what becomes channels."""
    names, count = axes.names, prod(axes.sizes)
    unknown = set(names) == {PAGES}
    if kind == "picture" or (unknown and kind is None and channels == count * samples):
        return Axes("C" * len(names), axes.sizes, axes.order)
    if unknown:
        return Axes("Z", (count,), axes.order)
    if len(names.replace("C", "")) > 1:
        said = ", ".join(f"{name} {size}" for name, size in zip(names, axes.sizes, strict=True))
        raise Broken(f"has pages along {said}; a volume has one axis beside its channels")
    if kind == "volume" and names in ("", "C"):
        raise Broken(FLAT)
    names = "".join("C" if name == "C" else "Z" for name in names)
    return Axes(names, axes.sizes, axes.order)


# Pixels -------------------------------------------------------------------------------------------


def _planes(path: Path, stack: Sequence[Page], times: int) -> tuple[Array, Array | None]:
    """Stored numbers (pages, samples, height, width), and the palette (3, colours) if any."""
    tifffile = library(stack[0])
    height, width = stack[0].space
    planes: Array | None = None
    with quiet("tifffile"), _Bounded(io.FileIO(path)) as file:
        flags = {f"is_{name}": False for name in ("lsm", "scanimage", "ndpi", "ome", "stk")}
        with tifffile.TiffFile(file, name=path.name, **flags) as tiff:
            if times > 1:
                start = stack[0].numbers[ifd.OFFSETS][0]
                dtype = np.dtype(f"{tiff.byteorder}{tiff.pages[0].dtype.str[1:]}")
                file.seek(start)
                shape = (times, height, width, stack[0].samples)
                data = file.read(prod(shape) * dtype.itemsize)
                planes = np.moveaxis(np.frombuffer(data, dtype).reshape(shape), -1, 1)
                return planes.astype(dtype.newbyteorder("=")), None
            for i, page in enumerate(stack):
                one = tiff.pages[page.index].asarray(squeeze=False, maxworkers=1)
                if one.ndim != 5 or one.shape[1:4] != (1, height, width):
                    raise Broken(f"decodes to {one.shape}, but claims {height}x{width}")
                one = np.moveaxis(one[:, 0], -1, 1).reshape(-1, height, width)
                if planes is None:
                    planes = np.empty((len(stack), *one.shape), one.dtype)
                planes[i] = one
            palette = tiff.pages[stack[0].index].colormap
    assert planes is not None
    return planes, palette


def library(page: Page) -> Any:
    """tifffile. Broken: what is needed for the file is not installed."""
    try:
        import tifffile
    except ImportError:
        raise Broken(
            f"is a TIFF with {page.samples} values of {page.bits} bits a pixel, or several pages, "
            'which needs tifffile: pip install "faltung[train]"'
        ) from None
    packing = page.one(ifd.COMPRESSION, PLAIN)
    if packing != PLAIN:
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            raise Broken(
                f"is packed (compression {packing}), which needs imagecodecs: "
                'pip install "faltung[pictures]"'
            ) from None
    return tifffile


class _Bounded(io.BufferedReader):
    """A file that never takes memory for more bytes than are left in it."""

    def read(self, size: int | None = -1, /) -> bytes:
        here = self.tell()
        left = max(self.seek(0, 2) - here, 0)
        self.seek(here)
        return super().read(left if size is None or size < 0 else min(size, left))


# What pixels are ----------------------------------------------------------------------------------


def _as_layers(page: Page, planes: Array, palette: Array | None, axes: Axes) -> Layers:
    """Stored numbers (pages, samples, height, width) as channels of a picture or a volume."""
    form = page.one(ifd.FORMAT, UNSIGNED)
    whole = form not in (SIGNED, FLOAT) and planes.dtype.kind in "bu" and page.bits <= 16
    white = None if not whole else 255.0 if page.bits <= 8 else DEEP
    colours, meaning = _colours(page, planes, palette, whole)
    extra = planes.shape[1] - _own_samples(page)
    clear = page.extra or ((STRAIGHT,) if meaning == "colour" else ())
    alpha: Any = None
    if extra == 1 and whole and clear[:1] in ((ASSOCIATED,), (STRAIGHT,)):
        alpha = "associated" if clear[0] == ASSOCIATED else "straight"
    elif extra and meaning == "grey":
        meaning = "data"
    if whole:
        rest = same_bits(planes[:, len(planes[0]) - extra :], page.bits)
        values = np.concatenate([colours, rest], axis=1) if extra else colours
    else:
        values = _as_floats(page, planes)
    if axes.order is not None:
        values = values[list(axes.order)]
    values = turned(values, page.one(ifd.ORIENTATION, 1))
    if "C" in axes.names and alpha is not None:
        raise Broken("has pages that are channels and have transparency")
    values = _folded(values, axes)
    return Layers(values, white, "data" if "C" in axes.names else meaning, alpha)


def _own_samples(page: Page) -> int:
    """Samples of a pixel that are its colour, not more than there are."""
    kinds = {RGB: 3, CMYK: 4, YCBCR: 3}
    return min(kinds.get(page.one(ifd.PHOTOMETRIC, MIN_IS_BLACK), 1), page.samples)


def _colours(
    page: Page, planes: Array, palette: Array | None, whole: bool
) -> tuple[Array, Meaning]:
    """Grey (pages, 1, height, width) or red, green and blue in 8 or 16 bits, and which it is."""
    kind, bits = page.one(ifd.PHOTOMETRIC, MIN_IS_BLACK), page.bits
    own = planes[:, : _own_samples(page)]
    if kind in (MIN_IS_WHITE, MIN_IS_BLACK):
        if whole and kind == MIN_IS_WHITE:
            own = (1 << bits) - 1 - np.minimum(own, (1 << bits) - 1)
        return same_bits(own, bits) if whole else own, "grey"
    if kind == RGB or (kind == YCBCR and page.one(ifd.COMPRESSION, PLAIN) == JPEG):
        return same_bits(own, bits) if whole else own, "colour"
    if kind == PALETTE and whole and palette is not None and planes.max() < palette.shape[1]:
        table = palette if bits > 8 else palette // 256  # as Pillow has it
        colours = np.moveaxis(table[:, own[:, 0]], 0, 1)
        grey = bool((table[0] == table[1]).all() and (table[1] == table[2]).all())
        colours = colours.astype(np.uint8 if bits <= 8 else np.uint16)
        return (colours[:, :1], "grey") if grey else (colours, "colour")
    if kind == CMYK and whole:
        wide, most = same_bits(own, bits).astype(np.uint32), np.uint32(255 if bits <= 8 else DEEP)
        ink = (most - wide[:, :3]) * (most - wide[:, 3:]) + most // 2
        return (ink // most).astype(np.uint8 if bits <= 8 else np.uint16), "colour"
    raise Broken(
        f"has pixels of another kind (photometric interpretation {kind}, {bits} bits); grey, RGB, "
        "palettes and CMYK are read"
    )


def _as_floats(page: Page, planes: Array) -> Array:
    """float32, rounded from longer numbers. Broken: numbers that stand for nothing."""
    if planes.dtype.kind not in "iuf":
        raise Broken(f"holds {planes.dtype}, not real numbers")
    with np.errstate(over="ignore"):
        values = planes.astype(np.float32)
    if not np.isfinite(values).all():
        raise Broken("contains NaN or an infinite value")
    try:
        nothing = float(page.texts.get(ifd.NODATA, b"nan"))
    except ValueError:
        return values
    missing = int((planes == nothing).sum())
    if missing:
        raise Broken(f"contains {missing:,} times {nothing:g}, which says that there are no data")
    return values


def _folded(values: Array, axes: Axes) -> Array:
    """(pages, samples, height, width) as (channels, [depth,] height, width)."""
    samples, space = values.shape[1], values.shape[2:]
    parts = values.reshape(*axes.sizes, samples, *space)
    if "Z" not in axes.names:
        return parts.reshape(-1, *space)
    parts = np.moveaxis(parts, axes.names.index("Z"), -3)
    return np.ascontiguousarray(parts).reshape(-1, *parts.shape[-3:])
