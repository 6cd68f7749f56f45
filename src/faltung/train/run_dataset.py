"""The data of a run: opened, reopened and verified; and other data read in the same way."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faltung.data.files import Like
from faltung.data.open import NAMED, open_source
from faltung.data.source import ArraySource, Source, split
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.train.model import Model
from faltung.train.run_folder import CONFIG, RunFolder
from faltung.train.run_model import table
from faltung.train.settings import Settings

# Options of ``open_source`` that a run keeps.
READING = ("strict", "kind", "size", "channels", "label")
# The data table of a config: entry -> its type, and whether it is required.
_DATA: dict[str, tuple[type | tuple[type, ...], bool]] = {
    "path": (str, True),
    "kind": (str, True),
    "samples": (int, True),
    "digest": (str, True),
    "held_out": (float, True),
    "scale": (float, False),
    "strict": (bool, True),
    "size": ((int, list), False),
    "channels": (int, False),
    "columns": (list, False),
    "label": (str, False),
}


def data_table(folder: RunFolder) -> dict[str, Any]:
    """The data table of a run. ValueError: an entry that is missing or of another type."""
    found = table(folder, "data")
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


def like(model: Model, folder: RunFolder) -> Like:
    """What files must contain to be samples of a run."""
    about = data_table(folder)
    fit = about.get("size") is not None
    columns = about.get("columns")
    return Like(
        about["kind"],
        model.input_shape,
        fit=fit,
        scale=about.get("scale"),
        columns=None if columns is None else tuple(columns),
        label=about.get("label"),
    )


def open_like(
    data: str, wanted: Like, classes: Sequence[str] | None, *, strict: bool = False
) -> Source:
    """Data with targets, read like those of a run, with the same classes."""
    given: dict[str, Any] = {"kind": wanted.kind, "strict": strict, "classes": classes}
    if data not in NAMED and wanted.kind in ("picture", "volume"):
        given["channels"] = wanted.shape[0]
    if wanted.fit:
        given["size"] = wanted.shape[1:]
    source = open_source(data, like=wanted, **given)
    if wanted.scale is not None and isinstance(source, ArraySource) and source.scale != 1:
        source.scale = np.float32(wanted.scale)  # whole numbers are scaled as in the run
    if source.shape != wanted.shape:
        raise FaltungError(
            f"data={show(data)}: samples of shape {source.shape}: must be {wanted.shape}"
        )
    return source


def held_out(folder: RunFolder) -> Source:
    """The samples that a run has held out of its data."""
    about = data_table(folder)
    source = opened(about)
    if described(source)["digest"] != about["digest"]:
        raise FaltungError(f"{folder.path}: its data have changed; give the data to evaluate on")
    settings = Settings.from_dict(table(folder, "train"))
    return split(source, about["held_out"], settings.seed)[1]


def opened(about: Mapping[str, Any]) -> Source:
    given = {name: about[name] for name in READING if about.get(name) is not None}
    return open_source(about["path"], **given)


def described(source: Source) -> dict[str, Any]:
    """A description of data, by which similar data are read, and the same data recognised."""
    digest = hashlib.sha256(np.ascontiguousarray(source.targets).tobytes())
    for part in (source.shape, source.classes, *source.names):
        digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    found = {"kind": source.kind, "samples": len(source), "digest": digest.hexdigest()[:16]}
    scale = getattr(source, "scale", None)
    if scale is not None and scale != 1:
        found["scale"] = float(scale)
    columns, label = getattr(source, "columns", None), getattr(source, "label", None)
    if columns is not None:
        found["columns"] = list(columns)
    return found if label is None else {**found, "label": label}
