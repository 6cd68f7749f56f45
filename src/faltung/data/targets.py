"""Targets as users give them: labels, labels of every position, or numbers."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data.limits import check_finite
from faltung.data.names import class_list, listing
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.narrowing import narrowed

Array = npt.NDArray[Any]
# What targets can be, where their dtype alone does not say.
TargetKind = Literal["labels", "flags", "numbers"]
TARGET_KINDS: tuple[TargetKind, ...] = ("labels", "flags", "numbers")


def understood(y: Array, wanted: TargetKind | None, where: str, *, maps: bool = False) -> Array:
    """Targets as their dtype then says: ints (or words, where they are) for labels, floats for
    numbers.

    A row with a single 1 among zeros is the label of its place (one-hot), unless they are ``maps``,
    labels of every position. With ``wanted`` labels, whole floats are labels; with ``wanted``
    numbers, ints are numbers; with ``wanted`` flags, they are 0 or 1 for each of several labels.
    ValueError: what is wanted is not there.
    """
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        y = y[:, 0]
    if wanted == "flags":
        return check_flags(y, where)
    if wanted == "numbers":
        if y.dtype.kind not in "buif":
            raise FaltungError(f"{where}: has words; numbers are wanted (loss mse)")
        return y.astype(np.float32) if y.dtype.kind != "f" else y
    rows = not maps and y.ndim == 2 and y.shape[1] > 1
    if rows and (y.dtype.kind != "f" or wanted) and is_one_hot(y):
        return np.asarray(y.argmax(1))
    if wanted == "labels" and y.dtype.kind == "f":
        return _whole_labels(y, where)
    return y


def check_flags(y: Array, where: str = "y") -> Array:
    """Several labels at once, a 0 or a 1 for each, as floats. TypeError, ValueError: other ones."""
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(
            f"{where}.dtype={y.dtype}: must be 0 or 1 for each label, (n, labels), for loss "
            "binary_cross_entropy"
        )
    odd = np.flatnonzero(~((y == 0) | (y == 1)).reshape(-1))
    if odd.size:
        raise FaltungError(
            f"{where}: {y.reshape(-1)[odd[0]]:g}: must be 0 or 1 for each label, for loss "
            "binary_cross_entropy"
        )
    return y if y.dtype == np.float32 else y.astype(np.float32)


def check_not_both(y: Array, where: str) -> None:
    """ValueError: y (n, k) may be labels of k positions, or one class for each sample."""
    if y.ndim == 2 and is_one_hot(y):
        raise FaltungError(
            f"{where}.shape={y.shape}: may be one of {y.shape[1]} classes for each sample "
            "(one-hot), or a label for each position; pass classes as numbers, y.argmax(1)"
        )


def is_one_hot(y: Array) -> bool:
    """Whether each row of y (n, k) has a single 1 and otherwise zeros."""
    if y.dtype.kind not in "buif":
        return False
    ones = y == 1
    return bool((ones.sum(1) == 1).all() and ((y == 0) | ones).all())


def _whole_labels(y: Array, where: str) -> Array:
    """Labels that were stored as floats. ValueError: numbers that are none."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    wide = y.astype(np.float64)  # float16 holds no 2**53
    odd = np.flatnonzero(~((np.abs(wide) < 2**53) & (np.rint(wide) == wide)).reshape(-1))
    if odd.size:
        value = y.reshape(-1)[odd[0]]
        raise FaltungError(
            f"{where}: {value:g} is a number, not the label of a class; for numbers use loss mse "
            "(--loss mse)"
        )
    return y.astype(np.int64)


def make_targets(
    y: Array, count: int, classes: Sequence[str] | None, partial: bool, where: str
) -> tuple[Array, tuple[str, ...] | None]:
    """Labels int64 (n,) and the names of the classes, or numbers float32 (n, k) and None."""
    if y.shape[:1] != (count,) or y.ndim > 2:
        must = f"must be ({count},) or ({count}, k), as x{_one_hot_maps(y)}"
        raise FaltungError(f"{where}.shape={y.shape}: {must}")
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(f"{where}.dtype={y.dtype}: must be labels (ints) or numbers")
    if y.dtype.kind == "f":
        if classes is not None:
            raise FaltungTypeError(f"{where}.dtype={y.dtype}: labels of classes must be ints")
        return as_float32(y.reshape(count, -1), where), None
    if y.ndim == 2 and y.shape[1] != 1:
        raise FaltungError(f"{where}.shape={y.shape}: {labels_must(y, count)}")
    labels = narrowed(where, y.reshape(count), np.int64)
    return labels, _class_names(labels, classes, partial, where, 0)


def labels_must(y: Array, count: int) -> str:
    """The rule for labels, where y is none."""
    return (
        f"labels must be ({count},), or have a single 1 in each row; numbers must be floats (loss "
        f"mse takes whole ones too){_several(y)}{_one_hot_maps(y)}"
    )


def _several(y: Array) -> str:
    """What to do about several labels at once."""
    if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "bui" and ((y == 0) | (y == 1)).all():
        return (
            "; several labels at once, each 0 or 1, need loss "
            "binary_cross_entropy (--loss binary_cross_entropy)"
        )
    return ""


def _one_hot_maps(y: Array) -> str:
    """What to do about labels of every position that have a single 1 among zeros, on some axis."""
    if y.ndim > 2 and y.dtype.kind in "buif":
        for axis in (-1, 1):
            places = np.moveaxis(y, axis, -1)
            if places.shape[-1] > 1 and is_one_hot(places.reshape(-1, places.shape[-1])):
                return f"; they are one-hot at every position: pass y.argmax({axis})"
    return ""


def as_float32(y: Array, where: str) -> npt.NDArray[np.float32]:
    """Numbers as float32. ValueError: some are not finite, or too large for it."""
    check_finite(y, where)
    with np.errstate(over="ignore"):  # found below
        numbers = y.astype(np.float32)
    check_finite(numbers, f"{where} as float32")
    return numbers


def is_dense(y: Array, x: Array) -> bool:
    """Whether y has a label for each position of x (n, C, *space). Maps may be smaller than x, as
    after valid convolutions, but not series: their y would look like columns.
    """
    if y.dtype.kind not in "bui" or y.ndim != x.ndim - 1:
        return False
    return y.ndim > 2 or (y.ndim == 2 and y.shape[1] == x.shape[2] > 1)


def make_maps(
    y: Array, count: int, classes: Sequence[str] | None, partial: bool, where: str
) -> tuple[Array, tuple[str, ...]]:
    """Labels int64 (n, *space), one for each position, and the names of the classes."""
    if len(y) != count or not y.size:
        raise FaltungError(f"{where}.shape={y.shape}: must be ({count}, *space), as x")
    labels = narrowed(where, y, np.int64)
    return labels, _class_names(labels, classes, partial, where, -1)


def _class_names(
    labels: Array, classes: Sequence[str] | None, partial: bool, where: str, least: int
) -> tuple[str, ...]:
    """The names of the classes of labels from ``least``; labels below 0 are ignored."""
    most, low = int(labels.max()), int(labels.min())
    names = class_list(classes) if classes is not None else None
    if names is not None and most >= len(names):
        raise FaltungError(
            f"{where}{_place(labels, most)}: must be a label below {len(names)}, from 0 on"
        )
    if low < least:
        raise FaltungError(f"{where}{_place(labels, low)}: a label must be at least {least}")
    if names is None and most >= labels.size:
        raise FaltungError(f"{where}{_place(labels, most)}: labels must be 0, 1, ... without gaps")
    if most < 0:
        raise FaltungError(f"{where}: has no label")
    names = names or tuple(map(str, range(most + 1)))
    there = np.zeros(len(names), bool)
    there[labels[labels >= 0]] = True
    if not there.all() and not partial:
        missing = np.flatnonzero(~there)
        raise FaltungError(f"{where}: no sample of class {listing([names[i] for i in missing])}")
    return names


def _place(labels: Array, value: int) -> str:
    """Index and value of the first label of that value, as text."""
    place = np.unravel_index(int(np.argmax(labels == value)), labels.shape)
    return f"[{', '.join(map(str, place))}]={value}"
