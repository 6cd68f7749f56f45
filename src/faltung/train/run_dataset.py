"""The data of a run: opened, reopened and verified; and other data read in the same way."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faltung.data.like import Like
from faltung.data.open import open_source
from faltung.data.source import Source, kind_of_sample, layout_in, split, weights_in
from faltung.data.targets import TargetKind
from faltung.data.tokenizer import as_text, from_text
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.train.model import Model
from faltung.train.places import first_of
from faltung.train.run_folder import CONFIG, RunFolder
from faltung.train.run_model import table
from faltung.train.settings import Settings

# Options of ``open_source`` that a run keeps.
READING = ("strict", "kind", "size", "channels", "x", "y", "label", "val", "frames")
# What a config says of data that come with samples to hold out.
OWN = "own"
# The data table of a config: entry -> its type, and whether it is required.
_DATA: dict[str, tuple[type | tuple[type, ...], bool]] = {
    "path": (str, True),
    "kind": (str, True),
    "samples": (int, True),
    "digest": (str, True),
    "held_out": ((float, str), True),
    "layout": (str, True),
    "strict": (bool, True),
    "size": ((int, list), False),
    "channels": ((int, str), False),
    "targets": (str, True),
    "x": (str, False),
    "y": (str, False),
    "columns": (list, False),
    "label": (str, False),
    "val": (str, False),
    "frames": (int, False),
    "relative": (str, False),
    "val_relative": (str, False),
}


def data_table(folder: RunFolder) -> dict[str, Any]:
    """The data table of a run. ValueError: an entry that is missing or of another type."""
    found = table(folder, "data")
    for name in found:
        if name not in _DATA:
            raise FaltungError(f"{folder.path / CONFIG}: data.{show(name)}: is not known")
    for name, (kind, must) in _DATA.items():
        value = found.get(name)
        if value is None and not must:
            continue
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise FaltungError(
                f"{folder.path / CONFIG}: data.{name}={show(value)}: must be {names}"
            )
    return found


def like(model: Model, folder: RunFolder | None) -> Like:
    """What files must contain to be samples of a run, or where there is no run, of its model alone.
    ValueError: a run that does not say.
    """
    if folder is None:
        return _like_model(model)
    about = data_table(folder)
    if model.units is None and not model.tokens:
        raise FaltungError(
            f"{folder.path / CONFIG}: model.units: is missing, as in runs of an older faltung; "
            "train it again"
        )
    columns = about.get("columns")
    try:
        return Like(
            about["kind"],
            model.input_shape,
            fit=about.get("size") is not None,
            units=model.units,
            layout=about["layout"],
            columns=None if columns is None else tuple(map(str, columns)),
            label=about.get("label"),
            x=about.get("x"),
            y=about.get("y"),
            frames=about.get("frames"),
            words=model.words,
        )
    except FaltungError as error:
        raise FaltungError(f"{folder.path / CONFIG}: data: {error}") from None


def _like_model(model: Model) -> Like:
    """What is known of samples from a model alone; pictures and volumes are resized."""
    kind = "text" if model.tokens else kind_of_sample(len(model.input_shape))
    if kind is None:
        raise FaltungError(
            f"RUN: its model takes samples of shape {model.input_shape}, of which no files are "
            "known; predict arrays in Python"
        )
    fit = kind in ("picture", "volume")
    return Like(
        kind, model.input_shape, fit=fit, units=model.units, layout=model.layout, words=model.words
    )


def open_like(
    data: str,
    wanted: Like,
    classes: Sequence[str] | None,
    *,
    strict: bool = False,
    x: str | None = None,
    y: str | None = None,
    targets: TargetKind | None = None,
    label: str | None = None,
) -> Source:
    """Data with targets, read like those of a run, with the same classes."""
    source = open_source(
        data, like=wanted, classes=classes, strict=strict, x=x, y=y, targets=targets, label=label
    )
    if source.shape != wanted.shape:
        raise FaltungError(
            f"data={show(data)}: samples of shape {source.shape}: must be {wanted.shape}"
        )
    return source


def held_out(folder: RunFolder) -> Source:
    """The samples that a run has held out of its data."""
    about, source = reopened(folder)
    if described(source)["digest"] != about["digest"]:
        raise FaltungError(f"{folder.path}: its data have changed; give the data to evaluate on")
    settings = Settings.from_dict(table(folder, "train"))
    held = parts(source, about["held_out"], settings.seed)[1]
    if held is None:
        raise FaltungError(
            f"{folder.path}: has held nothing out, by --held-out 0: give the data to evaluate on"
        )
    return held


def seen_by(folder: RunFolder, source: Source) -> tuple[bool, Source | None]:
    """Whether these are the samples that a run was trained on, and the part that it held out; None
    if it held nothing out.
    """
    about = data_table(folder)
    if described(source)["digest"] != about["digest"]:
        return False, None
    return True, parts(source, about["held_out"], Settings.from_dict(table(folder, "train")).seed)[
        1
    ]


def parts(source: Source, held_out: float | str, seed: int) -> tuple[Source, Source | None]:
    """The samples to train on, and those that are held out: a part of all, ``OWN``, those that the
    data come with, or None for 0.
    """
    if held_out == 0:
        return source, None
    if held_out != OWN:
        return split(source, held_out, seed=seed)  # type: ignore[arg-type]
    own = getattr(source, "held", None)
    if own is None:
        raise FaltungError("held_out: the data have changed; they hold nothing out of their own")
    return source, own


def opened(about: Mapping[str, Any], words: Sequence[str] | None = None) -> Source:
    """The data that a table describes; words: by which texts are numbered, if that is known."""
    given = {name: about[name] for name in READING if about.get(name) is not None}
    return open_source(about["path"], targets=about.get("targets"), words=words, **given)


def reopened(folder: RunFolder) -> tuple[dict[str, Any], Source]:
    """The data of a run, wherever they are now, and the table that says so. If what lies there is
    not what the run was trained on, the caller finds out by ``described``.
    """
    about = data_table(folder)

    known = folder.config.get("model")
    words = known.get("words") if isinstance(known, dict) else None

    def as_it_was(place: Mapping[str, Any]) -> tuple[dict[str, Any], Source]:
        source = opened(place, from_text(words) if isinstance(words, str) else None)
        if place != about and described(source)["digest"] != about["digest"]:
            raise FaltungError("these are other data")
        return dict(place), source

    return first_of(about, folder.path, as_it_was)


def described(source: Source) -> dict[str, Any]:
    """A description of data, by which similar data are read, and the same data recognised."""
    digest = hashlib.sha256(np.ascontiguousarray(source.targets).tobytes())
    own = getattr(source, "held", None)
    if own is not None:
        digest.update(np.ascontiguousarray(own.targets).tobytes())
        for name in own.names if own.lazy else ():  # of arrays they are numbers
            digest.update(repr(name).encode("utf-8", "surrogatepass") + b"\0")
    for part in (source.shape, source.classes, *source.names):
        digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    weights = weights_in(source)
    if weights is not None:
        digest.update(weights.tobytes())
    if (words := getattr(source, "words", None)) is not None:
        digest.update(as_text(words).encode("utf-8", "surrogatepass"))
    found = {
        "kind": source.kind,
        "samples": len(source),
        "digest": digest.hexdigest()[:16],
        "layout": layout_in(source),
    }
    for name in ("columns", "label", "frames"):
        value = getattr(source, name, None)
        if value is not None:
            found[name] = list(value) if name == "columns" else value
    return found
