"""``read_files``: files to predict from, read like the training data of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import pictures, tables, volumes
from faltung.data.idx import matches as is_idx
from faltung.data.idx import read_idx
from faltung.data.limits import exists, regular
from faltung.data.names import printable
from faltung.data.npy import read_npy, read_npz
from faltung.data.source import AXES, WHITE, SampleKind, check_finite
from faltung.geometry.check import integers, show, whole
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Like:
    """The kind of samples that a network was trained on, and that files are read as.

    Parameters
    ----------
    kind : {"picture", "series", "volume", "text", "table"}
        What a sample is.
    shape : tuple of int
        Of one sample, ``(channels, *space)``, ``(length,)`` of text, ``(features,)`` of a table.
    fit : bool
        Whether samples of another size are resized to this one; else they are an error.
    scale : float, optional
        What arrays of whole numbers are divided by; by default 255 or 65535 for pictures of 8 or
        16 bits, else 1.

    Raises
    ------
    ValueError, TypeError
        An invalid kind or shape.
    """

    kind: SampleKind
    shape: tuple[int, ...]
    fit: bool = False
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in AXES:
            raise FaltungError(f"kind={show(self.kind)}: must be one of {', '.join(AXES)}")
        shape = integers("shape", self.shape)
        if len(shape) != AXES[self.kind]:
            raise FaltungError(f"shape={shape}: must have {AXES[self.kind]} axes")
        for length in shape:
            whole("shape", length, 1)
        object.__setattr__(self, "shape", shape)


def read_files(paths: Sequence[str | Path], like: Like) -> tuple[Array, tuple[str, ...]]:
    """Read files to predict from, all into memory.

    Parameters
    ----------
    paths : sequence of str or Path
        Pictures and NIfTI volumes, one sample each; ``.npy`` files, ``.npz`` files (their ``x``),
        IDX files and text files, one sample or many.
    like : Like
        What a sample must be.

    Returns
    -------
    x : ndarray
        Samples ``(n, *like.shape)``, float32, or int64 for text.
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
    ...     x, names = read_files([path], Like("picture", (1, 8, 8)))
    >>> x.shape, names[1].endswith("two.npy[1]")
    ((2, 1, 8, 8), True)
    """
    parts, names = [], []
    for given in paths:
        path, where = Path(given), printable(given)
        if not exists(path):
            raise FileNotFoundError(f"{where}: no such file")
        regular(path, where)
        part = _reader(path)(path, where, like)
        check_finite(part, where)
        parts.append(part)
        single = len(part) == 1
        names += [where] if single else [f"{where}[{i}]" for i in range(len(part))]
    if not parts:
        raise FaltungError("paths: name at least one file")
    return np.concatenate(parts), tuple(names)


def _reader(path: Path) -> Callable[[Path, str, Like], Array]:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _arrays
    if suffix in tables.SUFFIXES:
        return _lines
    if volumes.is_volume(path):
        return _volume
    return _arrays if is_idx(path) else _picture


def _arrays(path: Path, where: str, like: Like) -> Array:
    """One sample or many, channels first or last, or without an axis for a single channel."""
    if path.suffix.lower() == ".npy":
        x = read_npy(path, where)
    elif path.suffix.lower() == ".npz":
        found = read_npz(path, where, ("x",))
        if "x" not in found:
            raise FaltungError(f"{where}: has no array called 'x'")
        x = found["x"]
    else:
        x = read_idx(path, where)
    many = _as_batch(x, like, where)
    if not len(many):
        raise FaltungError(f"{where}: contains no samples")
    if like.kind == "text":
        if x.dtype.kind not in "iu" or many.min() < 0:
            raise FaltungError(f"{where}: text must be whole numbers, at least 0")
        return np.ascontiguousarray(many, np.int64)
    if x.dtype.kind not in "buif":
        raise FaltungError(f"{where}: dtype {x.dtype} is not of real numbers")
    check_finite(many, where)
    scale = WHITE.get(x.dtype, 1.0) if like.kind == "picture" else 1.0
    if like.scale is not None and x.dtype.kind != "f":
        scale = like.scale
    with np.errstate(over="ignore"):
        values = np.divide(np.ascontiguousarray(many), np.float32(scale), dtype=np.float32)
    return np.asarray(values)


def _as_batch(x: Array, like: Like, where: str) -> Array:
    """(n, *shape) from an array without n or without a single channel, or with channels last."""
    channels, space = like.shape[0], like.shape[1:]
    if x.shape == like.shape:
        return x[np.newaxis]
    if x.shape[1:] == like.shape:
        return x
    if like.kind not in ("text", "table"):
        if channels == 1 and x.shape == space:
            return x[np.newaxis, np.newaxis]
        if channels == 1 and x.shape[1:] == space:
            return x[:, np.newaxis]
        if x.shape == (*space, channels):
            return np.moveaxis(x, -1, 0)[np.newaxis]
        if x.shape[1:] == (*space, channels):
            return np.moveaxis(x, -1, 1)
    raise FaltungError(f"{where}: has shape {x.shape}, must be {like.shape} or (n, *{like.shape})")


def _lines(path: Path, where: str, like: Like) -> Array:
    """Lines of text. A line with as many cells as a sample has values has no label; in others the
    label is where ``open_table`` looks for it, and is dropped.
    """
    if like.kind not in ("series", "table") or (like.kind == "series" and like.shape[0] != 1):
        raise FaltungError(f"{where}: a text file holds series of one channel, not {like.kind}s")
    lines, _, rows = tables.read_rows(path, where, unlabelled=like.shape[-1])
    space = like.shape[1:] if like.fit else None
    many = tables.stack(lines, rows, where, like.kind, space)
    return _as_batch(many, like, where)


def _volume(path: Path, where: str, like: Like) -> Array:
    if like.kind != "volume":
        raise FaltungError(f"{where}: is a volume, must be a {like.kind}")
    return volumes.decode(path, where, shape=like.shape, fit=like.fit)[np.newaxis]


def _picture(path: Path, where: str, like: Like) -> Array:
    if like.kind not in ("picture", "volume"):
        raise FaltungError(f"{where}: cannot be read as a {like.kind} of {like.shape[0]} channels")
    one = pictures.decode(path, where, shape=like.shape, fit=like.fit, white=1.0)
    return np.asarray(one[np.newaxis], np.float32)
