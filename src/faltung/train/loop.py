"""The training loop: steps over batches, validation after epochs, checkpoints to resume from.

What a run does depends on its settings alone. A checkpoint holds weights, optimizer state and the
position, so that a resumed run gives the same bits as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import count
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch, Loader
from faltung.data.source import Source, weights_in
from faltung.formats.tensors import check_tensors
from faltung.geometry.errors import FaltungError
from faltung.graph.differentiate import differentiate
from faltung.graph.losses import targets_of
from faltung.plan.words import Precision
from faltung.program.accumulate import Accumulated
from faltung.program.memory import require_training
from faltung.program.training import Slots, TrainingStep
from faltung.train import scores
from faltung.train.averaging import Average
from faltung.train.callbacks import Callback, ended, epoch_of, told
from faltung.train.checkpoint_position import Position
from faltung.train.checks import check_lessons, check_resumed, check_run, weights_of
from faltung.train.closing import exploded, last_words
from faltung.train.evaluate import evaluate
from faltung.train.freezing import frozen
from faltung.train.interrupts import Stopped, interrupts
from faltung.train.levels import follow, settle, settled
from faltung.train.lr_find import RangeTest, endless, range_test
from faltung.train.metrics import EpochMetrics
from faltung.train.network import Network
from faltung.train.progress import Progress, progress
from faltung.train.run_folder import BEST, LAST, METRICS, RunFolder
from faltung.train.settings import FIND, Settings
from faltung.train.teacher import Lesson, Teacher

Array = npt.NDArray[Any]
# Seconds between checkpoints, at the end of an epoch and within one. Forcing a file to disk takes
# about ten milliseconds, as long as a short epoch.
EPOCH_SAVE_SECONDS, BATCH_SAVE_SECONDS = 1.0, 30.0
# Writing takes at most one part in this many of the time.
SAVE_TIME_RATIO = 20


class Loop:
    """One training run.

    ``folder``: where it is kept; it may be set until ``run``. ``show``: whether progress is
    printed, below ``title`` and ``notes``, with or without ``lines`` of the epochs. After ``run``,
    ``history`` has the metrics of each epoch, ``position`` is where the run ended, ``compiled`` the
    seconds spent compiling. ``teacher``: whose answers the network learns from too. ``callbacks``:
    called with each ``Epoch``. ``typed``: settings are called by the options of the command line.
    ``part``: whether other samples come in other runs, so that these may be of one class.
    ValueError, TypeError: settings that do not fit the samples.
    """

    def __init__(
        self,
        model: Network,
        settings: Settings,
        train: Source,
        held: Source | None,
        *,
        folder: RunFolder | None = None,
        show: bool = True,
        title: str = "",
        teacher: Teacher | None = None,
        lines: bool = True,
        callbacks: tuple[Callback, ...] = (),
        typed: bool = False,
        part: bool = False,
    ) -> None:
        self.callbacks, self.typed = callbacks, typed
        self.model, self.settings, self.held, self.folder = model, settings, held, folder
        self._show, self.title, self._lines = show, title, lines
        self.notes: tuple[str, ...] = ()
        check_run(model, settings, train, held, part=part)
        self.teacher = teacher
        if teacher is not None:
            teacher.check(model, settings.loss)
            if weights_in(train) is not None:
                raise FaltungError("sample_weight: does not go with a teacher; leave one out")
        self.loader = Loader(
            train,
            settings.batch,
            seed=settings.seed,
            sampler=settings.sampler,
            augment=settings.augment or None,
            standard=model.standard,
        )
        rule = settings.rule()
        batch = min(settings.batch, len(train))
        arrays = len(rule.slots) + (settings.accumulate > 1)  # the sum of gradients too
        require_training(model.training_graph, arrays, batch, taken=True)
        self.class_weight = weights_of(settings, np.asarray(train.targets), model)
        weights = weights_in(train)
        # Losses are multiplied with weights whose mean over all samples is 1.
        self._usual_weight = 1.0 if weights is None else float(weights.mean())
        if teacher is not None:
            check_lessons(settings, self.class_weight)
        self.frozen = frozen(model.training_graph, model.graph, settings.freeze)
        self._training = differentiate(
            model.training_graph,
            settings.loss,
            frozen=self.frozen,
            weighted=self.class_weight is not None,
            distilled=teacher is not None and self._labels,
            soft=settings.augment.mixes,
            sample_weights=weights is not None,
        )
        self.slots = Slots(model.state, rule, self.frozen)
        self.average = Average(model, self.slots)
        self._steps: dict[int, TrainingStep] = {}
        self._sum: Accumulated | None = None
        self.schedule = settings.lr_schedules(len(self.loader))
        self.position = Position()
        self.history: list[EpochMetrics] = []
        # What is said at the end, and what the range test of the learning rate found.
        self.closing: tuple[str, ...] = ()
        self.tested: RangeTest | None = None
        self._stopped_by: str | None = None
        self.compiled = 0.0
        # The best weights and their position, until they are written.
        self._best: tuple[dict[str, Array], dict[str, Any]] | None = None
        self._unsaved: list[EpochMetrics] = []
        self._saved, self._saving = time.monotonic(), 0.0

    def step(self, batch: int) -> TrainingStep:
        """The compiled step for a batch of this size."""
        if batch not in self._steps:
            start, teacher = time.perf_counter(), self.teacher
            self._steps[batch] = TrainingStep(
                self._training,
                self.model.state,
                self.slots,
                batch,
                smoothing=self.settings.smoothing,
                class_weight=self.class_weight,
                precision=self._precision,
                distil=0.0 if teacher is None else teacher.distil,
                temperature=1.0 if teacher is None else teacher.temperature,
                keep=True,
                over=self._over,
            )
            if self._over is not None and self._sum is None:
                self._sum = Accumulated(self.slots, self._over)
            self.compiled += time.perf_counter() - start
        return self._steps[batch]

    @property
    def _over(self) -> float | None:
        """What gradients that are added up are divided by until all of them are there."""
        return None if self.settings.accumulate == 1 else float(self.settings.batch)

    @property
    def _precision(self) -> Precision:
        """Strict if the model or the settings say so."""
        strict = "strict" in (self.model.precision, self.settings.precision)
        return "strict" if strict else "fast"

    # Running -------------------------------------------------------------------------------------

    def run(self) -> list[EpochMetrics]:
        """Train to the end, or until patience runs out or a callback says stop; returns the
        history.

        Ctrl-C ends the run after the batch; with a folder everything is saved and Stopped is
        raised. FloatingPointError: the loss is not finite; a model without a folder then has the
        best weights, or without any those from before. Errors of callbacks are passed on.
        """
        show, state = self._progress(), self.model.state
        before = state.memory.copy() if self.folder is None else None
        try:
            with interrupts() as interrupted, show or nullcontext():
                self._run(show, interrupted)
        except FloatingPointError:
            if before is not None:
                state.memory[...] = before
                self.restore_best()
            raise
        except BaseException:
            self.average.keep()
            raise
        else:
            self.average.keep()
        finally:
            self.model.changed()
            ended(self.callbacks)
        settle(self.model)
        return self.history

    def _run(self, show: Progress | None, interrupted: Callable[[], bool]) -> None:
        position = self.position
        for note in self.notes if show is not None else ():
            show.note(note)  # type: ignore[union-attr]
        try:
            if self.settings.lr == FIND:
                self._find_lr(show, interrupted)
            while position.epoch < self.settings.epochs and not self._ended():
                self._epoch(show, interrupted)
            self._close_run(show)
        except Stopped:
            self._save()
            if self.folder is not None:
                raise
            if show is not None:
                show.note(f"stopped in epoch {position.epoch + 1}")
        self._save()

    def _progress(self) -> Progress | None:
        if not self._show:
            return None
        return progress(
            self.settings.epochs,
            len(self.loader),
            self.title,
            done=self.position.step,
            lines=self._lines,
        )

    def _epoch(self, show: Progress | None, interrupted: Callable[[], bool]) -> None:
        position, start = self.position, time.perf_counter()
        begun, compiled = position.samples, self.compiled
        epoch = self.loader.epoch(position.epoch, position.batch)
        batches = cast("Generator[Batch, None, None]", epoch)
        with closing(batches):  # a thread may be prefetching
            for batch in batches:
                self._batch(batch, show)
                if not self._between_steps:
                    continue
                if interrupted():
                    raise Stopped
                self._save_after(BATCH_SAVE_SECONDS)
        # The pace does not include compiling.
        training = time.perf_counter() - start - (self.compiled - compiled)
        pace = (position.samples - begun) / max(training, 1e-9)
        follow(self.model)
        self.model.changed()
        self._close(start, pace, show)

    def _batch(self, batch: Batch, show: Progress | None) -> None:
        """One batch; its results are added to the sums of the epoch."""
        x = batch.x
        position, step = self.position, self.step(len(x))
        loss, right = self._learn(batch, self.schedule(position.step), position.step)
        self._check_finite("loss", loss, f", batch {position.batch + 1}")
        position.step += 1
        position.batch += 1
        position.samples += len(x)
        position.loss += loss * step.weight
        position.weight += step.weight
        position.right += right
        position.rows += step.rows
        if show is not None:
            show.batch(loss, right / step.rows if self._classified else None, len(x))

    def _learn(self, given: Batch, lr: float, batch: int) -> tuple[float, int]:
        """Train on a batch, the number ``batch`` of the run from 0: its loss, and how many rows
        were right. The parameters change where a step of the optimizer ends.
        """
        x, y = given.x, given.y
        weight = None if given.weight is None else given.weight / self._usual_weight
        step, model = self.step(len(x)), self.model
        seen = model.checked_tokens(x) if model.tokens else x.astype(model.graph.dtype, copy=False)
        target = y if step.training.targets == "labels" else model.scaled(y)
        lesson = Lesson(target, None)
        if self.teacher is not None:
            lesson = self.teacher.lesson(x, target, model, self.settings.loss)
        number, ends = self.schedule.step(batch), self.schedule.ends_step(batch)
        step.feed(seen, lesson.target, lesson.answers, weight=weight)
        # Each batch has its own zeros of dropout, also where several share a step.
        step.run(lr=lr, step=number if self._sum is None else batch, seed=self.settings.seed)
        if self._sum is not None:
            self._sum.add(step)
            if ends:
                self._sum.run(lr=lr, step=number)
        if ends:
            self.average.step(number)
        return step.loss + lesson.more, step.correct

    @property
    def _between_steps(self) -> bool:
        """Whether the optimizer has used all gradients: where a run can stop and go on."""
        return not self.position.step or self.schedule.ends_step(self.position.step - 1)

    def _find_lr(self, show: Progress | None, interrupted: Callable[[], bool]) -> None:
        """Replace the learning rate "find" by a number, here and in the folder of the run. Weights
        and optimizer are as before.
        """
        if show is not None:
            show.note("trying learning rates, from far too small to far too large")
        state, batches = self.model.state, endless(self.loader)
        before, place = state.memory.copy(), count()

        def train(rate: float) -> float:
            losses, total = 0.0, 0.0
            for number in place:
                if interrupted():
                    raise Stopped
                given = next(batches)
                loss = self._learn(given, rate, number)[0]
                weight = self.step(len(given.x)).weight
                losses, total = losses + loss * weight, total + weight
                if self.schedule.ends_step(number):
                    break
            return losses / (total or 1.0)

        try:
            with closing(batches):
                found = self.tested = range_test(train)
        finally:
            state.memory[...] = before
            self.slots.begin()
            self._sum = None if self._sum is None else Accumulated(self.slots, self._over or 1.0)
        self.settings = replace(self.settings, lr=found.lr)
        self.schedule = self.settings.lr_schedules(len(self.loader))
        if self.folder is not None:
            self.folder.save_range_test(found.points)
            self.folder.rewrite({**self.folder.config, "train": self.settings.as_dict()})
        if show is not None:
            show.note(f"lr {found.lr:g}: found by a range test of {len(found.points)} steps")

    def _check_finite(self, name: str, loss: float, where: str = "") -> None:
        if not math.isfinite(loss):
            place = f"in epoch {self.position.epoch + 1}{where}"
            raise exploded(name, loss, place, self.settings, self.schedule.lr, self.typed)

    @property
    def _labels(self) -> bool:
        return self.settings.loss == "cross_entropy"

    @property
    def _classified(self) -> bool:
        """Whether answers can be right."""
        return targets_of(self.settings.loss) != "numbers"

    def _close(self, start: float, pace: float, show: Progress | None) -> None:
        """End an epoch: validation, metrics, the best weights, callbacks, perhaps a checkpoint."""
        with self.average.shown():
            held = self._validate()
            row = self._row(held, time.perf_counter() - start, pace)
            best = self._note_best(row, held)
            self.position.next_epoch()
            if best and (self.folder is not None or self.held is not None):
                used = settled(self.model.training_graph, self.model.state.view)
                self._best = self.model.parameters | used, self.position.as_dict()
            self.history.append(row)
            self._unsaved.append(row)
            if show is not None:
                show.epoch(row, best and self.held is not None)
            if self.callbacks:
                epoch = epoch_of(row, self.settings.epochs, best)
                self._stopped_by = told(self.callbacks, epoch) or self._stopped_by
        self._save_after(EPOCH_SAVE_SECONDS)

    def _validate(self) -> dict[str, float]:
        """The metrics of the samples that are held out."""
        if self.held is None:
            return {}
        settings = self.settings
        made = evaluate(self.model, self.held, settings.loss, metrics=settings.noted).metrics()
        self._check_finite("val loss", made["loss"])
        self._check_finite(f"val {settings.chosen_by}", made[settings.chosen_by])
        return made

    def _row(self, held: dict[str, float], seconds: float, pace: float) -> EpochMetrics:
        """The metrics of the epoch that ends."""
        position = self.position
        return EpochMetrics(
            epoch=position.epoch + 1,
            step=position.step,
            lr=self.schedule(max(0, position.step - 1)),
            loss=position.loss / (position.weight or 1.0),
            accuracy=position.right / max(1, position.rows) if self._classified else None,
            val_loss=held.get("loss"),
            val_accuracy=held.get("accuracy"),
            seconds=seconds,
            samples_per_second=pace,
            scores={name: held[name] for name in self.settings.noted} if held else {},
        )

    def _close_run(self, show: Progress | None) -> None:
        """Say at the end what is worth saying of the run as a whole."""
        kept = self.position.best_epoch + 1 if self.held is not None else None
        self.closing = last_words(self.history, self.settings, kept, self._stopped_by, self.typed)
        for line in self.closing if show is not None else ():
            show.note(line)  # type: ignore[union-attr]

    def _note_best(self, row: EpochMetrics, held: dict[str, float]) -> bool:
        """Whether an epoch is the best so far, by the metric of the validation; without a
        validation the last epoch is.
        """
        position, chosen = self.position, self.settings.chosen_by
        merit = scores.better(chosen, held[chosen]) if held else float(row.epoch)
        if not position.improves(merit, row.val_loss):
            return False
        position.best, position.best_loss = merit, row.val_loss
        position.best_epoch = position.epoch
        return True

    @property
    def best(self) -> EpochMetrics | None:
        """The epoch whose weights are kept."""
        at = self.position.best_epoch
        return self.history[at] if 0 <= at < len(self.history) else None

    def _ended(self) -> bool:
        return self._stopped_by is not None or self.out_of_patience()

    def out_of_patience(self) -> bool:
        """Whether the run ends before its last epoch."""
        patience, position = self.settings.patience, self.position
        if patience is None or position.best is None:
            return False
        return position.epoch - position.best_epoch > patience

    def lengthen(self, settings: Settings) -> None:
        """Go on with settings that differ in the length of the run."""
        self.settings, self.schedule = settings, settings.lr_schedules(len(self.loader))

    # Keeping -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of a run that has not begun, which then no longer needs what its first
        weights came from.
        """
        self._save()

    def _save_after(self, seconds: float) -> None:
        if time.monotonic() - self._saved > max(seconds, SAVE_TIME_RATIO * self._saving):
            self._save()

    def _save(self) -> None:
        """Write a checkpoint, in the order that ``RunFolder`` requires."""
        start = time.monotonic()
        if self.folder is not None:
            if self._unsaved:
                self.folder.append_metrics(*self._unsaved)
                self._unsaved = []
            if self._best is not None:
                self.folder.save_best(*self._best)
                self._best = None
            state = self.slots.all()
            self.folder.save_last(self.model.parameters, self.position.as_dict(), state)
        self._saved = time.monotonic()
        self._saving = self._saved - start

    def resume(self) -> None:
        """Continue from the last checkpoint of the folder, or begin if there is none. ValueError:
        tensors, a position or metrics that do not fit.
        """
        folder = self.folder
        last = None if folder is None else folder.load_last()
        if folder is None or last is None:
            return
        where = str(folder.path / LAST)
        self.model.take(last.weights, where)
        wanted = {
            f"{slot}/{name}": (p.shape, np.dtype(self.model.dtype))
            for slot in self.slots.arrays
            for name in self.slots.names(slot)
            if (p := self.model.state.parameters[name])
        }
        check_tensors(last.state, wanted, where)
        self.slots.update(last.state)
        try:
            self.position = Position.from_dict(last.position, len(self.loader))
        except ValueError as error:
            raise FaltungError(f"{where}: {error}") from None
        check_resumed(self.settings, self.position.step, folder.path)
        self.history = list(folder.history)
        if len(self.history) != self.position.epoch:
            raise FaltungError(
                f"{folder.path / METRICS}: has {len(self.history)} epochs: must be "
                f"{self.position.epoch}, as {LAST}"
            )

    def restore_best(self) -> None:
        """Restore the weights that did best in validation; without one the last weights stay."""
        if self.folder is not None:
            best = self.folder.load_best()
            if best is not None:
                self.model.take(best.weights, str(self.folder.path / BEST))
        elif self._best is not None:
            self.model.set_parameters(self._best[0])
