"""The large tensors of an ONNX file, read from where they are in it, and the rest for protobuf.

Protobuf copies what it parses, and hands out another copy. So numbers of initialisers are found by
the lengths around them, read into memory of their own, and left out of what is parsed: that takes
half the time and a third of the memory. Whatever is unusual about a file is left to protobuf.
"""

from collections.abc import Iterator
from typing import IO, Any

import numpy.typing as npt

from faltung.runtime.buffers import aligned

Array = npt.NDArray[Any]

# Bytes of numbers from which a tensor is read by itself.
APART_BYTES = 4096
# Numbers of the fields: of a model its graph, of a graph its initialisers, of a tensor its bytes.
_GRAPH, _INITIALIZER, _RAW = 7, 5, 9
_LENGTH = 2  # how a field with a length is stored
_SIZES = {1: 8, 5: 4}  # of those with a fixed size


class Odd(Exception):
    """The file is not as expected: protobuf judges it."""


def parted(file: IO[bytes], size: int) -> tuple[bytes, dict[int, Array]]:
    """A model without the numbers of its large initialisers, and these bytes by the initialiser's
    place. Odd: it cannot be parted.
    """
    graphs = [f for f in _fields(file, 0, size) if f[1] == _GRAPH]
    if len(graphs) != 1 or graphs[0][2] != _LENGTH:
        raise Odd
    begin, _, _, start, end = graphs[0]
    small, found = _graph(file, start, end)
    key = _read(file, begin, begin + 1)
    made = _read(file, 0, begin), key, _varint(len(small)), small, _read(file, end, size)
    return b"".join(made), found


def _graph(file: IO[bytes], start: int, end: int) -> tuple[bytes, dict[int, Array]]:
    parts: list[bytes] = []
    found: dict[int, Array] = {}
    number, done = 0, start
    for begin, field, wire, first, last in _fields(file, start, end):
        if field != _INITIALIZER:
            continue
        if wire != _LENGTH:
            raise Odd
        raw = [f for f in _fields(file, first, last) if f[1] == _RAW]
        if len(raw) > 1 or (raw and raw[0][2] != _LENGTH):
            raise Odd
        if raw and raw[0][4] - raw[0][3] >= APART_BYTES:
            from_, _, _, inner, until = raw[0]
            parts.append(_read(file, done, begin))
            kept = _read(file, first, from_) + _read(file, until, last)
            parts += [bytes([_INITIALIZER << 3 | _LENGTH]), _varint(len(kept)), kept]
            found[number] = _into(file, inner, until)
            done = last
        number += 1
    parts.append(_read(file, done, end))
    return b"".join(parts), found


def _fields(file: IO[bytes], start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each field: where it begins, its number, how it is stored, first and last byte of what is
    in it.
    """
    while start < end:
        file.seek(start)
        head = file.read(min(20, end - start))
        key, at = _number(head, 0)
        wire, field = key & 7, key >> 3
        if not 0 < field < 1 << 29:
            raise Odd
        if wire == _LENGTH:
            length, at = _number(head, at)
        elif wire == 0:
            length = _number(head, at)[1] - at
        elif wire in _SIZES:
            length = _SIZES[wire]
        else:
            raise Odd
        first, last = start + at, start + at + length
        if last > end:
            raise Odd
        yield start, field, wire, first, last
        start = last


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    made = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Odd
        made |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return made, at
    raise Odd


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    data = file.read(end - start)
    if len(data) != end - start:
        raise Odd
    return data


def _into(file: IO[bytes], start: int, end: int) -> Array:
    memory = aligned(end - start)
    file.seek(start)
    if file.readinto(memory.data) != end - start:  # type: ignore[attr-defined]
        raise Odd
    memory.flags.writeable = False
    return memory
