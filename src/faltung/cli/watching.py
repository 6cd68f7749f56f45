"""``faltung predict RUN --watch FOLDER``: files are answered as they arrive, until Ctrl-C.

The folder is looked through every half second, which works on every disk, those of a network too. A
file is read when it has not changed for a second; one that cannot be read then may still be on its
way, and is tried again when it changes. Only if it stays as it is for a while is it reported.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from faltung.cli.answering import Job, Later
from faltung.cli.appending import Growing
from faltung.cli.ending import stopped, when_stopped
from faltung.cli.errors import MISTAKES
from faltung.cli.given import Given
from faltung.cli.predict_table import Write, lines, table
from faltung.geometry.errors import FaltungError

POLL_SECONDS = 0.5  # and not more than a third of the time goes into looking
SETTLED_SECONDS = 1.0  # without a change, after which a file is whole
PATIENCE_SECONDS = 10.0  # after which one that cannot be read is reported
# What programs call a file that is still being written.
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart", ".swp")

# Sizes and times of a file, or of all files of a clip.
Stamp = tuple[tuple[str, int, int], ...]


def watch(
    job: Job,
    folder: str,
    named: Iterable[Given],
    files: Callable[..., Iterator[Given]],
    csv: str | None,
    as_table: bool,
) -> int:
    """Answer what was named, then what arrives in a folder; 130 after Ctrl-C."""
    if not os.path.isdir(folder):
        raise FaltungError(f"watch={folder}: must be a folder")
    count = 0
    when_stopped(lambda: f"stopped watching; {count:,} samples answered")
    growing = None if csv is None else Growing(csv, job.model)
    try:
        plain: Write
        if growing is not None:
            plain = growing.write
        else:
            plain = table(job.model, sys.stdout) if as_table else lines(job.model)
        watched = Watched(folder, files, growing.done if growing else ())
        read, job.read = job.read, None  # type: ignore[assignment]
        job.read = watched.patient(read)

        def write(names: Sequence[str], outputs: Any) -> None:
            nonlocal count
            plain(names, outputs)
            count += len(names)
            sys.stdout.flush()

        job.answer(named, write)
        sys.stdout.flush()
        while True:
            begun = time.monotonic()
            job.answer(watched.ready(begun), write)
            time.sleep(max(POLL_SECONDS, 2 * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        return stopped()
    finally:
        if growing is not None:
            growing.close()


class Watched:
    """The files of a folder, each with how it looked, and since when.

    files: ``given``, which finds them. done: what tables call those that were answered before.
    """

    def __init__(
        self, folder: str, files: Callable[..., Iterator[Given]], done: Iterable[str] = ()
    ) -> None:
        self.folder, self.files, self.done = folder, files, set(done)
        self._seen: dict[str, tuple[Stamp, float]] = {}
        self._over: dict[str, Stamp] = {}  # answered or reported, as they were then
        self._tried: dict[str, Stamp] = {}  # what could not be read
        self._now = 0.0

    def ready(self, now: float) -> list[Given]:
        """Look through the folder, at this time; the files that are whole, and new or changed."""
        self._now, seen, found = now, self._seen, []
        self._seen = {}
        for file in self.files([self.folder], _ignore):
            if file.path.lower().endswith(UNFINISHED):
                continue
            stamp = _stamp(file.path)
            if stamp is None:  # it is gone, or no file
                continue
            before, since = seen.get(file.path, (stamp, now))
            if before != stamp:
                since = now
            self._seen[file.path] = stamp, since
            wait = SETTLED_SECONDS if self._tried.get(file.path) != stamp else PATIENCE_SECONDS
            if self._over.get(file.path) == stamp or now - since < wait:
                continue
            if file.path not in self._over and self._listed(file):
                self._over[file.path] = stamp
                continue
            found.append(file)
        for known in (self._over, self._tried):
            for path in known.keys() - self._seen.keys():
                del known[path]
        return found

    def patient(self, read: Callable[[Given], Any]) -> Callable[[Given], Any]:
        """``read``, that raises Later for a file which may still be on its way."""

        def reads(file: Given) -> Any:
            stamp, since = self._seen.get(file.path, ((), -PATIENCE_SECONDS))
            try:
                found = read(file)
            except MISTAKES:
                if self._now - since < PATIENCE_SECONDS:
                    self._tried[file.path] = stamp
                    raise Later from None
                self._over[file.path] = stamp
                raise
            if file.path in self._seen and _stamp(file.path) != stamp:
                raise Later  # it was read while it changed
            self._over[file.path] = stamp
            return found

        return reads

    def _listed(self, file: Given) -> bool:
        """Whether a table has a file already, or samples of it."""
        from faltung.data.names import spreadsheet_text

        name = spreadsheet_text(file.said)
        return name in self.done or f"{name}[0]" in self.done


def _ignore(path: str, error: BaseException) -> None:
    """What cannot be reached now may be later."""


def _stamp(path: str) -> Stamp | None:
    """How a file looks from outside, or all files of a folder of frames; None: there is none, or
    nothing in it yet.
    """
    try:
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                found = [(each.name, each.stat()) for each in entries]
        else:
            found = [("", os.stat(path))]
    except OSError:
        return None
    stamp = tuple(sorted((name, each.st_size, each.st_mtime_ns) for name, each in found))
    return stamp if stamp and all(size for _, size, _ in stamp) else None
