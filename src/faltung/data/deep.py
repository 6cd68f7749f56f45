"""JPEG, JPEG 2000 and AVIF of more than 8 bits a value, by imagecodecs: Pillow keeps 8 of them.

How many bits there are is read from the header: of JPEG the frame (ITU T.81, B.2.2), of JPEG 2000
the SIZ segment (ITU T.800, A.5.1), of AVIF the configuration of AV1 (its ISO binding, 2.3.3).
"""

from typing import IO, Any, Literal

import numpy as np

from faltung.data.folder import Broken
from faltung.data.layers import DEEP, Layers, same_bits, turned
from faltung.geometry.record import dataclass

# The bytes in which headers are looked for: a JPEG may have 64 KiB of a thumbnail and more before.
HEADER_BYTES = 1 << 20
# Markers of frames of JPEG; those without Huffman tables or arithmetic coding of their own.
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
LOSSLESS = 0xC3
MAX_COMPONENTS = 4
BAND = b"\xff\x4f\xff\x51"  # SOC and SIZ


@dataclass(frozen=True)
class Header:
    """``space``: (height, width), a claim; ``exif``: of a JPEG, which Pillow does not open."""

    kind: Literal["jpeg", "jpeg2k", "avif"]
    bits: int
    space: tuple[int, int]
    exif: bytes = b""


def read_header(file: IO[bytes]) -> Header | None:
    """The header of a picture of more than 8 bits, or None if it is none of these."""
    file.seek(0)
    head = file.read(HEADER_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg(head)
    if head[4:8] == b"jP  " or head.startswith(BAND):
        return _jpeg2k(head)
    return _avif(head) if head[4:8] == b"ftyp" and b"avi" in head[8:40] else None


def read(file: IO[bytes], header: Header, turn: int) -> Layers:
    """The picture after a header whose size has been checked; ``turn``: its orientation. Broken."""
    try:
        import imagecodecs
    except ImportError:
        raise Broken(
            f"has {header.bits} bits a value in a format of which Pillow reads 8; to read all: "
            'pip install "faltung[pictures]"'
        ) from None
    file.seek(0)
    data = file.read()
    if header.kind == "avif":
        values = np.asarray(imagecodecs.avif_decode(data, index=0))
    else:
        values = np.asarray(getattr(imagecodecs, f"{header.kind}_decode")(data))
    if values.shape[:2] != header.space:
        raise Broken(f"decodes to {values.shape}, but claims {header.space}")
    values = values[np.newaxis] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    if values.ndim != 3 or len(values) > 4 or values.dtype.kind != "u" or values.itemsize > 2:
        raise Broken(f"decodes to {values.shape} of {values.dtype}, which is not read")
    clear = len(values) in (2, 4)
    meaning: Any = "grey" if len(values) < 3 else "colour"
    white = 255.0 if header.bits <= 8 else DEEP
    whole = turned(same_bits(values, header.bits), turn)
    return Layers(whole, white, meaning, "straight" if clear else None)


def _jpeg(head: bytes) -> Header | None:
    """Also one of 8 bits, if it is stored without loss, which Pillow does not read."""
    place, exif = 2, b""
    while place + 9 < len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        body = head[place + 4 : place + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = body
        if marker in FRAMES and len(body) > 5:
            space = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            deep = body[0] > 8 or marker == LOSSLESS
            _few(body[5])
            return Header("jpeg", min(body[0], 16), space, exif) if deep else None
        place += 1 if marker == 0xFF else 2 + length
    return None


def _jpeg2k(head: bytes) -> Header | None:
    place = head.find(BAND)
    if place < 0:
        return None
    numbers = [int.from_bytes(head[i : i + 4], "big") for i in range(place + 8, place + 24, 4)]
    width, height = numbers[0] - numbers[2], numbers[1] - numbers[3]
    count = int.from_bytes(head[place + 40 : place + 42], "big")
    sizes = head[place + 42 : place + 42 + 3 * count : 3]
    _few(count)
    if any(size & 128 for size in sizes):
        raise Broken("is a JPEG 2000 of signed numbers, which is not read")
    bits = max(((size & 127) + 1 for size in sizes), default=8)
    return Header("jpeg2k", bits, (height, width)) if bits > 8 else None


def _few(components: int) -> None:
    """Broken: more channels than grey or colour with transparency, each a claim on memory."""
    if components > MAX_COMPONENTS:
        raise Broken(f"has {components:,} channels; JPEG and JPEG 2000 of up to 4 are read")


def _avif(head: bytes) -> Header | None:
    bits, place = 8, head.find(b"ispe")
    for part in head.split(b"av1C")[1:]:
        flags = part[2] if len(part) > 2 else 0
        if flags & 64:
            bits = max(bits, 12 if flags & 32 else 10)
    width, height = (int.from_bytes(head[place + i : place + i + 4], "big") for i in (8, 12))
    return Header("avif", bits, (height, width)) if bits > 8 and place > 0 else None
