"""Which arrays of a file are the samples and which their targets: the names that people use."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faltung.data.names import printable
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# The shape and dtype of each array in a file, by name.
Headers = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
MAX_LISTED = 12  # arrays that a message names


@dataclass(frozen=True)
class ArrayNames:
    """The names of samples and targets, and where a file comes with its own split, those of the
    part to hold out, and of the part that is kept for the end.
    """

    x: str
    y: str
    held: tuple[str, str] | None = None
    test: tuple[str, str] | None = None

    @property
    def last(self) -> tuple[str, str]:
        """The part that training has not seen, if there is one."""
        return self.test or self.held or (self.x, self.y)


# Ours; scikit-learn's; Keras's mnist.npz; MedMNIST; and others that are common. The first of which
# all arrays are in a file is taken.
KNOWN = (
    ArrayNames("x", "y"),
    ArrayNames("X", "y"),
    ArrayNames("x_train", "y_train", ("x_test", "y_test")),
    ArrayNames("X_train", "y_train", ("X_test", "y_test")),
    ArrayNames(
        "train_images", "train_labels", ("val_images", "val_labels"), ("test_images", "test_labels")
    ),
    ArrayNames("train_images", "train_labels", ("test_images", "test_labels")),
    ArrayNames("train_data", "train_labels", ("test_data", "test_labels")),
    ArrayNames("x_train", "y_train"),
    ArrayNames("X_train", "y_train"),
    ArrayNames("train_images", "train_labels"),
    ArrayNames("images", "labels"),
    ArrayNames("data", "labels"),
    ArrayNames("data", "target"),
    ArrayNames("X", "Y"),
)


def choose(found: Headers, x: str | None, y: str | None, where: str) -> ArrayNames:
    """The arrays to train on: those that were asked for, or those with known names. ValueError."""
    if x is not None and y is not None:
        return ArrayNames(_asked(found, "x", x, where), _asked(found, "y", y, where))
    for known in KNOWN:
        names = (known.x, known.y, *(known.held or ()), *(known.test or ()))
        fits = x in (None, known.x) and y in (None, known.y)
        if fits and all(name in found for name in names):
            return known if x is None and y is None else ArrayNames(known.x, known.y)
    for option, name in (("x", x), ("y", y)):
        if name is not None:
            _asked(found, option, name, where)
    lacks = [repr(n) for n, given in (("x", x), ("y", y)) if given is None and n not in found]
    raise FaltungError(
        f"{where}: has no array called {' or '.join(lacks) or repr('y')}, but {_listed(found)}; "
        "say which they are with x and y (--x NAME --y NAME)"
    )


def choose_samples(found: Headers, x: str | None, where: str) -> str:
    """The array of samples to predict from. ValueError."""
    if x is not None:
        return _asked(found, "x", x, where)
    for known in KNOWN:
        parts = [known.x, *(part[0] for part in (known.held, known.test) if part)]
        if all(name in found for name in parts):
            return known.last[0]
    names = [name for name in found if name not in {known.y for known in KNOWN}]
    if len(names) == 1:
        return names[0]
    raise FaltungError(
        f"{where}: has no array called 'x', but {_listed(found)}; say which with x (--x NAME)"
    )


def _asked(found: Headers, option: str, name: str, where: str) -> str:
    if name not in found:
        raise FaltungError(f"{option}={name}: {where} has {_listed(found)}")
    return name


def _listed(found: Headers) -> str:
    """The arrays of a file in words."""
    shown: Sequence[str] = [
        f"{printable(name)} {shape} {dtype}" for name, (shape, dtype) in found.items()
    ]
    more = f" and {len(shown) - MAX_LISTED} more" if len(shown) > MAX_LISTED else ""
    return (", ".join(shown[:MAX_LISTED]) + more) or "no arrays at all"
