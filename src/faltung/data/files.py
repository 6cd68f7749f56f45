"""``read_files``: files to predict from, read like the training data of a run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import clips, pictures, tables, texts, video, volumes
from faltung.data.array_names import choose_samples
from faltung.data.folder import check_white
from faltung.data.idx import matches as is_idx
from faltung.data.idx import read_idx
from faltung.data.layout import samples_of_file
from faltung.data.like import Like
from faltung.data.limits import check_finite, exists, regular
from faltung.data.names import escaped, printable
from faltung.data.npy import npz_headers, read_npy, read_npz
from faltung.data.source import scaled
from faltung.data.units import Units, units_of
from faltung.geometry.check import path as check_path
from faltung.geometry.check import sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.narrowing import narrowed

Array = npt.NDArray[Any]
# What is said about a file, such as that its values are converted.
Note = Callable[[str], None]


def read_files(
    paths: Sequence[str | Path],
    like: Like,
    *,
    x: str | None = None,
    labels: tables.Labels | None = None,
    note: Note | None = None,
) -> tuple[Array, tuple[str, ...]]:
    """Read files to predict from, all into memory.

    Parameters
    ----------
    paths : sequence of str or Path
        Pictures, NIfTI volumes and, where the training was on clips, videos and folders of frames,
        one sample each; ``.npy`` files, ``.npz`` files (their ``x``),
        IDX files and text files, one sample or many.
    like : Like
        What a sample must be.
    x : str, optional
        The name of the array in ``.npz`` files; by default ``x``, or another known name.
    labels : {"first", "none"}, optional
        Where the label is in the lines of a text file without a header. By default lines with as
        many cells as a sample has values have none, and those with one more have it first.
    note : callable, optional
        Called with a line about a file whose values are converted, or are far from those of the
        training.

    Returns
    -------
    samples : ndarray
        ``(n, *like.shape)``, float32, divided as ``like.units`` say; int64 for text.
    names : tuple of str
        What each is called: its file, with a number such as "file[3]" where a file holds several.

    Raises
    ------
    FileNotFoundError
        One of the files does not exist.
    ValueError
        A file that cannot be read as such samples; the message names it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from faltung.data import Like, read_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "two.npy"
    ...     np.save(path, np.zeros((2, 1, 8, 8)))
    ...     samples, names = read_files([path], Like("picture", (1, 8, 8)))
    >>> samples.shape, names[1].endswith("two.npy[1]")
    ((2, 1, 8, 8), True)
    """
    parts, names = [], []
    if not isinstance(like, Like):
        raise FaltungTypeError(f"like={show(like)}: must be a Like")
    for given in sequence("paths", paths):
        check_path("paths", given)
        path, where = Path(given), printable(given)
        if not exists(path):
            raise FileNotFoundError(f"{where}: no such file")
        if like.words is not None and (texts.is_raw(path) or tables.is_text(path)):
            found, each = _texts(path, where, like, x)
            parts.append(found)
            names += each
            continue
        if like.frames is not None and (path.is_dir() or video.is_video(path)):
            part = _clip(path, where, like, note)
            check_finite(part, where)
            parts.append(part)
            names.append(escaped(given))
            continue
        regular(path, where)
        if tables.is_text(path):
            part = _lines(path, where, like, labels, note)
        elif path.suffix.lower() in (".npy", ".npz") or is_idx(path):
            part = _arrays(path, where, like, x, note)
        else:
            part = (_volume if volumes.is_volume(path) else _picture)(path, where, like, note)
        check_finite(part, where)
        parts.append(part)
        single = len(part) == 1
        called = escaped(given)
        names += [called] if single else [f"{called}[{i}]" for i in range(len(part))]
    if not parts:
        raise FaltungError("paths: name at least one file")
    return np.concatenate(parts), tuple(names)


def _arrays(path: Path, where: str, like: Like, name: str | None, note: Note | None) -> Array:
    """One sample or many, channels first or last, or without an axis for a single channel."""
    if path.suffix.lower() == ".npy":
        x = read_npy(path, where)
    elif path.suffix.lower() == ".npz":
        headers = npz_headers(path, where)
        if name is None and like.x in headers:
            name = like.x  # which the user chose for training
        name = choose_samples(headers, name, where)
        x = read_npz(path, where, (name,))[name]
    else:
        x = read_idx(path, where)
    many, _ = samples_of_file(x, like.kind, like.shape, like.layout, where)
    if not len(many):
        raise FaltungError(f"{where}: contains no samples")
    if like.kind == "text":
        if x.dtype.kind not in "iu" or many.min() < 0:
            raise FaltungError(f"{where}: text must be whole numbers, at least 0")
        return narrowed(where, many, np.int64)
    if x.dtype.kind not in "buif":
        raise FaltungError(f"{where}: dtype {x.dtype} is not of real numbers")
    check_finite(many, where)
    mine, theirs = like.meaning, units_of(many, picture=like.kind == "picture")
    said = mine.note(theirs)
    if said and note is not None:
        note(f"{where}: {said}")
    with np.errstate(over="ignore"):
        return scaled(np.ascontiguousarray(many, np.float32), mine.divisor(theirs))


def _lines(
    path: Path, where: str, like: Like, labels: tables.Labels | None, note: Note | None
) -> Array:
    many = tables.read_lines(
        path,
        where,
        kind=like.kind,
        shape=like.shape,
        fit=like.fit,
        columns=like.columns,
        label=like.label,
        labels=labels,
        note=note,
    )
    said = like.meaning.note(units_of(many, picture=False)) if np.isfinite(many).all() else None
    if said and note is not None:
        note(f"{where}: {said}")
    return many


def _texts(path: Path, where: str, like: Like, column: str | None) -> tuple[Array, list[str]]:
    """The text of a file, or those of a table, and what each is called."""
    assert like.words is not None
    regular(path, where)
    if texts.is_raw(path):
        made = [texts.read_file(path, where)]
        return texts.encoded(made, like.words, like.shape[0]), [escaped(path)]
    table = texts.read_table(path, where, column or like.x, like.label)
    found = texts.encoded(table.texts, like.words, like.shape[0])
    return found, [f"{escaped(path)}[{i}]" for i in range(len(found))]


def _clip(path: Path, where: str, like: Like, note: Note | None) -> Array:
    values, white = clips.stored(path, where, shape=like.shape, fit=like.fit)
    return _seen(values, white, where, like, note)


def _volume(path: Path, where: str, like: Like, note: Note | None) -> Array:
    if like.kind != "volume":
        raise FaltungError(f"{where}: is a volume, must be a {like.kind}")
    values, white = volumes.stored(path, where, shape=like.shape, fit=like.fit)
    return _seen(values, white, where, like, note)


def _picture(path: Path, where: str, like: Like, note: Note | None) -> Array:
    if like.kind not in ("picture", "volume"):
        raise FaltungError(f"{where}: cannot be read as a {like.kind} of {like.shape[0]} channels")
    values, white = pictures.stored(path, where, shape=like.shape, fit=like.fit)
    return _seen(values, white, where, like, note)


def _seen(values: Array, white: float | None, where: str, like: Like, note: Note | None) -> Array:
    """The sample of a file as the network sees it. ``white``: what its format says is white; if it
    says nothing, its numbers are taken as those of an array are.
    """
    mine = like.meaning
    theirs = units_of(values, picture=like.kind == "picture")
    if white is not None:
        theirs = Units(white, white, fixed=True, whole=True)
    check_white(theirs, mine, where)
    said = mine.note(theirs)
    if said and note is not None:
        note(f"{where}: {said}")
    try:
        divisor = mine.divisor(theirs)
    except FaltungError as error:
        raise FaltungError(f"{where}: {error}") from None
    return scaled(np.asarray(values[np.newaxis], np.float32), divisor)
