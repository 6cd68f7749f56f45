"""A walk from a trained model downwards: each step done, measured and kept, then one chosen.

What a step is follows from the steps before (``recipe.py``), so a walk that was stopped or killed
does the same again: finished steps are read from the journal, and the next one goes on within its
fine-tuning. The run that is compressed is only read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from faltung.compress.budget import Budget
from faltung.compress.journal import Entry, Journal, Score, Step
from faltung.compress.keep import config_of, file_digest, keep, kept, renumbered
from faltung.compress.means import MEANS, Means, Outcome, Task
from faltung.compress.measure import first, macs, milliseconds, parameters
from faltung.compress.parts import Origin
from faltung.compress.quality import Quality, quality
from faltung.compress.recipe import Recipe
from faltung.compress.tune import School, again, begin, remove
from faltung.geometry.errors import (
    FaltungArithmeticError,
    FaltungError,
    FaltungImportError,
    FaltungMemoryError,
)
from faltung.geometry.record import dataclass
from faltung.train.metrics import EpochMetrics
from faltung.train.model import Model
from faltung.train.run_folder import RunFolder
from faltung.train.teacher import Teacher

TUNING = "tuning"  # the folder of a fine-tuning, within that of its step


@dataclass(frozen=True)
class Made:
    """A step before it is measured: its model, the epochs of its tuning, and what was done.
    ``model`` None: there was nothing to do.
    """

    model: Model | None
    rows: Sequence[EpochMetrics]
    said: str
    left: tuple[str, ...]


class Walk:
    """``journal``: where it is kept, and what is finished. ``means``: those that there are."""

    def __init__(
        self,
        origin: Origin,
        journal: Journal,
        budget: Budget,
        epochs: int,
        *,
        show: bool = True,
        means: Mapping[str, Means] = MEANS,
    ) -> None:
        self.origin, self.journal, self.budget = origin, journal, budget
        self.means = {name: row for name, row in means.items() if row.here}
        self.recipe = Recipe(budget, epochs, self.means)
        teacher, parts = Teacher(origin.model), origin.parts
        self._school = School(origin.settings, parts.train, parts.choose, teacher, show)
        self._models: dict[int, Model] = {}
        self._first: tuple[Quality, Quality] | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The finished steps."""
        return self.journal.entries

    def run(self, noted: Callable[[int], object] = lambda number: None) -> None:
        """All steps; ``noted(number)`` is called after each, old or new. Stopped,
        KeyboardInterrupt: after Ctrl-C; what is finished is kept.
        """
        steps = self.recipe.steps()
        step, number = next(steps), 0
        while True:
            self._do(step, number)
            noted(number)
            try:
                step = steps.send((number, self.entries[number]))
            except StopIteration:
                return
            number += 1

    def model(self, number: int) -> Model:
        """The model of a finished step, as its folder has it."""
        while not self.entries[number].changed:
            number = self.entries[number].step.parent
        if number not in self._models:
            found = kept(self.folder(number), self.entries[number].digest)
            self._models = {n: m for n, m in self._models.items() if n == 0} | {number: found}
        return self._models[number]

    def folder(self, number: int) -> Path:
        """Of a step."""
        return self.journal.folder(number, self.entries[number].step.means)

    # A step ---------------------------------------------------------------------------------------

    def _do(self, step: Step, number: int) -> None:
        """Do a step, unless it is finished. ValueError: another one is."""
        if number < len(self.entries):
            if self.entries[number].step != step:
                raise FaltungError(
                    f"{self.journal.place}: step {number} is {self.entries[number].step}, must be "
                    f"{step}: another faltung wrote it; compress the run into another folder"
                )
            return
        place = self.journal.folder(number, step.means)
        made = self._made(step, place)
        entry = self._unchanged(step, made) if made.model is None else self._kept(step, place, made)
        self.journal = self.journal.write(entries=(*self.entries, entry))
        remove(place / TUNING if entry.changed else place)

    def _made(self, step: Step, place: Path) -> Made:
        """The model of a step, tuned."""
        if step.parent < 0:
            return Made(self.origin.model, (), "the model as it was trained", ())
        tuning = again(place / TUNING, self._school)
        if tuning is None:
            found = self._applied(step)
            said, left = found.said, tuple(map(str, found.left))
            if not found.changed:
                return Made(None, (), said or "nothing to do", left)
            if not step.epochs:
                return Made(found.model, (), said, left)
            about = {"step": asdict(step), "said": said, "left": list(left)}
            tuning = begin(place / TUNING, found.model, about, self._school)
        elif tuning.about.get("step") != asdict(step):
            raise FaltungError(f"{place / TUNING}: is of another step: remove the folder")
        said, left = str(tuning.about["said"]), tuple(map(str, tuning.about["left"]))
        try:
            model, rows = tuning.run()
        except FaltungArithmeticError as error:
            return Made(None, (), f"fine-tuning failed, {error}", left)
        return Made(model, rows, said, left)

    def _applied(self, step: Step) -> Outcome:
        """What a means makes of the model of another step."""
        settings = self.origin.settings
        train, by = self.origin.parts.train, step.by
        task = Task(train, settings.loss, settings.seed, by, settings)  # type: ignore[arg-type]
        model = self.model(step.parent)
        try:
            return self.means[step.means].apply()(model, task, step.strength)
        except (FaltungMemoryError, FaltungImportError):
            raise
        except FaltungError as error:  # the others may still take this network
            return Outcome(model, said=f"cannot take this network: {error}", changed=False)

    # What is kept of it ---------------------------------------------------------------------------

    def _unchanged(self, step: Step, made: Made) -> Entry:
        before = self.entries[step.parent]
        return replace(before, step=step, said=made.said, left=made.left, changed=False)

    def _kept(self, step: Step, place: Path, made: Made) -> Entry:
        """A step as an entry, its model in its folder and measured as it is read from there."""
        assert made.model is not None
        before = () if step.parent < 0 else self._rows(step.parent)
        rows = renumbered([before, made.rows])
        done = [] if step.parent < 0 else [*self.path(step.parent), _words(step, made.said)]
        config = config_of(made.model, self.origin.config, {**self.journal.plan, "done": done})
        same = self.origin.best if step.parent < 0 else None
        model, size = keep(place, made.model, config, rows, same=same)
        if step.parent < 0:
            self._models[0] = model
        base, sample = self._models.get(0) or self.model(0), first(model, self.origin.parts.choose)
        own, theirs = self._qualities(model), self._base(base)
        times = milliseconds([model] if model is base else [model, base], sample)
        return Entry(
            step=step,
            said=made.said,
            left=made.left,
            changed=True,
            digest=file_digest(place),
            bytes=size,
            macs=macs(model),
            parameters=parameters(model),
            ms={str(threads): (pair[0], pair[-1]) for threads, pair in times.items()},
            choose=_score(own[0], theirs[0]),
            report=_score(own[1], theirs[1]),
        )

    def _qualities(self, model: Model) -> tuple[Quality, Quality]:
        """On the samples that choose, and on those that report."""
        parts = self.origin.parts
        return quality(model, parts.choose), quality(model, parts.report)

    def _base(self, base: Model) -> tuple[Quality, Quality]:
        if self._first is None:
            self._first = self._qualities(base)
        return self._first

    def _rows(self, number: int) -> Sequence[EpochMetrics]:
        """The epochs of all fine-tuning up to a step."""
        while not self.entries[number].changed:
            number = self.entries[number].step.parent
        return RunFolder.open(self.folder(number)).read_metrics()

    def path(self, number: int) -> list[str]:
        """What was done on the way to a step, a line for each step that changed anything."""
        made: list[str] = []
        while number > 0:
            entry = self.entries[number]
            if entry.changed:
                made.insert(0, _words(entry.step, entry.said))
            number = entry.step.parent
        return made


def _words(step: Step, said: str) -> str:
    """A step as a line of a run's settings."""
    tuned = f", {step.epochs} epochs of fine-tuning" if step.epochs else ""
    return f"{step.means} {step.strength:g}{tuned}: {said}"


def _score(own: Quality, first: Quality) -> Score:
    low, high = own.interval()
    lost, least, most = own.lost(first)
    by_loss = own.lost_by_loss(first)
    return Score(own.value, low, high, lost, least, most, by_loss, own.loss, own.samples)
