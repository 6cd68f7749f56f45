"""``open_source``: data of any kind, recognised and opened. A reader is a row of ``READERS``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from faltung.data import arrays, clips, idx, pictures, tables, texts, volumes
from faltung.data.contents import it_is
from faltung.data.digits import digits
from faltung.data.layout import Layout
from faltung.data.like import Like
from faltung.data.limits import exists, regular
from faltung.data.names import printable
from faltung.data.options import Options
from faltung.data.source import SampleKind, Source, in_units, layout_in
from faltung.data.split_folders import parts_of
from faltung.data.targets import TargetKind
from faltung.data.tokenizer import given as given_words
from faltung.geometry.calls import explained
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.geometry.words import meant


@dataclass(frozen=True)
class Reader:
    """``what`` it reads, for messages; whether a path ``is_one``; and how it is opened."""

    what: str
    is_one: Callable[[Path], bool]
    open: Callable[[Path, Options], Source]

    def matches(self, path: Path, options: Options) -> bool:
        """Whether it reads a path under these options: frames make a folder one of clips, and kind
        makes a table one of texts.
        """
        if options.frames is not None and self.open is clips.open_clips:
            return path.is_dir()
        if options.kind == "text" and self.open is texts.open_texts and tables.is_text(path):
            return path.is_file()
        return self.is_one(path)


# Data that come with Faltung, by name.
NAMED: dict[str, Callable[[], Source]] = {"digits": digits}


@explained
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
    val: str | Path | None = None,
    frames: int | None = None,
    words: Sequence[str] | None = None,
) -> Source:
    """Open data of any kind that Faltung reads.

    Parameters
    ----------
    data : str or Path
        "digits", which comes with Faltung, or the path of a folder of pictures or NIfTI volumes
        with one subfolder per class, of an ``.npz`` file with ``x`` and ``y``, of IDX files, or of
        a ``.csv``, ``.tsv``, ``.ts`` or ``.arff`` file with one series per line.
        ``./digits`` is a path. Of a folder with ``train`` and ``val`` in it the first is opened,
        and the second becomes the ``held`` of the source.
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
    val : str or Path, optional
        Data of any of these kinds to hold out, read like ``data``: the ``held`` of the source.
    frames : int, optional
        How many frames of each clip are taken, evenly: of a video, 16 by default, or with it of a
        folder of frames.
    words : sequence of str, optional
        The vocabulary by which the words of texts are numbered; by default that of the texts.

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
        kind, size = like.kind, like.shape[1:] if like.fit and like.shape[1:] else None
        channels = like.shape[0] if kind in ("picture", "volume") else None
        frames = like.frames
    vocabulary = None if words is None else given_words(words)
    given: dict[str, Any] = {
        **{"strict": strict, "kind": kind, "size": size, "channels": channels, "classes": classes},
        **{"x": x, "y": y, "targets": targets, "like": like, "label": label},
        **{"frames": frames, "words": vocabulary},
    }
    options = Options(**given)
    found = _opened(data, options)
    if val is not None:
        _check_other(data, val)
        hold(found, _other(val, found, options))
    return found if like is None else in_units(found, like.meaning, printable(data))


def hold(source: Source, held: Source) -> None:
    """Note what is held out of a source."""
    cast(Any, source).held = held


def _check_other(data: str | Path, val: str | Path) -> None:
    """TypeError, ValueError: what is held out is no name, or what is trained on."""
    if not isinstance(val, str | Path):
        raise FaltungTypeError(f"val={show(val)}: must be a name or a path")
    if str(data) == str(val) or (exists(Path(val)) and Path(data).resolve() == Path(val).resolve()):
        raise FaltungError(
            f"val={printable(val)}: is the data themselves; name samples that are not trained on"
        )


def _other(val: str | Path, source: Source, options: Options) -> Source:
    """``_held``, with messages that say which data they are about."""
    said = f"val={printable(val)}"
    try:
        return _held(val, source, options)
    except FileNotFoundError as error:
        raise FileNotFoundError(str(error).replace(f"data={printable(val)}", said)) from None
    except FaltungError as error:
        about = str(error).removeprefix(f"data={printable(val)}: ")
        raise FaltungError(f"{said}: {about}") from None


def _held(data: str | Path, source: Source, options: Options) -> Source:
    """Samples to hold out, read like those of a source. ValueError: they are of another shape."""
    like = Like(
        source.kind,  # type: ignore[arg-type]
        source.shape,
        fit=options.size is not None,
        units=getattr(source, "units", None),
        layout=layout_in(source),
        columns=getattr(source, "columns", None),
        label=getattr(source, "label", None),
        x=options.x,
        y=options.y,
        frames=getattr(source, "frames", None),
        words=getattr(source, "words", None),
    )
    classes = source.classes
    asked = replace(
        options,
        kind=like.kind,
        size=like.shape[1:] if like.fit and like.shape[1:] else None,
        channels=like.shape[0] if like.kind in ("picture", "volume") else None,
        classes=classes,
        frames=like.frames,
        like=like,
        targets="labels" if classes is not None else "numbers",
    )
    found = _opened(data, asked)
    if found.shape != source.shape:
        raise FaltungError(
            f"{printable(data)}: has samples of shape {found.shape}, the others are "
            f"{source.shape}: must be the same"
        )
    return found


def _open_parts(path: Path, options: Options) -> Source:
    """A folder with ``train/`` and ``val/``: the first, with the second held out of it; for a
    network that is trained already, what training has not seen.
    """
    parts = parts_of(path)
    assert parts is not None
    if options.like is not None:
        return _opened(parts.unseen, options)
    source = _opened(parts.train, options)
    if parts.held is not None:
        held = _held(parts.held, source, options)
        hold(source, held)
        name = printable(parts.held.name)
        cast(Any, source).skipped += tuple(f"{name}/{line}" for line in held.skipped)
    cast(Any, source).skipped += parts.beside
    return source


def _is_split(path: Path) -> bool:
    return path.is_dir() and parts_of(path) is not None


def _opened(data: str | Path, options: Options) -> Source:
    if isinstance(data, str) and data in NAMED:
        return _named(data, options)
    if not isinstance(data, str | Path):
        raise FaltungTypeError(f"data={type(data).__name__}: must be a name or a path")
    path = Path(data)
    where = printable(data)
    if not exists(path):
        raise FileNotFoundError(
            f"data={where}: no such file or folder, nor a name ({', '.join(NAMED)})"
            f"{meant(path.name, NAMED)}"
        )
    if not path.is_dir():
        regular(path, where)
    reader = next((reader for reader in READERS if reader.matches(path, options)), None)
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
        ("x", "arrays in .npz files, and columns of texts", (arrays.open_npz, texts.open_texts)),
        ("y", "arrays in .npz files", (arrays.open_npz,)),
        ("label", "text", (tables.open_table, texts.open_texts)),
    ):
        value = getattr(options, name)
        if isinstance(value, str) and reader not in readers:
            raise FaltungError(f"{name}={show(value)}: applies to {of}, not to {what}")
    asked = options.frames is not None and options.like is None
    if asked and reader not in (clips.open_clips, _open_parts):
        raise FaltungError(f"frames={options.frames}: applies to clips, not to {what}")


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


# The first that matches reads it.
READERS = (
    Reader("a folder with train/ and val/ in it", _is_split, _open_parts),
    Reader("an .npz file with x and y", arrays.matches, arrays.open_npz),
    Reader("IDX files, as MNIST has them", idx.matches, idx.open_idx),
    Reader("a .csv or .tsv file with a column of texts", texts.is_table, texts.open_texts),
    Reader("a folder of .txt files, a class a folder", texts.is_folder, texts.open_folder),
    Reader("a .csv, .tsv, .ts or .arff file, a series a line", tables.matches, tables.open_table),
    Reader("a folder of videos, a class a folder", clips.matches, clips.open_clips),
    Reader("a folder of NIfTI volumes, a class a folder", volumes.matches, volumes.open_volumes),
    Reader("a folder of pictures, a class a folder", pictures.matches, pictures.open_pictures),
)
