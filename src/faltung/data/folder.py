"""Folders with one subfolder per class: what they contain, and their files as a lazy source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.limits import regular
from faltung.data.names import class_list, in_order, inside, listing, number_classes, printable
from faltung.data.options import Options
from faltung.data.source import Indices, scaled
from faltung.data.units import Units
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
# Bytes of decoded samples that are kept: small data are decoded once, not in every epoch.
MAX_KEPT_BYTES = 1 << 29


@dataclass
class Listing:
    """Files that could be samples, the class of each, and what was left out."""

    root: Path
    strict: bool
    files: list[Path] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def skip(self, path: Path, why: str) -> None:
        """Skip a file and note why; with ``strict`` that is an error."""
        line = f"{inside(path, self.root)}: {why}"
        if self.strict:
            raise FaltungError(line)
        self.skipped.append(line)

    def keep_only(self, good: Sequence[int]) -> None:
        self.files = [self.files[i] for i in good]
        self.words = [self.words[i] for i in good]


def class_folders(root: Path) -> list[Path]:
    """The folders within ``root`` that are not hidden, in order."""
    found = {path.name: path for path in root.iterdir() if path.is_dir() and not _hidden(path)}
    return [found[name] for name in in_order(found)]


def walk(root: Path, options: Options) -> Listing:
    """The files in the class folders of ``root``. ValueError: too few class folders, an empty or
    unknown class, or a link that leads out of ``root``.
    """
    where = printable(root.name)
    found = Listing(root, options.strict)
    folders = class_folders(root)
    least = 1 if options.classes is not None else 2
    if len(folders) < least:
        raise FaltungError(
            f"{where}: has {len(folders)} folders; it needs one folder of files for each class, "
            f"at least {least}"
        )
    _check_names(folders, where, options)
    for path in sorted(root.iterdir()):
        if not path.is_dir() and not _hidden(path):
            found.skip(path, "lies outside the folders of the classes")
    real = root.resolve()
    for folder in folders:
        _stay_inside(folder, root, real)
        before, inner = len(found.files), []
        for path in sorted(folder.iterdir()):
            if _hidden(path):
                continue
            if _can_be_read(path, found, real):
                found.files.append(path)
                found.words.append(printable(folder.name))
            elif path.is_dir():
                inner.append(path)
        if len(found.files) == before:
            if inner:
                raise FaltungError(
                    f"{where}: '{printable(folder.name)}' holds folders, not files; if it is one "
                    "of several parts, give that part"
                )
            raise FaltungError(f"{where}: class '{printable(folder.name)}' is empty")
    return found


def _check_names(folders: Sequence[Path], where: str, options: Options) -> None:
    names = class_list([printable(folder.name) for folder in folders])
    if options.classes is not None:
        number_classes(names, f"{where}: folders", options.classes)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _stay_inside(path: Path, root: Path, real: Path) -> None:
    """ValueError for a link that leads out of the given folder."""
    if path.is_symlink() and not path.resolve().is_relative_to(real):
        raise FaltungError(
            f"{inside(path, root)}: is a link that leads out of {printable(root.name)}; "
            "put the file there instead"
        )


def _can_be_read(path: Path, found: Listing, real: Path) -> bool:
    """Whether a path in a class folder is a non-empty file; anything else is skipped."""
    try:
        _stay_inside(path, found.root, real)
        if path.is_dir():
            found.skip(path, "is a folder within a class")
            return False
        path.stat()
    except (OSError, RuntimeError):  # a broken or circular link
        found.skip(path, "cannot be reached")
        return False
    try:
        regular(path, "")
    except ValueError as error:
        found.skip(path, str(error).removeprefix(": "))
        return False
    return True


def examine_all(found: Listing, examine: Callable[[Path, str], Any], what: str) -> list[Any]:
    """The results of ``examine(path, name)`` for each file; those that it rejects are skipped.
    ValueError if a class loses all of its files.
    """
    facts, good = [], []
    for i, path in enumerate(found.files):
        name = inside(path, found.root)
        try:
            facts.append(examine(path, name))
            good.append(i)
        except Broken as error:
            found.skip(path, str(error))
    before = set(found.words)
    found.keep_only(good)
    lost = in_order(before - set(found.words))
    if lost:
        raise FaltungError(
            f"{printable(found.root.name)}: class {listing(lost)} has no {what} that can be read; "
            f"{listing(found.skipped, 3)}"
        )
    return facts


class Broken(Exception):
    """What is wrong with a file that is skipped, in a few words."""


class FileSource:
    """Samples in files, decoded when they are read, and kept in memory if they are small.

    ``decode``: from a file and its name to an array of ``shape`` and ``dtype``; 8 and 16 bits stand
    for 0..1.
    """

    lazy = True

    def __init__(
        self,
        found: Listing,
        options: Options,
        *,
        kind: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        decode: Callable[[Path, str], Array],
    ) -> None:
        self.kind, self.shape, self.skipped = kind, shape, tuple(found.skipped)
        where = printable(found.root.name)
        self.targets: Array
        self.targets, self.classes = number_classes(found.words, where, options.classes)
        self._files, self._decode, self._dtype = found.files, decode, dtype
        white = {"uint8": 255.0}.get(dtype.name, 1.0) if kind == "picture" else None
        self.units = Units(white or 1.0, white, fixed=white is not None, whole=dtype.kind == "u")
        self.names = tuple(inside(path, found.root) for path in found.files)
        small = len(self) * int(np.prod(shape)) * dtype.itemsize <= MAX_KEPT_BYTES
        self._kept = np.empty((len(self), *shape), dtype) if small else None
        self._have = np.zeros(len(self), bool)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Array:
        return scaled(self.stored(indices), self.units.scale)

    def stored(self, indices: Indices) -> Array:
        """Samples as they are stored: an array that the caller may change."""
        wanted = np.asarray(indices, np.int64)
        if self._kept is not None and self._have[wanted].all():
            out: Array = np.take(self._kept, wanted, axis=0)
        else:
            out = np.empty((len(wanted), *self.shape), self._dtype)
            for row, i in zip(out, wanted, strict=True):
                row[...] = self._one(int(i))
        return out

    def _one(self, i: int) -> Array:
        if self._kept is None:
            return self._decode(self._files[i], self.names[i])
        if not self._have[i]:
            self._kept[i] = self._decode(self._files[i], self.names[i])
            self._have[i] = True  # after the values, because of other threads
        return np.asarray(self._kept[i])
