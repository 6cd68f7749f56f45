"""Distillation: a network that learns from the answers of another one beside the targets.

For labels the loss is ``(1 - distil) * cross-entropy + distil * T^2 * KL(answers || own)``, both
distributions softened by the temperature T (Hinton, Vinyals, Dean, "Distilling the knowledge in a
neural network", 2015); for numbers the same mixture of two squared errors. The teacher answers the
very samples that the student sees, changed at random and standardised; a run notes where it is and
a digest of its weights, so that it goes on with the same bits or not at all.
"""

from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.data.names import listing, printable
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import operand
from faltung.graph.ops import Elementwise
from faltung.graph.value import Graph, Node
from faltung.program.inference import Inference
from faltung.train import defaults
from faltung.train.network import Network
from faltung.train.transfer import digest

Array = npt.NDArray[Any]


class Lesson(NamedTuple):
    """What a batch is learned from. target: as a step takes it. answers: probabilities, None for
    numbers, where they are part of the target; the loss is then ``more`` larger.
    """

    target: Array
    answers: Array | None
    more: float = 0.0


class Teacher:
    """A network whose answers another one learns from. It is not changed.

    distil: their part of the loss, above 0, at most 1; temperature: at least 1 makes the answers
    softer; of classifiers only. None for the usual ones. ``about``: the table [teacher] of a run.
    ValueError, TypeError: other numbers.
    """

    def __init__(
        self,
        model: Network,
        distil: float | None = None,
        temperature: float | None = None,
        *,
        path: str = "",
    ) -> None:
        if not isinstance(model, Network):
            raise FaltungTypeError(
                f"teacher={show(model)}: must be a Model; Model.load reads one from a file"
            )
        self.model = model
        self.distil = _number("distil", defaults.DISTIL if distil is None else distil, 0, 1)
        self._given = temperature is not None
        usual = defaults.TEMPERATURE if temperature is None else temperature
        self.temperature = _number("temperature", usual, 0, float("inf"))
        self.about: dict[str, Any] = {
            "path": path,
            "digest": digest(model),
            "distil": self.distil,
            "temperature": self.temperature,
        }
        self._programs: dict[int, Inference] = {}

    def check(self, student: Network, loss: str) -> None:
        """ValueError: it does not answer the questions that this network is asked."""
        mine = self.model
        if mine is student:
            raise FaltungError(
                "teacher: must be another model than the one that learns; copy.deepcopy makes one"
            )
        what = printable(Path(self.about["path"]).name) if self.about["path"] else "it"
        for name, ours, theirs in (
            ("samples of shape", mine.input_shape, student.input_shape),
            ("tokens", mine.tokens, student.tokens),
            ("a loss", mine.loss or loss, loss),
            ("outputs of shape", mine.graph.output.shape, student.graph.output.shape),
            ("values divided by", _scale(mine), _scale(student)),
        ):
            if ours != theirs:
                raise FaltungError(
                    f"teacher: {what} was trained on {name} {show(ours)}, this network is on "
                    f"{show(theirs)}: must be the same"
                )
        classes = mine.classes, student.classes
        if None not in classes and classes[0] != classes[1]:
            said = [listing(each or (), 4) for each in classes]
            raise FaltungError(
                f"teacher: {what} knows the classes {said[0]}, this network {said[1]}: must be "
                "the same, in the same order"
            )
        if loss not in ("cross_entropy", "mse"):
            raise FaltungError(
                f"loss={loss!r}: a teacher goes with 'cross_entropy' or 'mse'; leave it out"
            )
        if self._given and loss != "cross_entropy":
            raise FaltungError(
                f"temperature={self.temperature:g}: applies to labels, not to loss={loss!r}"
            )

    def lesson(self, x: Array, target: Array, student: Network, loss: str) -> Lesson:
        """What a batch is learned from. x: as the student sees it, in float32, or tokens."""
        seen = self._seen(x, student)
        answers = self._program(len(seen), loss)(seen).astype(student.graph.dtype, copy=False)
        if loss != "cross_entropy" and self.model.target_scale != student.target_scale:
            answers = student.scaled(self.model.unscaled(answers))
        if loss == "cross_entropy":
            return Lesson(target, answers)
        wanted = target.reshape(answers.shape).astype(np.float64)
        away = wanted - answers
        mixed = (wanted - self.distil * away).astype(student.graph.dtype)
        # (1 - a) (z - y)^2 + a (z - t)^2 is (z - (1 - a) y - a t)^2 and this, which is constant.
        more = self.distil * (1 - self.distil) * float(np.square(away).mean())
        return Lesson(mixed, None, more)

    def _seen(self, x: Array, student: Network) -> Array:
        """The same samples as this network was trained to see them."""
        own, other = self.model.standard, student.standard
        if self.model.tokens:
            return self.model.checked_tokens(x)
        if own != other:
            x = x if other is None else other.undo(x)
            x = x if own is None else own(x)
        return x.astype(self.model.graph.dtype, copy=False)

    def _program(self, batch: int, loss: str) -> Inference:
        """The compiled network for a batch of this size; of a classifier with softmax."""
        if batch not in self._programs:
            labels = loss == "cross_entropy"
            graph = _cooled(self.model.graph, self.temperature) if labels else self.model.graph
            self._programs[batch] = Inference(
                graph, self.model.state, batch, softmax=labels, precision=self.model.precision
            )
        return self._programs[batch]


def teacher_of(
    model: Network | None, distil: float | None, temperature: float | None
) -> Teacher | None:
    """The teacher that the arguments of ``fit`` mean. ValueError: numbers of one without one."""
    if model is not None:
        return Teacher(model, distil, temperature)
    check_alone(distil, temperature, "teacher")
    return None


def check_alone(distil: float | None, temperature: float | None, option: str) -> None:
    """ValueError: numbers of a teacher where there is none."""
    for name, value in (("distil", distil), ("temperature", temperature)):
        if value is not None:
            raise FaltungError(f"{name}={show(value)}: needs a teacher; give {option}")


def _cooled(graph: Graph, temperature: float) -> Graph:
    """A graph whose outputs are divided by the temperature."""
    if temperature == 1:
        return graph
    output = graph.output
    cooled = replace(output, name="cooled output")
    op = Elementwise(output.shape, (operand(0) * (1 / temperature),))
    node = Node(op, (output,), (cooled,), "temperature")
    return replace(graph, nodes=(*graph.nodes, node), outputs=(cooled, *graph.outputs[1:]))


def _scale(model: Network) -> float:
    """What stored numbers are divided by before a network sees them."""
    return 1.0 if model.units is None else model.units.scale


def _number(name: str, value: object, above: float, most: float) -> float:
    """ValueError, TypeError: no number above one, and at most the other."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise FaltungTypeError(f"{name}={show(value)}: must be a number")
    made = float(value)
    if not above < made <= most or made == float("inf"):
        rule = f"above {above:g} and " + ("finite" if most == float("inf") else f"at most {most:g}")
        raise FaltungError(f"{name}={show(value)}: must be {rule}")
    return made
