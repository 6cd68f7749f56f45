"""Evaluation of a model on samples: outputs, losses, which labels were right, and scores."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch, Loader
from faltung.data.names import listing
from faltung.data.source import Source, in_units, weights_in
from faltung.data.targets import check_flags
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.graph.loss_nodes import SMOOTH
from faltung.graph.losses import kind_of, targets_of
from faltung.reference.expr import evaluate as formula_of
from faltung.train import scores
from faltung.train.network import Network

Array = npt.NDArray[Any]
BATCH_SAMPLES = 256  # samples that are read at once


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on samples: outputs (n, ...) before softmax or sigmoid, of numbers in
    the units of the targets, if they were kept; targets; losses (n,), each a mean over positions;
    which labels (n, ...) were right, of several labels at once where all are, None where targets
    are numbers; further scores by name; weights (n,) of the samples, if they have any.
    """

    outputs: Array | None
    targets: Array
    losses: Array
    right: Array | None
    scores: dict[str, float] = field(default_factory=dict)
    weights: Array | None = None
    # Of labels, whether losses are means over those that count alone.
    whole: bool = True

    @property
    def counted(self) -> Array:
        """Which of ``right`` count: labels other than -1."""
        assert self.right is not None
        if self.targets.dtype.kind == "f":
            return np.ones(self.right.shape, bool)
        return np.asarray(self.targets >= 0)

    def metrics(self) -> dict[str, float]:
        """The mean "loss" and, for labels, the "accuracy", 0 to 1, then the scores. Labels of -1 do
        not count.
        """
        loss = float(np.average(self.losses, weights=self.weights))
        if self.right is None:
            return {"loss": loss, **self.scores}
        counted = self.counted
        shares = counted.reshape(len(counted), -1).mean(1)
        share = float(np.average(shares, weights=self.weights))
        if not share:
            return {"loss": 0.0, "accuracy": 0.0, **self.scores}
        if not self.whole:
            # Each loss is a mean over all positions, where those that do not count contributed 0.
            loss /= share
        weights = self.weights
        if weights is not None:
            wide = weights.reshape(-1, *(1,) * (counted.ndim - 1))
            weights = np.broadcast_to(wide, counted.shape)[counted]
        accuracy = float(np.average(self.right[counted], weights=weights))
        return {"loss": loss, "accuracy": accuracy, **self.scores}


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
    for name in wanted:
        check_classes(model, name, np.asarray(source.targets), loss)
    found = _Found(model, loss, keep or scores.needs_outputs(wanted), wanted)
    epoch = Loader(source, BATCH_SAMPLES, seed=0, shuffle=False).epoch(0)
    batches = cast("Generator[Batch, None, None]", epoch)
    with closing(batches):  # a thread may be prefetching
        for each in batches:
            found.add(each)
    return found.evaluation(np.asarray(source.targets), weights_in(source), keep)


class _Found:
    """What is found batch by batch."""

    def __init__(self, model: Network, loss: str, keep: bool, wanted: Sequence[str]) -> None:
        self.model, self.loss, self.keep, self.wanted = model, loss, keep, wanted
        self.kind = kind_of(loss)
        self.count = model.graph.output.channels
        self.outputs: list[Array] = []
        self.losses: list[Array] = []
        self.right: list[Array] = []
        kinds = {scores.SCORES[name].kind for name in wanted}
        self.confused = "confusion" in kinds
        flags = self.kind.targets == "flags"
        self.matrix = scores.no_confusion(self.count if self.confused and not flags else 0)
        self.counts = np.zeros((3, self.count))
        self.rows: dict[str, list[Array]] = {
            name: [] for name in wanted if scores.SCORES[name].kind == "rows"
        }

    def add(self, batch: Batch) -> None:
        """One more batch."""
        y = batch.y
        made = self.model.outputs(batch.x, finished=False)
        targets = self.kind.targets
        if targets == "numbers":
            self.losses.append(losses_of(self.loss, made, self.model.scaled(y)))
            made = self.model.unscaled(made)
        else:
            if targets == "flags":
                y = y.reshape(made.shape)
            self.losses.append(losses_of(self.loss, made, y))
        if targets == "labels":
            self._labels(made, batch)
        if targets == "flags":
            said = made > 0
            self.right.append((said == (y > 0.5)).all(1))
            if self.confused:
                self.counts += scores.flag_counts(y, said, batch.weight)
        if self.keep:
            self.outputs.append(made)

    def _labels(self, made: Array, batch: Batch) -> None:
        y, said = batch.y, made.argmax(1)
        self.right.append(said == y)
        if self.confused:
            more = scores.confusion_matrix(y, said, self.count, batch.weight)
            self.matrix = self.matrix + more
        for name, hits in self.rows.items():
            score = scores.SCORES[name].of
            assert score is not None
            flat = np.moveaxis(made, 1, -1).reshape(-1, self.count)
            hits.append(score(np.maximum(y, 0).reshape(-1), flat).reshape(y.shape))

    def evaluation(self, targets: Array, weights: Array | None, keep: bool) -> Evaluation:
        """All of it."""
        every = np.concatenate(self.outputs) if self.keep else None
        found = {name: self._score(name, targets, every, weights) for name in self.wanted}
        return Evaluation(
            every if keep else None,
            targets,
            np.concatenate(self.losses),
            np.concatenate(self.right) if self.right else None,
            found,
            weights,
            self.loss != "cross_entropy",
        )

    def _score(
        self, name: str, targets: Array, every: Array | None, weights: Array | None
    ) -> float:
        if self.kind.targets == "numbers":
            assert every is not None
            return scores.of_numbers(name, targets, every, weights)
        if self.kind.targets == "flags":
            flags = targets.reshape(len(targets), *self.model.graph.output.shape)
            return scores.of_flags(name, self.counts, flags, every, weights)
        if name in self.rows:
            hits, counted = np.concatenate(self.rows[name]), targets >= 0
            wide = None
            if weights is not None:
                each = weights.reshape(-1, *(1,) * (hits.ndim - 1))
                wide = np.broadcast_to(each, hits.shape)[counted]
            return float(np.average(hits[counted], weights=wide)) if counted.any() else 0.0
        return scores.of_labels(name, self.matrix, targets, every, weights)


def losses_of(loss: str, made: Array, target: Array) -> Array:
    """The loss of each sample (n,), a mean over its positions, in float64: of outputs as the
    network makes them.
    """
    kind = kind_of(loss)
    if kind.formula is not None:
        each = formula_of(kind.formula, [made, target.reshape(made.shape)])
    elif loss == "dice":
        each = dice(made, target)
    else:
        each = cross_entropy(made, target)
    return np.asarray(each.reshape(len(made), -1).mean(1))


def dice(logits: Array, labels: Array) -> Array:
    """1 - (2 sum p t + 1) / (sum p + sum t + 1) of each sample and class (n, classes), over the
    positions whose label is not -1, in float64.
    """
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    count = p.shape[1]
    wide = np.arange(count).reshape(-1, *(1,) * (labels.ndim - 1))
    t = labels[:, np.newaxis] == wide
    axes = tuple(range(2, p.ndim))
    p = p * (labels >= 0)[:, np.newaxis]
    both, size = (p * t).sum(axes), p.sum(axes) + t.sum(axes)
    return np.asarray(1 - (2 * both + SMOOTH) / (size + SMOOTH))


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
    what = targets_of(loss)
    if what != "labels":
        wanted = output.shape
        if targets.dtype.kind != "f":
            raise FaltungTypeError(f"y.dtype={targets.dtype}: must be floats for loss={loss!r}")
        fits = targets.size == len(source) * output.size
    else:
        wanted = output.space
        if targets.dtype.kind not in "iu":
            raise FaltungTypeError(f"y.dtype={targets.dtype}: labels must be whole numbers")
        fits = targets.shape[1:] == wanted
    if not fits:
        form = f"(n, {', '.join(map(str, wanted))})" if wanted else "(n,)"
        raise FaltungError(f"y.shape={targets.shape}: must be {form}")
    if what == "flags":
        check_flags(targets)
    if what == "labels":
        least, most = int(targets.min()), int(targets.max())
        if least < -1 or most >= output.channels:
            worst = most if most >= output.channels else least
            raise FaltungError(f"y: label {worst}: must be from 0 to {output.channels - 1}")


def check_classes(model: Network, metric: str, targets: Array, loss: str = "cross_entropy") -> None:
    """ValueError: a class without samples, where a metric is not defined without; of several labels
    at once, one that no sample has, or all.
    """
    if scores.SCORES[metric].kind != "probabilities":
        return
    count, every = model.graph.output.channels, "samples of every class"
    if targets_of(loss) == "flags":
        rows = np.moveaxis(targets.reshape(len(targets), count, -1), 1, -1).reshape(-1, count)
        share = (rows > 0.5).mean(0)
        absent = np.flatnonzero((share == 0) | ((share == 1) & (metric == "auc")))
        every = "samples with and without every label" if metric == "auc" else every
    else:
        absent = np.flatnonzero(np.bincount(targets[targets >= 0], minlength=count)[:count] == 0)
    if absent.size:
        names = class_names(model)
        raise FaltungError(
            f"metric={metric!r}: needs {every}, there are none of "
            f"{listing([names[i] for i in absent])}; take another metric, such as 'f1'"
        )


def class_names(model: Network) -> tuple[str, ...]:
    """What the outputs are called, at least their numbers."""
    return model.classes or tuple(map(str, range(model.graph.output.channels)))
