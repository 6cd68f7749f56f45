"""What a model is worth in bits: how short the labels of samples become when they are told by it.

Somebody has the samples and wants their labels. They can be sent

plain             log2 K bits each, for K classes
by frequencies    the classes as often as they have occurred until then, each beginning with one
                  (P. S. Laplace's rule): nothing else has to be sent
in two parts      the weights of the network, then the labels as the network expects them: -log2 p
                  bits for a label to which it gave the probability p (J. Rissanen, "Modeling by
                  shortest data description", 1978)
one after the other   (``prequential.py``) no weights at all: the receiver trains too

A code is shorter than the plain one only if something was learned that holds for labels that were
not seen: who knows the labels by heart pays for them in weights.
"""

import os
from math import lgamma, log, log2
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import Source
from faltung.formats.tensors import coded_size
from faltung.geometry.errors import FaltungArithmeticError, FaltungError
from faltung.geometry.record import dataclass
from faltung.train.evaluate import evaluate
from faltung.train.model import Model

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Code:
    """Bits of ``labels`` labels, in one way or another."""

    bits: float
    labels: int

    @property
    def each(self) -> float:
        return self.bits / self.labels


@dataclass(frozen=True)
class Worth:
    """The labels of some samples in bits. ``classes``: K. ``weights``: bits of the network's file;
    ``kept``: of the file as it is, which may not be coded. ``given``: labels given the network.
    ``held``: the same of samples that the run has held out, None where none are known.
    """

    classes: int
    plain: Code
    frequencies: Code
    weights: float
    kept: float
    given: Code
    held: Code | None = None

    @property
    def two_parts(self) -> Code:
        return Code(self.weights + self.given.bits, self.given.labels)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        made: dict[str, Any] = {
            "labels": self.plain.labels,
            "classes": self.classes,
            "plain": self.plain.bits,
            "frequencies": self.frequencies.bits,
            "weights": self.weights,
            "weights_as_kept": self.kept,
            "labels_given_model": self.given.bits,
            "two_parts": self.two_parts.bits,
        }
        if self.held is not None:
            made["held_out"] = {"labels": self.held.labels, "bits": self.held.bits}
        return made


def worth(
    model: Model, source: Source, file: str | os.PathLike[str], held: Source | None = None
) -> Worth:
    """The labels of a source by a model whose weights are in a file. ValueError: targets that are
    no labels, or no label at all.
    """
    check_labels(model)
    labels, classes = counted(source.targets), model.graph.output.channels
    kept = 8.0 * os.stat(file).st_size
    return Worth(
        classes,
        Code(len(labels) * log2(classes), len(labels)),
        Code(frequency_bits(labels, classes), len(labels)),
        min(kept, 8.0 * coded_size(model.parameters)),
        kept,
        label_bits(model, source),
        None if held is None else label_bits(model, held),
    )


def check_labels(model: Model) -> None:
    """ValueError: a model of numbers."""
    if model.targets == "flags":
        raise FaltungError(
            f"loss={model.loss!r}: the run learned several labels at once; bits are of one label"
        )
    if model.targets == "numbers":
        raise FaltungError(
            f"loss={model.loss!r}: the run learned numbers, which have no code length without a "
            "precision to which they are told; bits are of labels"
        )
    if model.graph.output.channels < 2:
        raise FaltungError("net: has one output, so there is nothing to tell: it needs two classes")


def counted(targets: npt.ArrayLike) -> Array:
    """The labels that count, one after the other. ValueError: there are none."""
    labels = np.asarray(targets).reshape(-1)
    labels = labels[labels >= 0]
    if not len(labels):
        raise FaltungError("y: no label counts, all are -1")
    return labels


def label_bits(model: Model, source: Source) -> Code:
    """The labels of samples as a model expects them. FloatingPointError: not finite answers."""
    labels = np.asarray(source.targets)
    found = evaluate(model, source)
    # Each loss is a mean over the positions of a sample.
    bits = float(found.losses.sum()) * (labels.size / len(labels)) / log(2)
    if not np.isfinite(bits):
        raise FaltungArithmeticError("model: its answers are not finite, so labels have no bits")
    return Code(bits, len(counted(labels)))


def frequency_bits(labels: Array, classes: int, before: Array | None = None) -> float:
    """Labels one after the other, each by how often its class has occurred so far, plus one.

    The product of these probabilities does not depend on the order. ``before``: labels that are
    known already.
    """
    known = np.zeros(classes) if before is None else np.bincount(before, minlength=classes)
    counts = np.bincount(labels, minlength=classes)
    total = lgamma(known.sum() + len(labels) + classes) - lgamma(known.sum() + classes)
    each = sum(lgamma(k + n + 1) - lgamma(k + 1) for k, n in zip(known, counts, strict=True))
    return float((total - each) / log(2))
