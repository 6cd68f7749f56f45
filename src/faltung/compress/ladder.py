"""The same mapping in fewer and fewer numbers: from a dense matrix down to a coded convolution.

A network of three mappings and a linear layer is built in three ways. Where a mapping has N_in
numbers in and N_out out, in C_in and C_out channels, and a kernel sees k positions, it takes

dense     N_out * N_in                     weights: every output sees every input
local     C_out * C_in * k * positions     every output sees its neighbourhood, by its own weights
conv      C_out * C_in * k                 all positions share their weights

All three have outputs of the same shapes, and each can do what those below it can. The convolution
is then pruned, put on grids of 8 bits, and given palettes that a file tells by how seldom their
values are. Every step is trained on the same samples in the same way, and answers for samples that
chose nothing: all settings are fixed beforehand.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from faltung.compress.bits import check_labels, label_bits
from faltung.compress.means import MEANS, Task
from faltung.compress.prequential import prequential
from faltung.compress.quality import quality
from faltung.data.source import Source
from faltung.data.standard import learned
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.nn import Conv, Flatten, Layer, Linear, Local, ReLU, Sequential
from faltung.train.interrupts import Stopped
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.settings import Settings

CHANNELS = (8, 16, 16)
POSITIONS = 256  # that the first mapping has at most, about
ENDS = (4, 4, 2)  # positions along an axis that the last one has, about, by rank
MOST_WEIGHTS = 30_000_000  # of a network that is trained
STEPS, EPOCHS, SMOOTHING = 1500, 40, 0.05
PRUNED, TUNED = 0.4, 0.5  # what pruning takes, and the part of the epochs that follows it
BITS = 2.0  # of a weight, at the end


@dataclass(frozen=True)
class Rung:
    """A step of the ladder, as it was measured.

    formula: of the numbers of the three mappings, ``numbers`` of them, of ``parameters`` of the
    network; ``sum``: the formula with numbers. bytes: of the file. two_parts: bits of the file and
    of the labels that it was trained on; one_by_one: the prequential code of those, where the step
    is a network that is trained from nothing. accuracy: on ``samples`` samples that chose nothing,
    with its interval. None: a network that is too large to train here.
    """

    name: str
    formula: str
    sum: str
    says: str
    numbers: int
    parameters: int
    bytes: int | None = None
    two_parts: float | None = None
    one_by_one: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Ladder:
    """``plain``: bits of the labels without a network; ``classes``, ``labels``, ``shape``: of the
    samples; ``rungs``: from the top.
    """

    plain: float
    classes: int
    labels: int
    shape: tuple[int, ...]
    rungs: tuple[Rung, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "rungs": [rung.as_dict() for rung in self.rungs]}


@dataclass(frozen=True)
class Sizes:
    """One mapping: channels and positions on both sides, and how a convolution would do it."""

    channels: int
    positions: int
    outputs: int
    ends: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]


def sizes(shape: Sequence[int]) -> tuple[Sizes, ...]:
    """The three mappings for samples of a shape (channels, *space)."""
    channels, space = shape[0], list(shape[1:])
    rank = len(space)
    end = ENDS[min(rank, len(ENDS)) - 1]
    first = max(1, ceil((prod(space) / POSITIONS) ** (1 / rank)))
    made = []
    for number, outputs in enumerate(CHANNELS):
        left = len(CHANNELS) - number
        strides = [
            first if number == 0 else max(1, ceil((size / end) ** (1 / left))) for size in space
        ]
        strides = [min(s, size) for s, size in zip(strides, space, strict=True)]
        kernel = [max(5 if rank == 1 else 3, 2 * s - 1) for s in strides]
        # No kernel sees more than there is; odd ones have a middle.
        kernel = [min(k, size - 1 + size % 2) for k, size in zip(kernel, space, strict=True)]
        ends = [-(-size // s) for size, s in zip(space, strides, strict=True)]
        made.append(
            Sizes(channels, prod(space), outputs, prod(ends), tuple(kernel), tuple(strides))
        )
        channels, space = outputs, ends
    return tuple(made)


# A formula in letters, its product for one mapping, and the layers of one.
def _dense(s: Sizes) -> tuple[list[int], list[Layer]]:
    return [s.outputs * s.ends, s.channels * s.positions], [Flatten(), Linear(s.outputs * s.ends)]


def _local(s: Sizes) -> tuple[list[int], list[Layer]]:
    layer = Local(s.outputs, s.kernel, stride=s.stride, padding="same")
    return [s.outputs, s.channels, prod(s.kernel), s.ends], [layer]


def _conv(s: Sizes) -> tuple[list[int], list[Layer]]:
    layer = Conv(s.outputs, s.kernel, stride=s.stride, padding="same")
    return [s.outputs, s.channels, prod(s.kernel)], [layer]


@dataclass(frozen=True)
class Way:
    """How a mapping can be written."""

    name: str
    formula: str
    says: str
    make: Callable[[Sizes], tuple[list[int], list[Layer]]]


WAYS = (
    Way("dense matrix", "N_out · N_in", "every output sees every input", _dense),
    Way(
        "local layer",
        "C_out · C_in · k · positions",
        "every output sees its neighbourhood",
        _local,
    ),
    Way("convolution", "C_out · C_in · k", "all positions share their weights", _conv),
)
FORMULAS = {
    "pruned": ("fewer C_out · C_in · k", "channels of least importance are gone"),
    "quantised": ("8 bits each", "weights are whole numbers times a scale"),
    "coded": ("log2(1 / p) bits each", "few values, told by how seldom they are"),
}


def network(way: Way, shape: Sequence[int], classes: int) -> tuple[Layer, list[list[int]]]:
    """A network whose mappings are written in one way, and the factors of their numbers."""
    layers: list[Layer] = []
    factors = []
    for size in sizes(shape):
        product, own = way.make(size)
        factors.append(product)
        layers += [*own, ReLU()]
    return Sequential(*layers, Flatten(), Linear(classes, name="classes")), factors


def climb_down(
    train: Source,
    held: Source,
    *,
    seed: int = 0,
    epochs: int | None = None,
    quick: bool = False,
    noted: Callable[[Rung], object] = lambda rung: None,
) -> Ladder:
    """All rungs. ``quick``: without the prequential code. ``noted``: called with each rung.

    ValueError: samples that are no maps, or targets that are no labels. KeyboardInterrupt: after
    Ctrl-C.
    """
    classes = train.classes
    if classes is None or len(train.shape) < 2 or np.asarray(train.targets).ndim != 1:
        raise FaltungError(
            "data: must be pictures, series or volumes with one label each: the ladder has "
            "neighbourhoods and classes"
        )
    steps = max(1, -(-len(train) // Settings().batch))
    settings = Settings(
        epochs=epochs or max(1, min(EPOCHS, STEPS // steps)), smoothing=SMOOTHING, seed=seed
    )
    rungs = []
    with tempfile.TemporaryDirectory(prefix="faltung-ladder-") as folder:
        maker = _Maker(train, held, settings, Path(folder), quick)
        for rung in maker.rungs():
            noted(rung)
            rungs.append(rung)
    found = np.log2(len(classes)) * len(train)
    return Ladder(float(found), len(classes), len(train), tuple(train.shape), tuple(rungs))


@dataclass
class _Maker:
    """What makes and measures the rungs."""

    train: Source
    held: Source
    settings: Settings
    folder: Path
    quick: bool

    def rungs(self) -> Iterator[Rung]:
        """From the top."""
        model: Model | None = None
        for way in WAYS:
            net, factors = network(way, self.train.shape, len(self.train.classes or ()))
            numbers = sum(map(prod, factors))
            total = " + ".join("·".join(map(str, each)) for each in factors)
            rung = Rung(way.name, way.formula, total, way.says, numbers, numbers)
            if numbers > MOST_WEIGHTS:
                yield replace(rung, says="too large to be trained here")
                continue
            model = self._model(net)
            self._fit(model, self.settings)
            yield self._measured(rung, model, told=True)
        assert model is not None  # a convolution is never too large
        yield from self._below(model)

    def _model(self, net: Layer) -> Model:
        standard, units = learned(self.train)
        made = Model(
            net,
            self.train.shape,
            classes=self.train.classes,
            seed=self.settings.seed,
            standard=standard,
            units=units,
        )
        check_labels(made)
        return made

    def _fit(self, model: Model, settings: Settings) -> None:
        loop = Loop(model, settings, self.train, None, show=False)
        loop.run()
        if loop.position.epoch < settings.epochs:
            raise KeyboardInterrupt

    def _below(self, model: Model) -> Iterator[Rung]:
        """What is made of the trained convolution, by the means that there are."""
        task = Task(self.train, self.settings.loss, self.settings.seed, settings=self.settings)
        if MEANS["prune"].here:
            model = MEANS["prune"].apply()(model, task, PRUNED).model
            part = max(1, round(TUNED * self.settings.epochs))
            self._fit(
                model, replace(self.settings, epochs=part, lr=self._rate(), schedule="cosine")
            )
            yield self._measured(self._named("pruned", model), model)
        if MEANS["quantise"].here:
            made = MEANS["quantise"].apply()(model, task, 8.0).model
            yield self._measured(self._named("quantised", made), made, form="packed")
        made = MEANS["palettes"].apply()(model, task, BITS).model
        yield self._measured(self._named("coded", made), made, form="coded")

    def _rate(self) -> float:
        return self.settings.rate / 2

    def _named(self, name: str, model: Model) -> Rung:
        formula, says = FORMULAS[name]
        shapes = [p.shape for p in model.graph.parameters if p.trained and len(p.shape) > 2]
        total = " + ".join("·".join(map(str, (*s[:2], prod(s[2:])))) for s in shapes)
        numbers = sum(map(prod, shapes))
        return Rung(name, formula, total, says, numbers, 0)

    def _measured(self, rung: Rung, model: Model, form: str = "", told: bool = False) -> Rung:
        """The rung with all that is measured on its model as its file has it."""
        file = self.folder / f"{rung.name}.safetensors"
        model.write(str(file), coded=form == "coded", packed=form == "packed")
        model = Model.load(file)
        size, found = file.stat().st_size, quality(model, self.held)
        low, high = found.interval()
        one_by_one = None
        if told and not self.quick:
            try:
                place = self.folder / rung.name
                one_by_one = prequential(model, self.settings, self.train, place).code.bits
            except Stopped:
                raise KeyboardInterrupt from None
        return replace(
            rung,
            parameters=sum(p.size for p in model.graph.parameters if p.trained),
            bytes=size,
            two_parts=8 * size + label_bits(model, self.train).bits,
            one_by_one=one_by_one,
            accuracy=found.value,
            low=low,
            high=high,
            samples=found.samples,
        )


__all__ = ["WAYS", "Ladder", "Rung", "climb_down", "network", "sizes"]
