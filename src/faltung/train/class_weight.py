"""Weights of classes: how they are given, and how much each class then counts."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import numpy.typing as npt

from faltung.data.names import listing
from faltung.geometry.check import is_sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError

BALANCED = "balanced"
# "balanced", a number for each class, or pairs of a label and its weight.
Given = str | tuple[float, ...] | tuple[tuple[str, float], ...]


def as_setting(value: object) -> Given | None:
    """None, "balanced", numbers from 0, not all 0, or (label, weight) pairs of a mapping.
    ValueError, TypeError.
    """
    if value is None or (isinstance(value, str) and value == BALANCED):
        return value
    if isinstance(value, Mapping):
        pairs = [(str(label), _weight(weight)) for label, weight in value.items()]
        return _not_all_zero(tuple(pairs), value)
    if not is_sequence(value):
        raise FaltungTypeError(
            f"class_weight={show(value)}: must be {BALANCED!r}, one number for each class, or a "
            "dict of labels and their weights"
        )
    listed = list(value)  # type: ignore[call-overload]
    if listed and all(is_sequence(each) and len(each) == 2 for each in listed):
        return as_setting(dict(listed))  # as a file of settings has them
    return _not_all_zero(tuple(map(_weight, listed)), value)


def _not_all_zero(made: Given, value: object) -> Given:
    if not any(each[1] if isinstance(each, tuple) else each for each in made):
        raise FaltungError(f"class_weight={show(value)}: must not all be 0")
    return made


def _weight(weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise FaltungTypeError(f"class_weight: {show(weight)}: must be a number")
    made = float(weight)
    if not 0 <= made < float("inf"):
        raise FaltungError(f"class_weight: {show(weight)}: must be at least 0 and finite")
    return made


def of_classes(
    given: Given | None, labels: npt.NDArray[np.integer], names: Sequence[str]
) -> tuple[float, ...] | None:
    """The weight of each class, None without. ValueError: another number of them, labels that are
    none.

    "balanced" is that of scikit-learn: all labels / (classes that occur * labels of the class); a
    class without any has no weight. Classes that a dict does not name weigh 1.
    """
    if given is None:
        return None
    count = len(names)
    if isinstance(given, str):
        each = np.bincount(labels[labels >= 0], minlength=count).astype(np.float64)
        there = each > 0
        weights = np.divide(each.sum(), there.sum() * each, out=np.zeros(count), where=there)
        return tuple(weights.tolist())
    made = [1.0] * count
    if given and isinstance(given[0], tuple):
        for label, weight in given:
            if label not in names:
                raise FaltungError(
                    f"class_weight: {show(label)} is no class; there are {listing(names)}"
                )
            made[names.index(label)] = weight
    elif len(given) != count:
        raise FaltungError(
            f"class_weight={show(given)}: must be {count} numbers, one for each class: "
            f"{listing(names)}"
        )
    else:
        made = list(given)  # type: ignore[arg-type]
    if not any(made[label] for label in np.unique(labels[labels >= 0])):
        raise FaltungError(f"class_weight={show(given)}: no class with samples has any weight")
    return tuple(made)
