"""The means by which a model is made smaller, and what each of them is.

A means is a function ``(model, task, strength) -> Outcome``. It makes a new model and leaves the
one that it is given as it is; its result follows from its arguments alone, bit for bit, whatever
the number of threads. A layer that it cannot take it leaves as it is, and says so.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, cast

import numpy.typing as npt

from faltung.data.source import Source
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.nn import Layer
from faltung.train.model import Model
from faltung.train.settings import Settings

# What a means is to save: bytes of the file, or multiply-adds.
Saving = Literal["bytes", "macs"]


@dataclass(frozen=True)
class Task:
    """What a means may look at besides the model.

    train: samples with their targets, for importances and calibration, those that the model was
    trained on. loss: of the training. seed: of whatever is drawn. by: what is to be saved.
    settings: how it was trained, for a means that trains it on.
    """

    train: Source
    loss: str = "cross_entropy"
    seed: int = 0
    by: Saving = "bytes"
    settings: Settings | None = None


@dataclass(frozen=True)
class Left:
    """A layer that a means has left as it is, and why."""

    layer: str
    why: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.why}"


@dataclass(frozen=True)
class Outcome:
    """``model``: the new one; ``left``: layers that stayed as they are; ``said``: what was done, in
    a few words. ``changed``: whether anything was.
    """

    model: Model
    left: tuple[Left, ...] = ()
    said: str = ""
    changed: bool = True


class Apply(Protocol):
    """What every means is."""

    def __call__(self, model: Model, task: Task, strength: float) -> Outcome: ...


@dataclass(frozen=True)
class Means:
    """A row of the table.

    home: "module:function" of an ``Apply``, imported when it is needed. strength: what that number
    is. says: what the means does, as a report says it.
    """

    home: str
    strength: str
    says: str

    def apply(self) -> Apply:
        """The function."""
        module, _, name = self.home.partition(":")
        return cast(Apply, getattr(import_module(module), name))

    @property
    def here(self) -> bool:
        """Whether this Faltung has it."""
        return find_spec(self.home.partition(":")[0]) is not None


MEANS: dict[str, Means] = {
    "prune": Means(
        "faltung.compress.prune:apply",
        "part of the bytes, or of the multiply-adds, that goes",
        "channels of least importance are gone",
    ),
    "factorise": Means(
        "faltung.compress.factorise:factorise",
        "the sum over layers of the parts of energy that are lost",
        "layers are products of smaller ones",
    ),
    "quantise": Means(
        "faltung.compress.quantise:apply",
        "bits of a weight",
        "weights and activations are whole numbers times a scale",
    ),
    "sixteen": Means(
        "faltung.compress.sixteen:sixteen",
        "float16 up to a half, bfloat16 above",
        "weights and activations in 16 bits",
    ),
    "palettes": Means(
        "faltung.compress.palettes:palettes",
        "bits of a weight, on average, in the file",
        "weights take values of small palettes",
    ),
}


def remade(model: Model, net: Layer, parameters: Mapping[str, npt.ArrayLike]) -> Model:
    """Another network in the place of this one: for the same samples and classes, trained on the
    same loss. ``parameters``: all of the new network. ValueError: some are missing, or do not fit.
    """
    made = Model(
        net,
        model.input_shape,
        dtype=model.dtype,
        tokens=model.tokens,
        classes=model.classes,
        standard=model.standard,
        units=model.units,
        precision=model.precision,
    )
    made.loss, made.layout = model.loss, model.layout
    made.target_scale = model.target_scale
    if made.graph.output.shape != model.graph.output.shape:
        raise FaltungError(
            f"net: has outputs of shape {made.graph.output.shape}: must be "
            f"{model.graph.output.shape}"
        )
    given: dict[str, Any] = dict(parameters)
    absent = [p.name for p in made.training_graph.parameters if p.name not in given]
    if absent:
        raise FaltungError(f"parameters: {absent[0]!r}: is missing")
    made.set_parameters(given)
    return made
