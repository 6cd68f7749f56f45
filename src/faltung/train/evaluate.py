"""Evaluation of a model on samples: outputs, losses, and which labels were right."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch, Loader
from faltung.data.source import Source
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.train.network import Network
from faltung.train.settings import Settings

Array = npt.NDArray[Any]
BATCH_SAMPLES = 256  # samples that are read at once


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on samples: outputs (n, ...) before softmax, if they were kept;
    targets; losses (n,), each a mean over positions; which labels (n, ...) were right, None where
    targets are numbers.
    """

    outputs: Array | None
    targets: Array
    losses: Array
    right: Array | None

    def metrics(self) -> dict[str, float]:
        """The mean "loss" and, for labels, the "accuracy", 0 to 1. Labels of -1 do not count."""
        if self.right is None:
            return {"loss": float(self.losses.mean())}
        counted = self.targets >= 0
        if not counted.any():
            return {"loss": 0.0, "accuracy": 0.0}
        # Each loss is a mean over all positions, where those that do not count contributed 0.
        loss = float(self.losses.mean() / counted.mean())
        return {"loss": loss, "accuracy": float(self.right[counted].mean())}


def evaluate(
    model: Network, source: Source, loss: str = "cross_entropy", *, keep: bool = False
) -> Evaluation:
    """Evaluate the outputs for every sample of a source by a loss. ``keep``: keep the outputs.
    ValueError, TypeError: samples or targets that do not fit this network.
    """
    check_targets(model, source, loss)
    targets = np.asarray(source.targets)
    outputs, losses, right = [], [], []
    epoch = Loader(source, BATCH_SAMPLES, seed=0, shuffle=False).epoch(0)
    batches = cast("Generator[Batch, None, None]", epoch)
    with closing(batches):  # a thread may be prefetching
        for x, y, _ in batches:
            made = model.outputs(x, softmax=False)
            each = squares if loss == "mse" else cross_entropy
            losses.append(each(made, y).reshape(len(made), -1).mean(1))
            if loss != "mse":
                right.append(made.argmax(1) == y)
            if keep:
                outputs.append(made)
    return Evaluation(
        np.concatenate(outputs) if keep else None,
        targets,
        np.concatenate(losses),
        np.concatenate(right) if right else None,
    )


def squares(made: Array, wanted: Array) -> Array:
    """(made - wanted)^2 in float64, (n, outputs)."""
    return np.asarray(
        (made.reshape(len(made), -1).astype(np.float64) - wanted.reshape(len(made), -1)) ** 2
    )


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label] along axis 1, in float64; 0 for the label -1."""
    z = logits.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    chosen = np.take_along_axis(z, np.maximum(labels, 0)[:, np.newaxis], 1)[:, 0]
    losses = np.log(np.exp(z).sum(1)) - chosen
    return np.asarray(np.where(labels >= 0, losses, 0.0))


def check_targets(model: Network, source: Source, loss: str) -> None:
    """ValueError, TypeError: a source that this network cannot be trained or evaluated on."""
    targets, output = np.asarray(source.targets), model.graph.output
    if not len(source):
        raise FaltungError("x: contains no samples")
    if source.shape != model.input_shape:
        raise FaltungError(f"x: samples of shape {source.shape}: must be {model.input_shape}")
    if loss == "mse":
        wanted = output.shape
        if targets.dtype.kind != "f":
            raise FaltungTypeError(f"y.dtype={targets.dtype}: must be floats for loss='mse'")
        fits = targets.size == len(source) * output.size
    else:
        wanted = output.space
        if targets.dtype.kind not in "iu":
            raise FaltungTypeError(f"y.dtype={targets.dtype}: labels must be whole numbers")
        fits = targets.shape[1:] == wanted
    if not fits:
        form = f"(n, {', '.join(map(str, wanted))})" if wanted else "(n,)"
        raise FaltungError(f"y.shape={targets.shape}: must be {form}")
    if loss == "cross_entropy":
        least, most = int(targets.min()), int(targets.max())
        if least < -1 or most >= output.channels:
            worst = most if most >= output.channels else least
            raise FaltungError(f"y: label {worst}: must be from 0 to {output.channels - 1}")


def check_run(model: Network, settings: Settings, train: Source, held: Source | None) -> None:
    """ValueError, TypeError: samples, targets or settings that do not go together."""
    check_targets(model, train, settings.loss)
    if held is not None:
        check_targets(model, held, settings.loss)
    elif settings.patience is not None:
        raise FaltungError(f"patience={settings.patience}: needs a validation")
    if settings.loss == "cross_entropy" and np.asarray(train.targets).ndim > 1:
        for name in ("shift", "crop", "flip", "series_shift"):
            if getattr(settings.augment, name):
                raise FaltungError(
                    f"{name}={getattr(settings.augment, name)}: moves samples away from their "
                    "labels, of which each position has one"
                )
