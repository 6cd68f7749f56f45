"""Tensors in few bytes: the same numbers, bit for bit, without what is redundant.

A coded file is a safetensors file with a single tensor of bytes, ``coded``, which holds all tensors
and the metadata. Nothing is lost: what makes a network small is that its weights have few different
values, and the methods of ``compress`` see to that. Here those values are found and paid for by how
seldom they are. Tensors share tables where that saves bytes. There are three forms:

values   at most 256 different numbers, in a palette: each is an index into it
grid     whole numbers of 8 bits times a scale for each channel, which is another tensor
planes   any other numbers: their bytes, the first of all, then the second of all, and so on.
         Float32 numbers that are float16 or bfloat16 numbers have planes that cost next to nothing

    4 bytes     CRC-32 of all that follows
    4 bytes     the length of the next part
    zlib        4 bytes: the length of a JSON text; the text; palettes and tables
    the rest    the symbols, by a range coder (``symbols.py``), in words of 4 bytes

Whatever is claimed is checked before memory is taken: counts, shapes, and that all tensors together
are not more than a file of this length can be expected to hold.
"""

import json
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.code_forms import FLOATS, Group, Piece, grid_of, grouped, rotated
from faltung.formats.symbols import Reader, Writer, costs
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Words = Mapping[str, np.dtype[Any]]

NAME = "coded"  # of the tensor that holds all the others
FORMAT = "1"
MAX_HEADER = 1 << 24  # bytes of names, metadata and tables
# A file decodes to at most so many times its length; small ones to so many bytes more.
RATIO, ALLOWANCE = 1024, 1 << 26
_MAX_RANK, _MAX_SIZE = 32, 1 << 40


# Writing ------------------------------------------------------------------------------------------


def encode(tensors: Mapping[str, Array], words: Words, metadata: Mapping[str, str]) -> bytes:
    """The bytes of all tensors. ``words``: the dtypes by the names that the format gives them."""
    names = {dtype: word for word, dtype in words.items()}
    pieces = []
    for name in sorted(tensors):
        tensor = tensors[name]
        word = names[tensor.dtype.newbyteorder("<")]
        scale = tensors.get(f"{name}_scale") if word in FLOATS else None
        pieces.append(Piece(name, word, tensor, None if scale is None else grid_of(tensor, scale)))
    groups = grouped(pieces)
    head = {
        "m": dict(sorted(metadata.items())),
        "t": [piece.said() for piece in pieces],
        "g": [group.said() for group in groups],
    }
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    side = b"".join(group.side() for group in groups)
    packed = zlib.compress(len(text).to_bytes(4, "little") + text + side, 9)
    if len(text) + len(side) + 4 > MAX_HEADER:
        raise FaltungError(
            f"tensors: names and metadata of {len(text)} bytes: are too long to code"
        )
    writer = Writer()
    for group in groups:
        for table, symbols in group.symbols():
            writer.write(symbols, table)
    rest = len(packed).to_bytes(4, "little") + packed + writer.data()
    total = sum(piece.tensor.nbytes for piece in pieces)
    rest += bytes(max(0, -(-(total - ALLOWANCE) // RATIO) - len(rest)))  # as ``_require`` expects
    return zlib.crc32(rest).to_bytes(4, "little") + rest


# Reading ------------------------------------------------------------------------------------------


def decode(
    data: bytes, words: Words, bits: dict[str, float] | None = None
) -> tuple[dict[str, Array], dict[str, str]]:
    """(tensors, metadata) of what ``encode`` made. ``bits``: gets what the symbols of each tensor
    cost, without names and tables.

    ValueError: anything else. MemoryError: more than the computer has free.
    """
    head, side, rest = _opened(data)
    metadata, pieces, groups = _checked(head, words)
    _require(pieces, words, len(data))
    _take_tables(groups, side)
    reader = Reader(rest)
    tensors: dict[str, Array] = {}
    for group in groups:
        count = sum(prod(piece["shape"]) for piece in group.pieces)
        made = [reader.read(count, table) for table in group.tables]
        prices = None if bits is None else [costs(t) if len(t) > 1 else None for t in group.tables]
        at = 0
        for piece in group.pieces:
            many = prod(piece["shape"])
            parts = [each[at : at + many] for each in made]
            at += many
            if bits is not None and prices is not None:
                bits[piece["name"]] = sum(
                    float(price[part].sum())
                    for price, part in zip(prices, parts, strict=True)
                    if price is not None
                )
            tensors[piece["name"]] = _tensor(group, piece, parts, words)
    for piece in pieces:
        if piece["scale"] is not None:
            tensors[piece["name"]] = _scaled(tensors, piece)
    return {piece["name"]: tensors[piece["name"]] for piece in pieces}, metadata


def _opened(data: bytes) -> tuple[Any, bytes, bytes]:
    """The JSON, the tables and the bits of a file."""
    if len(data) < 8 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        raise FaltungError("its checksum is wrong: it was damaged or cut off")
    length = int.from_bytes(data[4:8], "little")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(data[8 : 8 + length], MAX_HEADER)
        if not unpacker.eof:
            raise FaltungError(f"its names and tables are cut off or above {MAX_HEADER} bytes")
        size = int.from_bytes(plain[:4], "little")
        head = json.loads(plain[4 : 4 + size])
    except (zlib.error, ValueError, RecursionError) as error:
        raise FaltungError(f"its names and tables cannot be read, {error}") from None
    return head, plain[4 + size :], data[8 + length :]


def _whole(value: object, least: int, most: int) -> int:
    """ValueError: anything but a whole number in these bounds."""
    if type(value) is not int or not least <= value <= most:
        raise FaltungError(f"{show(value)}: must be a whole number from {least} to {most}")
    return value


def _list(value: object, *lengths: int) -> list[Any]:
    if not isinstance(value, list) or (lengths and len(value) not in lengths):
        raise FaltungError(f"{show(value)}: must be a list of {lengths or 'entries'}")
    return value


def _checked(head: Any, words: Words) -> tuple[dict[str, str], list[dict[str, Any]], list[Group]]:
    """The metadata, the tensors and the groups that a header names."""
    if (
        not isinstance(head, dict)
        or set(head) != {"m", "t", "g"}
        or not isinstance(head["m"], dict)
    ):
        raise FaltungError("its header is not a table of m, t and g")
    if not isinstance(head["m"], dict) or not all(isinstance(v, str) for v in head["m"].values()):
        raise FaltungError("its metadata are not text")
    groups = [Group.read(_list(said)) for said in _list(head["g"])]
    pieces: dict[str, dict[str, Any]] = {}
    for said in _list(head["t"]):
        name, word, sizes, number, *grid = _list(said, 4, 6)
        if not isinstance(name, str) or name in pieces:
            raise FaltungError(f"tensor {show(name)}: must be text, and occur once")
        if not isinstance(word, str) or word not in words:
            raise FaltungError(f"tensor {show(name)} is {show(word)}, which NumPy lacks")
        shape = tuple(_whole(size, 0, _MAX_SIZE) for size in _list(sizes))
        if len(shape) > _MAX_RANK or prod(shape) > _MAX_SIZE:
            raise FaltungError(f"tensor {show(name)}: too large a shape")
        group = groups[_whole(number, 0, len(groups) - 1)]
        scale, axis = grid or (None, 0)
        piece = {"name": name, "word": word, "shape": shape, "scale": scale, "axis": axis}
        if (group.form == "grid") != (scale is not None) or (
            group.form != "grid" and group.width != words[word].itemsize
        ):
            raise FaltungError(f"tensor {show(name)}: is not of its group")
        pieces[name] = piece
        group.pieces.append(piece)
    for piece in pieces.values():
        if piece["scale"] is not None:
            _check_grid(piece, pieces)
    return head["m"], list(pieces.values()), groups


def _check_grid(piece: dict[str, Any], pieces: Mapping[str, dict[str, Any]]) -> None:
    """ValueError: a scale that is missing, of another dtype, or has not a number for each
    channel.
    """
    scale = piece["scale"]
    found = pieces.get(scale) if isinstance(scale, str) else None
    if found is None or found["scale"] is not None or found["word"] != piece["word"]:
        raise FaltungError(f"tensor {show(piece['name'])}: its scale {show(scale)} is none")
    axis = _whole(piece["axis"], 0, max(0, len(piece["shape"]) - 1))
    many = prod(found["shape"])
    if piece["word"] not in FLOATS or many not in (1, (*piece["shape"], 1)[axis]):
        raise FaltungError(f"tensor {show(piece['name'])}: has not a scale for each channel")


def _require(pieces: list[dict[str, Any]], words: Words, length: int) -> None:
    """ValueError, MemoryError: more bytes than a file of this length holds, or than are free."""
    total = sum(prod(piece["shape"]) * words[piece["word"]].itemsize for piece in pieces)
    if total > RATIO * length + ALLOWANCE:
        raise FaltungError(f"it claims {total} bytes, too many for a file of {length}")
    require(3 * total, "a coded file")


def _take_tables(groups: list[Group], side: bytes) -> None:
    """Give the groups their palettes and tables. ValueError: too few bytes, or too many."""
    for group in groups:
        side = group.take(side)
    if side:
        raise FaltungError(f"its tables have {len(side)} bytes too many")


def _tensor(group: Group, piece: dict[str, Any], parts: list[Array], words: Words) -> Array:
    """One tensor from its symbols; of a grid, the whole numbers."""
    if group.form == "grid":
        return (parts[0].astype(np.int16) + group.least).reshape(piece["shape"])
    dtype = words[piece["word"]]
    if group.form == "values":
        unsigned = group.palette[parts[0]]
    else:
        unsigned = np.zeros(len(parts[0]), f"<u{group.width}")
        for number, (part, least) in enumerate(zip(parts, group.leasts, strict=True)):
            unsigned |= (part + np.uint8(least)).astype(unsigned.dtype) << (8 * number)
        if piece["word"] in FLOATS:
            unsigned = rotated(unsigned, -1)
    made: Array = unsigned.view(dtype).reshape(piece["shape"])
    return made.astype(dtype.newbyteorder("="), copy=False)


def _scaled(tensors: Mapping[str, Array], piece: dict[str, Any]) -> Array:
    """Whole numbers times their scales: one product each, the same on every machine."""
    whole, scale = tensors[piece["name"]], tensors[piece["scale"]].reshape(-1)
    shape = [1] * whole.ndim
    if whole.ndim:
        shape[piece["axis"]] = -1
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(whole.astype(scale.dtype) * scale.reshape(shape))
