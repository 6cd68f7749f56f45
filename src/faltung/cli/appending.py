"""A table that grows: whole lines are appended, and a line that a killed writer left is removed."""

import csv
import errno
import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from faltung.cli.line import line
from faltung.cli.predict_table import header, table
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.train.model import Model

LONGEST_NAME = 1 << 20  # bytes in which the end of the last whole line must lie


class Growing:
    """A table on disk, written by one process at a time. ``done``: the files that are in it."""

    def __init__(self, path: str, model: "Model") -> None:
        self.path = path
        self._buffer = io.StringIO()
        self._table = table(model, self._buffer, head=False)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags, 0o666)
        try:
            _lock(self._handle, path)
            self.done = self._begun(header(model))
        except BaseException:
            self.close()
            raise

    def write(self, names: Sequence[str], outputs: Any) -> None:
        """Append a line for each sample, all at once."""
        self._buffer.seek(0)
        self._buffer.truncate()
        self._table(names, outputs)
        self._append(self._buffer.getvalue())

    def close(self) -> None:
        """Let others write."""
        os.close(self._handle)

    def _append(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._handle, data) :]

    def _begun(self, head: list[str]) -> set[str]:
        """The names that are in the table; without its last line, if that is not whole. ValueError:
        it is another table.
        """
        with open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - LONGEST_NAME, 0))
            end = file.read()
        whole = size - len(end) + end.rfind(b"\n") + 1
        if whole == 0 and size:
            raise self._other()
        if whole < size:
            os.ftruncate(self._handle, whole)
        if not size:
            csv.writer(self._buffer, lineterminator="\n").writerow(head)
            self._append(self._buffer.getvalue())
            return set()
        try:
            with open(self.path, newline="", encoding="utf-8") as text:
                rows = csv.reader(text)
                if next(rows, None) != head:
                    raise self._other()
                return {row[0] for row in rows if row}
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._other() from error

    def _other(self) -> FaltungError:
        return FaltungError(
            f"csv={self.path}: is no table of this network, so nothing is appended: name another "
            "file"
        )


def _lock(handle: int, path: str) -> None:
    """BlockingIOError: another process appends to this table. Nothing is locked on Windows."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise BlockingIOError(f"{line(path)}: another process appends to it") from None
