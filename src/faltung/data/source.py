"""``Source``: samples and their targets, wherever they are stored; arrays as one; parts of one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from faltung.data.limits import check_finite
from faltung.data.names import printable
from faltung.data.native import as_array
from faltung.data.seeds import SPLIT, permutation
from faltung.data.targets import is_dense, make_maps, make_targets, understood
from faltung.data.units import Units, units_of
from faltung.geometry.calls import explained
from faltung.geometry.check import one_of, sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.narrowing import narrowed

Array = npt.NDArray[Any]
Indices = Sequence[int] | npt.NDArray[np.int64]

# Dtypes that are kept as they are: a half or a quarter of the memory of float32.
KEPT = tuple(map(np.dtype, (np.uint8, np.uint16)))
# What a sample can be, and how many axes it has: channels and space, or one axis alone.
SampleKind = Literal["picture", "series", "volume", "text", "table"]
AXES: dict[SampleKind, int] = {"picture": 3, "series": 2, "volume": 4, "text": 1, "table": 1}


def kind_of_sample(axes: int) -> SampleKind | None:
    """The kind of samples with this many axes, channels and space; None: there is none. Text, which
    has as many as a row of a table, must be said.
    """
    return next((kind for kind, n in AXES.items() if n == axes and kind != "text"), None)


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


class StoredSource(Source, Protocol):
    """A source that knows how its numbers are stored, and what they mean."""

    @property
    def units(self) -> Units: ...
    def stored(self, indices: Indices) -> Array:
        """Samples as they are stored: an array that the caller may change."""
        ...


def is_stored(x: object) -> TypeGuard[StoredSource]:
    """Whether a source knows its units. A ``Subset`` does if its source does."""
    return getattr(x, "units", None) is not None and hasattr(x, "stored")


def layout_in(source: object) -> Literal["first", "last"]:
    """Where the channels lay in the arrays that a source was made of."""
    return "last" if getattr(source, "layout", "first") == "last" else "first"


def weights_in(source: object) -> Array | None:
    """A weight for each sample, float64 (n,), if a source has any."""
    return getattr(source, "weights", None)


def weighted(
    source: "Source", weights: npt.ArrayLike | None, name: str = "sample_weight"
) -> "Source":
    """A source whose samples have these weights; itself for None. ValueError, TypeError: others
    than one number from 0 for each sample, not all 0.
    """
    if weights is None:
        return source
    made = Subset(source, np.arange(len(source)))
    made.weights = checked_weights(as_array(name, weights), len(source), name)
    return made


def checked_weights(each: Array, count: int, name: str) -> npt.NDArray[np.float64]:
    """Weights of samples in float64. ValueError, TypeError: as ``weighted``."""
    if each.dtype.kind not in "buif":
        raise FaltungTypeError(f"{name}.dtype={each.dtype}: must be numbers")
    if each.shape != (count,):
        raise FaltungError(
            f"{name}.shape={each.shape}: must be ({count},), a number for each sample"
        )
    each = each.astype(np.float64)
    if not (np.isfinite(each).all() and each.min(initial=0) >= 0):
        raise FaltungError(f"{name}: must be at least 0 and finite")
    if not each.any():
        raise FaltungError(f"{name}: must not all be 0")
    return each


def is_source(x: object) -> TypeGuard[Source]:
    """Whether x has samples to read, and targets."""
    return hasattr(x, "read") and hasattr(x, "targets")


def checked_indices(indices: Indices, count: int) -> npt.NDArray[np.int64]:
    """Numbers of samples of a source of ``count``. TypeError, ValueError."""
    chosen = as_array("indices", indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise FaltungTypeError(f"indices={show(indices)}: must be a sequence of ints")
    outside = chosen[(chosen < 0) | (chosen >= count)]
    if outside.size:
        raise FaltungError(f"indices: {outside[0]} is not in 0..{count - 1}")
    return chosen.astype(np.int64)


@explained
class ArraySource:
    """Arrays as a source. They are kept, not copied, where their dtype allows it.

    Parameters
    ----------
    x : array_like
        Samples ``(n, channels, *space)``; ``(n, length)`` whole numbers with ``kind="text"``;
        ``(n, features)`` of a table.
    y : array_like, optional
        Labels from 0, ``(n,)``, or one-hot rows; or ``(n, *space)``, of which -1 does not count; or
        numbers, ``(n,)`` or ``(n, k)``.
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
        What messages say before the names of the arrays.
    called : tuple of str
        What messages call the two arrays.
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
        called: tuple[str, str] = ("x", "y"),
        columns: tuple[str, ...] | None = None,
        label: str | None = None,
    ) -> None:
        if len(sequence("called", called)) != 2:
            raise FaltungError(f"called={show(called)}: must be two names")
        at_x, at_y = (f"{where}{name}" for name in called)
        array = as_array(at_x, x)
        self.columns, self.label = columns, label
        self.kind = _kind(array, kind, at_x)
        if not array.size:
            raise FaltungError(f"{at_x}.shape={array.shape}: contains no samples")
        if names is not None and len(sequence("names", names)) != len(array):
            raise FaltungError(f"names: there are {len(names)} for {len(array)} samples")
        if scale is not None:
            _check_scale(scale, self.kind)
        self._x = _stored(array, self.kind, at_x, names)
        self.units = units_of(self._x, picture=self.kind == "picture", scale=scale)
        if array.dtype == bool:  # which is kept as float32
            self.units = replace(self.units, whole=False)
        self.shape = self._x.shape[1:]
        if y is None:
            y = np.empty((len(array), 0), np.float32)
        y = as_array(at_y, y)
        y = understood(y, None, at_y, maps=is_dense(y, array))
        made = make_maps if is_dense(y, array) else make_targets
        self.targets, self.classes = made(y, len(array), classes, partial, at_y)
        self.skipped = tuple(map(str, sequence("skipped", skipped)))
        self.weights: Array | None = None
        # What several labels at once are called.
        self.label_names: tuple[str, ...] | None = None
        # Where channels lay in the array of a file, and the part of the file to hold out.
        self.layout: Literal["first", "last"] = "first"
        self.held: Source | None = None
        # Of texts: the vocabulary that numbers their words, and the column of a table they are in.
        self.words: tuple[str, ...] | None = None
        self.column: str | None = None
        self._names = None if names is None else tuple(map(printable, names))

    @property
    def names(self) -> Sequence[str]:
        """What the samples are called; by default their numbers."""
        if self._names is None:
            self._names = tuple(map(str, range(len(self))))
        return self._names

    def __len__(self) -> int:
        return len(self._x)

    @property
    def scale(self) -> float:
        """What stored numbers are divided by when they are read."""
        return self.units.scale

    def stored(self, indices: Indices) -> Array:
        """Samples as they are stored: an array that the caller may change."""
        taken: Array = np.take(self._x, checked_indices(indices, len(self)), axis=0)
        return taken

    def read(self, indices: Indices) -> Array:
        return scaled(self.stored(indices), self.units.scale)


def scaled(stored: Array, divisor: float) -> Array:
    """Stored numbers as float32, divided; tokens as they are."""
    if stored.dtype in (np.float32, np.int64) and divisor == 1:
        return stored
    return np.asarray(np.divide(stored, np.float32(divisor), dtype=np.float32))


class Rescaled:
    """A source whose stored numbers are divided by another number than it would itself."""

    def __init__(self, source: "StoredSource", divisor: float) -> None:
        self.source, self.divisor = source, divisor
        self.kind, self.shape, self.classes = source.kind, source.shape, source.classes
        self.targets, self.skipped, self.lazy = source.targets, source.skipped, source.lazy
        self.layout, self.weights = layout_in(source), weights_in(source)

    @property
    def names(self) -> Sequence[str]:
        """What the samples are called."""
        return self.source.names

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Indices) -> Array:
        return scaled(self.source.stored(indices), self.divisor)


def in_units(source: Source, units: Units | None, where: str = "") -> Source:
    """A source as a network sees it that was trained in these units; as it is if it does not tell
    its own. ValueError: a source that cannot be converted.
    """
    if units is None or not is_stored(source):
        return source
    try:
        divisor = units.divisor(source.units)
    except FaltungError as error:
        raise FaltungError(f"{where or 'x'}: {error}") from None
    return source if divisor == source.units.scale else Rescaled(source, divisor)


class Subset:
    """Some samples of a source, in a given order, under their own names."""

    def __init__(self, source: Source, indices: Indices) -> None:
        if not is_source(source):
            raise FaltungTypeError(f"source={show(source)}: must be a source of samples")
        self.source, self.indices = source, checked_indices(indices, len(source))
        self.kind, self.shape, self.classes = source.kind, source.shape, source.classes
        self.targets: Array = source.targets[self.indices]
        self.skipped, self.lazy = source.skipped, source.lazy
        self.units: Units | None = getattr(source, "units", None)
        self.layout = layout_in(source)
        every = weights_in(source)
        self.weights = None if every is None else every[self.indices]
        self.words: tuple[str, ...] | None = getattr(source, "words", None)
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

    def stored(self, indices: Indices) -> Array:
        """Samples as the source stores them, if it knows how (``units``)."""
        assert is_stored(self.source)
        return self.source.stored(self.indices[np.asarray(indices, np.int64)])

    def read(self, indices: Indices) -> Array:
        return self.source.read(self.indices[np.asarray(indices, np.int64)])


@explained
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
    if not is_source(source):
        raise FaltungTypeError(f"source={show(source)}: must be a source of samples")
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


def _kind(array: Array, kind: SampleKind | None, where: str) -> SampleKind:
    if kind is None:
        kind = kind_of_sample(array.ndim - 1)
        if kind is None:
            raise FaltungError(f"{where}.shape={array.shape}: must be (samples, channels, *space)")
    one_of("kind", kind, AXES)
    if array.ndim != AXES[kind] + 1:
        raise FaltungError(
            f"{where}.shape={array.shape}: must have {AXES[kind] + 1} axes for kind={kind!r}"
        )
    return kind


def _check_scale(value: float, kind: str) -> None:
    """ValueError: a scale that is not a number above 0, or one for text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise FaltungError(f"scale={show(value)}: must be a number above 0")
    if kind == "text" and value != 1:
        raise FaltungError(f"scale={value}: text is not scaled")


def _stored(array: Array, kind: str, where: str, names: Sequence[str] | None) -> Array:
    """x as it is kept: int64 for text, whole numbers of at most 16 bits as they are, else float32;
    all finite.
    """
    if kind == "text":
        if array.dtype.kind not in "iu":
            raise FaltungTypeError(
                f"{where}.dtype={array.dtype}: text must be whole numbers of its words"
            )
        if array.min() < 0:
            raise FaltungError(f"{where}: the number of a word must be at least 0")
        return narrowed(where, array, np.int64)
    if array.dtype.kind not in "buif":
        raise FaltungTypeError(f"{where}.dtype={array.dtype}: must be real numbers")
    if array.dtype in KEPT:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    check_finite(array, where, names)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array, np.float32)
    if array.dtype != np.float32:
        check_finite(stored, f"{where} as float32", names)
    return stored
