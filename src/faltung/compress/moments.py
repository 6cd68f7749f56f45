"""What layers read: the second moments of their channels, over samples of the training.

A weight matters by what it is multiplied with. With C = E[x x^T] the mean square of what an error D
of a pointwise or linear layer does to its output is trace(D C D^T): the sum of squares of D
C^(1/2). So a weight is taken apart after it has been multiplied with that root. Of a larger kernel
each tap is taken by itself, as if what lies side by side were not correlated.

What is lost is a part of how outputs *vary*: their means, which are large after a rectifier, say
nothing about a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.sites import Site
from faltung.data.seeds import ORDER, permutation
from faltung.data.source import Source, in_units
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.value import Value
from faltung.nn import Linear
from faltung.program.inference import Inference
from faltung.train.model import Model

Array = npt.NDArray[Any]
SAMPLES, BATCH = 256, 8
ROWS = 4096  # positions that are looked at in each layer
LEAST = 1e-3  # part of the energy that is taken to vary
LARGEST = 1536  # inputs of a group, whose matrix of moments has the square of that
RIDGE = 1e-3  # of the mean square, added to each: what was never seen may be


@dataclass(frozen=True)
class Seen:
    """What a layer reads. root: L (groups, ins, ins), symmetric, with L L = C, of which the mean
    of the diagonal is 1; covariance: what is left of C without the means, to the same scale.
    """

    root: Array
    covariance: Array

    def varying(self, w: Array) -> float:
        """Which part of the energy of outputs of a weight (G, O, I, *kernel) is not their mean."""
        flat = np.moveaxis(w.reshape(*w.shape[:3], -1), 2, 3)
        whole = float(np.square(np.matmul(flat, self.root[:, None])).sum())
        part = float((np.matmul(flat, self.covariance[:, None]) * flat).sum())
        return min(1.0, max(part / whole, LEAST)) if whole > 0 else 1.0


def seen_by(model: Model, sites: Sequence[Site], source: Source, seed: int) -> dict[str, Seen]:
    """What each layer reads, by its name.

    Layers of too many inputs are left out, and those that exist in training only. ValueError: what
    a layer reads is not finite.
    """
    values = {n.layer: n.inputs[0] for n in model.graph.nodes if n.inputs}
    wanted = [site for site in sites if site.name in values and site.ins <= LARGEST]
    if not wanted:
        return {}
    different: dict[str, Value] = {values[site.name].name: values[site.name] for site in wanted}
    sums = {site.name: np.zeros((site.groups, site.ins, site.ins)) for site in wanted}
    means = {site.name: np.zeros((site.groups, site.ins)) for site in wanted}
    counts = dict.fromkeys(sums, 0)
    for arrays in _values(model, list(different.values()), source, seed):
        for site in wanted:
            rows = _rows(site, arrays[values[site.name].name])
            if not np.isfinite(rows).all():
                raise FaltungError(
                    f"train: {site.name!r} reads numbers that are not finite from some samples: "
                    "must be finite"
                )
            counts[site.name] += rows.shape[1]
            means[site.name] += rows.sum(1)
            sums[site.name] += np.einsum("gni,gnj->gij", rows, rows, optimize=True)
    return {name: _seen_as(sums[name], means[name], counts[name]) for name in sums}


def _values(
    model: Model, values: list[Value], source: Source, seed: int
) -> Iterator[dict[str, Array]]:
    """The values for some samples of a source, drawn by the seed, a batch at a time."""
    source = in_units(source, model.units)
    inner = [value for value in values if value != model.graph.input]
    order = permutation(len(source), seed, ORDER)[:SAMPLES]
    program = None
    if inner:
        graph = replace(model.graph, outputs=tuple(inner))
        program = Inference(graph, model.state, BATCH, precision=model.precision)
    for start in range(0, max(1, len(order) // BATCH * BATCH), BATCH):
        chosen = np.resize(order[start : start + BATCH], BATCH)  # of few some come twice
        x = model.standardised(source.read(np.sort(chosen)))
        made = {model.graph.input.name: x}
        if program is not None:
            results = program(x)
            results = results if isinstance(results, tuple) else (results,)
            made |= {value.name: result for value, result in zip(inner, results, strict=True)}
        yield made


def _rows(site: Site, array: Array) -> Array:
    """What a layer reads at some positions, (groups, rows, ins)."""
    if isinstance(site.layer, Linear):
        return array.reshape(1, len(array), -1).astype(np.float64)
    parts = array.reshape(len(array), site.groups, site.ins, -1)
    step = max(1, parts.shape[3] * SAMPLES // ROWS)
    parts = parts[..., step // 2 :: step]
    return parts.transpose(1, 0, 3, 2).reshape(site.groups, -1, site.ins).astype(np.float64)


def _seen_as(total: Array, mean: Array, count: int) -> Seen:
    """From sums of products and of numbers over so many rows."""
    size = np.trace(total, axis1=1, axis2=2).mean() / total.shape[1]
    if not size > 0:
        whole = np.broadcast_to(np.eye(total.shape[1]), total.shape)
        return Seen(whole, whole)
    values, vectors = np.linalg.eigh(total / size)
    scales = np.sqrt(np.maximum(values, 0.0) + RIDGE)
    root = np.asarray((vectors * scales[:, None, :]) @ vectors.swapaxes(1, 2))
    outer = mean[:, :, None] * mean[:, None, :] / count
    return Seen(root, (total - outer) / size)
