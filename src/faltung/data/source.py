"""``Source``: samples and their targets, wherever they are stored; arrays as one; parts of one."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from faltung.data.limits import BLOCK_BYTES
from faltung.data.names import class_list, listing, printable
from faltung.data.seeds import SPLIT, permutation
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError

Array = npt.NDArray[Any]
Indices = Sequence[int] | npt.NDArray[np.int64]

# What a sample can be, and how many axes it has: channels and space, or one axis alone.
SampleKind = Literal["picture", "series", "volume", "text", "table"]
AXES: dict[SampleKind, int] = {"picture": 3, "series": 2, "volume": 4, "text": 1, "table": 1}
# Dtypes of pictures whose whole numbers stand for 0..1, and the number that stands for 1.
WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


class Source(Protocol):
    """Samples in memory or in files, numbered from 0, each with its target.

    Any object with these attributes is one; it may have them as plain attributes.

    Attributes
    ----------
    kind : str
        "picture", "series", "volume", "text" or "table".
    shape : tuple of int
        Of one sample: ``(channels, *space)``, ``(length,)`` of a text, ``(features,)`` of a row of
        a table.
    classes : tuple of str or None
        Names of the labels; None where targets are numbers.
    targets : ndarray
        Labels, int64 ``(n,)``, or ``(n, *space)`` with one for each position; or numbers, float32
        ``(n, k)``, with ``k = 0`` where nothing is known.
    names : sequence of str
        What a report calls the samples.
    skipped : tuple of str
        What was left out and why, one line each.
    lazy : bool
        Whether ``read`` opens files.
    """

    @property
    def kind(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def targets(self) -> Array: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def skipped(self) -> tuple[str, ...]: ...
    @property
    def lazy(self) -> bool: ...
    def __len__(self) -> int: ...
    def read(self, indices: Indices) -> Array:
        """float32 (k, *shape), int64 for text: an array that the caller may change."""
        ...


def is_source(x: object) -> TypeGuard[Source]:
    """Whether x has samples to read, and targets."""
    return hasattr(x, "read") and hasattr(x, "targets")


class ArraySource:
    """Arrays as a source. They are kept, not copied, where their dtype allows it.

    Parameters
    ----------
    x : array_like
        Samples ``(n, channels, *space)``; ``(n, length)`` whole numbers with ``kind="text"``;
        ``(n, features)`` of a table.
    y : array_like, optional
        Labels from 0, ``(n,)`` or ``(n, *space)``, of which -1 does not count; or numbers, ``(n,)``
        or ``(n, k)``.
    classes : sequence of str, optional
        Names of the labels; by default their numbers.
    kind : {"picture", "series", "volume", "text", "table"}, optional
        What the samples are; by default what the number of axes says.
    names : sequence of str, optional
        What the samples are called; by default their numbers.
    skipped : sequence of str
        What was left out and why, one line each.
    scale : float, optional
        What ``x`` is divided by when it is read; by default 255 or 65535 for pictures of 8 or 16
        bits, else 1.
    partial : bool
        Whether classes may have no sample.
    where : str
        What messages say before "x" and "y".
    columns, label : optional
        What a text file calls the features (a tuple of str), and the column of labels.

    Raises
    ------
    ValueError, TypeError
        Invalid samples, or targets that do not fit them.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung.data import ArraySource
    >>> source = ArraySource(np.ones((4, 1, 8, 8)), [0, 1, 1, 0], classes=["cat", "dog"])
    >>> source.kind, source.shape, len(source)
    ('picture', (1, 8, 8), 4)
    """

    lazy = False

    def __init__(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        classes: Sequence[str] | None = None,
        kind: SampleKind | None = None,
        names: Sequence[str] | None = None,
        skipped: Sequence[str] = (),
        scale: float | None = None,
        partial: bool = False,
        where: str = "",
        columns: tuple[str, ...] | None = None,
        label: str | None = None,
    ) -> None:
        array = np.asarray(x)
        self.columns, self.label = columns, label
        self.kind = _kind(array, kind, f"{where}x")
        if not array.size:
            raise FaltungError(f"{where}x.shape={array.shape}: contains no samples")
        if names is not None and len(names) != len(array):
            raise FaltungError(f"names: there are {len(names)} for {len(array)} samples")
        standard = WHITE.get(array.dtype, 1.0) if self.kind == "picture" else 1.0
        self.scale = _scale(standard if scale is None else scale, self.kind)
        self._x = _stored(array, self.kind, f"{where}x", names)
        self.shape = self._x.shape[1:]
        if y is None:
            y = np.empty((len(array), 0), np.float32)
        y = np.asarray(y)
        made = _maps if is_dense(y, array) else _targets
        self.targets, self.classes = made(y, len(array), classes, partial, f"{where}y")
        self.skipped = tuple(skipped)
        self._names = names

    @property
    def names(self) -> Sequence[str]:
        """What the samples are called; by default their numbers."""
        if self._names is None:
            self._names = tuple(map(str, range(len(self))))
        return self._names

    def __len__(self) -> int:
        return len(self._x)

    def read(self, indices: Indices) -> Array:
        taken: Array = np.take(self._x, np.asarray(indices, np.int64), axis=0)
        if taken.dtype in (np.float32, np.int64) and self.scale == 1:
            return taken
        return np.asarray(np.divide(taken, self.scale, dtype=np.float32))


class Subset:
    """Some samples of a source, in a given order, under their own names."""

    def __init__(self, source: Source, indices: Indices) -> None:
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise FaltungTypeError(f"indices={show(indices)}: must be a sequence of ints")
        outside = chosen[(chosen < 0) | (chosen >= len(source))]
        if outside.size:
            raise FaltungError(f"indices: {outside[0]} is not in 0..{len(source) - 1}")
        self.source, self.indices = source, chosen.astype(np.int64)
        self.kind, self.shape, self.classes = source.kind, source.shape, source.classes
        self.targets: Array = source.targets[self.indices]
        self.skipped, self.lazy = source.skipped, source.lazy
        self._names: tuple[str, ...] | None = None

    @property
    def names(self) -> Sequence[str]:
        """What the samples are called in the source."""
        if self._names is None:
            every = self.source.names
            self._names = tuple(every[i] for i in self.indices)
        return self._names

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: Indices) -> Array:
        return self.source.read(self.indices[np.asarray(indices, np.int64)])


def split(source: Source, fraction: float = 0.2, seed: int = 0) -> tuple[Subset, Subset]:
    """Split samples into a part to train on and a part to hold out, by chance.

    Of each class the same fraction is held out, rounded, but at least one sample; if every
    position has a label, of all samples together. Both parts keep the order of the source.

    Parameters
    ----------
    source : Source
        All samples.
    fraction : float
        The part to hold out, between 0 and 1.
    seed : int
        The only thing that the choice depends on.

    Returns
    -------
    train, held : Subset
        Sources themselves.

    Raises
    ------
    ValueError, TypeError
        A class with a single sample, or an invalid fraction.

    Examples
    --------
    >>> from faltung.data import open_source, split
    >>> train, held = split(open_source("digits"), 0.25)
    >>> len(train), len(held)
    (1347, 450)
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise FaltungTypeError(f"fraction={show(fraction)}: must be a number")
    if not 0 < fraction < 1:
        raise FaltungError(f"fraction={fraction}: must lie between 0 and 1")
    order = permutation(len(source), seed, SPLIT)
    held = np.zeros(len(source), bool)
    for group, name in _groups(source):
        count = int(group.sum())
        if count == 1:
            raise FaltungError(f"{name} has one sample: a split needs at least two")
        some = min(max(round(fraction * count), 1), count - 1)
        held[order[group[order]][:some]] = True
    return Subset(source, np.flatnonzero(~held)), Subset(source, np.flatnonzero(held))


def _groups(source: Source) -> list[tuple[npt.NDArray[np.bool_], str]]:
    """Groups to split separately: a mask (n,) for each class that occurs, or one for all."""
    if source.classes is None or source.targets.ndim > 1:
        return [(np.ones(len(source), bool), "data")]
    labels = source.targets
    return [(labels == i, f"class {printable(source.classes[i])}") for i in np.unique(labels)]


def check_finite(array: Array, where: str, names: Sequence[str] | None = None) -> None:
    """ValueError names the first sample (along axis 0) that contains NaN or an infinite value."""
    if array.dtype.kind != "f":
        return
    step = max(1, BLOCK_BYTES // max(array[:1].nbytes, 1))
    for start in range(0, len(array), step):
        rows = array[start : start + step].reshape(len(array[start : start + step]), -1)
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if bad.size:
            what = "NaN" if np.isnan(rows[bad[0]]).any() else "an infinite value"
            number = start + int(bad[0])
            raise FaltungError(
                f"{where}: sample {names[number] if names else number} contains {what}"
            )


def _kind(array: Array, kind: SampleKind | None, where: str) -> SampleKind:
    if kind is None:
        kind = next((k for k, n in AXES.items() if n + 1 == array.ndim and k != "text"), None)
        if kind is None:
            raise FaltungError(f"{where}.shape={array.shape}: must be (samples, channels, *space)")
    if kind not in AXES:
        raise FaltungError(f"kind={show(kind)}: must be one of {', '.join(AXES)}")
    if array.ndim != AXES[kind] + 1:
        raise FaltungError(
            f"{where}.shape={array.shape}: must have {AXES[kind] + 1} axes for kind={kind!r}"
        )
    return kind


def _scale(value: float, kind: str) -> np.float32:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise FaltungError(f"scale={show(value)}: must be a number above 0")
    if kind == "text" and value != 1:
        raise FaltungError(f"scale={value}: text is not scaled")
    return np.float32(value)


def _stored(array: Array, kind: str, where: str, names: Sequence[str] | None) -> Array:
    """x as it is kept: float32, int64 for text, or 8 or 16 bits to be converted on reading; all
    finite.
    """
    if kind == "text":
        if array.dtype.kind not in "iu":
            raise FaltungTypeError(
                f"{where}.dtype={array.dtype}: text must be whole numbers of its words"
            )
        if array.min() < 0:
            raise FaltungError(f"{where}: the number of a word must be at least 0")
        return np.ascontiguousarray(array, np.int64)
    if array.dtype.kind not in "buif":
        raise FaltungTypeError(f"{where}.dtype={array.dtype}: must be real numbers")
    if array.dtype in WHITE:
        return np.ascontiguousarray(array)
    check_finite(array, where, names)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array, np.float32)
    if array.dtype != np.float32:
        check_finite(stored, f"{where} as float32", names)
    return stored


def _targets(
    y: Array, count: int, classes: Sequence[str] | None, partial: bool, where: str
) -> tuple[Array, tuple[str, ...] | None]:
    """Labels int64 (n,) and the names of the classes, or numbers float32 (n, k) and None."""
    if y.shape[:1] != (count,) or y.ndim > 2:
        raise FaltungError(f"{where}.shape={y.shape}: must be ({count},) or ({count}, k), as x")
    if y.dtype.kind not in "buif":
        raise FaltungTypeError(f"{where}.dtype={y.dtype}: must be labels (ints) or numbers")
    if y.dtype.kind == "f":
        if classes is not None:
            raise FaltungTypeError(f"{where}.dtype={y.dtype}: labels of classes must be ints")
        numbers = y.reshape(count, -1).astype(np.float32)
        check_finite(numbers, where)
        return numbers, None
    if y.ndim == 2 and y.shape[1] != 1:
        raise FaltungError(
            f"{where}.shape={y.shape}: labels must be ({count},); numbers must be floats"
        )
    labels = y.reshape(count).astype(np.int64)
    return labels, _names(labels, classes, partial, where, 0)


def is_dense(y: Array, x: Array) -> bool:
    """Whether y has a label for each position of x (n, C, *space). Maps may be smaller than x, as
    after valid convolutions, but not series: their y would look like columns.
    """
    if y.dtype.kind not in "bui" or y.ndim != x.ndim - 1:
        return False
    return y.ndim > 2 or (y.ndim == 2 and y.shape[1] == x.shape[2] > 1)


def _maps(
    y: Array, count: int, classes: Sequence[str] | None, partial: bool, where: str
) -> tuple[Array, tuple[str, ...]]:
    """Labels int64 (n, *space), one for each position, and the names of the classes."""
    if len(y) != count or not y.size:
        raise FaltungError(f"{where}.shape={y.shape}: must be ({count}, *space), as x")
    labels = np.ascontiguousarray(y, np.int64)
    return labels, _names(labels, classes, partial, where, -1)


def _names(
    labels: Array, classes: Sequence[str] | None, partial: bool, where: str, least: int
) -> tuple[str, ...]:
    """The names of the classes of labels from ``least``; labels below 0 are ignored."""
    most, low = int(labels.max()), int(labels.min())
    names = class_list(classes) if classes is not None else None
    if names is not None and most >= len(names):
        raise FaltungError(f"{where}{_place(labels, most)}: must be a label below {len(names)}")
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
