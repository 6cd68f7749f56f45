"""The receptive field of a trained network as gradients show it, beside what theory allows.

For a few units of each layer: the mean over channels of |d unit / d input|, summed over those of
the input. What a unit could see and what it uses differ: W. Luo, Y. Li, R. Urtasun and
R. Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", 2016.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.explore.fields import Part, parts
from faltung.explore.shown import evenly, finite, levels
from faltung.geometry.errors import FaltungError
from faltung.geometry.part import Span
from faltung.graph.sight import sights, span
from faltung.train.map_sheets import shrunk
from faltung.train.network import Network

Array = npt.NDArray[Any]

# Layers that are measured, channels of each, and entries of an axis of what is kept: of pictures
# and series, and of volumes.
LAYERS, CHANNELS, KEPT, KEPT_VOLUME = 12, 8, 64, 16
MOST = 0.9  # of the gradient, in the box that is named
# Multiply-adds of all that is measured: a larger network has fewer layers measured, at least three.
WORK = 2e11


def measured(model: Network, sample: Array | None) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """For some layers, by name, what their central unit and one in a corner see; and in words what
    was done. sample: as a source reads it; None: noise with the mean and the deviation of what
    the network was trained on.
    """
    if model.tokens:
        return {}, "Nothing is measured: tokens are names, for which there is no gradient."
    seen = sights(model.graph)
    every = [part for part in parts(model.graph) if _wide(part, seen)]
    work = 3 * 2 * CHANNELS * sum(row.macs for part in every for row in part.rows)
    few = max(3, min(LAYERS, int(WORK / max(work, 1))))
    chosen = [every[number] for number in evenly(len(every), few)]
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        every_grad = gradients(model, [(p.rows[-1].name, _places(p)) for p in chosen], sample)
    except FaltungError as error:
        return {}, f"Nothing is measured: {error}."
    for part, grads in zip(chosen, every_grad, strict=True):
        axes = seen[part.last.name].axes or ()
        found[part.name] = [
            _said(grad, unit, [span(along, place) for along, place in zip(axes, unit, strict=True)])
            for unit, grad in zip(_places(part), grads, strict=True)
        ]
    of = "noise" if sample is None else "this sample"
    said = f"Measured on {of}: |\N{PARTIAL DIFFERENTIAL} unit / \N{PARTIAL DIFFERENTIAL} input|, "
    said += f"the mean over at most {CHANNELS} channels of the layer, summed over those of the "
    said += "input."
    return found, said


def _wide(part: Part, seen: Mapping[str, Any]) -> bool:
    sight = seen.get(part.last.name)
    return (
        part.last.kind == "float"
        and part.last.positions > 1
        and sight is not None
        and sight.axes is not None
    )


def _places(part: Part) -> list[tuple[int, ...]]:
    """The units of a layer that are measured: the one in the middle, and one in a corner."""
    space = part.last.space
    return list(dict.fromkeys([tuple(n // 2 for n in space), (0,) * len(space)]))


def gradients(
    model: Network,
    asked: Sequence[tuple[str, Sequence[tuple[int, ...]]]],
    sample: Array | None,
) -> list[list[Array]]:
    """For layers by name and units of each the gradient's size at every entry of the input.

    All of them run through one program: a sample for each channel of each unit.
    """
    values = model.layer_values()
    every = [
        (name, (channel, *unit))
        for name, units in asked
        for unit in units
        for channel in evenly(values[name].channels, CHANNELS)
    ]
    if not every:
        return []
    x = _given(model, sample, len(every))
    size = finite(np.abs(model.unit_gradients(x, every)).sum(1))
    made: list[list[Array]] = []
    start = 0
    for name, units in asked:
        many = min(values[name].channels, CHANNELS)
        ends = [start + many * i for i in range(len(units))]
        made.append([size[end : end + many].mean(0, dtype=np.float64) for end in ends])
        start += many * len(units)
    return made


def _given(model: Network, sample: Array | None, count: int) -> Array:
    """Samples as the network takes them, one for each channel."""
    dtype = model.graph.dtype
    if sample is None:
        # The same few samples for every unit.
        some = np.random.default_rng(0).standard_normal((CHANNELS, *model.input_shape))
        return np.resize(some, (count, *model.input_shape)).astype(dtype)
    one = np.asarray(model.standardised(sample[np.newaxis]), dtype)
    return np.broadcast_to(one, (count, *one.shape[1:]))


def _said(grad: Array, unit: tuple[int, ...], theory: Sequence[Span]) -> dict[str, Any]:
    """What the page is told of one unit."""
    total = float(grad.sum())
    clipped = [(max(0, a), min(n, b)) for (a, b), n in zip(theory, grad.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in clipped)
    inner = grad[box]
    kept = KEPT if inner.ndim < 3 else KEPT_VOLUME
    small = shrunk(inner[np.newaxis], kept)[0]
    # Square roots: most of a field is far weaker than its centre.
    level = np.sqrt(small / (small.max(initial=0.0) or 1.0))
    return {
        "unit": list(unit),
        "from": [a for a, _ in clipped],
        "step": math.ceil(max(inner.shape) / kept),
        "levels": levels(np.rint(255 * level)),
        "most": [list(one) for one in smallest(grad, theory, MOST)] if total else [],
        "inside": round(float(inner.sum()) / total, 6) if total else 0.0,
    }


def smallest(grad: Array, theory: Sequence[Span], part: float) -> list[Span]:
    """The smallest box around the centre of a field, in its proportions, with so much of the sum
    of a gradient; it is clipped at the borders.
    """
    total = float(grad.sum())
    sizes = [b - a for a, b in theory]
    box: list[Span] = []
    for step in range(max(sizes)):
        # From the centre outwards, one entry at a time along the longest axis.
        out = [(size - 1) * (1 - step / max(max(sizes) - 1, 1)) / 2 for size in sizes]
        inner = [
            (max(0, a + math.floor(cut)), min(n, b - math.floor(cut)))
            for (a, b), cut, n in zip(theory, out, grad.shape, strict=True)
        ]
        if any(a >= b for a, b in inner):
            continue
        box = inner
        if float(grad[tuple(slice(a, b) for a, b in inner)].sum()) >= part * total:
            break
    return box
