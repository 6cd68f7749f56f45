"""Tensors in files, in the safetensors format (https://huggingface.co/docs/safetensors).

A file is eight bytes (the length of the header, little-endian), a JSON header (dtype, shape and
offsets of each tensor, and strings of metadata), and the bytes of the tensors. Nothing in it is
ever executed.

Files are read by the ``safetensors`` library but written here: the library orders the metadata
randomly, so that the same weights make different files, and copies all tensors twice.

A coded file (``coded.py``) has the same tensors and metadata inside a single one of bytes. It is
read like any other.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from faltung.formats import coded as coded_file
from faltung.formats import packed as packed_file
from faltung.formats.extras import missing
from faltung.formats.files import read_checked, shown, write_whole
from faltung.geometry.check import show
from faltung.geometry.errors import (
    FaltungError,
    FaltungImportError,
    FaltungMemoryError,
    FaltungTypeError,
)
from faltung.geometry.record import dataclass
from faltung.runtime.halves import whole

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
Expected = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]


@dataclass(frozen=True, slots=True)
class Words:
    """A tensor of bfloat16, its numbers as words: uint16."""

    words: Array


# The format's name of a dtype, and NumPy's.
NAMES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
# Another name, of numbers that NumPy lacks: read, they are widened; written, they are ``Words``.
BFLOAT16 = "BF16"
_WORDS = {np.dtype(text): word for word, text in NAMES.items()}
_DTYPES = {word: np.dtype(text) for word, text in NAMES.items()}
_METADATA = "__metadata__"
_NAMED = 4  # tensors of a kind that an error names


# Writing ------------------------------------------------------------------------------------------


def save_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array | Words],
    metadata: Mapping[str, str] | None = None,
    *,
    own: bool = False,
    coded: bool = False,
    packed: bool = False,
) -> None:
    """Write the file atomically. The same tensors and metadata give the same bytes, in any order.
    ``coded``: in as few bytes as may be; ``packed``: those of few numbers in 8 bits.

    TypeError for a dtype that the format lacks; ``own`` and errors of the disk as in
    ``files.write_whole``.
    """
    if coded:
        tensors, metadata = _coded(tensors, metadata or {})
    elif packed:
        tensors, how = packed_file.pack(_wide(tensors), _WORDS)
        metadata = {**(metadata or {}), packed_file.NAME: how}
    # The widest first: then every tensor starts at a multiple of its own size.
    arrays = {name: _array_of(tensor) for name, tensor in tensors.items()}
    kinds = {name: BFLOAT16 for name, tensor in tensors.items() if isinstance(tensor, Words)}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header = _header([(name, arrays[name]) for name in order], metadata or {}, kinds)

    def write(file: IO[bytes]) -> None:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in order:
            file.write(_bytes(arrays[name]))

    write_whole(path, write, own=own)


def _array_of(tensor: Array | Words) -> Array:
    return tensor.words if isinstance(tensor, Words) else tensor


def _coded(
    tensors: Mapping[str, Array | Words], metadata: Mapping[str, str]
) -> tuple[Tensors, dict[str, str]]:
    """All of a file as the one tensor of a coded file."""
    arrays = _wide(tensors)  # of bfloat16 the lower halves are zeros, which take no room
    _header(arrays.items(), metadata, {})  # refuses what no file can hold
    data = coded_file.encode(arrays, _DTYPES, metadata)
    return {coded_file.NAME: np.frombuffer(data, np.uint8)}, {coded_file.NAME: coded_file.FORMAT}


def _wide(tensors: Mapping[str, Array | Words]) -> Tensors:
    """Arrays that NumPy knows."""
    return {
        n: whole(t.words, "bfloat16") if isinstance(t, Words) else t for n, t in tensors.items()
    }


def coded_size(tensors: Mapping[str, Array]) -> int:
    """Bytes of a coded file of these tensors alone."""
    made, metadata = _coded(tensors, {})
    return 8 + len(_header(made.items(), metadata, {})) + sum(each.nbytes for each in made.values())


def _header(
    tensors: Iterable[tuple[str, Array]], metadata: Mapping[str, str], kinds: Mapping[str, str]
) -> bytes:
    entries: dict[str, Any] = {}
    for key, value in metadata.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise FaltungTypeError(
                f"metadata: {show(key)}={show(value)}: names and values must be text"
            )
    if metadata:
        entries[_METADATA] = dict(sorted(metadata.items()))
    at = 0
    for name, tensor in tensors:
        word = kinds.get(name) or _WORDS.get(tensor.dtype.newbyteorder("<"))
        if word is None:
            raise FaltungTypeError(
                f"tensors: {show(name)}.dtype={tensor.dtype}: not in safetensors"
            )
        if name == _METADATA:
            raise FaltungError(f"tensors: {name!r}: is a name that the format reserves")
        place = [at, at + tensor.nbytes]
        entries[name] = {"dtype": word, "shape": list(tensor.shape), "data_offsets": place}
        at = place[1]
    try:
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise FaltungError(
            f"tensors: {show(error.object[:60])}: names must be UTF-8 text"
        ) from None
    return text + b" " * (-len(text) % 8)


def _bytes(tensor: Array) -> Any:
    """The entries in C order, as a buffer; copied only if they are not contiguous."""
    little = np.asarray(tensor, tensor.dtype.newbyteorder("<"), order="C")
    return little.reshape(-1).view(np.uint8)


# Reading ------------------------------------------------------------------------------------------


def load_tensors(
    path: str | os.PathLike[str], *, own: bool = False, bits: dict[str, float] | None = None
) -> tuple[Tensors, dict[str, str]]:
    """(tensors, metadata) of a file; the arrays are writable and belong to the caller; those of
    bfloat16 are float32. ``bits``: gets what each tensor takes in the file, without names and
    tables.

    ValueError, naming the file: it is truncated or inconsistent, has a name twice or a dtype that
    NumPy lacks, or is not a safetensors file at all; with ``own`` a link.
    """
    try:
        import safetensors
    except ImportError as error:
        raise missing("safetensors", "train") from error
    deserialize: Any = safetensors.deserialize
    data = read_checked(path, own=own, copies=2)  # the library copies every tensor
    try:
        parts = list(deserialize(data))
        header = _read_header(data)
        tensors = {name: _array(name, part) for name, part in parts}
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).removeprefix("Error while deserializing: ").split())
        raise FaltungError(f"{shown(path)}: not a whole safetensors file, {reason}") from error
    metadata = header.get(_METADATA) or {}
    if coded_file.NAME in metadata:
        return _decoded(shown(path), tensors, metadata, bits)
    if bits is not None:
        bits.update((name, 8.0 * len(part["data"])) for name, part in parts)
    if packed_file.NAME in metadata:
        how = metadata.pop(packed_file.NAME)
        try:
            tensors = packed_file.unpack(tensors, how)
        except FaltungMemoryError:
            raise
        except FaltungError as error:
            raise FaltungError(f"{shown(path)}: not a whole packed file, {error}") from error
    return tensors, metadata


def _decoded(
    source: str, tensors: Tensors, metadata: dict[str, str], bits: dict[str, float] | None
) -> tuple[Tensors, dict[str, str]]:
    """What is in a coded file."""
    written = metadata[coded_file.NAME]
    if written != coded_file.FORMAT:
        raise FaltungError(
            f"{source}: coded={show(written)}: must be {coded_file.FORMAT} for this faltung"
        )
    data = tensors.get(coded_file.NAME)
    if len(tensors) != 1 or data is None or data.dtype != np.uint8 or data.ndim != 1:
        raise FaltungError(f"{source}: not a coded file, must have one tensor of bytes")
    try:
        return coded_file.decode(data.tobytes(), _DTYPES, bits)
    except (FaltungMemoryError, FaltungImportError):
        raise
    except FaltungError as error:
        raise FaltungError(f"{source}: not a whole coded file, {error}") from error


def _read_header(data: bytes) -> dict[str, Any]:
    """The header, which the library has validated, except that it allows duplicate names."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length], object_pairs_hook=_once)
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FaltungError(f"{show(twice)} occurs twice")
    return made


def _array(name: str, part: Mapping[str, Any]) -> Array:
    word = part["dtype"]
    if word == BFLOAT16:
        words = np.frombuffer(part["data"], "<u2").reshape(part["shape"])
        return whole(words, "bfloat16")
    if word not in NAMES:
        raise FaltungError(f"{show(name)} is {show(word)}, which NumPy lacks")
    dtype = np.dtype(NAMES[word])
    return (
        np.frombuffer(part["data"], dtype)
        .reshape(part["shape"])
        .astype(dtype.newbyteorder("="), copy=False)
    )


# Comparing ----------------------------------------------------------------------------------------


def check_tensors(
    found: Mapping[str, Array], expected: Expected, source: str | os.PathLike[str] = "tensors"
) -> None:
    """One ValueError that names all that is missing, unexpected, or of another shape or dtype.

    ``expected``: name -> (shape, dtype).  ``source``: where they came from, for the error.
    """
    problems = []
    lacking = [show(name) for name in expected if name not in found]
    extra = [show(name) for name in found if name not in expected]
    other = []
    for name in expected:
        if name in found:
            is_, must = _said(found[name].shape, found[name].dtype), _said(*expected[name])
            if is_ != must:
                other.append(f"{show(name)} is {is_}, must be {must}")
    for what, names in (("missing", lacking), ("not expected", extra), ("other shape", other)):
        if names:
            problems.append(f"{what}: {_listed(names)}")
    if problems:
        raise FaltungError(f"{shown(source)}: does not fit; {'; '.join(problems)}")


def _said(shape: tuple[int, ...], dtype: npt.DTypeLike) -> str:
    return f"{np.dtype(dtype)} ({', '.join(map(str, shape))})"


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
