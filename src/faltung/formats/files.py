"""Atomic writing of files, and reading with a limit.

A file is written under a temporary name in the same folder, fsynced and renamed, and the folder is
fsynced. Even after ``kill -9`` or a power cut there are the old contents or the new, never a part.
Every error is one line that begins with the name of the file.

Links are followed only in what the user typed. Where Faltung chose the name (``own``), as that of a
report in the folder of a run, somebody else may have put a link there: writing replaces the link
and leaves alone what it points to, reading refuses it.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from faltung.geometry.errors import FaltungError
from faltung.runtime.memory import require

Writer = Callable[[IO[bytes]], object]

MAX_FILE_BYTES = 1 << 34  # bytes that ``read_checked`` reads by default

_UNFINISHED = re.compile(r"\.faltung-[0-9a-f]{16}\.part")
_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
# O_NONBLOCK: opening a FIFO must not wait for a writer.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _BINARY
# Errors of file systems that cannot sync a folder, or of folders that may be written but not read.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM)


def problem(path: str | os.PathLike[str], error: OSError, what: str) -> OSError:
    """``error`` again, with its errno and the class that belongs to it, as one line: file, what,
    reason.
    """
    reason = (error.strerror or str(error)).lower()
    kind = type(OSError(error.errno, "")) if error.errno else OSError
    made = kind(f"{shown(path)}: {what}, {reason}")
    made.errno = error.errno
    return made


def shown(path: str | os.PathLike[str]) -> str:
    """The name, printable on one line whatever bytes it has."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def write_whole(
    path: str | os.PathLike[str], data: bytes | Writer, *, own: bool = False, new: bool = False
) -> None:
    """Write a file atomically: these bytes, or what the function ``data`` writes to an open file.

    If anything fails, also in ``data``, the file stays as it was and no other file is left; only
    ``kill -9`` and power cuts leave the temporary file (see ``sweep``). A link is followed, or with
    ``own`` replaced. OSError, naming the file: disk full, folder missing or not writable; with
    ``new``, where nothing may be replaced, FileExistsError. ValueError: ``path`` is not a file.
    """
    target = Path(path) if own else Path(os.path.realpath(path))
    mode = _mode(path, target)
    part = target.with_name(f".faltung-{os.urandom(8).hex()}.part")
    try:
        try:
            _write(part, data, mode)
            (_put if new else os.replace)(part, target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise problem(path, error, "not written") from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise problem(path, error, "written, but perhaps lost in a power cut") from error


def _put(part: Path, target: Path) -> None:
    """Give a file its name, if nothing has it. FileExistsError."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "already exists") from None
        os.rename(part, target)


def _mode(path: str | os.PathLike[str], target: Path) -> int | None:
    """The permissions of the existing file, for the one that replaces it.

    A rename replaces anything of that name: devices (/dev/null), FIFOs and folders are refused.
    """
    try:
        mode = target.lstat().st_mode
    except OSError:
        return None  # it does not exist yet, or writing will give the reason
    if stat.S_ISLNK(mode):
        return None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise FaltungError(f"{shown(path)}: must be a file, is {kind}")
    if not os.access(target, os.W_OK):  # a rename would ignore that
        raise PermissionError(f"{shown(path)}: not written, it is read-only")
    return stat.S_IMODE(mode)


def _write(part: Path, data: bytes | Writer, mode: int | None) -> None:
    """Create ``part``, write it and force it to disk."""
    file = os.fdopen(os.open(part, _CREATE, 0o666), "wb")
    try:
        if mode is not None and os.chmod in os.supports_fd:
            os.chmod(file.fileno(), mode)
        if callable(data):
            data(file)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        file.close()
    except BaseException:
        with suppress(OSError):  # closing flushes the buffer, and fails again
            file.close()
        raise


def _sync_folder(folder: Path) -> None:
    """Force the new name to disk, where folders can be synced."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove the temporary files of writers that were killed; returns how many.

    Only for a folder that nobody is writing to.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _UNFINISHED.fullmatch(entry.name):
                with suppress(OSError):
                    os.unlink(entry.path)
                    removed += 1
    return removed


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, so that a power cut does not take it away
    again with all that is written into it. OSError, naming it; FileExistsError: it is there.
    """
    missing: list[Path] = []
    while not (above := (missing or [path])[-1].parent).exists() and above != above.parent:
        missing.append(above)
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            with suppress(FileExistsError):
                folder.mkdir()
                made.append(folder)
        path.mkdir()
        made.append(path)
        for folder in (path, *missing):
            _sync_folder(folder.parent)
    except OSError as error:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise problem(path, error, "not created") from error


def own_folder(path: Path) -> None:
    """Make a folder whose name Faltung chose, in one that is there. A link of that name is
    replaced; a folder stays. OSError, naming the folder.
    """
    try:
        if path.is_symlink():
            path.unlink()
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise problem(path, error, "not created") from error


def read_checked(
    path: str | os.PathLike[str],
    limit: int = MAX_FILE_BYTES,
    *,
    own: bool = False,
    copies: int = 1,
) -> bytes:
    """The contents of a regular file of at most ``limit`` bytes; with ``own`` not of a link.
    ``copies``: how often the caller will have them in memory.

    OSError (FileNotFoundError, PermissionError, ...) or ValueError, in one line with its name.
    MemoryError: more than the computer has free.
    """
    with opened_checked(path, limit, own=own, copies=copies) as (file, size):
        data = file.read(size + 1)
    if len(data) != size:
        raise FaltungError(f"{shown(path)}: changed size while it was read")
    return data


@contextmanager
def opened_checked(
    path: str | os.PathLike[str],
    limit: int = MAX_FILE_BYTES,
    *,
    own: bool = False,
    copies: int = 1,
    buffer: int = -1,
) -> Iterator[tuple[IO[bytes], int]]:
    """The same file open for reading, and its size; ``buffer``: bytes that are read ahead.

    Errors as for ``read_checked``, also those of reading within the block.
    """
    if own and os.path.islink(path):
        raise FaltungError(f"{shown(path)}: must be a file, is a link; put the file itself there")
    try:
        handle = os.open(path, _READ | (_NO_LINK if own else 0))
        with os.fdopen(handle, "rb", buffer) as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FaltungError(f"{shown(path)}: must be a regular file")
            if status.st_size > limit:
                raise FaltungError(
                    f"{shown(path)}: {status.st_size} bytes: must be at most {limit}"
                )
            require(copies * status.st_size, shown(path))
            yield file, status.st_size
    except OSError as error:
        raise problem(path, error, "not read") from error
