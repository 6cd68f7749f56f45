"""``open_source``: data of any kind, recognised and opened. A reader is a row of ``READERS``."""

from collections.abc import Callable, Sequence
from pathlib import Path

from faltung.data import arrays, idx, pictures, tables, volumes
from faltung.data.contents import it_is
from faltung.data.digits import digits
from faltung.data.layout import Layout
from faltung.data.like import Like
from faltung.data.limits import exists, regular
from faltung.data.names import printable
from faltung.data.options import Options
from faltung.data.source import SampleKind, Source, in_units
from faltung.data.targets import TargetKind
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Reader:
    """``what`` it reads, for messages; whether a path ``matches``; and how it is opened."""

    what: str
    matches: Callable[[Path], bool]
    open: Callable[[Path, Options], Source]


# The first that matches reads it.
READERS = (
    Reader("an .npz file with x and y", arrays.matches, arrays.open_npz),
    Reader("IDX files, as MNIST has them", idx.matches, idx.open_idx),
    Reader("a .csv, .tsv, .ts or .arff file, a series a line", tables.matches, tables.open_table),
    Reader("a folder of NIfTI volumes, a class a folder", volumes.matches, volumes.open_volumes),
    Reader("a folder of pictures, a class a folder", pictures.matches, pictures.open_pictures),
)
# Data that come with Faltung, by name.
NAMED: dict[str, Callable[[], Source]] = {"digits": digits}


def open_source(
    data: str | Path,
    *,
    strict: bool = False,
    kind: SampleKind | None = None,
    size: int | Sequence[int] | None = None,
    channels: int | Layout | None = None,
    classes: Sequence[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    targets: TargetKind | None = None,
    like: Like | None = None,
    label: str | None = None,
) -> Source:
    """Open data of any kind that Faltung reads.

    Parameters
    ----------
    data : str or Path
        "digits", which comes with Faltung, or the path of a folder of pictures or NIfTI volumes
        with one subfolder per class, of an ``.npz`` file with ``x`` and ``y``, of IDX files, or of
        a ``.csv``, ``.tsv``, ``.ts`` or ``.arff`` file with one series per line.
        ``./digits`` is a path.
    strict : bool
        Whether a file that cannot be read is an error, instead of being skipped.
    kind : {"picture", "series", "volume", "text", "table"}, optional
        What the samples are; by default it is found out.
    size : int or sequence of int, optional
        What the axes of space are resized to, in pixels or steps: one number for all of them, or
        one for each. By default samples keep their size.
    channels : int, "first" or "last", optional
        How many channels the samples get, or have; of arrays also where they lie. By default it is
        found out.
    classes : sequence of str, optional
        The only classes that may occur, in their order. By default those that occur.
    x, y : str, optional
        The names of the arrays of samples and targets in an ``.npz`` file. By default ``x`` and
        ``y``, or what they are called in well-known data.
    targets : {"labels", "numbers"}, optional
        What targets are: whole floats may be labels, and whole numbers may be numbers. By default
        ints and words are labels, floats are numbers.
    like : Like, optional
        What a network was trained on: samples are then read in the same way, and of a file that
        comes with its own split the part that training has not seen.
    label : str, optional
        The column of a text file that holds the labels. By default it is recognised by its name.

    Returns
    -------
    Source
        Samples ``(channels, *space)`` of pictures, series and volumes, ``(length,)`` of text,
        ``(features,)`` of tables, and their targets.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    ValueError, TypeError
        Data that cannot be read, or an option that does not fit them; the message names the file.
    ImportError
        A package that the format needs is not installed.

    Examples
    --------
    >>> from faltung.data import open_source
    >>> digits = open_source("digits")
    >>> len(digits), digits.shape, digits.classes[:3]
    (1797, (1, 8, 8), ('0', '1', '2'))
    """
    if not isinstance(like, Like | None):
        raise FaltungTypeError(f"like={show(like)}: must be a Like")
    if like is not None:
        kind, size = like.kind, like.shape[1:] if like.fit else None
        channels = like.shape[0] if kind in ("picture", "volume") else None
    options = Options(strict, kind, size, channels, classes, x, y, targets, like, label)  # type: ignore[arg-type]
    found = _opened(data, options)
    return found if like is None else in_units(found, like.meaning, printable(data))


def _opened(data: str | Path, options: Options) -> Source:
    if isinstance(data, str) and data in NAMED:
        return _named(data, options)
    if not isinstance(data, str | Path):
        raise FaltungTypeError(f"data={type(data).__name__}: must be a name or a path")
    path = Path(data)
    where = printable(data)
    if not exists(path):
        names = ", ".join(NAMED)
        raise FileNotFoundError(f"data={where}: no such file or folder, nor a name ({names})")
    if not path.is_dir():
        regular(path, where)
    reader = next((reader for reader in READERS if reader.matches(path)), None)
    if reader is None:
        known = "; ".join(reader.what for reader in READERS)
        raise FaltungError(f"data={where}: is none of: {known}{it_is(path)}")
    _check_words(options, reader.what, reader.open)
    # A folder is called by its own name, also if it is given as "." or "..".
    return reader.open(path if path.name else path.resolve(), options)


def _check_words(options: Options, what: str, reader: object) -> None:
    """ValueError: an option that says something of arrays, or of text, for data that are none."""
    for name, of, readers in (
        ("channels", "arrays", (arrays.open_npz, idx.open_idx)),
        ("x", "arrays in .npz files", (arrays.open_npz,)),
        ("y", "arrays in .npz files", (arrays.open_npz,)),
        ("label", "text", (tables.open_table,)),
    ):
        value = getattr(options, name)
        if isinstance(value, str) and reader not in readers:
            raise FaltungError(f"{name}={show(value)}: applies to {of}, not to {what}")


def _named(name: str, options: Options) -> Source:
    _check_words(options, name, None)
    found = NAMED[name]()
    for option, asked, has in (
        ("kind", options.kind, found.kind),
        ("channels", options.count, found.shape[0]),
        ("size", options.space(len(found.shape) - 1), found.shape[1:]),
        ("classes", options.classes, found.classes),
    ):
        if asked not in (None, has):
            raise FaltungError(f"{option}={show(asked)}: data={name}: has {has}, not {asked}")
    return found
