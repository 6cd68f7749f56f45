"""The learning rate of each step."""

from collections.abc import Callable
from math import cos, pi
from typing import Literal

from faltung.geometry.check import one_of, show, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# Where one-cycle begins and ends, as parts of its highest rate (Smith and Topin, 2017).
_FIRST, _LAST = 1 / 25, 1 / 250_000


def _constant(part: float) -> float:
    """Always 1."""
    return 1.0


def _cosine(part: float) -> float:
    """From 1 to 0 (Loshchilov and Hutter, SGDR, 2016, without restarts)."""
    return 0.5 * (1 + cos(pi * part))


def _one_cycle(part: float) -> float:
    """Up for three tenths of the run, then down to nearly 0, both along a cosine."""
    up = 0.3
    if part < up:
        return _FIRST + (1 - _FIRST) * (1 - _cosine(part / up))
    return _LAST + (1 - _LAST) * _cosine((part - up) / (1 - up))


ScheduleName = Literal["constant", "cosine", "one_cycle"]
SCHEDULES: dict[ScheduleName, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """``schedule(step)`` is the learning rate of a step, counted from 0, in a run of ``steps``.

    name: a row of ``SCHEDULES``. lr: the highest rate. warmup: the part of the run in which the
    rate grows in a straight line from near 0; the schedule follows.
    """

    name: ScheduleName
    lr: float
    steps: int
    warmup: float = 0.0

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1)
        one_of("schedule", self.name, SCHEDULES)
        if not 0 < self.lr < float("inf"):
            raise FaltungError(f"lr={show(self.lr)}: must be above 0")
        if not 0 <= self.warmup < 1:
            raise FaltungError(f"warmup={show(self.warmup)}: must be at least 0 and below 1")

    def __call__(self, step: int) -> float:
        warm = self.warmup * self.steps
        if step < warm:
            return self.lr * (step + 1) / (warm + 1)
        part = (step - warm) / max(1.0, self.steps - warm)
        return self.lr * SCHEDULES[self.name](min(part, 1.0))


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedule of a run that may have got another length on its way, by batches.

    last: of the length that it has now. before: (until which batch, a schedule), in order. batches:
    of an epoch; accumulate: how many of them share a step of the optimizer, at the end of an epoch
    perhaps fewer.
    """

    last: Schedule
    before: tuple[tuple[int, Schedule], ...] = ()
    batches: int = 1
    accumulate: int = 1

    @property
    def lr(self) -> float:
        """The highest rate."""
        return self.last.lr

    def step(self, batch: int) -> int:
        """The step of the optimizer that a batch of the run is part of, both from 0."""
        epoch, number = divmod(batch, self.batches)
        return epoch * -(-self.batches // self.accumulate) + number // self.accumulate

    def ends_step(self, batch: int) -> bool:
        """Whether the optimizer goes a step after this batch."""
        number = batch % self.batches + 1
        return number == self.batches or number % self.accumulate == 0

    def __call__(self, batch: int) -> float:
        """The rate of a batch of the run, from 0."""
        found = next((each for until, each in self.before if batch < until), self.last)
        return found(self.step(batch))
