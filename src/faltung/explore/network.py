"""A trained network at work on one sample: the part of the explorer's page that shows it.

``explorer/src/sections/network_data.ts`` describes what is made here. What is known of the sample
is that of ``faltung look`` (``train/look_page.py``); here it becomes numbers that the page draws on
one scale or another.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.explore.shown import SLICES, evenly, finite, levels, sample
from faltung.train.array_images import middle
from faltung.train.look_layers import Block, Group, evidence, steps
from faltung.train.look_page import Looked, answers, named, network_said
from faltung.train.map_sheets import shrunk
from faltung.train.run_model import filters as filters_of

Array = npt.NDArray[Any]

# Bytes that all maps may take; above, they are fewer and smaller: (maps of a layer, entries of the
# longer side of a map), each about half of the one before.
MOST_BYTES = 1_100_000
_SIZES = ((24, 64), (24, 48), (24, 32), (16, 28), (12, 24), (8, 20), (6, 16), (4, 12), (2, 10))
_IN_BRANCH = 2  # times fewer maps for a step inside a block
_NUMBERS = 256  # of a layer without positions
_SERIES = 4  # times more entries along the only axis of a series
_VOLUME = 3  # times fewer entries along each axis of a volume
_FILTERS = 64
_HEAT = 32  # entries of the longer side of a heat map


def network(found: Looked, title: str, run: str = "") -> dict[str, Any]:
    """What the page is told of one sample. title: its file; run: the name of the run."""
    model = found.model
    names = named(model)
    made = {
        "title": title,
        "run": run,
        "said": network_said(model),
        "sample": sample(found.sample, found.words, tokens=model.tokens),
        "input": list(model.input_shape),
        "isClass": model.targets in ("labels", "flags"),
        "compared": model.targets == "labels",
        "answers": [
            {"name": name, "said": said, "part": _plain(part), "chosen": chosen}
            for name, said, part, chosen in answers(found)
        ],
        "heats": [
            _heat(names[number], heat)
            for number, heat in zip(found.chosen, found.heats, strict=True)
        ],
        "heatLayer": found.layer,
        "steps": _steps(found),
    }
    weight = None if model.tokens else filters_of(model)
    if weight is not None and weight.ndim > 2:
        made["filters"] = _filters(weight)
    return made


def _plain(part: float) -> float:
    """A part as JSON can have it: of numbers that are none, nothing."""
    return round(part, 4) if math.isfinite(part) else 0.0


def _heat(name: str, heat: Array) -> dict[str, Any]:
    """Grad-CAM of one class; of a volume in slices."""
    values = finite(heat)
    small = shrunk(values[np.newaxis], _HEAT)[0]
    most = float(small.max(initial=0.0)) or 1.0
    return {
        "name": name,
        "levels": levels(np.rint(255 * np.clip(small / most, 0, 1))),
        "cold": not values.any(),
    }


def _filters(weight: Array) -> dict[str, Any]:
    """(out, in, *kernel): of a volume the middle slice, of channels but for colours the mean."""
    shown = finite(weight[:_FILTERS])
    if shown.ndim == 3:
        shown = shown[:, :, np.newaxis]
    if shown.shape[1] not in (1, 3):
        shown = shown.mean(1, keepdims=True)
    shown = np.stack([middle(one) for one in shown])
    end = float(np.abs(shown).max(initial=0.0))
    return {
        "levels": levels(np.rint(128 + 127 * shown.transpose(0, 2, 3, 1) / (end or 1.0))),
        "all": len(weight),
        "shape": list(weight.shape[1:]),
        "end": end,
    }


def _steps(found: Looked) -> list[dict[str, Any]]:
    """Layers and blocks, as large as fits in the file."""
    every = steps(found.model.graph, found.model.summary().rows)
    for most, side in _SIZES:
        made = [_step(found, step, most, side) for step in every]
        if sum(map(_bytes, made)) <= MOST_BYTES:
            break
    return made


def _bytes(step: dict[str, Any]) -> int:
    groups = [g for branch in step.get("branches", ()) for g in branch["groups"]] or [step]
    return sum(len(group["maps"]["levels"]["data"]) for group in groups)


def _step(found: Looked, step: Group | Block, most: int, side: int) -> dict[str, Any]:
    if isinstance(step, Group):
        return _group(found, step, most, side)
    against = evidence(step, found.maps[step.name], found.against_others[step.name])
    few = max(most // _IN_BRANCH, 2)
    return {
        "name": step.name,
        "shape": list(step.shape),
        "branches": [
            {
                "name": branch.name,
                "groups": [_group(found, group, few, side) for group in branch.groups],
                "channels": [branch.start, branch.end - 1],
                "part": _plain(part),
            }
            for branch, part in zip(step.branches, against, strict=True)
        ],
    }


def _group(found: Looked, group: Group, most: int, side: int) -> dict[str, Any]:
    values = found.maps[group.last]
    if values.ndim > 1 and found.model.layer_values()[group.last].samples > 1:
        values = values[0]
    return {
        "name": group.name,
        "what": group.what,
        "shape": list(group.shape),
        "maps": maps(values, most, side),
    }


def maps(values: Array, most: int, side: int) -> dict[str, Any]:
    """Maps (C, *space) of one sample, each with its own scale, so that a page can draw all of them
    on any.
    """
    values = finite(values)
    flat = values.reshape(len(values), -1)
    dead = int((~flat.any(1)).sum())
    numbers = flat.shape[1] == 1
    shown = _small(flat[:_NUMBERS, 0] if numbers else values[:most], side)
    signed = bool(shown.min(initial=0.0) < 0)
    if numbers:
        ends = [float(np.abs(shown).max(initial=0.0))]
        scale: Array = np.asarray(ends[0] or 1.0, np.float32)
    else:
        largest = np.abs(shown.reshape(len(shown), -1)).max(1, initial=0.0)
        ends = [float(f"{end:.4g}") for end in largest]
        scale = np.where(largest > 0, largest, 1).reshape(-1, *[1] * (shown.ndim - 1))
    level = 128 + 127 * (shown / scale) if signed else 255 * (shown / scale)
    return {
        "levels": levels(np.rint(level)),
        "all": len(values),
        "ends": ends,
        "signed": signed,
        "dead": dead,
    }


def _small(shown: Array, side: int) -> Array:
    """Few enough entries: of a volume some slices."""
    rank = shown.ndim - 1
    if rank == 1:
        return shrunk(shown, side * _SERIES)
    if rank == 2:
        return shrunk(shown, side)
    while shown.ndim > 4:
        shown = shown[:, shown.shape[1] // 2]
    if rank > 2:
        shown = shrunk(shown[:, evenly(shown.shape[1], SLICES // 2)], max(side // _VOLUME, 8) * 2)
    return shown
