"""What a training step compares its outputs with: targets and weights, copied into its memory.

Smoothing and weights of labels are part of the kernel. Where targets are probabilities of the
classes they are multiplied in here, so that a label and its one-hot row give the same loss.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.differentiate import Training
from faltung.graph.value import Value
from faltung.program.inputs import copy_in

Array = npt.NDArray[Any]


class Counted(NamedTuple):
    """What a batch counts for. rows: that count, of numbers elements. total: the sum of the weights
    of their classes; those of samples are not in it, or a heavy sample would lose its weight.
    mask: which rows (samples, *space) count; None: all.
    """

    rows: int
    total: float
    mask: Array | None


class Compared:
    """The memory of a step for targets. ``array``: where a value is.

    smoothing: of labels. class_weight: one number for each class, if the graph has them.
    """

    def __init__(
        self,
        training: Training,
        batch: int,
        smoothing: float,
        class_weight: Sequence[float] | None,
        array: Callable[[Value], Array],
    ) -> None:
        if (class_weight is None) != (not training.weighted):
            raise FaltungError("class_weight: must be given if the graph has them, and only then")
        self.training, self.batch = training, batch
        wanted = training.wanted
        self._target = array(wanted.target)
        self._labels, self._counted, self._each = (
            None if value is None else array(value)
            for value in (wanted.labels, wanted.counted, wanted.samples)
        )
        # Weights of samples are in the formula, or multiplied with the probabilities.
        self._soft = wanted.labels is not None
        array(wanted.smoothing)[...] = smoothing
        self._smoothing = smoothing if self._soft else 0.0
        self._classes: Array | None = None
        if class_weight is not None:
            # As the kernel has them.
            rounded = np.asarray(class_weight, training.graph.dtype)
            self._classes = rounded.astype(np.float64)
            if wanted.classes is not None:
                array(wanted.classes)[...] = class_weight

    @property
    def whole(self) -> Counted:
        """What a batch counts for in which everything counts: of numbers and flags every element
        of every sample.
        """
        output = self.training.graph.output
        rows = self.batch * output.samples * output.positions
        if self.training.targets == "labels":
            return Counted(rows, float(rows), None)
        every = self.batch * output.samples * output.size
        return Counted(rows if self.training.targets == "flags" else every, float(every), None)

    def feed(self, target: Array, weight: Array | None) -> Counted:
        """Copy targets, and perhaps a weight for each sample. ValueError, TypeError."""
        each = self._weights(weight)
        if self._soft:
            return self._probabilities(target, each)
        wanted = self.training.target
        last = wanted.kind == "float" and bool(wanted.space)
        shape = (self.batch * wanted.samples, *wanted.shape)
        if wanted.kind == "int" and target.dtype.kind == "f" and target.ndim == len(shape) + 1:
            raise FaltungTypeError(
                "target: probabilities of classes need a graph that was differentiated with soft"
            )
        copy_in("target", target, shape, self._target, last=last)
        if wanted.kind == "int":
            return self._labelled()
        return self.whole

    def _weights(self, given: Array | None) -> Array | None:
        """A weight for each sample in float64, written where the formula reads it."""
        if given is None:
            if self._each is not None:
                self._each[...] = 1.0
            return None
        if self._each is None and not self._soft:
            raise FaltungError(
                "weight: samples have weights only if the graph was differentiated so"
            )
        each = np.asarray(given, np.float64)
        if each.shape != (self.batch,):
            raise FaltungError(f"weight.shape={each.shape}: must be ({self.batch},)")
        if not (np.isfinite(each).all() and each.min() >= 0):
            raise FaltungError("weight: must be at least 0 and finite")
        if self._each is not None:
            many = self.training.target.samples
            self._each[...] = np.repeat(each, many).reshape(self._each.shape)
        return each

    def _labelled(self) -> Counted:
        check_labels(self._target, self.training.graph.output.channels)
        mask = self._target >= 0
        rows = int(np.count_nonzero(mask))
        total = float(max(1, rows))
        if self._classes is not None:
            each = np.bincount(self._target[mask], minlength=len(self._classes))
            total = float(each @ self._classes)
        return Counted(rows, total, mask)

    def _probabilities(self, target: Array, each: Array | None) -> Counted:
        """Labels, or a probability for each class, channels first; rows of zeros do not count."""
        wanted, into = self.training.target, self._target
        channels = wanted.channels
        rows = into.shape[:-1]
        if target.dtype.kind in "iu":
            shape = (self.batch * wanted.samples, *wanted.space)
            labels = np.zeros(rows, np.int64)
            copy_in("target", target, shape, labels, last=False)
            check_labels(labels, channels)
            t = (labels[..., np.newaxis] == np.arange(channels)).astype(np.float64)
        else:
            t = np.zeros(into.shape)
            shape = (self.batch * wanted.samples, *wanted.shape)
            copy_in("target", target, shape, t, last=bool(wanted.space))
            if not t.min() >= 0:
                raise FaltungError("target: probabilities of classes must be at least 0")
            labels = np.where(t.any(-1), t.argmax(-1), -1)
        mask = labels >= 0
        assert self._labels is not None
        self._labels[...] = labels.reshape(self._labels.shape)
        if self._counted is not None:
            self._counted[...] = mask.reshape(self._counted.shape)
            into[...] = t
            return Counted(int(np.count_nonzero(mask)), self._of_classes, mask)
        weights = np.ones(channels) if self._classes is None else self._classes
        for_each = np.ones(len(t)) if each is None else np.repeat(each, wanted.samples)
        for_each = for_each.reshape(-1, *(1,) * (t.ndim - 1))
        total = float((t * weights).sum())
        if self._smoothing:
            t = (1 - self._smoothing) * t + t.sum(-1, keepdims=True) * self._smoothing / channels
        into[...] = t * weights * for_each
        return Counted(int(np.count_nonzero(mask)), total, mask)

    @property
    def _of_classes(self) -> float:
        """The sum of the weights of the classes of all samples."""
        channels = self.training.target.channels
        return self.batch * float(channels if self._classes is None else self._classes.sum())


def check_labels(labels: Array, outputs: int) -> None:
    """ValueError: a label without an output. Kernels read labels modulo the width of a lane."""
    most = int(labels.max())
    if most >= outputs:
        raise FaltungError(f"target: label {most}: must be below {outputs}")
