"""Fewer kinds of numbers: the weights of each layer become values of a palette.

A file pays for a weight by how seldom its value is (``formats/coded.py``), so the palettes are
chosen by what they cost and what they spoil: of all numbers w of a layer with the values v,

    sum of h (w - v)^2  +  penalty * bits of all v

is made small, where h says how much the loss bends along the weights of the layer: the mean of the
squared gradients, the diagonal of the Fisher information. One penalty for all layers gives each
the bits that help most, and is found such that the weights take what is asked for on average.

Then the network is trained on for a while with the weights of the palettes: steps are computed with
those and add up in numbers that are kept aside, from which each weight takes its value anew (the
gradient passes straight through the palette).

S. Han, H. Mao and W. J. Dally, "Deep compression: compressing deep neural networks with pruning,
trained quantization and Huffman coding", ICLR 2016; Y. Choi, M. El-Khamy and J. Lee, "Towards the
limit of network quantization", ICLR 2017; M. Courbariaux, Y. Bengio and J.-P. David,
"BinaryConnect: training deep neural networks with binary weights during propagations", 2015.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.clusters import Clusters, Line, clustered
from faltung.compress.means import Left, Outcome, Task, remade
from faltung.data.loader import Batch, Loader
from faltung.geometry.errors import FaltungArithmeticError, FaltungError
from faltung.graph.differentiate import differentiate
from faltung.program.training import Slots, TrainingStep
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.settings import Settings

Array = npt.NDArray[Any]

MOST, LEAST = 256, 16  # values of a palette, of a large layer and of a small one
# A value costs about three bytes of palette and table, so a small layer gets fewer of them.
_WEIGHTS_A_VALUE = 16
SMALL = 64  # weights of a layer that are not worth a palette
DIGITS = 8  # binary ones, of the values, and of all numbers without a palette
PROBES, PROBE_BATCH = 64, 16  # batches of samples that say how the loss bends
ROUNDS = 24  # of the search for the penalty
# Of the training with palettes: at most so many steps, and passes over the samples; and its rate,
# as a part of that of the training before.
STEPS, EPOCHS, RATE = 1000, 20, 0.1


def palettes(model: Model, task: Task, strength: float) -> Outcome:
    """A means: weights that take ``strength`` bits each in a coded file, on average.

    Biases, normalisations and running statistics keep 8 binary digits. ValueError: a strength that
    is not above 0 and at most 8. FloatingPointError: weights or gradients that are not finite.
    """
    if not 0 < strength <= 8:
        raise FaltungError(f"strength={strength}: must be above 0 and at most 8 bits a weight")
    chosen, left = _with_palettes(model)
    if not chosen:
        return Outcome(model, left, "no layer has enough weights for a palette", changed=False)
    made = remade(model, model.net, model.parameters)
    found = _clusters(chosen, curvature(model, task), strength)
    _tune(made, task, found)
    numbers = made.parameters
    for name, array in numbers.items():
        on_grid = f"{name}_scale" in numbers or name.endswith("weight_scale")
        numbers[name] = array if on_grid else value_of(found.get(name), array)
    result = remade(model, model.net, numbers)
    sizes = [len(each.values) for each in found.values()]
    said = f"palettes of {min(sizes)} to {max(sizes)} values for {len(sizes)} layers"
    return Outcome(result, left, said)


def _with_palettes(model: Model) -> tuple[dict[str, Array], tuple[Left, ...]]:
    """The weights that get palettes, and layers that do not."""
    numbers, found, left = model.parameters, {}, []
    for p in model.training_graph.parameters:
        if not p.trained or len(p.shape) < 2:
            continue
        layer = p.name.rpartition(".")[0] or p.name
        if f"{p.name}_scale" in numbers:
            left.append(Left(layer, "its weights lie on a grid of 8 bits"))
        elif p.size < SMALL:
            left.append(Left(layer, f"has too few weights, {p.size}: a palette needs {SMALL}"))
        elif not np.isfinite(numbers[p.name]).all():
            raise FaltungArithmeticError(f"parameters: {p.name!r}: has numbers that are not finite")
        else:
            found[p.name] = numbers[p.name]
    return found, tuple(left)


# Choosing -----------------------------------------------------------------------------------------


def curvature(model: Model, task: Task) -> dict[str, float]:
    """How much the loss bends along the numbers of each trained parameter: the mean square of the
    gradients of small batches.
    """
    probe = remade(model, model.net, model.parameters)  # a step moves running statistics
    settings = _settings(task)
    training = differentiate(probe.training_graph, settings.loss)
    slots = Slots(probe.state, settings.rule())
    batch = min(PROBE_BATCH, len(task.train))
    step = TrainingStep(training, probe.state, slots, batch, keep_gradients=True)
    loader = Loader(task.train, batch, seed=task.seed, standard=model.standard, drop_last=True)
    squares = dict.fromkeys(slots.trained, 0.0)
    for x, y, *_ in _some(loader, PROBES):
        given = probe.checked_tokens(x) if probe.tokens else x.astype(probe.dtype, copy=False)
        target = y if training.targets == "labels" else model.scaled(y)
        step(given, target, lr=0.0, seed=task.seed)
        for name in squares:
            gradient = probe.state.view(name, slots.gradients).astype(np.float64)
            squares[name] += float(np.mean(gradient**2))
    if not all(map(np.isfinite, squares.values())):
        raise FaltungArithmeticError(
            "model: its gradients are not finite, so nothing can be chosen"
        )
    # A layer without any gradient still bends a little: its weights are not free.
    least = 1e-9 * max(squares.values()) or 1.0
    return {name: max(square, least) for name, square in squares.items()}


def _some(loader: Loader, count: int) -> Any:
    """The first batches of as many epochs as it takes."""
    epoch = 0
    while True:
        for batch in loader.epoch(epoch):
            yield batch
            count -= 1
            if not count:
                return
        epoch += 1


def _clusters(
    weights: Mapping[str, Array], bends: Mapping[str, float], bits: float
) -> dict[str, Clusters]:
    """Palettes for all layers with so many bits a weight on average, or as many as there can be."""
    lines = {name: Line.of(array) for name, array in weights.items()}
    total = sum(array.size for array in weights.values())

    def at(penalty: float) -> dict[str, Clusters]:
        return {
            name: clustered(line, most(len(line.ordered)), penalty / bends[name])
            for name, line in lines.items()
        }

    # The scale of the search: where a bit is worth the mean square of the weights.
    powers = sum(bends[n] * float(np.square(line.ordered).sum()) for n, line in lines.items())
    low, high = np.log2(powers / total or 1.0) - 40, np.log2(powers / total or 1.0) + 10
    found = at(2.0**low)
    if _bits(found) <= bits * total:
        return found
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        made = at(2.0**middle)
        if _bits(made) > bits * total:
            low = middle
        else:
            high, found = middle, made
    return found


def most(size: int) -> int:
    """The largest palette of a layer with so many weights."""
    return min(MOST, max(LEAST, size // _WEIGHTS_A_VALUE))


def _bits(found: Mapping[str, Clusters]) -> float:
    return sum(each.bits for each in found.values())


def value_of(clusters: Clusters | None, numbers: Array) -> Array:
    """Numbers as the palette has them; without one with few digits."""
    if clusters is None:
        return rounded(numbers)
    values = rounded(clusters.values.astype(numbers.dtype))
    return values[clusters.index(numbers.reshape(-1))].reshape(numbers.shape)


def rounded(numbers: Array, digits: int = DIGITS) -> Array:
    """The nearest numbers with so many binary digits; of two the even one, and no negative zero."""
    fraction, exponent = np.frexp(numbers)
    made = np.ldexp(np.rint(np.ldexp(fraction, digits)), exponent - digits)
    return np.asarray(made + 0.0, numbers.dtype)


# Training on --------------------------------------------------------------------------------------


def _settings(task: Task, epochs: int = 1) -> Settings:
    """Those of the training with a low rate; without decay, which would move weights to zero that
    no longer follow.
    """
    known = (task.settings or Settings(loss=task.loss, seed=task.seed)).resolved()
    return replace(
        known,
        epochs=epochs,
        lr=RATE * known.rate,
        decay=0.0,
        schedule="cosine",
        warmup=0.0,
        patience=None,
        ema=None,
        freeze=(),
        lengthened=(),
    )


def _tune(model: Model, task: Task, found: Mapping[str, Clusters]) -> None:
    """Train a model with palettes; its weights become those from which the palettes take theirs.
    KeyboardInterrupt: after Ctrl-C.
    """
    batches = -(-len(task.train) // _settings(task).batch)
    settings = _settings(task, max(1, min(EPOCHS, STEPS // batches)))
    loop = PaletteLoop(model, settings, task.train, None, show=False)
    loop.palettes = found
    loop.run()
    if loop.position.epoch < loop.settings.epochs:
        raise KeyboardInterrupt


class PaletteLoop(Loop):
    """Training in which a step sees weights from ``palettes``, by the names of parameters."""

    palettes: Mapping[str, Clusters] = {}

    def _batch(self, batch: Batch, show: Any) -> None:
        state = self.model.state
        views = {name: state.view(name) for name in self.palettes}
        kept = {name: view.copy() for name, view in views.items()}
        seen = {name: value_of(self.palettes[name], view) for name, view in kept.items()}
        for name, view in views.items():
            view[...] = seen[name]
        super()._batch(batch, show)
        for name, view in views.items():
            view[...] = kept[name] + (view - seen[name])
