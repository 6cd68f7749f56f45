"""Pruning: channels that matter least are removed, and what is left is a smaller dense network.

Channels that depend on each other go together (``dependencies.py``); groups of them are ranked over
the whole network by what the loss would change (``importance.py``) for what they cost
(``costs.py``).

>>> import numpy as np
>>> from faltung import Model, nn
>>> from faltung.compress.prune import prune
>>> x = np.random.default_rng(0).standard_normal((64, 1, 8, 8), dtype=np.float32)
>>> y = (x.mean((1, 2, 3)) > 0).astype(int)
>>> net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
>>> model = Model(net, (1, 8, 8))
>>> history = model.fit(x, y, epochs=3, show=False)
>>> prune(model, x, y, part=0.5).model
<Model (1, 8, 8) -> (2,), 330 parameters>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy.typing as npt

from faltung.compress.costs import Ledger
from faltung.compress.dependencies import Dependencies, Group, dependencies
from faltung.compress.importance import BATCH, SAMPLES, by_gradients, by_scales
from faltung.compress.means import Left, Outcome, Task, remade
from faltung.data.source import Source
from faltung.geometry.check import one_of, real, show, whole
from faltung.geometry.conv import FLOATS
from faltung.geometry.errors import FaltungError
from faltung.train.history import History
from faltung.train.model import Model
from faltung.train.samples import as_source

By = Literal["macs", "bytes", "channels"]
Importance = Literal["gradients", "scales"]
KEEP = 0.1  # of the channels of each layer that stay
# Channels of a layer that go together where time is to be saved: of vectors of eight, and of two of
# four. A layer of 33 channels takes as long as one of 40; benchmarks/results/pruned.md.
LANES = 8
# Layers lose multiples if they have so many of them: of few channels eight at once are too much.
WIDE = 4


def prune(
    model: Model,
    x: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    part: float = 0.5,
    by: By = "macs",
    importance: Importance = "gradients",
    keep: float = KEEP,
    multiple: int | None = None,
    seed: int = 0,
) -> Outcome:
    """A model without the channels that matter least for what they cost.

    Parameters
    ----------
    model : Model
        It is not changed.
    x : array_like or Source
        Samples of the training, as for ``Model.fit``.
    y : array_like, optional
        Their targets.
    part : float, above 0 and below 1
        Of what ``by`` says, how much goes.
    by : {"macs", "bytes", "channels"}
        What is to be saved: multiply-adds of a prediction, bytes of the parameters, or channels.
    importance : {"gradients", "scales"}
        How channels are ranked: by what the loss changes to the first order without them [1]_, or
        by the factors of batch normalisations [2]_, which needs no samples.
    keep : float, from 0 to 1
        The part of the channels of every layer that stays; at least one does.
    multiple : int, optional
        Layers with four times as many channels or more keep a multiple of this number: as many as
        fill vectors. By default 8 where multiply-adds are to be saved, else 1.
    seed : int
        Of the choice of samples.

    Returns
    -------
    Outcome
        The smaller model, and the layers whose channels all stay, with the reason. It needs
        fine-tuning.

    Raises
    ------
    ValueError, TypeError
        Arguments that do not fit; a part that cannot go, with the largest that can.
    FloatingPointError
        The loss or a gradient is not finite.

    References
    ----------
    .. [1] P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance estimation for neural
       network pruning", CVPR 2019.
    .. [2] Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang, "Learning efficient convolutional
       networks through network slimming", ICCV 2017.
    """
    loss = model.loss or "cross_entropy"
    part = real("part", part)
    if not 0 < part < 1:
        raise FaltungError(f"part={show(part)}: must be above 0 and below 1")
    task = Task(as_source(x, y, model, loss), loss, seed)
    made, reached = _pruned(model, task, part, by, importance, keep, multiple)
    if reached < part - 1e-9:
        raise FaltungError(
            f"part={part:g}: at most {reached:.3f} of the {by} can go; take less, or a smaller keep"
        )
    return made


def apply(model: Model, task: Task, strength: float) -> Outcome:
    """The means: without ``strength`` of the bytes or multiply-adds, or as much as can go."""
    made, _ = _pruned(model, task, strength, task.by, "gradients", KEEP)
    return made


def prune_in_rounds(
    model: Model,
    x: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    part: float = 0.5,
    rounds: int = 3,
    by: By = "macs",
    importance: Importance = "gradients",
    keep: float = KEEP,
    multiple: int | None = None,
    seed: int = 0,
    **fit: Any,
) -> tuple[Model, History]:
    """Prune a part, fine-tune, and again: the network recovers before more of it goes.

    Parameters
    ----------
    model, x, y, part, by, importance, keep, multiple, seed
        As for ``prune``; in each of the rounds the same part of what is left goes.
    rounds : int
        How often.
    **fit
        For ``Model.fit`` after each round: ``epochs``, ``lr``, ``validation``, ...

    Returns
    -------
    model, history : Model, History
        The last model, and the metrics of its fine-tuning.
    """
    each = 1 - (1 - real("part", part)) ** (1 / rounds)
    history = History()
    for _ in range(rounds):
        how: dict[str, Any] = {"by": by, "importance": importance, "keep": keep}
        model = prune(model, x, y, part=each, multiple=multiple, seed=seed, **how).model
        history = model.fit(x, y, **{"show": False, "seed": seed, **fit})
    return model, history


def _pruned(
    model: Model,
    task: Task,
    part: float,
    by: By,
    importance: Importance,
    keep: float,
    multiple: int | None = None,
) -> tuple[Outcome, float]:
    """The pruned model, and how much has really gone."""
    if model.dtype not in FLOATS:
        raise FaltungError(
            f"model.dtype={model.dtype!r}: gradients are of float32 or float64; prune first, then "
            "store in 16 bits"
        )
    one_of("by", by, get_args(By))
    one_of("importance", importance, get_args(Importance))
    found = dependencies(model.net, model.input_shape, tokens=model.tokens, dtype=model.dtype)
    if not found.groups:
        return Outcome(model, _left(found), "no channel can go", False), 0.0
    ranks = _ranks(model, found, task, importance)
    ledger = Ledger(model.graph, found, by, real("keep", keep))
    target = (1 - part) * ledger.whole
    size = (LANES if by == "macs" else 1) if multiple is None else whole("multiple", multiple, 1)
    for bundle in _order(found, ranks, ledger, size):
        if ledger.total <= target:
            break
        ledger.remove(*bundle)
    if not ledger.gone:
        return Outcome(model, _left(found), "no channel can go", False), 0.0
    made = remade(
        model,
        found.without(ledger.gone),
        found.parameters(model.parameters, ledger.gone),
    )
    gone = 1 - ledger.total / ledger.whole
    said = f"{len(ledger.gone)} of {len(found.groups)} groups of channels, {gone:.1%} of the {by}"
    return Outcome(made, _left(found), said), gone


def _ranks(
    model: Model, found: Dependencies, task: Task, importance: Importance
) -> Mapping[int, float]:
    """The importance of groups. ValueError: none has one."""
    if importance == "gradients":
        return by_gradients(
            model, found, task.train, task.loss, samples=SAMPLES, batch=BATCH, seed=task.seed
        )
    made = by_scales(model, found)
    if not made:
        raise FaltungError(
            "importance='scales': the network has no batch normalisation of channels that may go; "
            "take 'gradients'"
        )
    return made


def _order(
    found: Dependencies, ranks: Mapping[int, float], ledger: Ledger, multiple: int
) -> list[list[Group]]:
    """Groups that save something, the least important for what they cost first: so many of a layer
    at once that a multiple of a number is left.
    """
    costs = {group.label: ledger.saved(group) for group in found.groups if group.label in ranks}

    def rank(groups: Sequence[Group]) -> tuple[float, int]:
        worth = sum(ranks[group.label] for group in groups)
        return worth / sum(costs[group.label] for group in groups), groups[0].label

    layers: dict[str, list[Group]] = {}
    for group in found.groups:
        if costs.get(group.label, 0) > 0:
            layers.setdefault(group.layer, []).append(group)
    bundles: list[list[Group]] = []
    for groups in layers.values():
        groups.sort(key=lambda group: rank([group]))
        size = multiple if len(groups) >= WIDE * multiple else 1
        starts = [0, *range(len(groups) % size or size, len(groups) + 1, size)]
        bundles += [groups[start:end] for start, end in pairwise(starts)]
    return sorted(bundles, key=rank)


def _left(found: Dependencies) -> tuple[Left, ...]:
    return tuple(Left(layer, why) for layer, why in found.pinned.items())
