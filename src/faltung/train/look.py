"""What a trained network sees in one sample: filters, feature maps, and where a class was seen.

Grad-CAM (Selvaraju et al., 2017): the maps of a layer, each weighted by the mean of the gradient of
the class's output for it, summed, and what is below 0 left out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faltung.data.files import read_files
from faltung.formats.files import write_whole
from faltung.geometry.check import show
from faltung.graph.value import Value
from faltung.program.probe import probe, watchable
from faltung.train.model import Array, Model
from faltung.train.pictures import overlay, tile_images
from faltung.train.session import filters, like, load_model

# Maps of a layer that are shown.
MOST = 64


@dataclass(frozen=True)
class Found:
    """The class that was looked for, its probability, and the files that were written."""

    label: str
    probability: float
    files: tuple[Path, ...]


def look(
    run: str | os.PathLike[str],
    file: str,
    out: Path,
    label: str | None = None,
    *,
    layer: str | None = None,
) -> Found:
    """Write pictures of what the model of a run sees in a file. ValueError: a class or layer that
    is none, a file that is no sample, a network without maps.
    """
    model, folder = load_model(run)
    samples, _ = read_files([file], like(model, folder))
    if len(samples) != 1:
        raise ValueError(f"{file}: holds {len(samples)} samples; look takes one")
    if model.tokens:
        raise ValueError(f"{file}: text has no picture to look at")
    probabilities = model.predict(samples)[0]
    if probabilities.ndim != 1:
        raise ValueError("RUN: says a class for every position; look is for one class a sample")
    names = model.classes or tuple(map(str, range(len(probabilities))))
    chosen = int(probabilities.argmax()) if label is None else _number(label, names)
    values = watchable(model.graph)
    where = _layer(values, layer)
    weights = np.zeros((1, *model.graph.output.shape), model.dtype)
    weights[0, chosen] = 1
    _, maps, grad = probe(
        model.graph, model.state, model.prepared(samples), values, weights=weights, to=where
    )
    assert grad is not None
    pictures = {"filters.png": _filters(model)}
    for number, value in enumerate(values):
        layer_name = value.name.split(":")[0].split("~")[0]
        pictures[f"maps-{number:02d}-{layer_name}.png"] = tile_images(
            [m[np.newaxis] for m in maps[value.name][0][:MOST]]
        )
    pictures["grad-cam.png"] = overlay(samples[0], cam(maps[where.name][0], grad[0]))
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, data in pictures.items():
        if data is not None:
            write_whole(out / name, data)
            written.append(out / name)
    return Found(names[chosen], float(probabilities[chosen]), tuple(written))


def cam(maps: Array, grad: Array) -> Array:
    """The heat (*space) of maps and gradients (C, *space), 0 to 1."""
    weights = grad.reshape(len(grad), -1).mean(1)
    heat = np.maximum(np.tensordot(weights, maps, 1), 0)
    most = heat.max()
    return np.asarray(heat / most if most > 0 else heat)


def _filters(model: Model) -> bytes | None:
    found = filters(model)
    return None if found is None else tile_images(list(found[:MOST]), signed=True)


def _number(label: str, names: tuple[str, ...]) -> int:
    if label not in names:
        raise ValueError(f"class={show(label)}: must be one of {', '.join(names)}")
    return names.index(label)


def _layer(values: list[Value], name: str | None) -> Value:
    """The layer of that name, or the last that has more than one position."""
    if name is not None:
        for value in values:
            if value.name.split(":")[0].split("~")[0] == name:
                return value
        known = ", ".join(value.name.split(":")[0] for value in values)
        raise ValueError(f"layer={show(name)}: must be one of {known}")
    wide = [value for value in values if value.positions > 1]
    if not wide:
        raise ValueError("RUN: the network has no maps to look at")
    return wide[-1]
