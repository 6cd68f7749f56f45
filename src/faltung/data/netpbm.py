"""Netpbm pictures of 16 bits (PGM, PPM) and of floats (PFM): numbers in a row after a header.

Format: the manual pages pgm(5), ppm(5) and pfm(5) of Netpbm. The header says which number is white.
"""

import re
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from faltung.data.folder import Broken
from faltung.data.layers import DEEP, Layers
from faltung.geometry.record import dataclass

# Channels of each kind whose values can have 16 bits, and of those with floats.
WORDS, BYTES, FLOATS = {b"P2": 1, b"P3": 3}, {b"P5": 1, b"P6": 3}, {b"Pf": 1, b"PF": 3}
MAX_HEADER_BYTES = 1 << 16
WORD = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([^\s#]+)")
COMMENT = re.compile(rb"#[^\n\r]*")


@dataclass(frozen=True)
class Header:
    """``most`` is the number that is white, or of floats the sign of the order of bytes."""

    kind: bytes
    space: tuple[int, int]
    most: float
    start: int


def read_header(file: IO[bytes]) -> Header | None:
    """The header of a picture with numbers above 255, or None. Its sizes are claims."""
    file.seek(0)
    head, words, place = file.read(MAX_HEADER_BYTES), [], 0
    if head[:2] not in (WORDS | BYTES | FLOATS):
        return None
    for _ in range(4):
        found = WORD.match(head, place)
        if found is None:
            return None
        words.append(found.group(1)[:20])
        place = found.end()
    try:
        width, height, most = int(words[1]), int(words[2]), float(words[3])
    except ValueError:
        return None
    if words[0] != head[:2] or width < 1 or height < 1:
        return None
    if words[0] not in FLOATS and not 255 < most <= DEEP:
        return None
    return Header(words[0], (height, width), most, place + 1)


def read(file: IO[bytes], header: Header) -> Layers:
    """The picture after a header whose size has been checked. Broken: it is cut off."""
    channels = (WORDS | BYTES | FLOATS)[header.kind]
    count = header.space[0] * header.space[1] * channels
    file.seek(header.start)
    meaning: Any = "grey" if channels == 1 else "colour"
    if header.kind in FLOATS:
        values = _numbers(file, count, "<f4" if header.most < 0 else ">f4")
        if not np.isfinite(values).all():
            raise Broken("contains NaN or an infinite value")
        rows = values.astype(np.float32).reshape(*header.space, channels)[::-1]  # bottom to top
        return Layers(np.ascontiguousarray(rows.transpose(2, 0, 1)), None, meaning)
    if header.kind in WORDS:
        values = np.array(COMMENT.sub(b"", file.read()).split()[:count], np.int64)
    else:
        values = _numbers(file, count, ">u2")
    if len(values) != count or values.min() < 0:
        raise _cut_off(count)
    stretched = np.rint(np.minimum(values, header.most) / header.most * DEEP).astype(np.uint16)
    rows = stretched.reshape(*header.space, channels)
    return Layers(np.ascontiguousarray(rows.transpose(2, 0, 1)), DEEP, meaning)


def _numbers(file: IO[bytes], count: int, dtype: str) -> npt.NDArray[Any]:
    """Numbers of a file, whose length is compared before memory is taken for them."""
    here, size = file.tell(), np.dtype(dtype).itemsize
    if file.seek(0, 2) - here < count * size:
        raise _cut_off(count)
    file.seek(here)
    return np.frombuffer(file.read(count * size), dtype)


def _cut_off(count: int) -> Broken:
    return Broken(f"ends before the last of its {count:,} numbers")
