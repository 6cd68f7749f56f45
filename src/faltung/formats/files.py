"""Files written whole or not at all, and files read with a limit.

Whole: under a temporary name in the same folder, fsync, rename, fsync of the folder.  Whoever
opens the file, after ``kill -9`` or a power cut too, finds the old contents or the new, never a
part. Every error is one line that begins with the name of the file.
"""

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

Writer = Callable[[IO[bytes]], object]

LARGEST = 1 << 34  # bytes; what ``read_checked`` reads where nobody said less

_UNFINISHED = re.compile(r"\.faltung-[0-9a-f]{16}\.part")
_BINARY = getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | _BINARY
# O_NONBLOCK: opening a FIFO must not wait for someone to write into it.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _BINARY
# What file systems say that cannot sync a folder, or when we may write a folder but not read it.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM)


def problem(path: str | os.PathLike[str], error: OSError, what: str) -> OSError:
    """``error`` again, with its errno and the class that belongs to it, as one line: file, what,
    reason.
    """
    reason = (error.strerror or str(error)).lower()
    kind = type(OSError(error.errno, "")) if error.errno else OSError
    made = kind(f"{_shown(path)}: {what}, {reason}")
    made.errno = error.errno
    return made


def _shown(path: str | os.PathLike[str]) -> str:
    """The name as it can be printed on one line, whatever bytes it has."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def write_whole(path: str | os.PathLike[str], data: bytes | Writer) -> None:
    """Give the file ``path`` these bytes, or what the function ``data`` writes into the open file.

    If anything fails, in ``data`` too, the file is as it was and nothing lies beside it; only
    ``kill -9`` and power cuts leave the temporary file (see ``sweep``).  A link is followed: the
    file that it names is written.  OSError, naming the file: disk full, folder missing or not
    writable. ValueError: ``path`` is something else than a file.
    """
    target = Path(os.path.realpath(path))
    mode = _mode(path, target)
    part = target.with_name(f".faltung-{os.urandom(8).hex()}.part")
    try:
        try:
            _write(part, data, mode)
            os.replace(part, target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise problem(path, error, "not written") from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise problem(path, error, "written, but perhaps lost in a power cut") from error


def _mode(path: str | os.PathLike[str], target: Path) -> int | None:
    """The permissions of the file that is there, for the one that takes its place.

    A rename replaces whatever bears the name: devices (/dev/null), FIFOs and folders are refused.
    """
    try:
        mode = target.stat().st_mode
    except OSError:
        return None  # not there yet; or the reason comes when it is written
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise ValueError(f"{_shown(path)}: must be a file, is {kind}")
    if not os.access(target, os.W_OK):  # a rename would not ask
        raise PermissionError(f"{_shown(path)}: not written, it is read-only")
    return stat.S_IMODE(mode)


def _write(part: Path, data: bytes | Writer, mode: int | None) -> None:
    """Create ``part``, fill it and force it to the disk."""
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
        with suppress(OSError):  # closing writes what is left in the buffer, and fails again
            file.close()
        raise


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk, where folders can be forced."""
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
    """Remove the temporary files of writers that were killed; how many they were.

    For a folder in which nobody is writing now.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _UNFINISHED.fullmatch(entry.name):
                with suppress(OSError):
                    os.unlink(entry.path)
                    removed += 1
    return removed


def read_checked(path: str | os.PathLike[str], limit: int = LARGEST) -> bytes:
    """All bytes of an ordinary file of at most ``limit`` bytes.

    OSError (FileNotFoundError, PermissionError, ...) or ValueError, in one line with its name.
    """
    try:
        handle = os.open(path, _READ)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{_shown(path)}: must be an ordinary file")
            if status.st_size > limit:
                raise ValueError(f"{_shown(path)}: {status.st_size} bytes: must be at most {limit}")
            data = file.read(status.st_size + 1)
    except OSError as error:
        raise problem(path, error, "not read") from error
    if len(data) != status.st_size:
        raise ValueError(f"{_shown(path)}: changed its size while it was read")
    return data
