"""What a trained network sees in one sample: filters, maps, and the evidence for a class."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.files import read_files
from faltung.data.names import listing, printable
from faltung.data.tables import Labels
from faltung.formats.files import own_folder, problem, write_whole
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.train.array_images import overlay, tile_images
from faltung.train.grad_cam import grad_cam
from faltung.train.network import Network
from faltung.train.run_dataset import like
from faltung.train.run_model import filters, load_model

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
    model, folder = load_model(run)
    if model.tokens:
        raise FaltungError(f"{folder.path}: was trained on text, which cannot be drawn")
    samples, _ = read_files([file], like(model, folder), labels=labels)
    if len(samples) != 1:
        raise FaltungError(f"{printable(file)}: holds {len(samples)} samples; look draws one")
    names = model.classes or tuple(map(str, range(model.graph.output.channels)))
    wanted = None if label is None else _number(label, names)
    where = model.explained_layer(layer)
    every = [name for name, value in model.layer_values().items() if value.space]
    x = model.standardised(samples)
    weights = None if wanted is None else model.weights_of(wanted, 1)
    seen = model.look(x, every, [where], weights)
    outputs = model.outputs(samples)[0].reshape(len(names), -1).mean(1)
    chosen = int(outputs.argmax()) if wanted is None else wanted
    heat = grad_cam(seen.maps[where], seen.gradients[where])[0]
    pictures = {"filters.png": _filters(model)}
    for number, name in enumerate(every):
        pictures[f"maps-{number:02d}-{_file_name(name)}.png"] = tile_images(
            [m[np.newaxis] for m in seen.maps[name][0][:MOST_MAPS]]
        )
    pictures["grad-cam.png"] = overlay(samples[0], heat)
    return Explanation(
        names[chosen],
        float(outputs[chosen]),
        model.loss == "cross_entropy",
        tuple(_written(_folder(folder.path, file, out), pictures)),
    )


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


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
