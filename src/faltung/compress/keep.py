"""A step of a walk on disk: the folder of an ordinary run, with the model as it was measured."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faltung.formats.files import read_checked, write_whole
from faltung.geometry.errors import FaltungError
from faltung.train.metrics import EpochMetrics
from faltung.train.model import Model
from faltung.train.run_folder import BEST, RunFolder
from faltung.train.run_model import load_model

# Tables of a run's settings that stay as they were: how its data are read, and how it was trained.
SAME = ("data", "net", "train")


def config_of(model: Model, source: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a compressed run: those of the run that it was, its own layers, and what was
    done to it.
    """
    return {
        **{name: source[name] for name in SAME if name in source},
        "model": {name: value for name, value in model.about().items() if value is not None},
        "compress": dict(about),
    }


def keep(
    place: Path,
    model: Model,
    config: Mapping[str, Any],
    rows: Sequence[EpochMetrics],
    *,
    same: Path | None = None,
) -> tuple[Model, int]:
    """Write a run with these weights, coded, or with those of a file that stays as it is; returns
    the model as its folder has it, and the bytes of the file with the weights.
    """
    with RunFolder.begin(place) as folder:
        step = rows[-1].step if rows else 0
        position = {"step": step, "epoch": len(rows), "batch": 0}
        if same is None:
            folder.save_best(model.tensors(), position, coded=True)
        else:
            copy_best(same, folder)
        if rows:
            folder.append_metrics(*rows)
        folder.rewrite(config)
    return load_model(place)[0], (place / BEST).stat().st_size


def renumbered(paths: Sequence[Sequence[EpochMetrics]]) -> list[EpochMetrics]:
    """The epochs of one fine-tuning after the other as those of one run."""
    made: list[EpochMetrics] = []
    for rows in paths:
        epoch, step = (made[-1].epoch, made[-1].step) if made else (0, 0)
        made += [replace(row, epoch=row.epoch + epoch, step=row.step + step) for row in rows]
    return made


def kept(place: Path, digest: str) -> Model:
    """The model of a step. ValueError, OSError: it is not as it was left."""
    if file_digest(place) != digest:
        raise FaltungError(
            f"{place / BEST}: has changed since it was measured: compress the run anew, into "
            "another folder"
        )
    return load_model(place)[0]


def file_digest(place: Path) -> str:
    """Of the file with the weights."""
    return hashlib.sha256(read_checked(place / BEST, own=True)).hexdigest()[:16]


def copy_best(best: Path, folder: RunFolder) -> None:
    """Give a folder the weights of a file of another run, byte for byte."""
    write_whole(folder.path / BEST, read_checked(best, own=True), own=True)
