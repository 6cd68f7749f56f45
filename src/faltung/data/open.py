"""`open_source`: whatever people have, recognised and opened. A reader is a row of `READERS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faltung.data import arrays, idx, pictures, tables, volumes
from faltung.data.digits import digits
from faltung.data.files import Like
from faltung.data.limits import exists, regular
from faltung.data.names import printable
from faltung.data.options import Options
from faltung.data.source import Source


@dataclass(frozen=True)
class Reader:
    """`what` it reads, for people; whether a path `matches`; and how it is opened."""

    what: str
    matches: Callable[[Path], bool]
    open: Callable[[Path, Options], Source]


# The first that matches reads it.
READERS = (
    Reader("an .npz file with x and y", arrays.matches, arrays.open_npz),
    Reader("IDX files, as MNIST has them", idx.matches, idx.open_idx),
    Reader("a .csv or .tsv file, a series a line", tables.matches, tables.open_table),
    Reader("a folder of NIfTI volumes, a class a folder", volumes.matches, volumes.open_volumes),
    Reader("a folder of pictures, a class a folder", pictures.matches, pictures.open_pictures),
)
# Data that come with Faltung, by name.
NAMED: dict[str, Callable[[], Source]] = {"digits": digits}


def open_source(
    data: str | Path,
    *,
    strict: bool = False,
    kind: str | None = None,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> Source:
    """A name in `NAMED`, or a path that one of `READERS` reads; `Options` has the rest.

    A name is meant before a file of that name; ``./digits`` is the file. FileNotFoundError,
    TypeError, and ValueError for what cannot be read.
    """
    options = Options(strict, kind, size, channels, classes)  # type: ignore[arg-type]
    if isinstance(data, str) and data in NAMED:
        return _named(data, options)
    if not isinstance(data, str | Path):
        raise TypeError(f"data={type(data).__name__}: must be a name or a path")
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
        raise ValueError(f"data={where}: is none of: {known}")
    # A folder is called by its own name, also if it is given as "." or "..".
    return reader.open(path if path.name else path.resolve(), options)


def open_like(
    data: str | Path,
    like: Like,
    *,
    classes: Sequence[str] | None = None,
    strict: bool = False,
) -> Source:
    """Data to evaluate a run on: samples as `like` says, labels numbered by the run's `classes`.

    Not every class needs to occur. As `open_source`, and ValueError for samples of another shape.
    """
    spatial = like.kind not in ("text", "table")
    source = open_source(
        data,
        strict=strict,
        kind=like.kind,
        size=like.shape[1:] if spatial and like.fit else None,
        channels=like.shape[0] if spatial else None,
        classes=classes,
    )
    if source.shape != like.shape:
        raise ValueError(
            f"data={printable(data)}: has samples of shape {source.shape}, must be {like.shape}"
        )
    return source


def _named(name: str, options: Options) -> Source:
    found = NAMED[name]()
    for asked, has in (
        (options.kind, found.kind),
        (options.channels, found.shape[0]),
        (options.space(len(found.shape) - 1), found.shape[1:]),
        (options.classes, found.classes),
    ):
        if asked not in (None, has):
            raise ValueError(f"data={name}: has {has}, not {asked}")
    return found
