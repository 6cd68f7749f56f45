"""Files as ``torch.save`` writes them, made without PyTorch, and such as it never would."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WORDS = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte", "b1": "Bool"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<I", len(data)) + data


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str, word: str, count: int) -> bytes:
    """A reference to a storage."""
    name = f"ctorch\n{word}Storage\n".encode()
    return b"(" + text("storage") + name + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(
    key: str, word: str, count: int, offset: int, shape: Sequence[int], strides: Sequence[int]
) -> bytes:
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key, word, count) + number(offset)
    hooks = b"ccollections\nOrderedDict\n)R"
    return call + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"tR"


def table(entries: Mapping[str, bytes]) -> bytes:
    """An OrderedDict, and what PyTorch keeps beside its entries."""
    pairs = b"".join(text(name) + value for name, value in entries.items())
    state = b"}" + text("_metadata") + b"}s"
    return b"ccollections\nOrderedDict\n)R(" + pairs + b"u" + state + b"b"


def tensors(arrays: Mapping[str, Any]) -> tuple[bytes, dict[str, bytes]]:
    """The table of arrays, and their storages."""
    entries, storages = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        made = np.asarray(array, order="C")
        steps = [step // made.itemsize for step in made.strides]
        word = WORDS[made.dtype.str[1:]]
        entries[name] = tensor(str(i), word, made.size, 0, made.shape, steps)
        storages[str(i)] = made.tobytes()
    return table(entries), storages


def archive(
    body: bytes,
    storages: Mapping[str, bytes],
    *,
    compression: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> bytes:
    """The zip of a pickle and of storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        made.writestr("archive/byteorder", order)
        for key, data in storages.items():
            made.writestr(f"archive/data/{key}", data)
        made.writestr("archive/version", "3\n")
    return file.getvalue()


def saved(arrays: Mapping[str, Any]) -> bytes:
    """A state dict in a file."""
    return archive(*tensors(arrays))


def stream(arrays: Mapping[str, Any]) -> bytes:
    """The same in the older form."""
    body, storages = tensors(arrays)
    magic = 0x1950A86A20F9469CFC6C
    parts = [number(magic), number(1001), b"}" + text("little_endian") + b"\x88s", body]
    parts.append(b"](" + b"".join(map(text, storages)) + b"e")
    made = b"".join(b"\x80\x02" + part + b"." for part in parts)
    for (name, data), array in zip(storages.items(), arrays.values(), strict=True):
        made += struct.pack("<q", np.asarray(array).size) + data
        assert name
    return made
