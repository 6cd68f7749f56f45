"""``.npz`` files with x and y, and perhaps ``classes``, ``names`` and ``kind``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.layout import channels_first, guess_kind
from faltung.data.names import as_word, number_classes, printable
from faltung.data.npy import read_npz
from faltung.data.options import Options
from faltung.data.source import ArraySource, SampleKind, is_dense
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]


def matches(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz"


def open_npz(path: Path, options: Options) -> ArraySource:
    """x: (n, ...) numbers, see ``layout.py``. y: labels (ints, or words), or floats (n,) or (n, k).

    The classes are all labels that occur, in order, unless the file has ``classes``: then labels
    are their numbers. ValueError.
    """
    where = printable(path.name)
    found = read_npz(path, where, ("x", "y", "classes", "names", "kind"))
    for name in ("x", "y"):
        if name not in found:
            raise FaltungError(f"{where}: has no array called {name!r}")
    x, kind = found["x"], options.kind
    if kind is None and _one(found.get("kind")):
        kind = cast(SampleKind, str(found["kind"].item()))  # ``channels_first`` checks it
    kind = kind or guess_kind(x, f"{where}: x")
    names = found.get("names")
    return labelled(
        channels_first(x, kind, options.channels, f"{where}: x"),
        found["y"],
        where,
        options,
        kind=kind,
        own=tuple(map(printable, found["classes"].ravel())) if "classes" in found else None,
        names=None if names is None else tuple(printable(name) for name in names.ravel()),
    )


def labelled(
    x: Array,
    y: Array,
    where: str,
    options: Options,
    *,
    kind: SampleKind,
    own: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> ArraySource:
    """Samples and targets of a file as a source. ``own``: its names of the labels 0, 1, ..."""
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        y = y[:, 0]
    if len(x) != len(y):
        raise FaltungError(f"{where}: {len(x)} samples have {len(y)} targets")
    if not len(x):
        raise FaltungError(f"{where}: contains no samples")
    has = x.shape[1:] if kind in ("text", "table") else x.shape[2:]
    if options.space(len(has)) not in (None, has):
        raise FaltungError(f"size={show(options.size)}: {where} has {has}; arrays are not resized")
    if y.dtype.kind == "f":
        if options.classes is not None:
            raise FaltungError(f"{where}: has numbers as targets where labels are wanted")
        return ArraySource(x, y, kind=kind, names=names, where=f"{where}: ")
    dense = is_dense(y, x)
    if not (dense or (y.ndim == 1 and y.dtype.kind in "buiU")):
        raise FaltungError(
            f"{where}: y of shape {y.shape}, {y.dtype} is neither labels nor numbers"
        )
    numbers, classes = _labels(y, where, options.classes, own, dense)
    return ArraySource(
        x,
        numbers,
        classes=classes,
        kind=kind,
        names=names,
        partial=options.classes is not None,
        where=f"{where}: ",
    )


def _labels(
    y: Array, where: str, wanted: Sequence[str] | None, own: Sequence[str] | None, dense: bool
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels of the shape of y, from 0, and the names of the classes. ``dense``: -1 stays."""
    values, place = np.unique(y, return_inverse=True)
    skip = int(dense and values[0] == -1)
    values = values[skip:]
    if own is not None and y.dtype.kind != "U":
        outside = values[(values < 0) | (values >= len(own))]
        if outside.size:
            at = ", ".join(map(str, np.argwhere(y == outside[0])[0]))
            raise FaltungError(
                f"{where}: y[{at}]={outside[0]}: must be a label of the {len(own)} classes"
            )
        words = [own[int(value)] for value in values]
    else:
        words = [as_word(value) for value in values]
    allowed = wanted if wanted is not None else own
    if not dense:
        return number_classes([words[i] for i in place.reshape(-1)], f"{where}: y", allowed)
    numbers, classes = number_classes(words, f"{where}: y", allowed)
    return np.append([-1] * skip, numbers).astype(np.int64)[place.reshape(y.shape)], classes


def _one(array: Array | None) -> bool:
    return array is not None and array.size == 1
