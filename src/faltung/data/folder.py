"""Folders with one subfolder per class: what they contain, and their files as a lazy source."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.contents import it_is
from faltung.data.limits import regular
from faltung.data.names import (
    class_list,
    class_name,
    in_order,
    inside,
    listing,
    number_classes,
    printable,
)
from faltung.data.options import Options
from faltung.data.source import Indices, Source, scaled
from faltung.data.units import Units, is_whole, white_of
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
# Bytes of decoded samples that are kept: small data are decoded once, not in every epoch.
MAX_KEPT_BYTES = 1 << 29
_SAMPLE_BYTES = 8  # of one value while a sample is brought to its size: twice in float32


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
    found = {path.name: path for path in root.iterdir() if path.is_dir() and not hidden(path)}
    return [found[name] for name in in_order(found)]


def _counted(folders: list[Path]) -> str:
    """How many folders there are, by name if there is one."""
    return f"the folder '{printable(folders[0].name)}' alone" if folders else "no folders"


def walk(
    root: Path,
    options: Options,
    usable: "Callable[[Path, Listing, Path], bool] | None" = None,
) -> Listing:
    """The files in the class folders of ``root``; or the paths there that are ``usable``, which is
    called with the path, the listing and where ``root`` really is. ValueError: too few class
    folders, an empty or unknown class, or a link that leads out of ``root``. MemoryError: samples
    of this size do not fit into memory, which is said before any is decoded.
    """
    where = printable(root.name)
    if options.size is not None:  # two axes at least
        values = options.size**2 if isinstance(options.size, int) else prod(options.size)
        require(_SAMPLE_BYTES * values, f"size={show(options.size)}: one sample")
    found = Listing(root, options.strict)
    folders = class_folders(root)
    least = 1 if options.classes is not None else 2
    if len(folders) < least:
        raise FaltungError(
            f"{where}: has {_counted(folders)}; it needs one folder of files for each class, "
            f"at least {least}"
        )
    _check_names(folders, where, options)
    for path in sorted(root.iterdir()):
        if not path.is_dir() and not hidden(path):
            found.skip(path, "lies outside the folders of the classes")
    real = root.resolve()
    for folder in folders:
        stay_inside(folder, root, real)
        before, inner = len(found.files), []
        for path in sorted(folder.iterdir()):
            if hidden(path):
                continue
            if (usable or can_be_read)(path, found, real):
                found.files.append(path)
                found.words.append(class_name(folder.name))
            elif path.is_dir():
                inner.append(path)
        if len(found.files) == before:
            if inner:
                raise FaltungError(
                    f"{where}: '{printable(folder.name)}' holds folders, not files; if it is one "
                    "of several parts, give that part; if they are clips, folders of frames, say "
                    "frames=16 or so"
                )
            raise FaltungError(f"{where}: class '{printable(folder.name)}' is empty")
    return found


def _check_names(folders: Sequence[Path], where: str, options: Options) -> None:
    names = class_list([folder.name for folder in folders], f"{where}: folders")
    if options.classes is not None:
        number_classes(names, f"{where}: folders", options.classes)


def hidden(path: Path) -> bool:
    """Whether a name is one that systems leave in folders, and people do not see."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def stay_inside(path: Path, root: Path, real: Path) -> None:
    """ValueError for a link that leads out of the given folder."""
    if path.is_symlink() and not path.resolve().is_relative_to(real):
        raise FaltungError(
            f"{inside(path, root)}: is a link that leads out of {printable(root.name)}; "
            "put the file there instead"
        )


def can_be_read(path: Path, found: Listing, real: Path) -> bool:
    """Whether a path in a class folder is a non-empty file; anything else is skipped."""
    try:
        stay_inside(path, found.root, real)
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


def examine_all(
    found: Listing, examine: Callable[[Path, str], Any], what: str, threads: int = 1
) -> list[Any]:
    """The results of ``examine(path, name)`` for each file; those that it rejects are skipped.
    ValueError if a class loses all of its files.

    With several ``threads`` files are examined side by side, but what is skipped, what is raised
    and the order of the results are the same.
    """
    facts, good = [], []
    for i, fact in enumerate(_each(found, examine, threads)):
        if isinstance(fact, Broken):
            found.skip(found.files[i], f"{fact}{it_is(found.files[i])}")
        else:
            facts.append(fact)
            good.append(i)
    before = set(found.words)
    found.keep_only(good)
    lost = in_order(before - set(found.words))
    if lost:
        raise FaltungError(
            f"{printable(found.root.name)}: class {listing(lost)} has no {what} that can be read; "
            f"{listing(found.skipped, 3)}"
        )
    return facts


def _each(found: Listing, examine: Callable[[Path, str], Any], threads: int) -> Iterator[Any]:
    """What examining each file gives, or why it is Broken, in order."""

    def one(path: Path) -> Any:
        try:
            return examine(path, inside(path, found.root))
        except Broken as error:
            return error

    if threads == 1:
        yield from map(one, found.files)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Any]] = deque()
        try:
            for path in found.files:
                ahead.append(pool.submit(one, path))
                if len(ahead) > 4 * threads:  # so that an error ends the work soon
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for late in ahead:
                late.cancel()


class Kept:
    """Samples that were decoded to examine their files, unless they are too large to be kept."""

    def __init__(self) -> None:
        self._samples: dict[Path, Array] | None = {}
        self._bytes = 0
        self._lock = Lock()

    def put(self, path: Path, sample: Array) -> None:
        with self._lock:
            self._bytes += sample.nbytes
            if self._bytes > MAX_KEPT_BYTES:
                self._samples = None
            if self._samples is not None:
                self._samples[path] = np.ascontiguousarray(sample)

    def taken(self, paths: Sequence[Path]) -> Iterator[Array]:
        """The sample of each of these files, which is then forgotten; none if not all are kept."""
        if self._samples is not None:
            for path in paths:
                yield self._samples.pop(path)


class Broken(Exception):
    """What is wrong with a file that is skipped, in a few words."""


def units_of_files(
    white: float | None, ranges: Sequence[tuple[float, float, bool]], *, picture: bool
) -> Units:
    """What the numbers of files mean. ``white``: what their format says is white. If it says
    nothing, their ``ranges`` (least, largest, whether all are whole) decide, as those of arrays do.
    """
    if white is not None:
        return Units(white, white, fixed=True, whole=True)
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    whole = all(one[2] for one in ranges)
    return Units(
        1.0, white_of(low, high, whole) if picture else None, low=low, high=high, whole=whole
    )


def check_white(units: Units, wanted: Units | None, where: str) -> None:
    """ValueError: numbers that no picture has, for a network trained on files that say what is
    white.
    """
    if wanted is None or not wanted.fixed or units.white is not None:
        return
    raise FaltungError(
        f"{where}: holds numbers {units.low:g}..{units.high:g}, of which none is white; the "
        f"network was trained on levels from 0 to {wanted.white:g}"
    )


def range_of(values: Array) -> tuple[float, float, bool]:
    """Least and largest of some numbers, and whether all are whole."""
    return float(values.min()), float(values.max()), is_whole(values)


class FileSource:
    """Samples in files, decoded when they are read, and kept in memory if they are small.

    Parameters
    ----------
    found : Listing
        The files, and the class of each.
    options : Options
        Of these, the classes that may occur.
    kind : str
        What a sample is.
    shape : tuple of int
        Of a sample.
    dtype : dtype
        In which samples are kept: uint8 and uint16 as they are stored, or float32.
    units : Units
        What stored numbers mean.
    decode : callable
        From a file and its name to stored numbers of ``shape``, of this dtype or exact in it.
    first : iterable of ndarray
        All samples, in order, if opening the files has decoded them already; otherwise empty.
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
        units: Units,
        decode: Callable[[Path, str], Array],
        first: Iterable[Array] = (),
    ) -> None:
        self.kind, self.shape, self.skipped = kind, shape, tuple(found.skipped)
        self.held: Source | None = None  # what is held out of it, if that is known
        self.frames: int | None = None  # of clips
        self.units, self.dtype = units, dtype
        where = printable(found.root.name)
        self.targets: Array
        self.targets, self.classes = number_classes(found.words, where, options.classes)
        self._files, self._decode = found.files, decode
        self.names = tuple(inside(path, found.root) for path in found.files)
        size = prod(shape) * dtype.itemsize  # not NumPy's product, which wraps
        require(2 * size, f"{where}: one sample of {shape}", "choose a smaller --size")
        small = len(self) * size <= MAX_KEPT_BYTES
        self._kept = np.empty((len(self), *shape), dtype) if small else None
        self._have = np.zeros(len(self), bool)
        if self._kept is not None:
            for i, sample in enumerate(first):
                self._kept[i], self._have[i] = sample, True

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Array:
        """float32 (k, *shape), divided as ``units`` say: an array that the caller may change."""
        return scaled(self.stored(indices), self.units.scale)

    def stored(self, indices: Indices) -> Array:
        """Samples as they are stored, of ``dtype``: an array that the caller may change."""
        wanted = np.asarray(indices, np.int64)
        if self._kept is not None and self._have[wanted].all():
            return np.asarray(np.take(self._kept, wanted, axis=0))
        out = np.empty((len(wanted), *self.shape), self.dtype)
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
