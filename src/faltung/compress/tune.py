"""Fine-tuning between the steps of a walk: the ordinary training loop, with its checkpoints.

The network learns from the targets and from the answers of the network that it was: distillation.
The samples that choose also choose the best epoch, as they have for that network: or else what
looks lost on them would be the luck of its best epoch.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from faltung.data.source import Source
from faltung.geometry.record import dataclass
from faltung.train.loop import Loop
from faltung.train.metrics import EpochMetrics
from faltung.train.model import Model
from faltung.train.run_folder import CONFIG, LAST, RunFolder
from faltung.train.run_model import table
from faltung.train.settings import Settings
from faltung.train.teacher import Teacher

RATE = 0.5  # of the highest learning rate of the training


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning that may have begun. ``about``: what the walk knows of its step, plain values;
    ``about["step"]["epochs"]`` is how long it is.
    """

    loop: Loop
    about: Mapping[str, Any]
    folder: RunFolder

    def run(self) -> tuple[Model, list[EpochMetrics]]:
        """Tune to the end. Stopped: after Ctrl-C, with everything saved."""
        try:
            history = self.loop.run()
        finally:
            self.folder.close()
        self.loop.restore_best()
        assert isinstance(self.loop.model, Model)
        return self.loop.model, history


def settings_for(trained: Settings, epochs: int) -> Settings:
    """How a model is tuned that was trained in this way: shorter and more gently, all of it."""
    known = trained.resolved()
    return replace(
        known,
        epochs=epochs,
        lr=RATE * known.rate,
        schedule="cosine",
        warmup=0.1,
        metric=None,  # limits are about accuracy
        patience=None,
        ema=None,
        freeze=(),
        lengthened=(),
    )


@dataclass(frozen=True)
class School:
    """What every fine-tuning of a walk has in common. ``trained``: how the first model was."""

    trained: Settings
    train: Source
    choose: Source
    teacher: Teacher | None = None
    show: bool = True

    def loop(self, model: Model, settings: Settings, folder: RunFolder) -> Loop:
        """The training loop of a model."""
        more = {"show": self.show, "lines": False, "teacher": self.teacher}
        return Loop(model, settings, self.train, self.choose, folder=folder, **more)  # type: ignore[arg-type]


def begin(place: Path, model: Model, about: Mapping[str, Any], school: School) -> Tuning:
    """A new fine-tuning in its folder; what is there of an older one is removed."""
    remove(place)
    folder = RunFolder.begin(place)
    settings = settings_for(school.trained, about["step"]["epochs"])
    loop = school.loop(model, settings, folder)
    loop.save()
    config = {name: value for name, value in model.about().items() if value is not None}
    folder.rewrite({"model": config, "train": settings.as_dict(), "compress": dict(about)})
    return Tuning(loop, about, folder)


def again(place: Path, school: School) -> Tuning | None:
    """A fine-tuning that was stopped; None if there is none. ValueError, OSError: its files are not
    what they should be.
    """
    if not ((place / CONFIG).is_file() and (place / LAST).is_file()):
        return None
    folder = RunFolder.resume(place)
    model = Model.from_about(table(folder, "model"), str(place / CONFIG))
    settings = Settings.from_dict(table(folder, "train"))
    loop = school.loop(model, settings, folder)
    loop.resume()
    return Tuning(loop, table(folder, "compress"), folder)


def remove(place: Path) -> None:
    """Remove a fine-tuning, whose result is kept elsewhere or not wanted."""
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
