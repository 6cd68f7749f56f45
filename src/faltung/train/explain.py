"""What a trained network sees in a file: a page, and on request single pictures."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.files import read_files
from faltung.data.names import listing, printable
from faltung.data.tables import Labels
from faltung.formats.files import problem, write_whole
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train.array_images import overlay, tile_images
from faltung.train.look_page import Looked, looked, named, page
from faltung.train.network import Network
from faltung.train.opened import Opened, opened
from faltung.train.run_dataset import like
from faltung.train.run_model import filters

Array = npt.NDArray[Any]
# Maps shown of a layer.
MOST_MAPS = 64


@dataclass(frozen=True)
class Explanation:
    """The class, or the index of the output, that was explained; its probability (the mean over
    positions), or the value of the output; and the files that were written, the page first.
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
    pictures: Path | None = None,
) -> Explanation:
    """Write a page about what a model sees in a file; an earlier one is overwritten.

    run: the folder of one, its best weights, or a saved model. ``out``: the page, or a folder for
    it; by default look-FILE.html beside the weights. ``labels``: as for ``read_files``.
    ``pictures``: a folder for single pictures of the same. Pictures and volumes of another size are
    resized. ValueError: an unknown class or layer, a file that is not a sample, a network without
    maps.
    """
    found = opened(run)
    model = found.model
    sample = sample_of(found, file, labels)
    if pictures is not None and model.tokens:
        raise FaltungError("pictures: text cannot be drawn; leave the option out")
    seen = seen_in(model, sample, label, layer)
    text = page(seen, Path(file).name, printable(run))
    target = _page(found.file.parent, file, out)
    write_whole(target, text.encode("utf-8", "replace"), own=target != out)
    written = [target] if pictures is None else [target, *_pictures(seen, pictures)]
    names = named(model)
    values = seen.outputs.reshape(len(names), -1).mean(1)
    chosen = seen.chosen[0]
    is_class = model.targets in ("labels", "flags")
    return Explanation(names[chosen], float(values[chosen]), is_class, tuple(written))


def sample_of(found: Opened, file: str, labels: Labels | None = None) -> Array:
    """The one sample in a file, as the model reads it. ValueError: none, or several."""
    wanted = like(found.model, found.folder)
    if wanted.kind in ("picture", "volume"):
        wanted = replace(wanted, fit=True)
    samples, _ = read_files([file], wanted, labels=labels)
    if len(samples) != 1:
        raise FaltungError(f"{printable(file)}: holds {len(samples)} samples; look draws one")
    one: Array = samples[0]
    return one


def seen_in(
    model: Network, sample: Array, label: str | None = None, layer: str | None = None
) -> Looked:
    """What is known of a sample. label: the class that is explained. ValueError."""
    number = None if label is None else _number(label, named(model))
    return looked(model, sample, number, layer, _words(model, sample))


def _words(model: Network, sample: Array) -> tuple[str, ...]:
    """The words that tokens stand for, where the model knows them, without what fills them up."""
    if model.words is None:
        return ()
    tokens = np.trim_zeros(sample.ravel(), "b").tolist()  # PADDING is 0
    return tuple(model.words[n] if 0 <= n < len(model.words) else str(n) for n in tokens)


def _page(folder: Path, file: str, out: Path | None) -> Path:
    """Where the page is written."""
    name = f"look-{Path(file).stem}.html"
    if out is None:
        return folder / name
    return out / name if out.is_dir() else out


def _pictures(seen: Looked, out: Path) -> list[Path]:
    """Write single pictures to a folder, which is made where it is missing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise problem(out, error, "not created") from error
    weight = filters(seen.model)
    made = {} if weight is None else {"filters.png": _tiles(list(weight), signed=True)}
    wide = [name for name, maps in seen.maps.items() if maps.ndim > 1]
    for number, name in enumerate(wide):
        maps = [each[np.newaxis] for each in seen.maps[name]]
        made[f"maps-{number:02d}-{_file_name(name)}.png"] = _tiles(maps)
    made["grad-cam.png"] = overlay(seen.sample, seen.heats[0])
    for name, data in made.items():
        write_whole(out / name, data, own=True)
    return [out / name for name in made]


def _tiles(maps: list[Array], signed: bool = False) -> bytes:
    return tile_images(maps[:MOST_MAPS], signed=signed)


def _number(label: str, names: tuple[str, ...]) -> int:
    if label not in names:
        raise FaltungError(f"class={show(label)}: must be one of {listing(names)}")
    return names.index(label)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
