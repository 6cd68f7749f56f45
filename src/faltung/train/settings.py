"""The settings of a training run, plain data, so that a run can be repeated from a file."""

from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from numbers import Real
from typing import Any, Literal

from faltung.data.augment import Augment
from faltung.data.loader import SAMPLERS, Sampler
from faltung.geometry.check import is_sequence, one_of, show, truth, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.graph.losses import Loss, check_loss, targets_of
from faltung.plan.words import PRECISIONS, Precision
from faltung.program.optimizer import (
    OPTIMIZERS,
    SGD,
    AdamW,
    Averaged,
    Optimizer,
    OptimizerName,
    Rule,
)
from faltung.train import defaults, scores
from faltung.train.class_weight import BALANCED, Given, as_setting
from faltung.train.schedule import SCHEDULES, Schedule, ScheduleName, Schedules

# Settings that take one of a few names.
CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "precision": PRECISIONS,
    "sampler": tuple(SAMPLERS),
}
# What a file says where there is no number: TOML has no None, and a file says everything.
NOTHING = {
    "lr": "usual",
    "momentum": "none",
    "metric": "usual",
    "clip": "none",
    "patience": "none",
    "ema": "none",
    "class_weight": "none",
}
# What runs did before there was a setting that their file therefore lacks.
BEFORE: dict[str, Any] = {
    "accumulate": 1,
    "ema": "none",
    "metrics": [],
    "scale_targets": False,
}
# Settings under the names that they had before.
FORMERLY = {"class_weights": "class_weight"}
FIND = "find"  # the learning rate that a range test suggests


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train; ``lr`` None is the usual rate of the optimizer, "find" that of a range test.

    epochs, batch, seed: whole numbers. accumulate: of how many batches a step of the optimizer has
    the gradient. ema: the part of a moving average of the weights that stays at a step; it is what
    is validated and kept. optimizer: "adamw", or "sgd" with ``momentum`` and perhaps ``nesterov``.
    loss: a row of ``LOSSES`` or a formula of output and target. scale_targets: whether numbers are
    learned with mean 0 and deviation 1. smoothing: of the labels, 0 to 1. clip: the largest norm of
    all gradients together. schedule: "constant", "cosine" or "one_cycle", after ``warmup``, a part
    of the run. metric: a row of ``SCORES``, by which the best validation is chosen; None is the
    usual one of the loss. metrics: further ones that are noted. patience: epochs without a better
    validation after which the run ends. class_weight: "balanced", one number for each class, or
    weights by label. sampler: "shuffled", or "balanced": each class as often as any other. freeze:
    layers that are not trained, as ``freezing.py`` reads them. precision: "fast", or "strict" for
    convolutions that are plain sums of products. lengthened: for each time that the run got another
    length, how many epochs it had before, and until which step. ValueError, TypeError: an invalid
    number or name, or a setting that would have no effect.
    """

    epochs: int = defaults.EPOCHS
    batch: int = defaults.BATCH
    optimizer: OptimizerName = defaults.OPTIMIZER
    accumulate: int = 1
    lr: float | Literal["find"] | None = None
    momentum: float | None = None
    nesterov: bool = False
    decay: float = defaults.DECAY
    clip: float | None = None
    schedule: ScheduleName = defaults.SCHEDULE
    warmup: float = defaults.WARMUP
    loss: Loss | str = defaults.LOSS
    scale_targets: bool = True
    smoothing: float = defaults.SMOOTHING
    metric: str | None = None
    metrics: tuple[str, ...] = ()
    patience: int | None = None
    ema: float | None = None
    class_weight: Given | None = None
    sampler: Sampler = defaults.SAMPLER
    freeze: tuple[str, ...] = ()
    seed: int = defaults.SEED
    precision: Precision = defaults.PRECISION
    augment: Augment = field(default_factory=Augment)
    lengthened: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, whole(name, value, least))
        for name, names in CHOICES.items():
            one_of(name, getattr(self, name), names)
        for name in _BOUNDS:
            _number(self, name)
        for name in ("nesterov", "scale_targets"):
            truth(name, getattr(self, name))
        object.__setattr__(self, "loss", check_loss(self.loss))
        if not isinstance(self.augment, Augment):
            raise FaltungTypeError(f"augment={show(self.augment)}: must be an Augment")
        if self.metric is not None:
            scores.check_score(self.metric, self.loss)
        object.__setattr__(self, "metrics", _metrics(self.metrics, self.loss))
        object.__setattr__(self, "class_weight", as_setting(self.class_weight))
        object.__setattr__(self, "freeze", _freeze(self.freeze))
        object.__setattr__(self, "lengthened", _lengthened(self.lengthened))
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
        labels = targets_of(self.loss) == "labels"
        if self.class_weight is not None and not labels:
            raise FaltungError(
                f"class_weight={show(self.class_weight)}: applies to labels, not to "
                f"loss={self.loss!r}"
            )
        if self.sampler == BALANCED and not labels:
            raise FaltungError(
                f"sampler={self.sampler!r}: applies to labels, not to loss={self.loss!r}"
            )

    @property
    def noted(self) -> tuple[str, ...]:
        """The metrics of a validation that have a column: the one that chooses, then the others."""
        every = dict.fromkeys((self.chosen_by, *self.metrics))
        return tuple(name for name in every if scores.SCORES[name].of is not None)

    @property
    def chosen_by(self) -> str:
        """The metric by which the best validation is chosen."""
        return scores.usual(self.loss) if self.metric is None else self.metric

    def resolved(self) -> "Settings":
        """The same with the usual numbers in place of None, as a file should say them."""
        lr = defaults.LR[self.optimizer] if self.lr is None else self.lr
        momentum = self.momentum
        if momentum is None and self.optimizer == "sgd":
            momentum = defaults.MOMENTUM
        return replace(self, lr=lr, momentum=momentum)

    @property
    def rate(self) -> float:
        """The highest learning rate; the usual one where none is given, or is not yet found."""
        return self.lr if isinstance(self.lr, float) else defaults.LR[self.optimizer]

    def lr_schedule(self, steps: int) -> Schedule:
        """The learning rate of each step in a run of this many."""
        return Schedule(self.schedule, self.rate, steps, self.warmup)

    def lr_schedules(self, batches: int) -> "Schedules":
        """The learning rate of each batch of a run with so many of them in an epoch."""
        steps = -(-batches // self.accumulate)
        before = tuple(
            (until, self.lr_schedule(steps * epochs)) for epochs, until in self.lengthened
        )
        return Schedules(self.lr_schedule(steps * self.epochs), before, batches, self.accumulate)

    def rule(self) -> Rule:
        """The optimizer with its settings."""
        made: Optimizer = AdamW(decay=self.decay, clip=self.clip)
        if self.optimizer == "sgd":
            momentum = defaults.MOMENTUM if self.momentum is None else self.momentum
            made = SGD(momentum, self.nesterov, decay=self.decay, clip=self.clip)
        return made if self.ema is None else Averaged(made, self.ema)

    def as_dict(self) -> dict[str, Any]:
        """For a settings file, with every setting; ``from_dict`` gives the same object back."""
        found = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        found["augment"] = asdict(self.augment)
        return {name: NOTHING[name] if v is None else v for name, v in found.items()}

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> "Settings":
        """ValueError, TypeError: an entry that is unknown, missing or wrong."""
        found = {**BEFORE, **{FORMERLY.get(name, name): v for name, v in found.items()}}
        given = dict(found)
        augment = given.pop("augment", None)
        if not isinstance(augment, dict):
            raise FaltungTypeError(f"augment={show(augment)}: must be a table")
        augment = {**asdict(Augment()), **augment}  # what a file does not name is not done
        for where, table, known in (("", found, Settings), ("augment.", augment, Augment)):
            names = [f.name for f in fields(known)]
            for name in table:
                if name not in names:
                    raise FaltungError(f"{where}{name}: is not a setting")
            for name in names:
                if name not in table:
                    raise FaltungError(
                        f"{where}{name}: is missing; a run that goes on needs every setting"
                    )
        for name, word in NOTHING.items():
            given[name] = None if given[name] == word else given[name]
        return Settings(**{**given, "augment": Augment(**augment)})


# Bounds of numeric settings: a lower one, whether it is allowed itself, and an upper one.
_BOUNDS = {
    "lr": (0.0, False, float("inf")),
    "momentum": (0.0, True, 1.0),
    "decay": (0.0, True, float("inf")),
    "clip": (0.0, False, float("inf")),
    "warmup": (0.0, True, 1.0),
    "smoothing": (0.0, True, 1.0),
    "ema": (0.0, False, 1.0),
}
# The least of whole numbers.
_LEAST = {"epochs": 1, "batch": 1, "accumulate": 1, "seed": 0, "patience": 1}
_OPTIONAL = ("lr", "momentum", "clip", "patience", "ema")


def _plain(value: Any) -> Any:
    """Tuples as lists."""
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _metrics(value: object, loss: str) -> tuple[str, ...]:
    """Names of scores, each once. TypeError, ValueError."""
    if not is_sequence(value):
        raise FaltungTypeError(f'metrics={show(value)}: must be a list of names, such as ["f1"]')
    names = [scores.check_score(name, loss, "metrics") for name in value]  # type: ignore[attr-defined]
    return tuple(dict.fromkeys(names))


def _freeze(value: object) -> tuple[str, ...]:
    """One word or number, or several, as text. TypeError, ValueError."""
    words = value if is_sequence(value) else (value,)
    made = []
    for word in words:  # type: ignore[attr-defined]
        if isinstance(word, bool) or not isinstance(word, str | int):
            raise FaltungTypeError(
                f"freeze={show(word)}: must be 'all-but-last', a number of layers or their names"
            )
        made.append(str(word))
        if not made[-1]:
            raise FaltungError("freeze='': must not be empty")
    return tuple(made)


def _lengthened(value: object) -> tuple[tuple[int, int], ...]:
    """(epochs, step) pairs, steps in order. TypeError, ValueError."""
    if not is_sequence(value):
        raise FaltungTypeError(f"lengthened={show(value)}: must be pairs of epochs and step")
    made: list[tuple[int, int]] = []
    for pair in value:  # type: ignore[attr-defined]
        if not is_sequence(pair) or len(pair) != 2:
            raise FaltungTypeError(f"lengthened: {show(pair)}: must be epochs and step")
        made.append((whole("lengthened", pair[0], 1), whole("lengthened", pair[1], 0)))
        if len(made) > 1 and made[-1][1] < made[-2][1]:
            raise FaltungError(f"lengthened={show(value)}: steps must be in order")
    return tuple(made)


def _number(settings: Settings, name: str) -> None:
    """Convert a setting to float. TypeError, ValueError."""
    value = getattr(settings, name)
    if (value is None and name in _OPTIONAL) or (name == "lr" and value == FIND):
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
