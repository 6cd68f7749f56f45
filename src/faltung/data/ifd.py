"""The directories of a TIFF file, read and checked before a library sees them.

Format: Adobe, "TIFF, revision 6.0", 1992, and BigTIFF. Every number in a directory is a claim. What
is checked here bounds the memory and the time of whatever decodes the file afterwards: the number
of pages, the bytes of all tags together, where the strips or tiles lie, and what they unpack to.
"""

import struct
from math import prod
from typing import IO, Any

import numpy as np

from faltung.data.folder import Broken
from faltung.data.limits import FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 1 << 16
# Bytes of an element of each type of tag, and the NumPy type of those that are whole numbers.
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
BYTES |= {16: 8, 17: 8, 18: 8}  # BigTIFF
WHOLE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
ASCII = 2
# Tags by number.
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, OFFSETS, ORIENTATION, SAMPLES, COUNTS = 270, 273, 274, 277, 279
ROWS, PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 278, 284, 322, 323, 324, 325
PARTS, EXTRA, FORMAT, DEPTH, STACK, NODATA = 330, 338, 339, 32997, 33629, 42113
NUMBERS = (
    *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, SAMPLES),
    *(ROWS, COUNTS, PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT),
    *(PARTS, DEPTH),
)
TEXTS = (DESCRIPTION, NODATA)
# Kinds of subfiles (a bit each) that are not pictures of their own: thumbnails and masks.
THUMBNAIL, MASK = 1, 4
# A tile may reach over the edge of a page; a small page may have tiles of this many bytes anyway.
FREE_TILE_BYTES = 1 << 24


@dataclass(frozen=True)
class Page:
    """One page: whole numbers of its tags, and its texts. ``index``: its place in the file."""

    index: int
    numbers: dict[int, tuple[int, ...]]
    texts: dict[int, bytes]
    stacked: bool

    def one(self, tag: int, default: int) -> int:
        return self.numbers.get(tag, (default,))[0]

    @property
    def space(self) -> tuple[int, int]:
        """(height, width), as stored."""
        return self.one(HEIGHT, 0), self.one(WIDTH, 0)

    @property
    def samples(self) -> int:
        return self.one(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """The most bits of any of its samples."""
        return max(self.numbers.get(BITS, (1,)))

    @property
    def extra(self) -> tuple[int, ...]:
        """What the samples beyond the colours are: 1 and 2 are alpha, 0 is anything."""
        return self.numbers.get(EXTRA, ())

    @property
    def layout(self) -> tuple[Any, ...]:
        """What pages must have in common to be parts of one stack."""
        return (self.space, self.samples, self.bits, *map(self.numbers.get, (FORMAT, PHOTOMETRIC)))

    @property
    def claimed(self) -> int:
        """Bytes of the decoded page."""
        return prod(self.space) * self.samples * _whole_bytes(self.bits)

    @property
    def pieces(self) -> int:
        """How many strips or tiles there must be."""
        height, width = self.space
        rows, columns = self.one(ROWS, height), width
        if TILE_WIDTH in self.numbers:
            rows, columns = self.one(TILE_HEIGHT, 0), self.one(TILE_WIDTH, 0)
        if not rows or not columns:
            raise Broken("claims strips or tiles without pixels")
        planes = self.samples if self.one(PLANAR, 1) == 2 else 1
        return -(-height // rows) * -(-width // columns) * planes


def read_pages(file: IO[bytes], length: int) -> list[Page]:
    """All pages of a TIFF of ``length`` bytes. Broken: no TIFF, or one that claims more."""
    head = file.read(16)
    if head[:4] not in MAGIC:
        raise Broken("is no TIFF")
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    try:
        (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)
        pages: list[Page] = []
        seen, total = set(), 0
        while offset:
            if offset in seen or len(pages) == MAX_PAGES:
                raise Broken(f"has a circle of pages, or more than {MAX_PAGES:,}")
            seen.add(offset)
            page, offset, tags = _page(file, offset, order, big, len(pages))
            total += tags
            if total > length:
                raise Broken(f"claims more bytes of tags than its {length:,}")
            pages.append(page)
    except (struct.error, OverflowError, OSError):
        raise Broken("ends before its last page") from None
    if not pages:
        raise Broken("has no pages")
    return pages


def _page(file: IO[bytes], offset: int, order: str, big: bool, index: int) -> tuple[Page, int, int]:
    """A page, where the next one is, and the bytes that its tags claim."""
    counter, entry, rest = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    file.seek(offset)
    (count,) = struct.unpack(order + counter, file.read(struct.calcsize(order + counter)))
    size = struct.calcsize(order + entry)
    if count > 65535:  # there are no more tags than that
        raise Broken(f"claims {count:,} tags")
    table = file.read(count * size + struct.calcsize(order + rest))
    (after,) = struct.unpack_from(order + rest, table, count * size)
    numbers: dict[int, tuple[int, ...]] = {}
    texts: dict[int, bytes] = {}
    total, stacked = count * size, False
    for tag, kind, many, value in struct.iter_unpack(order + entry, table[: count * size]):
        claimed = many * BYTES.get(kind, 1)
        total += claimed if claimed > len(value) else 0
        stacked |= tag == STACK and many > 1
        wanted = (tag in NUMBERS and kind in WHOLE) or (tag in TEXTS and kind == ASCII)
        if not wanted or not many:
            continue
        if claimed > len(value):
            place = struct.unpack(order + rest, value)[0]
            value = _at(file, place, claimed)
        if tag in TEXTS:
            texts[tag] = value[:claimed].rstrip(b"\0 ")
        else:
            read = np.frombuffer(value[:claimed], order + WHOLE[kind])
            numbers[tag] = tuple(read.tolist())
    return Page(index, numbers, texts, stacked), after, total


def _at(file: IO[bytes], place: int, count: int) -> bytes:
    end = file.seek(0, 2)
    if place + count > end:
        raise Broken(f"claims {count:,} bytes of tags behind its end")
    file.seek(place)
    return file.read(count)


def check_page(page: Page, length: int, times: int = 1) -> None:
    """Broken: a page whose data are not in the file. ``times``: how many pages lie one after the
    other in its strip.
    """
    height, width = page.space
    if not height or not width or not 0 < page.samples <= 65535 or not 0 < page.bits <= 64:
        raise Broken(f"claims {height}x{width} of {page.samples} values of {page.bits} bits")
    if page.one(DEPTH, 1) > 1:
        raise Broken("has several layers in one page, which is not read")
    starts = page.numbers.get(TILE_OFFSETS) or page.numbers.get(OFFSETS) or ()
    counts = page.numbers.get(TILE_COUNTS) or page.numbers.get(COUNTS) or ()
    if not starts or not len(starts) == len(counts) == page.pieces:
        raise Broken("does not say where its pixels are")
    if max(map(sum, zip(starts, counts, strict=True))) > length:
        raise Broken(f"is cut off: its pixels lie behind its {length:,} bytes")
    missing = sum(not count for count in counts)
    if missing and NODATA not in page.texts:
        raise Broken(f"has no data for {missing} of its {len(counts)} strips or tiles")
    tile = page.one(TILE_WIDTH, 0) * page.one(TILE_HEIGHT, 0) * page.samples
    if tile * _whole_bytes(page.bits) > max(FREE_TILE_BYTES, 4 * page.claimed):
        raise Broken(f"claims tiles of {page.one(TILE_HEIGHT, 0)}x{page.one(TILE_WIDTH, 0)}")
    rows = width * page.samples * page.bits  # bits; each row begins with a byte of its own
    if page.one(COMPRESSION, 1) == 1 and not missing:
        there = length - starts[0] if times > 1 else sum(counts)
        if times * height * rows > 8 * there:
            raise Broken(f"claims {times * page.claimed:,} bytes of pixels, but has {there:,}")


def check_total(claimed: int, length: int, where: str) -> None:
    """ValueError if pages together unpack to as many bytes as only a bomb would."""
    if claimed > max(FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO * length):
        raise FaltungError(
            f"{where}: would unpack to {claimed:,} bytes from {length:,}; refused as a "
            "decompression bomb (if it is yours, save it uncompressed)"
        )


def _whole_bytes(bits: int) -> int:
    """Bytes of a decoded value of so many bits."""
    return 1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8
