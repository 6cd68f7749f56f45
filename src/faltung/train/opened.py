"""One door to trained models: the folder of a run, its best weights, or a saved model."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faltung.data.names import listing, printable
from faltung.formats.tensors import load_tensors
from faltung.geometry.check import path as check_path
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train.model import Model
from faltung.train.network import FORMAT
from faltung.train.run_folder import BEST, CONFIG, LAST, METRICS, REPORT, RunFolder
from faltung.train.run_format import FORMAT as RUN_FORMAT
from faltung.train.run_model import load_model, table
from faltung.train.settings import Settings

_CONVERT = (
    "weights without their network; `faltung convert FILE --net NAME --out model.safetensors` or "
    "Model.pretrained(FILE, NAME) gives them the one that they belong to"
)
_ONNX = "an ONNX file; Model.from_onnx, `faltung run` and `faltung train --net FILE` read it"
_KERAS = "a file of Keras; model.export(FILE, format='onnx') there makes an ONNX file of it"
# What files are that are no models, by their endings.
OTHERS = {
    ".onnx": _ONNX,
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".tar"), _CONVERT),
    **dict.fromkeys((".h5", ".keras", ".hdf5"), _KERAS),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "a pickle, which can run any code: not read"),
}
_SHOWN_RUNS = 6


@dataclass(frozen=True)
class Opened:
    """``model``: with its best weights. ``folder``: its run; None of a model in a file of its own.
    ``file``: where the weights lie. ``said``: as it was given.
    """

    model: Model
    folder: RunFolder | None
    file: Path
    said: str

    def run(self, why: str) -> RunFolder:
        """Its run. ValueError, with what it is needed for: a model alone."""
        if self.folder is None:
            raise FaltungError(
                f"{self.said}: is a model alone, without its run, which {why}: give DATA, or "
                "the folder of the run"
            )
        return self.folder

    def settings(self) -> Settings:
        """How it was trained; the usual ones of a model alone."""
        if self.folder is None:
            return Settings(loss=self.model.loss or "cross_entropy")
        return Settings.from_dict(table(self.folder, "train"))


def open_model(path: str | os.PathLike[str]) -> Model:
    """The model of a run, or of a file. ValueError, OSError: neither."""
    return opened(path).model


def opened(path: str | os.PathLike[str], kind: type[Model] = Model) -> Opened:
    """The folder of a run, its best.safetensors, or a file that ``Model.save`` wrote.

    kind: the class of the model. ValueError, OSError, in one line that says what the path is
    instead, and what reads that.
    """
    place, said = Path(check_path("path", path)), printable(path)
    folder = run_of(place)
    if folder is None:
        return Opened(_saved(place, said, kind), None, place, said)
    model, run = load_model(folder, kind)
    best = run.path / BEST
    return Opened(model, run, best if best.is_file() else run.path / LAST, said)


def run_of(place: Path) -> Path | None:
    """The folder of the run that a path stands for; None if it stands for none."""
    if place.is_dir():
        return place if (place / CONFIG).exists() else None
    of_run = place.name == BEST and (place.parent / CONFIG).exists()
    return place.parent if of_run else None


def _saved(place: Path, said: str, kind: type[Model]) -> Model:
    """A model in a file of its own."""
    _refuse_others(place, said)
    tensors, metadata = load_tensors(place)
    text = _about(said, metadata)
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaltungError(f"{said}: not a model, {error}") from None
    made = kind.from_about(about, said)
    made.take(tensors, said)
    return made


def _about(said: str, metadata: Mapping[str, str]) -> str:
    """The text that describes the network. ValueError: there is none, or of another version."""
    if "faltung" not in metadata:
        raise FaltungError(f"{said}: is {_CONVERT}")
    written = metadata.get("format")
    if metadata["faltung"] == "model" and written == str(FORMAT):
        return metadata.get("about", "")
    if "position" in metadata and written == str(RUN_FORMAT):
        if "about" in metadata:  # the best weights of a run, moved
            return metadata["about"]
        raise FaltungError(
            f"{said}: is a checkpoint without its network; give the run's folder, whose {CONFIG} "
            "describes it"
        )
    raise FaltungError(f"{said}: must be a model of format {FORMAT}, written by Model.save")


def _refuse_others(place: Path, said: str) -> None:
    """ValueError, FileNotFoundError: what a path is that is no file of a model."""
    if place.is_dir():
        raise FaltungError(f"{said}: is no run, it has no {CONFIG}{_instead(place)}")
    if not place.exists():
        raise FileNotFoundError(f"{said}: no such file or folder")
    if (what := OTHERS.get(place.suffix.lower())) is not None:
        raise FaltungError(f"{said}: is {what}")
    if place.name in (CONFIG, METRICS, REPORT, LAST) and (place.parent / CONFIG).exists():
        more = ", what it resumes from" if place.name == LAST else ""
        raise FaltungError(
            f"{said}: is a part of a run{more}; give the run's folder, or its {BEST}"
        )


def _instead(folder: Path) -> str:
    """What a folder that is no run has to give."""
    try:
        inside = sorted(each.name for each in folder.iterdir() if each.is_dir())
    except OSError:
        inside = []
    runs = [name for name in inside if (folder / name / CONFIG).exists()]
    if runs:
        return f"; it holds the runs {listing(runs, _SHOWN_RUNS)}: give one of them"
    models: list[Any] = [each for each in folder.glob("*.safetensors") if each.is_file()]
    if models:
        return f"; it holds the file {printable(models[0].name)}: give that"
    return "; a folder of samples is what `faltung train` takes"
