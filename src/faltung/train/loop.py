"""The loop: batches through the training step, epochs through the validation, all of it resumable.

What a run does follows from its settings alone. A checkpoint holds weights, the optimiser's arrays
and the position, so that going on gives the same bits as not having stopped.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch, Loader
from faltung.data.source import Source
from faltung.formats.tensors import check_tensors
from faltung.graph.differentiate import differentiate
from faltung.nn import build
from faltung.program.training import Slots, TrainingStep
from faltung.train.history import Row
from faltung.train.progress import Progress, progress
from faltung.train.runfolder import RunFolder
from faltung.train.schedule import Schedule
from faltung.train.settings import Settings

if TYPE_CHECKING:
    from faltung.train.model import Model

Array = npt.NDArray[Any]
# Seconds after which a checkpoint is written in the middle of an epoch.
EVERY = 30.0


class Stopped(Exception):
    """Ctrl-C: the batch was finished and, with a folder, everything is saved."""


@dataclass
class Position:
    """Where a run is: batches done in all, the epoch and the batch that come next, and what this
    epoch has added up.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    right: int = 0
    rows: int = 0
    samples: int = 0
    best: float | None = None
    best_epoch: int = -1

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    @staticmethod
    def from_dict(found: dict[str, Any]) -> "Position":
        """ValueError: an entry that is missing or of another kind."""
        made = Position()
        for name, default in vars(Position()).items():
            value = found.get(name, default)
            kind = float if name in ("loss", "best") else int
            if name == "best" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"position: {name}={value!r}: must be a number")
            setattr(made, name, kind(value))
        return made


@dataclass(frozen=True)
class Judged:
    """What a model says of samples: outputs (n, ...) before softmax, targets, losses (n,) each a
    mean over its positions, and which labels (n, ...) were right.
    """

    outputs: Array
    targets: Array
    losses: Array
    right: Array | None

    def metrics(self) -> dict[str, float]:
        found = {"loss": float(self.losses.mean())}
        if self.right is not None:
            counted = self.targets >= 0
            found["accuracy"] = float(self.right[counted].mean()) if counted.any() else 0.0
        return found


def judge(model: "Model", source: Source, loss: str | None = None) -> Judged:
    """The outputs for every sample of a source, and how good they are."""
    outputs, size = [], 256
    for start in range(0, len(source), size):
        x = source.read(np.arange(start, min(start + size, len(source))))
        outputs.append(model.predict(x, softmax=False))
    made, targets = np.concatenate(outputs), np.asarray(source.targets)
    labels = targets.dtype.kind in "iu" if loss is None else loss == "cross_entropy"
    if not labels:
        away = made.reshape(len(made), -1).astype(np.float64) - targets.reshape(len(made), -1)
        return Judged(made, targets, (away**2).mean(1), None)
    losses = cross_entropy(made, targets)
    right = made.argmax(1) == targets
    return Judged(made, targets, losses.reshape(len(made), -1).mean(1), right)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label] along axis 1, in float64; 0 for the label -1."""
    z = logits.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    chosen = np.take_along_axis(z, np.maximum(labels, 0)[:, np.newaxis], 1)[:, 0]
    losses = np.log(np.exp(z).sum(1)) - chosen
    return np.asarray(np.where(labels >= 0, losses, 0.0))


class Loop:
    """One training run. ``folder``: where it is kept; ``show``: whether progress is printed."""

    def __init__(
        self,
        model: "Model",
        settings: Settings,
        train: Source,
        held: Source | None,
        *,
        folder: RunFolder | None = None,
        show: bool = True,
        title: str = "",
    ) -> None:
        self.model, self.settings, self.held, self.folder = model, settings, held, folder
        self._show, self._title = show, title
        self._check(train)
        self.loader = Loader(
            train,
            settings.batch,
            seed=settings.seed,
            augment=settings.augment or None,
            standard=model.standard,
        )
        graph = build(
            model.net, model.input_shape, dtype=model.dtype, tokens=model.tokens, training=True
        )
        self._training = differentiate(graph, settings.loss)
        self.slots = Slots(model.state, settings.rule())
        self._steps: dict[int, TrainingStep] = {}
        batches = len(self.loader) * settings.epochs
        self.schedule = Schedule(settings.schedule, settings.rate, batches, settings.warmup)
        self.position = Position()
        self.history: list[Row] = []
        self.compiled = 0.0
        self._best: dict[str, Array] | None = None
        self._saved = time.monotonic()

    def _check(self, source: Source) -> None:
        """ValueError, TypeError: samples or targets that this network cannot be trained on."""
        model, targets = self.model, np.asarray(source.targets)
        if source.shape != model.input_shape:
            raise ValueError(f"x: samples of shape {source.shape}: must be {model.input_shape}")
        output = model.graph.output
        wanted = output.space if self.settings.loss == "cross_entropy" else output.shape
        if targets.shape[1:] != wanted:
            raise ValueError(
                f"y.shape={targets.shape}: must be (n, {', '.join(map(str, wanted))})"
                if wanted
                else f"y.shape={targets.shape}: must be (n,)"
            )
        if self.settings.loss == "cross_entropy":
            if targets.dtype.kind not in "iu":
                raise TypeError(f"y.dtype={targets.dtype}: labels must be whole numbers")
            if targets.size and not -1 <= targets.min() <= targets.max() < output.channels:
                worst = targets.max() if targets.max() >= output.channels else targets.min()
                raise ValueError(f"y: label {worst}: must be from 0 to {output.channels - 1}")

    def step(self, batch: int) -> TrainingStep:
        """The compiled step for so many samples."""
        if batch not in self._steps:
            start = time.perf_counter()
            self._steps[batch] = TrainingStep(
                self._training,
                self.model.state,
                self.slots,
                batch,
                smoothing=self.settings.smoothing,
            )
            self.compiled += time.perf_counter() - start
        return self._steps[batch]

    # Running -------------------------------------------------------------------------------------

    def run(self) -> list[Row]:
        """Train to the end, or until patience is lost. Stopped: after Ctrl-C, in a folder."""
        settings, position = self.settings, self.position
        show = self._progress()
        with _interrupts() as interrupted, show or nullcontext():
            try:
                while position.epoch < settings.epochs and not self._lost_patience():
                    self._epoch(show, interrupted)
            except Stopped:
                if self.folder is not None:
                    raise
                if show is not None:
                    show.note(f"stopped in epoch {position.epoch + 1}")
        self.model.changed()
        return self.history

    def _progress(self) -> Progress | None:
        if not self._show:
            return None
        return progress(
            self.settings.epochs, len(self.loader), self._title, done=self.position.step
        )

    def _epoch(self, show: Progress | None, interrupted: Callable[[], bool]) -> None:
        position, start = self.position, time.perf_counter()
        begun, compiled = position.samples, self.compiled
        epoch = self.loader.epoch(position.epoch, position.batch)
        batches = cast("Generator[Batch, None, None]", epoch)
        with closing(batches):  # a thread may be reading ahead
            for x, y, _ in batches:
                self._batch(x, y, show)
                if interrupted():
                    self._checkpoint()
                    raise Stopped
                if time.monotonic() - self._saved > EVERY:
                    self._checkpoint()
        # What was compiled is no part of the pace.
        training = time.perf_counter() - start - (self.compiled - compiled)
        pace = (position.samples - begun) / max(training, 1e-9)
        self.model.changed()
        self._close(start, pace, show)

    def _batch(self, x: Array, y: Array, show: Progress | None) -> None:
        """One step, and what it adds to the sums of the epoch."""
        position, step = self.position, self.step(len(x))
        model = self.model
        given = model.checked_tokens(x) if model.tokens else x.astype(model.dtype, copy=False)
        target = y if step.training.target.kind == "int" else y.reshape(len(y), *step.shape)
        loss, right = step(
            given,
            target,
            lr=self.schedule(position.step),
            step=position.step,
            seed=self.settings.seed,
        )
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"loss={loss} in epoch {position.epoch + 1}, batch {position.batch + 1}: must be "
                f"finite; a lower lr than {self.settings.rate} or clip may help"
            )
        position.step += 1
        position.batch += 1
        position.samples += len(x)
        position.loss += loss * len(x)
        position.right += right
        position.rows += step.rows
        if show is not None:
            show.batch(loss, right / step.rows if self._labels else None, len(x))

    @property
    def _labels(self) -> bool:
        return self.settings.loss == "cross_entropy"

    def _close(self, start: float, pace: float, show: Progress | None) -> None:
        """The end of an epoch: validation, a row, the best, a checkpoint."""
        position = self.position
        lr = self.schedule(max(0, position.step - 1))
        held = {} if self.held is None else judge(self.model, self.held).metrics()
        row = Row(
            epoch=position.epoch + 1,
            step=position.step,
            lr=lr,
            loss=position.loss / max(1, position.samples),
            accuracy=position.right / max(1, position.rows) if self._labels else None,
            val_loss=held.get("loss"),
            val_accuracy=held.get("accuracy"),
            seconds=time.perf_counter() - start,
            samples_per_second=pace,
        )
        best = self._is_best(row)
        if best:
            position.best, position.best_epoch = self._merit(row), position.epoch
        position.epoch, position.batch = position.epoch + 1, 0
        position.samples = position.right = position.rows = 0
        position.loss = 0.0
        self.history.append(row)
        if self.folder is not None:
            self.folder.append_metrics(row)
            if best:
                self.folder.save_best(self.model.state.all(), position.as_dict())
        elif best:
            self._best = self.model.state.all()
        self._checkpoint()
        if show is not None:
            show.epoch(row, best)

    def _merit(self, row: Row) -> float:
        """What is to be large: the accuracy of the validation, or less its loss."""
        if row.val_loss is None:
            return float(row.epoch)
        return -row.val_loss if row.val_accuracy is None else row.val_accuracy

    def _is_best(self, row: Row) -> bool:
        """Of equals the one with the smaller loss; without a validation the last."""
        best = self.position.best
        merit = self._merit(row)
        if best is None or merit > best:
            return True
        if merit < best or row.val_loss is None:
            return False
        before = self.history[self.position.best_epoch].val_loss
        return before is not None and row.val_loss < before

    def _lost_patience(self) -> bool:
        patience, position = self.settings.patience, self.position
        if patience is None or self.held is None:
            return False
        return position.epoch - position.best_epoch > patience

    # Keeping -------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        if self.folder is not None:
            state = self.slots.all()
            self.folder.save_last(self.model.state.all(), self.position.as_dict(), state)
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on where the folder's last checkpoint is. ValueError: tensors that do not fit."""
        folder = self.folder
        last = None if folder is None else folder.load_last()
        if folder is None or last is None:
            return
        where = f"{folder.path}: last.safetensors"
        self.model.take(last.weights, where)
        state = self.model.state
        wanted = {
            f"{slot}/{name}": (p.shape, self.model.dtype)
            for slot in self.slots.arrays
            for name, p in state.parameters.items()
            if p.trained
        }
        check_tensors(last.state, wanted, where)
        self.slots.update(last.state)
        self.position = Position.from_dict(last.position)
        self.history = list(folder.history)
        if not 0 <= self.position.best_epoch < max(1, len(self.history)):
            self.position.best, self.position.best_epoch = None, -1

    def restore_best(self) -> None:
        """The weights that did best in validation."""
        if self.folder is not None:
            best = self.folder.load_best()
            if best is not None:
                self.model.take(best.weights, f"{self.folder.path}: best.safetensors")
        elif self._best is not None and self.held is not None:
            self.model.set_parameters(self._best)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is remembered, and asked for after a batch; the second one interrupts at once."""
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, note) if ours else None
    try:
        yield lambda: pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
