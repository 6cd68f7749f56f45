"""What is worth saying about a run when it ends: why it ended, and whether it overfits or explodes.

Each is one line with what to do about it, in the words of who reads it: options of the command
line, or arguments.
"""

import math
from collections.abc import Sequence

from faltung.geometry.errors import FaltungArithmeticError
from faltung.train import defaults
from faltung.train.metrics import EpochMetrics, finite
from faltung.train.settings import FIND, Settings
from faltung.train.terminal import number

# A run overfits if its validation loss has risen by this part above its least, which came before
# this part of the run was over, while the training loss fell by that part.
RISE, EARLY, FALL = 0.1, 0.8, 0.1
_SHORTEST = 5  # epochs from which on such a thing can be seen


def spelled(name: str, value: object = None, *, typed: bool) -> str:
    """A setting as it is written: ``--held-out 0.2``, or ``held_out=0.2``."""
    said = f"{value:g}" if isinstance(value, float) else str(value)
    if typed:
        option = "--" + name.replace("_", "-")
        return option if value is None or value is True else f"{option} {said}"
    return (
        f"{name}="
        if value is None
        else f"{name}={value!r}"
        if isinstance(value, str)
        else (f"{name}={said}")
    )


def exploded(
    name: str, value: float, where: str, settings: Settings, lr: float, typed: bool
) -> FaltungArithmeticError:
    """The error of a loss that is not finite: what to try, of what was not tried."""
    less = min(lr / 10, defaults.LR[settings.optimizer])
    ways: list[tuple[str, object]] = [("lr", float(f"{less:.2g}")), ("lr", FIND)]
    ways += [("clip", 1.0)] if settings.clip is None else []
    ways += [("warmup", 0.1)] if not settings.warmup else []
    first, *others = (spelled(*way, typed=typed) for way in ways)
    rate = spelled("lr", float(f"{lr:.4g}"), typed=typed)
    return FaltungArithmeticError(
        f"the {name} is {value} {where}, with {rate}: must be finite; try {first} instead, "
        f"or {_either(others)}"
    )


def last_words(
    rows: Sequence[EpochMetrics],
    settings: Settings,
    kept: int | None,
    by: str | None,
    typed: bool,
) -> tuple[str, ...]:
    """All that is worth saying of a run that ends. ``kept``: the epoch whose weights are, if a
    validation chose it; ``by``: the callback that ended it.
    """
    last = rows[-1].epoch if rows else 0
    lines = (
        why_stopped(settings, last, kept or last, by, typed),
        learned_nothing(rows, settings, typed) or overfits(rows, settings, kept, typed),
    )
    return tuple(line for line in lines if line is not None)


def why_stopped(
    settings: Settings, epoch: int, best_epoch: int, by: str | None, typed: bool
) -> str | None:
    """Why a run ended before its last epoch; None if it did not. ``epoch``: the last one;
    ``best_epoch``: that of the weights that are kept; both from 1. ``by``: a callback.
    """
    if epoch >= settings.epochs:
        return None
    after = f"stopped after epoch {epoch} of {settings.epochs}"
    if by is not None:
        return f"{after} by the callback {by}"
    if settings.patience is None:
        return None
    chosen = settings.chosen_by.replace("_", " ")
    times = f"{epoch - best_epoch} epoch{'s'[: epoch - best_epoch != 1]}"
    patience = spelled("patience", settings.patience, typed=typed)
    return (
        f"{after}: no better val {chosen} for {times} ({patience}); the weights of epoch "
        f"{best_epoch} are kept"
    )


def overfits(
    rows: Sequence[EpochMetrics], settings: Settings, kept: int | None, typed: bool
) -> str | None:
    """One line about a run whose validation got worse while its training got better; None about
    any other. ``kept``: the epoch whose weights are.
    """
    losses = [(finite(row.val_loss), row) for row in rows]
    known = [(loss, row) for loss, row in losses if loss is not None]
    if len(known) < _SHORTEST or len(known) < len(rows):
        return None
    least, best = min(known, key=lambda pair: pair[0])
    last = rows[-1]
    late = sum(loss for loss, _ in known[-2:]) / 2  # one epoch alone may be chance
    rose = late > (1 + RISE) * least if least > 0 else False
    fell = math.isfinite(last.loss) and last.loss < (1 - FALL) * best.loss
    if not rose or not fell or best.epoch > EARLY * last.epoch:
        return None
    ways = ["more samples", "augmentation" if typed else spelled("augment", typed=False)]
    ways.append(spelled("decay", float(f"{max(10 * settings.decay, 0.01):.2g}"), typed=typed))
    ways += (
        []
        if settings.smoothing or settings.loss != "cross_entropy"
        else [spelled("smoothing", 0.1, typed=typed)]
    )
    ways += [] if settings.patience else [spelled("patience", 5, typed=typed)]
    keeps = "" if kept is None else f" (the weights of epoch {kept} are kept)"
    return (
        f"overfits since epoch {best.epoch}: val loss {number(least)} -> {number(late)} while the "
        f"loss went {number(best.loss)} -> {number(last.loss)}{keeps}; try {_either(ways)}"
    )


def learned_nothing(rows: Sequence[EpochMetrics], settings: Settings, typed: bool) -> str | None:
    """One line about a run whose loss ended above where it began; None about any other."""
    if len(rows) < 2 or not rows[-1].loss > rows[0].loss:
        return None
    lr = max(row.lr for row in rows)
    ways = [spelled("lr", float(f"{lr / 10:.2g}"), typed=typed), spelled("lr", FIND, typed=typed)]
    return (
        f"the loss is higher than in the first epoch, {number(rows[-1].loss)} instead of "
        f"{number(rows[0].loss)}: try {_either(ways)}"
    )


def _either(ways: Sequence[str]) -> str:
    """One, two or three."""
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"
