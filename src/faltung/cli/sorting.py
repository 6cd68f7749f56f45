"""``faltung predict RUN FOLDER --sort OUT``: a copy of the files with a folder for each class."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from faltung.cli.line import line
from faltung.formats.files import make_folder, opened_checked, own_folder, write_whole
from faltung.geometry.errors import FaltungError

COMPARED_BYTES = 1 << 20  # of two files at a time


class Sorted:
    """Copies files; nothing is moved and nothing is replaced. Ctrl-C leaves whole files alone, and
    the same command goes on: a copy that is there already counts.
    """

    def __init__(self, folder: str, classes: Sequence[str]) -> None:
        for name in classes:
            if not _is_name(name):
                raise FaltungError(f"sort={folder}: the class {line(name)!r} cannot name a folder")
        self.folder, self.classes = Path(folder), classes
        if not self.folder.is_dir():
            make_folder(self.folder)
        self.copied = self.there = 0

    def copy(self, file: str, under: str, label: int) -> None:
        """Copy a file, or a folder of frames, to the folder of its class. FileExistsError: another
        file is there.
        """
        if os.path.isdir(file):
            for name in sorted(os.listdir(file)):
                self.copy(os.path.join(file, name), os.path.join(under, name), label)
            return
        folder = self.folder
        *above, name = Path(self.classes[label], under).parts
        for part in above:
            folder = folder / part
            own_folder(folder)
        target = folder / name
        if os.path.lexists(target):
            if not _same(file, target):
                raise FileExistsError(f"{line(target)}: already exists, and is another file")
            self.there += 1
            return

        def copied(out: IO[bytes]) -> None:
            with opened_checked(file, 1 << 62) as (source, _):
                shutil.copyfileobj(source, out)

        write_whole(target, copied, own=True, new=True)
        self.copied += 1

    def said(self) -> str:
        """What was done, in a line."""
        there = f", {self.there:,} were there already" if self.there else ""
        return f"{line(self.folder)}: {self.copied:,} files copied{there}"


def _is_name(name: str) -> bool:
    """Whether a class can be the name of a folder, within the one that was asked for."""
    return bool(name) and name not in (".", "..") and not any(c in name for c in '/\\\0:*?"<>|')


def _same(file: str, target: Path) -> bool:
    """Whether two regular files have the same bytes."""
    if target.is_symlink() or not target.is_file():
        return False
    if os.path.getsize(file) != os.path.getsize(target):
        return False
    with open(file, "rb") as one, target.open("rb") as other:
        while part := one.read(COMPARED_BYTES):
            if part != other.read(COMPARED_BYTES):
                return False
    return True
