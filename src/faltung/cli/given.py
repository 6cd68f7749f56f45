"""The files that a command is to read: those that were named, and those in folders that were."""

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# What Windows leaves in folders, which is no sample.
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
# Called with a path that cannot be read, and why.
Failed = Callable[[str, BaseException], None]


@dataclass(frozen=True)
class Given:
    """``path``: what to open, as it was typed, or within what was typed. ``under``: its path within
    the folder that was named; the name alone of a file that was named itself; nothing of a sample
    that was typed, which is no file.
    """

    path: str
    under: str | None

    @property
    def said(self) -> str:
        """The path as messages and tables have it."""
        from faltung.data.names import escaped

        return escaped(self.path)


def is_file(path: Path) -> bool:
    """What a sample is, where a folder is none."""
    return not path.is_dir()


def is_sentence(word: str) -> bool:
    """Whether a word of the command line is a text itself: no file, and not the name of one."""
    if os.path.lexists(word):
        return False
    whole = len(word.split()) == 1  # which a path may be
    return not whole or not (os.path.splitext(word)[1] or os.sep in word)


def given(
    words: Iterable[str],
    failed: Failed,
    *,
    is_sample: Callable[[Path], bool] = is_file,
    is_typed: Callable[[str], bool] = lambda word: False,
    leave_out: Sequence[str] = (),
) -> Iterator[Given]:
    """Files in the order in which they were named; those of a folder as people would sort them,
    subfolders after files.

    failed: is told of what cannot be reached, a link that leads out of its folder too. is_sample:
    whether a folder is a sample itself. is_typed: whether a word is one. leave_out: folders
    that are not looked into, and files that are none of them.
    """
    from faltung.data.names import printable

    out = {os.path.realpath(each) for each in leave_out}
    for word in words:
        if is_typed(word):
            yield Given(word, None)
            continue
        path = Path(word)
        if not path.is_dir() or is_sample(path):
            yield Given(word, path.name)
            continue
        found = False
        for each in _within(path, os.path.realpath(path), failed, is_sample, out):
            found = True
            yield Given(str(each), str(each.relative_to(path)))
        if not found:
            failed(word, FaltungError(f"{printable(word)}: is a folder without files"))


def _within(
    folder: Path,
    root: str,
    failed: Failed,
    is_sample: Callable[[Path], bool],
    out: Container[str],
) -> Iterator[Path]:
    from faltung.data.folder import hidden
    from faltung.data.names import natural

    try:
        names = sorted(os.listdir(folder), key=natural)
    except OSError as error:
        failed(str(folder), error)
        return
    inner = []
    for name in names:
        path = folder / name
        if hidden(path) or name.lower() in SYSTEM_FILES:
            continue
        if path.is_symlink() and not _leads_inside(path, root):
            failed(str(path), FaltungError("is a link that leads out of its folder, or nowhere"))
        elif os.path.realpath(path) in out:
            continue
        elif path.is_dir() and not is_sample(path):
            if not path.is_symlink():  # which may be a circle
                inner.append(path)
        else:
            yield path
    for path in inner:
        yield from _within(path, root, failed, is_sample, out)


def _leads_inside(path: Path, root: str) -> bool:
    try:
        real = os.path.realpath(path, strict=True)
    except OSError:
        return False
    return os.path.commonpath([real, root]) == root
