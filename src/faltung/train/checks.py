"""What is checked before the first step of a run: settings, samples and network together."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from faltung.data.augment import MOVES
from faltung.data.names import printable
from faltung.data.source import Source
from faltung.geometry.check import show
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError
from faltung.graph.expand import is_frozen
from faltung.graph.losses import targets_of
from faltung.graph.ops import Normalise
from faltung.train.class_weight import BALANCED, of_classes
from faltung.train.evaluate import Array, check_classes, check_targets, class_names
from faltung.train.freezing import frozen
from faltung.train.network import Network
from faltung.train.run_folder import CONFIG, LAST
from faltung.train.settings import FIND, Settings


def check_run(
    model: Network, settings: Settings, train: Source, held: Source | None, *, part: bool = False
) -> None:
    """ValueError, TypeError: samples, targets or settings that do not go together. ``part``: of
    samples that are a part of all, and may be of one class.
    """
    if model.dtype in NARROW:
        raise FaltungError(
            f"dtype={model.dtype!r}: such a model cannot be trained; train "
            f'model.astype("float32"), and then take .astype("{model.dtype}") of it'
        )
    check_targets(model, train, settings.loss)
    targets = np.asarray(train.targets)
    if held is not None:
        check_targets(model, held, settings.loss)
        for name in settings.noted:
            check_classes(model, name, np.asarray(held.targets), settings.loss)
    else:
        _check_no_validation(settings)
    if targets_of(settings.loss) == "labels":
        if not part:
            check_two_classes(targets, class_names(model))
        weights_of(settings, targets, model)
        if targets.ndim > 1:
            _check_maps(settings)
    _check_norms(model, settings, len(train))


def _check_no_validation(settings: Settings) -> None:
    if settings.patience is not None:
        raise FaltungError(f"patience={settings.patience}: needs a validation")
    if settings.metric is not None:
        raise FaltungError(f"metric={settings.metric!r}: needs a validation")
    if settings.metrics:
        raise FaltungError(f"metrics={show(settings.metrics)}: needs a validation")


def _check_maps(settings: Settings) -> None:
    """ValueError: what does not apply where every position has a label."""
    for name in MOVES:
        if getattr(settings.augment, name):
            raise FaltungError(
                f"{name}={getattr(settings.augment, name)}: moves samples away from their "
                "labels, of which each position has one"
            )
    if settings.sampler == BALANCED:
        raise FaltungError(
            f"sampler={BALANCED!r}: every position has a class, so samples have none; "
            f"class_weight={BALANCED!r} counts positions"
        )


def check_two_classes(labels: Array, classes: tuple[str, ...], where: str = "y") -> None:
    """ValueError: labels of fewer than two classes; those of -1 do not count."""
    there = np.unique(labels[labels >= 0])
    if len(there) > 1:
        return
    found = f"all {labels.size:,} labels are of class '{printable(classes[there[0]])}'"
    if not len(there):
        found = f"none of {labels.size:,} labels is a class, all are -1"
    elif (labels < 0).any():
        found = f"all labels but -1 are of class '{printable(classes[there[0]])}'"
    raise FaltungError(f"{where}: {found}: training needs samples of at least two classes")


def weights_of(settings: Settings, labels: Array, model: Network) -> tuple[float, ...] | None:
    """The weight of each class, None without. ValueError: as ``of_classes``."""
    return of_classes(settings.class_weight, labels, class_names(model))


def _check_norms(model: Network, settings: Settings, samples: int) -> None:
    """ValueError: batch normalisation of a single value, whose deviation is 0 (as in PyTorch)."""
    batch = min(settings.batch, samples)
    rest = samples % batch
    if 1 not in (batch, rest):
        return
    fixed = set(frozen(model.training_graph, model.graph, settings.freeze))
    for node in model.training_graph.nodes:
        norm = isinstance(node.op, Normalise) and node.op.over == "batch"
        if not norm or is_frozen(node, fixed) or prod(node.output.space) > 1:
            continue
        what = f"BatchNorm '{node.layer}' needs more than one value per channel"
        if samples == 1:
            raise FaltungError(f"x: there is one sample to train on, and {what}")
        if batch == 1:
            raise FaltungError(f"batch={settings.batch}: {what}; take batch=2 or more")
        raise FaltungError(
            f"batch={settings.batch}: leaves one of {samples:,} samples for the last batch, and "
            f"{what}; take batch={_other_batch(samples, settings.batch)}"
        )


def _other_batch(samples: int, batch: int) -> int:
    """The nearest size of a batch that leaves no single sample."""
    near = (size for away in range(1, samples) for size in (batch + away, batch - away))
    return next(size for size in near if size > 1 and samples % min(size, samples) != 1)


def check_lessons(settings: Settings, class_weight: Sequence[float] | None) -> None:
    """ValueError: a teacher's lessons that several batches cannot share. Their divergence is a mean
    over rows, the loss one over weights, and one number divides the sum of both gradients.
    """
    if class_weight is not None and settings.accumulate > 1:
        raise FaltungError(
            f"accumulate={settings.accumulate}: does not go with a teacher and class_weight "
            "together; leave one out"
        )


def check_resumed(settings: Settings, step: int, folder: Path) -> None:
    """ValueError: settings of a run that cannot have come to this step."""
    if settings.lr == FIND and step:
        raise FaltungError(
            f"{folder / CONFIG}: train.lr={FIND!r}: must be a number, for the run has begun"
        )
    if settings.lengthened and settings.lengthened[-1][1] > step:
        raise FaltungError(
            f"{folder / LAST}: step {step}: must be at least {settings.lengthened[-1][1]}, where "
            "the run got another length"
        )
