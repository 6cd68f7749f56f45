"""How much a network would lose with a group of channels: two estimates.

By gradients: without a group its readers see zeros, as if their weights along it were zero. To the
first order this changes the loss by the sum of these weights times their gradients, of which the
mean square over batches of training samples is taken (Molchanov et al. 2019). By scales: a batch
normalisation multiplies each channel by a trained number, and where that is small little is left of
the channel (Liu et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from faltung.compress.dependencies import Dependencies, Group
from faltung.data.loader import Batch, Loader
from faltung.data.source import Source, in_units
from faltung.geometry.errors import FaltungArithmeticError
from faltung.graph import ops
from faltung.graph.differentiate import differentiate
from faltung.graph.value import Graph
from faltung.program.optimizer import SGD
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep
from faltung.train.model import Model

Array = npt.NDArray[np.float64]
# Samples that gradients are taken of, and how many at once: their squares are averaged.
SAMPLES, BATCH = 512, 32
# Of the labels, for importances: where a trained network is sure, the gradient of the plain loss
# vanishes, and what is left comes from a few samples. ResNet-18, a quarter as wide, on digits,
# without 40% of its multiply-adds and before fine-tuning: 31% right, and with smoothed labels 86%.
SMOOTHING = 0.3


def by_gradients(
    model: Model,
    found: Dependencies,
    source: Source,
    loss: str,
    *,
    samples: int = SAMPLES,
    batch: int = BATCH,
    smoothing: float = SMOOTHING,
    seed: int = 0,
) -> dict[int, float]:
    """The mean square of what the loss changes to the first order, for the label of each group.

    Batch normalisation uses its running statistics, as it will. samples: so many of the source, in
    an order that follows from the seed; batch: at once; smoothing: of labels. FloatingPointError: a
    gradient is not finite.

    References
    ----------
    P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance estimation for neural
    network pruning", CVPR 2019.
    """
    batch = min(batch, len(source))
    graph = model.training_graph
    training = differentiate(graph, loss, frozen=normalisers(graph))
    state = State(graph.parameters, model.dtype)
    state.update(model.parameters)
    rule = SGD(0.0)
    slots = Slots(state, rule, normalisers(graph))
    step = TrainingStep(
        training,
        state,
        slots,
        batch,
        smoothing=smoothing if loss == "cross_entropy" else 0.0,
        precision=model.precision,
        keep_gradients=True,
    )
    weights = {name: np.asarray(value, np.float64) for name, value in model.parameters.items()}
    labels = {key: found.axes[key] for key in sorted(found.reads)}
    size = 1 + max((int(each.max()) for each in labels.values() if each.size), default=0)
    total, count = np.zeros(size), max(1, min(samples, len(source)) // batch)
    for number, given in zip(range(count), _batches(model, source, batch, seed), strict=False):
        target = given.y
        if training.targets != "labels":
            target = model.scaled(target)
        step(given.x, target, lr=0.0, step=number, seed=seed)
        change = np.zeros(size)
        for (name, axis), each in labels.items():
            if name in slots.trained:
                product = weights[name] * state.get(name, slots.gradients).astype(np.float64)
                others = tuple(i for i in range(product.ndim) if i != axis)
                change += np.bincount(each, product.sum(others), size)
        if not np.isfinite(change).all():
            raise FaltungArithmeticError(f"gradients of batch {number + 1}: must be finite")
        total += change * change
    return {group.label: _at(total, group.label) / count for group in found.groups}


def _at(total: Array, label: int) -> float:
    return float(total[label]) if label < len(total) else 0.0


def _batches(model: Model, source: Source, batch: int, seed: int) -> Iterator[Batch]:
    loader = Loader(
        in_units(source, model.units), batch, seed=seed, standard=model.standard, drop_last=True
    )
    for epoch in range(1, 1 << 30):
        for given in loader.epoch(epoch):
            x = model.checked_tokens(given.x) if model.tokens else given.x.astype(model.dtype)
            yield Batch(x, given.y, given.indices)


def normalisers(graph: Graph) -> tuple[str, ...]:
    """The parameters of batch normalisations."""
    own = {p.name for p in graph.parameters}
    nodes = [n for n in graph.nodes if isinstance(n.op, ops.Normalise) and n.op.over == "batch"]
    return tuple(v.name for node in nodes for v in node.inputs[1:] if v.name in own)


def by_scales(model: Model, found: Dependencies) -> dict[int, float]:
    """The mean size of the factors of batch normalisations, for the labels of those groups that one
    scales.

    References
    ----------
    Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang, "Learning efficient convolutional networks
    through network slimming", ICCV 2017.
    """
    graph = model.training_graph
    nodes = [n for n in graph.nodes if isinstance(n.op, ops.Normalise) and n.op.over == "batch"]
    gains = {node.inputs[1].name for node in nodes}
    values = {name: np.abs(np.asarray(model.parameters[name], np.float64)) for name in gains}
    return {
        group.label: float(np.concatenate(sizes).mean())
        for group in found.groups
        if (sizes := _scales(values, group))
    }


def _scales(values: Mapping[str, Array], group: Group) -> list[Array]:
    return [values[name][i] for (name, _), i in group.slices.items() if name in values]
