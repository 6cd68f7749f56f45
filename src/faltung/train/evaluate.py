"""Evaluation of a model on samples: outputs, losses, which labels were right, and scores."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch, Loader
from faltung.data.names import listing
from faltung.data.source import Source, in_units
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.train import scores
from faltung.train.network import Network

Array = npt.NDArray[Any]
BATCH_SAMPLES = 256  # samples that are read at once


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on samples: outputs (n, ...) before softmax, if they were kept;
    targets; losses (n,), each a mean over positions; which labels (n, ...) were right, None where
    targets are numbers; further scores by name.
    """

    outputs: Array | None
    targets: Array
    losses: Array
    right: Array | None
    scores: dict[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """The mean "loss" and, for labels, the "accuracy", 0 to 1, then the scores. Labels of -1 do
        not count.
        """
        if self.right is None:
            return {"loss": float(self.losses.mean()), **self.scores}
        counted = self.targets >= 0
        if not counted.any():
            return {"loss": 0.0, "accuracy": 0.0, **self.scores}
        # Each loss is a mean over all positions, where those that do not count contributed 0.
        loss = float(self.losses.mean() / counted.mean())
        return {"loss": loss, "accuracy": float(self.right[counted].mean()), **self.scores}


def evaluate(
    model: Network,
    source: Source,
    loss: str = "cross_entropy",
    *,
    keep: bool = False,
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Evaluate the outputs for every sample of a source by a loss. ``keep``: keep the outputs.
    ``metrics``: further ones, rows of ``SCORES``. ValueError, TypeError: samples or targets that do
    not fit this network, or a metric that does not fit them.
    """
    source = in_units(source, model.units)
    check_targets(model, source, loss)
    wanted = [name for name in metrics if scores.SCORES[scores.check_score(name, loss)].of]
    targets = np.asarray(source.targets)
    outputs, losses, right = [], [], []
    count = model.graph.output.channels
    confused = any(scores.SCORES[name].kind == "confusion" for name in wanted)
    matrix = scores.no_confusion(count if confused else 0)
    kept = keep or scores.needs_outputs(wanted)
    for name in wanted:
        check_classes(model, name, targets)
    epoch = Loader(source, BATCH_SAMPLES, seed=0, shuffle=False).epoch(0)
    batches = cast("Generator[Batch, None, None]", epoch)
    with closing(batches):  # a thread may be prefetching
        for x, y, _ in batches:
            made = model.outputs(x, softmax=False)
            each = squares if loss == "mse" else cross_entropy
            losses.append(each(made, y).reshape(len(made), -1).mean(1))
            if loss != "mse":
                said = made.argmax(1)
                right.append(said == y)
                if confused:
                    matrix += scores.confusion_matrix(y, said, count)
            if kept:
                outputs.append(made)
    every = np.concatenate(outputs) if kept else None
    found = {}
    for name in wanted:
        if loss == "mse":
            assert every is not None
            found[name] = scores.of_numbers(name, targets, every)
        else:
            found[name] = scores.of_labels(name, matrix, targets, every)
    return Evaluation(
        every if keep else None,
        targets,
        np.concatenate(losses),
        np.concatenate(right) if right else None,
        found,
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


def check_classes(model: Network, metric: str, targets: Array) -> None:
    """ValueError: a class without samples, where a metric is not defined without."""
    if scores.SCORES[metric].kind != "probabilities":
        return
    count = model.graph.output.channels
    absent = np.flatnonzero(np.bincount(targets[targets >= 0], minlength=count)[:count] == 0)
    if absent.size:
        names = class_names(model)
        raise FaltungError(
            f"metric={metric!r}: needs samples of every class, there are none of "
            f"{listing([names[i] for i in absent])}; take another metric, such as 'f1'"
        )


def class_names(model: Network) -> tuple[str, ...]:
    """What the outputs are called, at least their numbers."""
    return model.classes or tuple(map(str, range(model.graph.output.channels)))
