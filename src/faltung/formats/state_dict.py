"""Weights that ``torch.save`` wrote: a state dict, read without PyTorch and without its pickle.

Since 2020 the file is a zip of ``data.pkl``, which names tensors, and of ``data/0``, ``data/1`` and
so on, their numbers; before that it was pickles one after the other, and the numbers behind them.
Neither is executed (``inert_pickle.py``). Tensors are views of the file as it lies in memory, so
that whatever shapes it claims, no more memory is taken than it has bytes, and what is widened.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.formats.files import read_checked, shown
from faltung.formats.inert_pickle import Call, Name, read_pickle, said
from faltung.formats.tensors import Tensors
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungMemoryError
from faltung.geometry.record import dataclass
from faltung.runtime.halves import whole
from faltung.runtime.memory import require

# Storages of PyTorch, and what NumPy calls their numbers; bfloat16 is widened.
DTYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "BFloat16": "<u2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "|i1",
    "Byte": "|u1",
    "Bool": "|b1",
}
# Names under which a checkpoint keeps its weights, the first that it has.
INSIDE = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema", "net")
# What wrappers put before all names.
PREFIXES = ("module.", "_orig_mod.", "model.")
# Of the names of tensors: what a pickle makes may take a hundred times as many bytes as it has.
MAX_PICKLE_BYTES = 1 << 22
MAX_RANK, MAX_COUNT = 16, 1 << 40  # axes of a tensor, and its numbers
# The first number of a file of the older form.
_MAGIC = 0x1950A86A20F9469CFC6C
_BAD_ZIP = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    EOFError,
    struct.error,
    OverflowError,
    ValueError,
    IndexError,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Storage:
    """Numbers of a file: their key there, what they are, and how many."""

    key: str
    word: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """A tensor as a file describes it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load_state_dict(path: str | os.PathLike[str]) -> Tensors:
    """The tensors of a file that ``torch.save`` wrote, by their names.

    Of a checkpoint those of its model; without what wrappers put before all names. Numbers of 16
    bits that NumPy lacks become float32. FaltungError, naming the file: it is no such file, or
    inconsistent, or has none. MemoryError: more than the computer has free.
    """
    data = read_checked(path)
    where = shown(path)
    try:
        found, storages, order = _of_zip(data) if data[:2] == b"PK" else _of_stream(data)
        records = _chosen(found)
        arrays = {name: _numbers(each, storages, order) for name, each in records.items()}
        changed = [n for n, each in records.items() if _needs_copy(each, arrays[n])]
        require(sum(3 * arrays[name].nbytes for name in changed), where)
        for name in changed:
            arrays[name] = _copied(records[name], arrays[name])
    except FaltungMemoryError:
        raise
    except FaltungError as error:
        raise FaltungError(f"{where}: not weights of torch.save, {error}") from error
    return _without_prefixes(arrays)


# The two forms -----------------------------------------------------------------------------------

_Storages = dict[str, memoryview]
Order = Literal["<", ">"]


def _of_zip(data: bytes) -> tuple[Any, _Storages, Order]:
    """What the pickle of a zip has, its storages by key, and their byte order."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {each.filename: each for each in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise FaltungError("has no data.pkl")
        top = pickles[0].removesuffix("data.pkl")
        parts = {name: _entry(data, each) for name, each in entries.items() if name[-1:] != "/"}
    except _BAD_ZIP as error:
        raise FaltungError(f"not a whole zip, {' '.join(str(error).split())}") from error
    order = bytes(parts.get(f"{top}byteorder", b"little"))
    if order not in (b"little", b"big"):
        raise FaltungError(f"byteorder={show(order)}: must be little or big")
    text = parts[pickles[0]]
    found, _ = read_pickle(_small(text), KNOWN, _storage)
    inside = f"{top}data/"
    storages = {n.removeprefix(inside): p for n, p in parts.items() if n.startswith(inside)}
    return found, storages, "<" if order == b"little" else ">"


def _entry(data: bytes, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of a file in a zip, where they lie. FaltungError: it is packed, or damaged."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise FaltungError(f"{show(entry.filename)} is packed, which torch.save never does")
    head = data[entry.header_offset : entry.header_offset + 30]
    signature, names, extra = struct.unpack("<4s22x2H", head)
    start = entry.header_offset + 30 + names + extra
    part = memoryview(data)[start : start + entry.file_size]
    if signature != b"PK\3\4" or entry.file_size != entry.compress_size:
        raise FaltungError(f"{show(entry.filename)} is not where the zip says")
    if len(part) != entry.file_size:
        raise FaltungError(f"{show(entry.filename)} ends too early")
    if entry.CRC and zlib.crc32(part) != entry.CRC:  # 0: PyTorch was told to leave it out
        raise FaltungError(f"{show(entry.filename)} is damaged, its checksum is another")
    return part


def _of_stream(data: bytes) -> tuple[Any, _Storages, Order]:
    """The older form: pickles one after the other, and then the storages."""
    magic, at = read_pickle(data[:64], {}, _storage)
    if magic != _MAGIC:
        raise FaltungError("does not begin as such a file")
    version, at = read_pickle(data[: at + 64], {}, _storage, at)
    if version != 1001:
        raise FaltungError(f"version={said(version)}: must be 1001")
    about, at = read_pickle(data[: at + 4096], {}, _storage, at)
    order: Order = "<" if not isinstance(about, dict) or about.get("little_endian", True) else ">"
    known: dict[str, _Storage] = {}

    def noted(identifier: Any) -> _Storage | Call:
        storage = _storage(identifier)
        return storage if isinstance(storage, Call) else known.setdefault(storage.key, storage)

    names = data[: at + MAX_PICKLE_BYTES]
    found, at = read_pickle(names, KNOWN, noted, at)
    keys, at = read_pickle(names, {}, _storage, at)
    storages: _Storages = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in known:
            raise FaltungError(f"storage {said(key)} is not known")
        count = int.from_bytes(data[at : at + 8], "little" if order == "<" else "big")
        size = count * np.dtype(DTYPES[known[key].word]).itemsize
        storages[key] = memoryview(data)[at + 8 : at + 8 + size]
        at += 8 + size
    return found, storages, order


def _small(part: memoryview) -> bytes:
    if len(part) > MAX_PICKLE_BYTES:
        raise FaltungError(f"data.pkl: {len(part)} bytes: must be at most {MAX_PICKLE_BYTES}")
    return bytes(part)


# What its pickle means ----------------------------------------------------------------------------


def _storage(identifier: Any) -> _Storage | Call:
    """What ("storage", its type, key, place, count[, view]) stands for."""
    match identifier:
        case ("module", of, *_):  # of a whole model, which is refused where nothing else is found
            return Call(of)
        case ("storage", Name(name=name), str() as key, _, int() as count, *more):
            if more not in ([], [None]):
                raise FaltungError("has views of storages, as in files before 2018")
            word = name.rpartition(".")[2].removesuffix("Storage")
            if not name.startswith("torch.") or word not in DTYPES:
                raise FaltungError(f"has numbers of {said(name)}, which are not read")
            if not _counts((count,)):
                raise FaltungError(f"storage {said(key)} has {said(count)} numbers")
            return _Storage(key, word, count)
    kind = identifier[0] if isinstance(identifier, tuple) and identifier else identifier
    raise FaltungError(f"refers to {said(kind)}, which is no storage")


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
    """What ``torch._utils._rebuild_tensor_v2`` is called with. FaltungError: it is no tensor."""
    good = isinstance(storage, _Storage) and _counts((offset,))
    both = isinstance(shape, tuple) and isinstance(strides, tuple)
    if not (good and both and _counts(shape) and all(_counts((n,)) for n in strides)):
        raise FaltungError("has a tensor without a size")
    if len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise FaltungError(f"has a tensor of {len(shape)} axes and {len(strides)} strides")
    return _Record(storage, offset, shape, strides)


def _counts(values: tuple[Any, ...]) -> bool:
    """Whether all are whole numbers from 0, and not too large together."""
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in values):
        return False
    return prod(max(1, min(n, MAX_COUNT + 1)) for n in values) <= MAX_COUNT


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered(*_: Any) -> dict[str, Any]:
    return {}


# Names that a state dict calls, and what that means.
KNOWN = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}


def _numbers(record: _Record, storages: _Storages, order: Order) -> npt.NDArray[Any]:
    """A tensor as a view of its storage. FaltungError: it reaches beyond it."""
    storage = record.storage
    if storage.key not in storages:
        raise FaltungError(f"storage {said(storage.key)} is missing")
    part, dtype = storages[storage.key], np.dtype(DTYPES[storage.word]).newbyteorder(order)
    if len(part) != storage.count * dtype.itemsize:
        raise FaltungError(
            f"storage {said(storage.key)} has {len(part)} bytes: must be "
            f"{storage.count * dtype.itemsize}"
        )
    count, shape = prod(record.shape), record.shape
    pairs = zip(shape, record.strides, strict=True)
    last = record.offset + sum((n - 1) * step for n, step in pairs)
    if count and (last >= storage.count or count > storage.count):
        raise FaltungError(f"a tensor of shape {shape} lies beyond its storage")
    flat = np.frombuffer(part, dtype)
    if not count:
        return np.zeros(0, dtype).reshape(shape)
    steps = tuple(step * dtype.itemsize for step in record.strides)
    return np.ndarray(shape, dtype, flat.data, record.offset * dtype.itemsize, steps)


def _needs_copy(record: _Record, array: npt.NDArray[Any]) -> bool:
    """Whether numbers must be turned around or widened."""
    return record.storage.word == "BFloat16" or not array.dtype.isnative


def _copied(record: _Record, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    made = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return whole(made, "bfloat16") if record.storage.word == "BFloat16" else made


def _chosen(found: Any) -> dict[str, _Record]:
    """The tensors of a state dict, or of the one inside a checkpoint. FaltungError: none."""
    for word in (None, *INSIDE):
        table = found if word is None else found.get(word) if isinstance(found, dict) else None
        if isinstance(table, dict):
            records = {n: each for n, each in table.items() if isinstance(each, _Record)}
            if records:
                return records
    if isinstance(found, dict):
        raise FaltungError(f"has no tensors, but {', '.join(map(said, list(found)[:6]))}")
    raise FaltungError(
        "has no table of tensors; in PyTorch, torch.save(model.state_dict(), FILE) makes one"
    )


def _without_prefixes(arrays: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    made = dict(arrays)
    for _ in PREFIXES:  # one wrapper in another
        for prefix in PREFIXES:
            if made and all(name.startswith(prefix) for name in made):
                made = {name.removeprefix(prefix): each for name, each in made.items()}
    return made
