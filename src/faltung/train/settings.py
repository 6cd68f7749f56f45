"""What a training run is told: all of it data, so that a run can be repeated from a file."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from faltung.data.augment import Augment
from faltung.geometry.check import show, whole
from faltung.graph.differentiate import LOSSES
from faltung.program.optimiser import OPTIMISERS, SGD, AdamW, Optimiser
from faltung.train.schedule import SCHEDULES

# The rate of an optimiser that nobody gave one.
RATES = {"sgd": 0.05, "adamw": 0.003}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train. Rates and decays are those of the optimiser; ``lr`` None is its usual one.

    loss: "cross_entropy" or "mse". smoothing: of the labels, 0 to 1. clip: the largest norm of all
    gradients together. schedule: "constant", "cosine" or "one_cycle", after ``warmup``, a part of
    the run. patience: epochs without a better validation after which the run ends. ValueError,
    TypeError: a number or a name that is none.
    """

    epochs: int = 20
    batch: int = 32
    optimizer: str = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    decay: float = 1e-4
    clip: float | None = None
    schedule: str = "one_cycle"
    warmup: float = 0.0
    loss: str = "cross_entropy"
    smoothing: float = 0.0
    patience: int | None = None
    seed: int = 0
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0)):
            whole(name, getattr(self, name), least)
        if self.patience is not None:
            whole("patience", self.patience, 1)
        for name, table in (
            ("optimizer", OPTIMISERS),
            ("schedule", SCHEDULES),
            ("loss", dict.fromkeys(LOSSES)),
        ):
            if getattr(self, name) not in table:
                value = show(getattr(self, name))
                raise ValueError(f"{name}={value}: must be one of {', '.join(table)}")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ValueError(f"lr={show(self.lr)}: must be above 0")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing={show(self.smoothing)}: must be at least 0 and below 1")
        self.rule()

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return RATES[self.optimizer] if self.lr is None else self.lr

    def rule(self) -> Optimiser:
        """The optimiser."""
        if self.optimizer == "sgd":
            return SGD(self.momentum, self.nesterov, decay=self.decay, clip=self.clip)
        return AdamW(decay=self.decay, clip=self.clip)

    def as_dict(self) -> dict[str, Any]:
        """For a settings file; `from_dict` gives the same object back."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found["augment"] = asdict(self.augment)
        return {name: value for name, value in found.items() if value is not None}

    @staticmethod
    def from_dict(found: dict[str, Any]) -> "Settings":
        """ValueError, TypeError: an entry that is unknown or wrong."""
        known = {f.name for f in fields(Settings)}
        for name in found:
            if name not in known:
                raise ValueError(f"settings: {show(name)}: is not known")
        given = dict(found)
        augment = given.pop("augment", {})
        if not isinstance(augment, dict) or not set(augment) <= {f.name for f in fields(Augment)}:
            raise ValueError(f"augment={show(augment)}: must be a table of {Augment.__name__}")
        return Settings(**given, augment=Augment(**augment))
