"""The answers of another network, which a training step learns from beside the labels.

The loss is (1 - a) times that of the labels plus a T^2 KL(answers || softmax(logits / T)), its mean
over the rows that have a label (Hinton, Vinyals, Dean, "Distilling the knowledge in a neural
network", 2015). The answers are probabilities at the temperature T too. The gradient of the second
part for the logits is a T (softmax(logits / T) - answers): T^2 keeps it as large as that of the
first, whatever the temperature.
"""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from faltung.graph.differentiate import Answers
from faltung.graph.value import Value
from faltung.program.inputs import copy_in

Array = npt.NDArray[Any]


class Taught:
    """The memory of a step for answers, and the numbers that they are weighed with.

    part: a; temperature: T. array: where a value is.
    """

    def __init__(
        self, answers: Answers, part: float, temperature: float, array: Callable[[Value], Array]
    ) -> None:
        self.part, self.temperature = part, temperature
        self._answers = array(answers.target)
        self._shape, self._maps = answers.target.shape, bool(answers.target.space)
        self._scales = [(array(value), weight) for value, weight in answers.scales]
        self._sums = [array(answers.losses[0]), array(answers.negative_entropy)]
        array(answers.cooling)[...] = 1 / temperature

    def feed(self, given: Array, samples: int, counted: Array) -> None:
        """Copy answers (samples, C, *space); those of rows that do not count become zero."""
        into = self._answers
        copy_in("answers", given, (samples, *self._shape), into, last=self._maps)
        if not counted.all():
            into[~counted.reshape(into.shape[:-1])] = 0

    def weigh(self, rows: float) -> None:
        """Make the divergence a mean over this many rows."""
        for scale, weight in self._scales:
            scale[...] = self.part * self.temperature * weight / rows

    def mixed(self, loss: float, rows: int) -> float:
        """The loss of the last batch, of whose labels this was the loss."""
        divergence = sum(map(float, self._sums)) / rows
        return (1 - self.part) * loss + self.part * self.temperature**2 * divergence


def results(answers: Answers | None) -> list[Value]:
    """The values that a step is asked for."""
    return [] if answers is None else [*answers.losses, answers.negative_entropy]


def feeds(answers: Answers | None) -> list[Value]:
    """The values that come from outside."""
    if answers is None:
        return []
    return [answers.target, answers.cooling, *(value for value, _ in answers.scales)]
