"""What layers read: the second moments of their channels, over samples of the training.

A weight matters by what it is multiplied with. With C = E[x x^T] the mean square of what an error D
of a pointwise or linear layer does to its output is trace(D C D^T): the sum of squares of D
C^(1/2). So a weight is taken apart after it has been multiplied with that root. Of a larger kernel
each tap is taken by itself, as if what lies side by side were not correlated.
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
from faltung.graph.value import Value
from faltung.nn import Linear
from faltung.program.inference import Inference
from faltung.train.model import Model

Array = npt.NDArray[Any]
SAMPLES, BATCH = 256, 8
ROWS = 4096  # positions that are looked at in each layer
LARGEST = 1536  # inputs of a group, whose matrix of moments has the square of that
RIDGE = 1e-3  # of the mean square, added to each: what was never seen may be


def roots(model: Model, sites: Sequence[Site], source: Source, seed: int) -> dict[str, Array]:
    """For each layer, by its name, a matrix L (groups, ins, ins) with L L = C, symmetric.

    Layers of too many inputs are left out, and those that exist in training only. ValueError: what
    a layer reads is not finite.
    """
    values = {n.layer: n.inputs[0] for n in model.graph.nodes if n.inputs}
    wanted = [site for site in sites if site.name in values and site.ins <= LARGEST]
    if not wanted:
        return {}
    different: dict[str, Value] = {values[site.name].name: values[site.name] for site in wanted}
    sums = {site.name: np.zeros((site.groups, site.ins, site.ins)) for site in wanted}
    for arrays in _seen(model, list(different.values()), source, seed):
        for site in wanted:
            rows = _rows(site, arrays[values[site.name].name])
            if not np.isfinite(rows).all():
                raise FaltungError(
                    f"train: {site.name!r} reads numbers that are not finite from some samples: "
                    "must be finite"
                )
            sums[site.name] += np.einsum("gni,gnj->gij", rows, rows, optimize=True)
    return {name: _root(total) for name, total in sums.items()}


def _seen(
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


def _root(total: Array) -> Array:
    """Symmetric square roots of sums of products, scaled so that the mean square is 1."""
    mean = np.trace(total, axis1=1, axis2=2).mean() / total.shape[1]
    if not mean > 0:
        return np.broadcast_to(np.eye(total.shape[1]), total.shape)
    values, vectors = np.linalg.eigh(total / mean)
    scales = np.sqrt(np.maximum(values, 0.0) + RIDGE)
    return np.asarray((vectors * scales[:, None, :]) @ vectors.swapaxes(1, 2))
