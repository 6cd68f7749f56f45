"""What a trained network sees in one sample: filters, feature maps, and the evidence for a class.

Grad-CAM (Selvaraju et al., 2017): the sum of the maps of a layer, each weighted by the mean
gradient of the class's output for it, cut off below 0. For a network that classifies every
position, the class's outputs at all positions are added (Vinogradova et al., 2020).
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.files import read_files
from faltung.data.names import listing, printable
from faltung.data.tables import Labels
from faltung.formats.files import own_folder, problem, write_whole
from faltung.geometry.check import show
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.value import Value
from faltung.program.probe import probe, watchable
from faltung.train.array_images import overlay, tile_images
from faltung.train.network import Network
from faltung.train.opened import opened
from faltung.train.run_dataset import like
from faltung.train.run_model import filters

Array = npt.NDArray[Any]
# Maps shown of a layer.
MOST_MAPS = 64


@dataclass(frozen=True)
class Explanation:
    """The class, or the index of the output, that was explained; its probability (the mean over
    positions), or the value of the output; and the files that were written.
    """

    label: str
    value: float
    is_class: bool
    files: tuple[Path, ...]


def explain(
    run: str | os.PathLike[str],
    file: str,
    out: Path | None = None,
    label: str | None = None,
    *,
    layer: str | None = None,
    labels: Labels | None = None,
) -> Explanation:
    """Write images of what the model of a run sees in a file; earlier ones are overwritten.
    ``out``: by default the folder look-FILE in that of the run. ``labels``: as for ``read_files``.
    ValueError: an unknown class or layer, a file that is not a sample, a network without maps.
    """
    found = opened(run)
    model = found.model
    if model.tokens:
        raise FaltungError(f"{found.said}: was trained on text, which cannot be drawn")
    samples, _ = read_files([file], like(model, found.folder), labels=labels)
    if len(samples) != 1:
        raise FaltungError(f"{printable(file)}: holds {len(samples)} samples; look draws one")
    outputs = model.outputs(samples)[0].reshape(model.graph.output.channels, -1).mean(1)
    names = model.classes or tuple(map(str, range(len(outputs))))
    chosen = int(outputs.argmax()) if label is None else _number(label, names)
    values = watchable(model.graph)
    where = _layer(values, layer)
    weights = np.zeros((1, *model.graph.output.shape), model.graph.dtype)
    weights[0, chosen] = 1
    if model.dtype in NARROW:
        model = model.astype("float32")  # gradients are float32
    _, maps, grad = probe(
        model.graph,
        model.state,
        model.standardised(samples),
        values,
        weights=weights,
        to=where,
        precision=model.precision,
    )
    assert grad is not None
    pictures = {"filters.png": _filters(model)}
    for number, value in enumerate(values):
        pictures[f"maps-{number:02d}-{_file_name(value)}.png"] = tile_images(
            [m[np.newaxis] for m in maps[value.name][0][:MOST_MAPS]]
        )
    pictures["grad-cam.png"] = overlay(samples[0], cam(maps[where.name][0], grad[0]))
    return Explanation(
        names[chosen],
        float(outputs[chosen]),
        model.targets in ("labels", "flags"),
        tuple(_written(_folder(found.file.parent, file, out), pictures)),
    )


def cam(maps: Array, grad: Array) -> Array:
    """The heat map (*space) of maps and gradients (C, *space), 0 to 1."""
    weights = grad.reshape(len(grad), -1).mean(1)
    heat = np.maximum(np.tensordot(weights, maps, 1), 0)
    most = heat.max()
    return np.asarray(heat / most if most > 0 else heat)


def _filters(model: Network) -> bytes | None:
    found = filters(model)
    return None if found is None else tile_images(list(found[:MOST_MAPS]), signed=True)


def _folder(run: Path, file: str, out: Path | None) -> Path:
    """The folder for the images, made where it is missing. What the user typed may be a link."""
    if out is None:
        usual = run / f"look-{Path(file).stem}"
        own_folder(usual)
        return usual
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise problem(out, error, "not created") from error
    return out


def _written(out: Path, pictures: dict[str, bytes | None]) -> list[Path]:
    """Write the images to a folder."""
    written = []
    for name, data in pictures.items():
        if data is not None:
            write_whole(out / name, data, own=True)
            written.append(out / name)
    return written


def _number(label: str, names: tuple[str, ...]) -> int:
    if label not in names:
        raise FaltungError(f"class={show(label)}: must be one of {listing(names)}")
    return names.index(label)


def _layer_name(value: Value) -> str:
    """The name of the layer that makes a value, as in summaries."""
    return value.name.split(":")[0].split("~")[0]


def _file_name(value: Value) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", _layer_name(value))[:60]


def _layer(values: list[Value], name: str | None) -> Value:
    """The layer of that name, or the last that has more than one position."""
    if name is not None:
        for value in values:
            if _layer_name(value) == name:
                return value
        raise FaltungError(
            f"layer={show(name)}: must be one of {', '.join(map(_layer_name, values))}"
        )
    wide = [value for value in values if value.positions > 1]
    if not wide:
        raise FaltungError("RUN: the network has no maps to draw")
    return wide[-1]
