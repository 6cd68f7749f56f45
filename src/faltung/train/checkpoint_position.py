"""The position of a run: all that a checkpoint needs besides weights and optimizer state."""

from dataclasses import fields
from math import isfinite
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# Entries that are floats; the others are counts.
_NUMBERS = ("loss", "weight", "best", "best_loss")


@dataclass
class Position:
    """How far a run has come.

    step: batches in total. epoch, batch: those that come next. loss, weight, right, rows, samples:
    sums over this epoch so far, of losses and their weights (1 without weights of classes), and of
    right labels, over rows (labels or numbers). best,
    best_loss, best_epoch: the merit of the best epoch, its validation loss, and its number from 0
    (-1: none yet).
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    weight: float = 0.0
    right: int = 0
    rows: int = 0
    samples: int = 0
    best: float | None = None
    best_loss: float | None = None
    best_epoch: int = -1

    def next_epoch(self) -> None:
        """Begin the next epoch, with empty sums."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss, self.weight, self.right, self.rows, self.samples = 0.0, 0.0, 0, 0, 0

    def improves(self, merit: float, loss: float | None) -> bool:
        """Whether this epoch is the best so far: higher merit, or the same and a lower loss."""
        if self.best is None or merit != self.best:
            return self.best is None or merit > self.best
        return loss is not None and self.best_loss is not None and loss < self.best_loss

    def as_dict(self) -> dict[str, Any]:
        """As JSON. None is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @staticmethod
    def from_dict(found: dict[str, Any], batches: int) -> "Position":
        """ValueError: an entry that is missing, unknown or of another type, or a position that no
        run with this many batches per epoch can have.
        """
        made = Position()
        for field in fields(Position):
            value = found.get(field.name)
            if value is not None or field.default is not None:
                setattr(made, field.name, _checked(field.name, value))
        unknown = sorted(set(found) - set(vars(made)))
        if unknown:
            raise FaltungError(f"position.{unknown[0]}: is not known")
        if made.batch > batches or made.step != made.epoch * batches + made.batch:
            raise FaltungError(
                f"position: step {made.step}, epoch {made.epoch}, batch {made.batch}: does not "
                f"fit {batches} batches per epoch"
            )
        if not -1 <= made.best_epoch < made.epoch or (made.best is None) != (made.best_epoch < 0):
            raise FaltungError(f"position.best_epoch={made.best_epoch}: is not an epoch of the run")
        return made


def _checked(name: str, value: object) -> int | float:
    """An entry as an int or a float. ValueError: neither."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _NUMBERS and number and isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    least = -1 if name == "best_epoch" else 0
    if name in _NUMBERS or not number or not isinstance(value, int) or value < least:
        raise FaltungError(f"position.{name}={show(value)}: must be a number of a run")
    return value
