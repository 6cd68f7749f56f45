"""``.npz`` files with x and y, and perhaps ``classes``, ``names``, ``kind``, ``sample_weight``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.array_names import ArrayNames, choose
from faltung.data.layout import Layout, channels_first, guess_kind, layout_of, samples_of_file
from faltung.data.limits import check_finite
from faltung.data.names import as_word, listing, number_classes, printable
from faltung.data.npy import npz_headers, read_npz
from faltung.data.options import Options
from faltung.data.source import ArraySource, SampleKind, checked_weights
from faltung.data.targets import check_flags, check_not_both, is_dense, labels_must, understood
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
# Arrays that say more about the samples.
EXTRAS = ("classes", "names", "kind", "sample_weight")


def matches(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz"


def open_npz(path: Path, options: Options) -> ArraySource:
    """x: (n, ...) numbers, see ``layout.py``. y: labels (ints, or words), or floats (n,) or (n, k).

    The arrays may have other names (``array_names.py``). A file with its own split is opened as its
    training part, with ``held`` out what it holds out; or, for a network that is trained already,
    as the part that training has not seen. The classes are all labels that occur, in order, unless
    the file has ``classes``: then labels are their numbers. ValueError.
    """
    where = printable(path.name)
    headers, like = npz_headers(path, where), options.like
    if (
        like is not None
        and like.x in headers
        and like.y in headers
        and not (options.x or options.y)
    ):
        names = ArrayNames(like.x, like.y)  # those that the user chose for training
    else:
        names = choose(headers, options.x, options.y, where)
    if like is not None:
        names = ArrayNames(*names.last)
    parts = [(names.x, names.y), *([names.held] if names.held else [])]
    found = read_npz(path, where, (*(n for part in parts for n in part), *EXTRAS))
    kind = options.kind
    if kind is None and _one(found.get("kind")):
        kind = cast(SampleKind, str(found["kind"].item()))  # ``channels_first`` checks it
    kind = kind or guess_kind(found[names.x], f"{where}: {names.x}")
    own = tuple(map(printable, found["classes"].ravel())) if "classes" in found else None
    own_names = found.get("names")
    sample_names = None if own_names is None else tuple(map(printable, own_names.ravel()))
    source = labelled(
        found[names.x], found[names.y], where, options, kind=kind, own=own, names=sample_names,
        called=(names.x, names.y),
    )  # fmt: skip
    source = _weighted(source, found.get("sample_weight"), where)
    if names.held is not None:
        held_x, held_y = names.held
        asked = replace(options, channels=source.layout, classes=source.classes or options.classes)
        source.held = labelled(
            found[held_x], found[held_y], where, asked, kind=kind, own=own, called=names.held
        )
    return source


def _weighted(source: ArraySource, weights: Array | None, where: str) -> ArraySource:
    """The source with the weights of its samples, where a file has any. ValueError, TypeError."""
    if weights is not None:
        source.weights = checked_weights(weights, len(source), f"{where}: sample_weight")
    return source


def labelled(
    x: Array,
    y: Array,
    where: str,
    options: Options,
    *,
    kind: SampleKind,
    own: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    called: tuple[str, str] = ("x", "y"),
) -> ArraySource:
    """Samples and targets of a file as a source. ``own``: its names of the labels 0, 1, ...;
    ``called``: what the two arrays are called there.
    """
    at_x, at_y = (f"{where}: {name}" for name in called)
    check_finite(x, at_x, names)
    x, kind, layout = _arranged(x, kind, options, at_x)
    if y.ndim == 0:
        raise FaltungError(f"{at_y}.shape=(): must have a target for each of {len(x)} samples")
    if len(x) != len(y):
        raise FaltungError(f"{where}: {len(x)} samples have {len(y)} targets")
    if not len(x):
        raise FaltungError(f"{where}: contains no samples")
    has = x.shape[1:] if kind in ("text", "table") else x.shape[2:]
    if options.space(len(has)) not in (None, has):
        raise FaltungError(f"size={show(options.size)}: {where} has {has}; arrays are not resized")
    if options.targets == "flags":
        made = ArraySource(
            x, check_flags(y, at_y), kind=kind, names=names, where=f"{where}: ", called=called
        )
        made.label_names = _names_of(made.targets.shape[1], own or options.classes, at_y)
        made.layout = layout
        return made
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        y = y[:, 0]
    dense = is_dense(y, x)
    if dense:
        check_not_both(y, at_y)
    y = understood(y, options.targets, at_y, maps=dense)
    dense = is_dense(y, x)  # labels may have been floats
    if y.dtype.kind == "f":
        if options.classes is not None and options.targets is None:
            raise FaltungError(f"{at_y}: has numbers as targets where labels are wanted")
        made = ArraySource(x, y, kind=kind, names=names, where=f"{where}: ", called=called)
    else:
        if not (dense or (y.ndim == 1 and y.dtype.kind in "buiU")):
            raise FaltungError(f"{at_y}.shape={y.shape}: {labels_must(y, len(y))}")
        numbers, classes = _labels(y, at_y, options.classes, own, dense)
        made = ArraySource(
            x,
            numbers,
            classes=classes,
            kind=kind,
            names=names,
            partial=options.classes is not None,
            where=f"{where}: ",
            called=called,
        )
    made.layout = layout
    return made


def _names_of(count: int, names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """What several labels are called. ValueError: another number of them than in training."""
    if names is not None and len(names) != count:
        raise FaltungError(
            f"{where}: has {count} labels of each sample: must have {len(names)}: {listing(names)}"
        )
    return tuple(map(str, range(count))) if names is None else tuple(names)


def _arranged(
    x: Array, kind: SampleKind, options: Options, where: str
) -> tuple[Array, SampleKind, Layout]:
    """Samples with channels first, their kind, and where the channels lay: as was asked for, or as
    in the training of ``options.like``.
    """
    like = options.like
    if like is None:
        layout = layout_of(x.shape, kind, options.channels, where)
        wanted = layout if options.count is None else options.count
        return channels_first(x, kind, wanted, where), kind, layout
    x, single = samples_of_file(x, like.kind, like.shape, like.layout, where)
    if single:
        raise FaltungError(f"{where}.shape={x.shape[1:]}: is one sample; must be (n, ...)")
    return x, like.kind, like.layout


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
                f"{where}[{at}]={outside[0]}: must be a label of the {len(own)} classes"
            )
        words = [own[int(value)] for value in values]
    else:
        words = [as_word(value) for value in values]
    allowed = wanted if wanted is not None else own
    if not dense:
        return number_classes([words[i] for i in place.reshape(-1)], where, allowed)
    numbers, classes = number_classes(words, where, allowed)
    return np.append([-1] * skip, numbers).astype(np.int64)[place.reshape(y.shape)], classes


def _one(array: Array | None) -> bool:
    return array is not None and array.size == 1
