"""Checks before a file is trusted: that it is a regular file, and not a decompression bomb.

Sizes in a header are claims: every reader compares them with the length of the file before it
allocates memory.
"""

import errno
import logging
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from faltung.data.contents import it_is
from faltung.data.names import printable
from faltung.geometry.errors import FaltungError, FaltungImportError
from faltung.runtime.memory import require

# A packed file may unpack to this many bytes, or MAX_UNPACKED_RATIO times its length if that is
# more. Pictures compress 2 to 20 times, masks and zeros up to the limit of DEFLATE.
FREE_UNPACKED_BYTES = 1 << 30
MAX_UNPACKED_RATIO = 100
DEFLATE_RATIO = 1032
BLOCK_BYTES = 1 << 24  # bytes read at a time


def exists(path: Path) -> bool:
    """Whether a path exists; false if it cannot be a path."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise
        return False
    return True


def regular(path: Path, where: str) -> int:
    """The length of a file in bytes. ValueError for a pipe or a device, which could block or never
    end.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise FaltungError(f"{where}: must be a file, not a pipe, device or folder")
    if not found.st_size:
        raise FaltungError(f"{where}: the file is empty")
    return found.st_size


def check_unpacked(claimed: int, packed: int, where: str) -> None:
    """ValueError if ``packed`` bytes claim to unpack to as many as only a bomb would."""
    if claimed > packed * DEFLATE_RATIO + BLOCK_BYTES:
        raise FaltungError(
            f"{where}: claims to unpack to {claimed:,} bytes, more than its {packed:,} can hold"
        )
    if claimed > max(FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed):
        raise FaltungError(
            f"{where}: would unpack to {claimed:,} bytes from {packed:,}; refused as a "
            "decompression bomb (if it is yours, save it uncompressed)"
        )


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """An array to read into. ValueError: it does not fit into memory."""
    require(prod(shape) * dtype.itemsize, f"{where}: {shape} of {dtype}")
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError, OverflowError):
        raise FaltungError(f"{where}: {shape} of {dtype} does not fit into memory") from None


def fill(file: IO[bytes], array: npt.NDArray[Any], where: str) -> None:
    """Read a contiguous array from a file. ValueError: the file ends too early."""
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        part = file.read(min(BLOCK_BYTES, len(view) - done))
        if not part:
            raise FaltungError(f"{where}: ends after {done:,} of {len(view):,} bytes of data")
        view[done : done + len(part)] = part
        done += len(part)


def needs(extra: str, package: str, what: str) -> ImportError:
    """The error for a reader whose package is not installed."""
    return FaltungImportError(f'{what} needs {package}: pip install "faltung[{extra}]"')


def described(error: BaseException) -> str:
    """The error of a library about a file, on one printable line."""
    return printable(" ".join(str(error).split()) or type(error).__name__)


@contextmanager
def complaints(where: str, path: Path | None = None) -> Iterator[None]:
    """Turn any error inside into a ValueError that names the file, and says what it is instead if
    the first bytes at ``path`` do.

    For a broken or hostile file a library raises nearly anything: struct.error, zlib.error,
    KeyError, RecursionError, MemoryError, a zip's RuntimeError for a password.
    """
    try:
        yield
    except Exception as error:
        hint = "" if path is None else it_is(path)
        if not str(error).startswith(where):
            said = f"{where}: cannot be read, {described(error)}"
        elif hint and type(error) is FaltungError:  # ours
            said = str(error)
        else:
            raise
        raise FaltungError(f"{said}{hint}") from error


def check_finite(array: npt.NDArray[Any], where: str, names: Sequence[str] | None = None) -> None:
    """ValueError names the first sample (along axis 0) that contains NaN or an infinite value."""
    if array.dtype.kind != "f":
        return
    step = max(1, BLOCK_BYTES // max(array[:1].nbytes, 1))
    for start in range(0, len(array), step):
        rows = array[start : start + step].reshape(len(array[start : start + step]), -1)
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if bad.size:
            what = "NaN" if np.isnan(rows[bad[0]]).any() else "an infinite value"
            number = start + int(bad[0])
            raise FaltungError(
                f"{where}: sample {names[number] if names else number} contains {what}"
            )


class _Silence(logging.Filter):
    """Drops what is logged in threads that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "on", False)


_SILENCE = _Silence()


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Silence a library's messages on odd headers, which would come for every file in every epoch,
    in this thread alone.
    """
    logging.getLogger(logger).addFilter(_SILENCE)  # once, however often it is added
    _SILENCE.here.on = True
    try:
        yield
    finally:
        _SILENCE.here.on = False
