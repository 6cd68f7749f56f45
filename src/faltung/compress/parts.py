"""The samples of a compression, in three disjoint parts: those that train, choose, and report.

Fine-tuning, importances and calibration use the samples that the run was trained on. What the run
has held out is halved by its seed: one half chooses among the steps of the walk, and the other,
which chooses nothing, reports how good they are. Other data report in its place if they are given,
and then all held-out samples choose.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faltung.data.names import printable
from faltung.data.open import NAMED
from faltung.data.seeds import SPLIT, permutation
from faltung.data.source import Source, Subset, in_units, split
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train.defaults import HELD_OUT
from faltung.train.model import Model
from faltung.train.opened import Opened, opened
from faltung.train.run_dataset import data_table, described, like, open_like, parts, reopened
from faltung.train.run_dataset import opened as opened_data
from faltung.train.run_folder import BEST, CONFIG, RunFolder
from faltung.train.settings import Settings
from faltung.train.vocabulary import check_tokens_known

LEAST = 4  # samples that can be halved into two parts that say anything


@dataclass(frozen=True)
class Parts:
    """``train``, ``choose``, ``report``: three disjoint sources, in the units of the model."""

    train: Source
    choose: Source
    report: Source

    def __str__(self) -> str:
        return (
            f"{len(self.train):,} samples train, {len(self.choose):,} choose, "
            f"{len(self.report):,} report"
        )


@dataclass(frozen=True)
class Origin:
    """What is compressed: a model, how it was trained, on what, and what its run says of itself.
    ``best``: the file with its weights, if there is one.
    """

    model: Model
    settings: Settings
    parts: Parts
    config: Mapping[str, Any]
    best: Path | None = None


def open_run(
    run: str | os.PathLike[str],
    data: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Origin:
    """A run and its samples; ``data`` are what reports. ``reading``: options of ``open_like``.
    ValueError, OSError: no run, or one whose data are gone or have changed, or other data that do
    not fit it.
    """
    found = opened(run)
    if found.folder is None:
        return _open_model(found, data, reading or {})
    model, folder = found.model, found.folder
    about, where = data_table(folder), folder.path / CONFIG
    try:
        settings = found.settings()
    except (TypeError, ValueError) as error:
        raise FaltungError(f"{where}: [train]: {error}") from error
    source = _trained_on(folder, about)
    train, held = parts(source, about["held_out"], settings.seed)
    if data is not None:
        report = _reported(data, model, folder, about, reading or {})
        choose, report = (held, report) if held is not None else halves(report, settings.seed)
    elif held is None:
        raise FaltungError(
            f"{folder.path}: has held nothing out, by --held-out 0, so nothing can choose and "
            "report: give DATA that it was not trained on"
        )
    else:
        choose, report = halves(held, settings.seed)
    each = (in_units(part, model.units, printable(run)) for part in (train, choose, report))
    best = folder.path / BEST
    return Origin(model, settings, Parts(*each), folder.config, best if best.is_file() else None)


def _open_model(found: Opened, data: str | None, reading: Mapping[str, Any]) -> Origin:
    """A model alone: of the data one part tunes, and halves of the other choose and report.
    ValueError: no data, or such as do not fit it.
    """
    model = found.model
    if data is None:
        raise FaltungError(
            f"{found.said}: is a model alone, without its run: give DATA, of which a part tunes, "
            "a part chooses and a part reports"
        )
    settings, wanted = found.settings(), like(model, None)
    about = {
        "path": os.path.abspath(data) if data not in NAMED else data,
        "kind": wanted.kind,
        "targets": model.targets or "labels",
        "held_out": HELD_OUT,
        **({"channels": wanted.shape[0], "size": list(wanted.shape[1:])} if wanted.fit else {}),
        **{"strict": False, **reading},
    }
    source = opened_data(about)
    own = model.classes is None or source.classes == model.classes
    if source.shape != model.input_shape or not own:
        what = f"samples of shape {source.shape}" if own else f"the classes {source.classes}"
        raise FaltungError(
            f"{printable(data)}: has {what}: must be {model.input_shape if own else model.classes}"
        )
    train, held = parts(source, HELD_OUT, settings.seed)
    assert held is not None
    halved = (train, *halves(held, settings.seed))
    config = {
        "data": {name: value for name, value in about.items() if value is not None}
        | described(source),
        "net": {"name": found.file.stem},
        "train": settings.as_dict(),
    }
    each = (in_units(part, model.units, printable(data)) for part in halved)
    return Origin(model, settings, Parts(*each), config)


def _trained_on(folder: RunFolder, about: Mapping[str, Any]) -> Source:
    """The samples of a run. ValueError, OSError: they are gone, or have changed."""
    try:
        _, source = reopened(folder)
    except OSError as error:
        error.add_note("Compressing a run needs the samples that it was trained on, to tune with.")
        raise
    if described(source)["digest"] != about["digest"]:
        raise FaltungError(
            f"{folder.path}: its data have changed: a run is compressed with the samples that it "
            "was trained on"
        )
    return source


def _reported(
    data: str,
    model: Model,
    folder: RunFolder,
    about: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> Source:
    """Other data, with the classes of a run. ValueError: they do not fit, or are not other data."""
    named = about["path"]
    if data == named or (
        os.path.exists(data) and os.path.realpath(data) == os.path.realpath(named)
    ):
        raise FaltungError(
            f"{printable(data)}: is what the run was trained on: leave it out to report on samples "
            "that the run has held out, or give others"
        )
    targets: Any = model.targets or "labels"
    source = open_like(data, like(model, folder), model.classes, targets=targets, **reading)
    if model.tokens:
        check_tokens_known(source, model.graph, printable(data))
    return source


def halves(source: Source, seed: int) -> tuple[Source, Source]:
    """Two halves, each with half of each class as far as that is possible. ValueError: too few."""
    if len(source) < LEAST:
        raise FaltungError(
            f"held_out: {len(source)} samples: must be at least {LEAST}, half of which choose and "
            "half of which report; give DATA, or train with more held out"
        )
    try:
        return split(source, 0.5, seed=seed)
    except FaltungError:  # a class with a single sample
        order = permutation(len(source), seed, SPLIT)
        middle = len(source) // 2
        return Subset(source, np.sort(order[middle:])), Subset(source, np.sort(order[:middle]))


def said(path: str | os.PathLike[str]) -> str:
    """A run as messages call it: as seen from here if it lies below."""
    place = Path(path)
    if place.is_absolute() and place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    return printable(place)
