"""The settings of a training run, plain data, so that a run can be repeated from a file."""

from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

from faltung.data.augment import Augment
from faltung.geometry.check import show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.differentiate import LOSSES, Loss
from faltung.plan.choose import PRECISIONS, Precision
from faltung.program.optimizer import OPTIMIZERS, SGD, AdamW, Optimizer, OptimizerName
from faltung.train import defaults
from faltung.train.schedule import SCHEDULES, Schedule, ScheduleName

# Settings that take one of a few names.
CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "loss": tuple(LOSSES),
    "precision": PRECISIONS,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; ``lr`` None is the usual rate of the optimizer.

    epochs, batch, seed: whole numbers. optimizer: "adamw", or "sgd" with ``momentum`` and perhaps
    ``nesterov``. loss: "cross_entropy" or "mse". smoothing: of the labels, 0 to 1. clip: the
    largest norm of all gradients together. schedule: "constant", "cosine" or "one_cycle", after
    ``warmup``, a part of the run. patience: epochs without a better validation after which the run
    ends. precision: "fast", or "strict" for convolutions that are plain sums of products.
    ValueError, TypeError: an invalid number or name, or a setting that would have no effect.
    """

    epochs: int = defaults.EPOCHS
    batch: int = defaults.BATCH
    optimizer: OptimizerName = defaults.OPTIMIZER
    lr: float | None = None
    momentum: float | None = None
    nesterov: bool = False
    decay: float = defaults.DECAY
    clip: float | None = None
    schedule: ScheduleName = defaults.SCHEDULE
    warmup: float = defaults.WARMUP
    loss: Loss = defaults.LOSS
    smoothing: float = defaults.SMOOTHING
    patience: int | None = None
    seed: int = defaults.SEED
    precision: Precision = defaults.PRECISION
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0), ("patience", 1)):
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, whole(name, value, least))
        for name, names in CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in names:
                raise FaltungError(f"{name}={show(value)}: must be one of {', '.join(names)}")
        for name in _BOUNDS:
            _number(self, name)
        if not isinstance(self.nesterov, bool):
            raise FaltungTypeError(f"nesterov={show(self.nesterov)}: must be True or False")
        if not isinstance(self.augment, Augment):
            raise FaltungTypeError(f"augment={show(self.augment)}: must be an Augment")
        self._check_effects()

    def _check_effects(self) -> None:
        """ValueError: a setting that would have no effect."""
        if self.optimizer != "sgd":
            for name in ("momentum", "nesterov"):
                if getattr(self, name):
                    raise FaltungError(
                        f"{name}={getattr(self, name)}: applies to sgd, not to {self.optimizer}"
                    )
        if self.nesterov and self.momentum == 0:
            raise FaltungError("nesterov=True: needs a momentum above 0")
        if self.smoothing and self.loss != "cross_entropy":
            raise FaltungError(
                f"smoothing={self.smoothing}: applies to labels, not to loss={self.loss!r}"
            )

    def lr_schedule(self, steps: int) -> Schedule:
        """The learning rate of each step in a run of this many."""
        lr = defaults.LR[self.optimizer] if self.lr is None else self.lr
        return Schedule(self.schedule, lr, steps, self.warmup)

    def rule(self) -> Optimizer:
        """The optimizer with its settings."""
        if self.optimizer == "sgd":
            momentum = defaults.MOMENTUM if self.momentum is None else self.momentum
            return SGD(momentum, self.nesterov, decay=self.decay, clip=self.clip)
        return AdamW(decay=self.decay, clip=self.clip)

    def as_dict(self) -> dict[str, Any]:
        """For a settings file; ``from_dict`` gives the same object back."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found["augment"] = asdict(self.augment)
        return {name: value for name, value in found.items() if value is not None}

    @staticmethod
    def from_dict(found: dict[str, Any]) -> "Settings":
        """ValueError, TypeError: an entry that is unknown or wrong."""
        given = dict(found)
        augment = given.pop("augment", {})
        if not isinstance(augment, dict):
            raise FaltungTypeError(f"augment={show(augment)}: must be a table")
        for where, table, known in (("", given, Settings), ("augment.", augment, Augment)):
            names = {f.name for f in fields(known)}
            for name in table:
                if name not in names:
                    raise FaltungError(f"{where}{name}: is not a setting")
        return Settings(**given, augment=Augment(**augment))


# Bounds of numeric settings: a lower one, whether it is allowed itself, and an upper one.
_BOUNDS = {
    "lr": (0.0, False, float("inf")),
    "momentum": (0.0, True, 1.0),
    "decay": (0.0, True, float("inf")),
    "clip": (0.0, False, float("inf")),
    "warmup": (0.0, True, 1.0),
    "smoothing": (0.0, True, 1.0),
}
_OPTIONAL = ("lr", "momentum", "clip", "patience")


def _number(settings: Settings, name: str) -> None:
    """Convert a setting to float. TypeError, ValueError."""
    value = getattr(settings, name)
    if value is None and name in _OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise FaltungTypeError(f"{name}={show(value)}: must be a number")
    least, allowed, limit = _BOUNDS[name]
    made = float(value)
    if not (least < made < limit or (allowed and made == least)):
        words = f"{'at least' if allowed else 'above'} {least:g} and "
        words += "finite" if limit == float("inf") else f"below {limit:g}"
        raise FaltungError(f"{name}={show(value)}: must be {words}")
    object.__setattr__(settings, name, made)
