"""The page of ``faltung look``: what a network sees in one sample.

One file that loads nothing, in the style of reports; what comes from outside is escaped.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.train import terminal
from faltung.train.array_images import is_series, overlay
from faltung.train.curves import sparkline
from faltung.train.grad_cam import grad_cam, interpolated
from faltung.train.look_layers import Block, Group, evidence, steps
from faltung.train.map_sheets import Sheet, sheet
from faltung.train.network import Network
from faltung.train.report import rendered
from faltung.train.report_sections import drawn, filters, text
from faltung.train.run_model import filters as filters_of

Array = npt.NDArray[Any]

_HERE = Path(__file__).parent
# Classes that are listed, and of those how many have a heat map of their own.
CLASSES, HEATS = 10, 2
# Bytes that all pictures of maps may take; above, fewer and smaller ones are drawn.
MOST_BYTES = 1_300_000
# (maps of a layer, pixels of a map), each about half of the one before.
_SIZES = ((64, 56), (48, 48), (32, 40), (24, 32), (12, 28), (6, 24))
_IN_BRANCH = 4  # times fewer maps for a step inside a block
_STRIP, _BRANCH_STRIP = 510, 216  # pixels of maps side by side in one picture
_TOKENS = 400  # that are shown
_SAMPLE = 300  # pixels of the sample
_SERIES = 640, 120  # width and height of one that is drawn as curves


@dataclass(frozen=True)
class Looked:
    """What is known of one sample. sample: as it was read, (C, *space), or tokens; words: of the
    tokens, where they are known. outputs: (outputs, *space), likely for a classifier. heats: by
    class, over the positions of ``layer``. maps: by the names of layers. against_others: for
    blocks of branches, gradients of the first class's output less the mean of the others'.
    """

    model: Network
    sample: Array
    outputs: Array
    chosen: tuple[int, ...]
    layer: str
    heats: tuple[Array, ...]
    maps: dict[str, Array]
    against_others: dict[str, Array]
    words: tuple[str, ...] = ()


def looked(
    model: Network,
    sample: Array,
    target: int | None = None,
    layer: str | None = None,
    words: Sequence[str] = (),
) -> Looked:
    """Look at one sample as a source reads it. target: the class that is explained first; by
    default the likeliest. ValueError: as for ``Model.explain``.
    """
    where = model.explained_layer(layer)
    rows = model.summary().rows
    every = steps(model.graph, rows)
    blocks = [step.name for step in every if isinstance(step, Block)]
    watched = list(dict.fromkeys([*(group.last for group in _all(every)), *blocks, where]))
    x = model.standardised(sample[np.newaxis])
    outputs = model.outputs(sample[np.newaxis])[0]
    means = outputs.reshape(len(outputs), -1).mean(1)
    order = [int(i) for i in np.argsort(-means, kind="stable")]
    first = order[0] if target is None else target
    several = HEATS if model.targets in ("labels", "flags") else 1
    chosen = [first, *(i for i in order if i != first)][: min(several, len(order))]
    to = list(dict.fromkeys([where, *blocks]))
    seen = [model.look(x, watched, to, model.weights_of(number, 1)) for number in chosen]
    against = model.weights_of(first, 1)
    if model.targets == "labels" and len(order) > 1:
        against -= (1 - against) / (len(order) - 1)
    compared = model.look(x, watched, to, against) if blocks else seen[0]
    return Looked(
        model,
        sample,
        outputs,
        tuple(chosen),
        where,
        tuple(grad_cam(s.maps[where], s.gradients[where])[0] for s in seen),
        {name: maps[0] for name, maps in seen[0].maps.items()},
        {name: grads[0] for name, grads in compared.gradients.items()},
        tuple(words),
    )


def _all(every: Sequence[Group | Block]) -> list[Group]:
    found: list[Group] = []
    for step in every:
        if isinstance(step, Group):
            found.append(step)
        else:
            found += [group for branch in step.branches for group in branch.groups]
    return found


def page(found: Looked, title: str, note: str = "") -> str:
    """The page as text. title: the file; note: the run."""
    model = found.model
    every = steps(model.graph, model.summary().rows)
    shown = _shown(found, every)
    weight = None if model.tokens else filters_of(model)
    return rendered(
        _HERE / "look.html.j2",
        styles=("report.css", "look.css"),
        title=text(title),
        note=text(note),
        network=network_said(model),
        sample=_sample(found),
        heats=_heats(found),
        layer=text(found.layer),
        classes=_classes(found),
        is_class=model.targets in ("labels", "flags"),
        filters=None if weight is None else filters(weight),
        steps=shown,
        dead=_dead(shown),
        branched=any("branches" in one for one in shown),
        compared=model.targets == "labels",
        areas=_areas(found),
    )


# Parts --------------------------------------------------------------------------------------------


def network_said(model: Network) -> str:
    """What goes in, what comes out, and how many numbers were learned."""
    shapes = (model.input_shape, model.graph.output.shape)
    given, made = ("\N{MULTIPLICATION SIGN}".join(map(str, shape)) for shape in shapes)
    count = sum(p.size for p in model.graph.parameters if p.trained)
    return f"{given} \N{RIGHTWARDS ARROW} {made}, {count:,} parameters"


def named(model: Network) -> tuple[str, ...]:
    """The names of the outputs."""
    return model.classes or tuple(map(str, range(model.graph.output.channels)))


def _sample(found: Looked) -> dict[str, Any]:
    """The sample, drawn; or tokens with the heat of the first class, from 0 to 10."""
    if is_series(found.sample) and not found.model.tokens:
        return {"svg": sparkline(found.sample, *_SERIES), "series": True}
    if not found.model.tokens:
        return drawn(found.sample, _SAMPLE, signed=False)
    words = found.words or tuple(map(str, found.sample.ravel().tolist()))
    heat = found.heats[0]
    heat = interpolated(heat, found.sample.size, 0) if heat.ndim == 1 else np.zeros(len(words))
    pairs = zip(words[:_TOKENS], heat, strict=False)
    return {
        "tokens": [(text(word, 40), f"h{round(10 * float(warm))}") for word, warm in pairs],
        "more": max(0, len(words) - _TOKENS),
    }


def _heats(found: Looked) -> list[dict[str, Any]]:
    """The heat of each class over the sample."""
    if found.model.tokens:
        return []
    made = []
    for number, heat in zip(found.chosen, found.heats, strict=True):
        one: dict[str, Any] = {"name": text(named(found.model)[number], 60)}
        if is_series(found.sample) and heat.ndim == 1:
            one["svg"] = sparkline(found.sample, *_SERIES, heat=heat)
        elif heat.ndim == found.sample.ndim - 1:
            data = overlay(found.sample, heat, size=_SAMPLE)
            one["uri"] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        one["cold"] = not heat.any()
        made.append(one)
    return made


def _classes(found: Looked) -> list[tuple[str, str, float, bool]]:
    """(name, value, part of the longest bar in percent, whether it is explained)."""
    return [
        (text(name, 60), said, round(100 * abs(part), 1), chosen)
        for name, said, part, chosen in answers(found)
    ]


def answers(found: Looked) -> list[tuple[str, str, float, bool]]:
    """What the network says: (name, value, part of the longest bar, whether it is explained)."""
    values = found.outputs.reshape(len(found.outputs), -1).mean(1).astype(np.float64)
    names, is_class = named(found.model), found.model.targets in ("labels", "flags")
    sort = np.argsort(-values, kind="stable") if is_class else np.arange(len(values))
    order = [int(i) for i in sort[:CLASSES]]
    order += [i for i in found.chosen[:1] if i not in order]
    longest = 1.0 if is_class else float(np.abs(values[order]).max() or 1.0)
    return [
        (
            names[i],
            terminal.percent(float(values[i])) if is_class else f"{values[i]:.4g}",
            float(values[i]) / longest,
            i == found.chosen[0],
        )
        for i in order
    ]


def _areas(found: Looked) -> list[dict[str, Any]]:
    """Where each class is, of a network that classifies each position."""
    if found.outputs.ndim < 3 or found.model.targets != "labels":
        return []
    names = named(found.model)
    values = found.outputs.reshape(len(names), -1).mean(1)
    order = [int(i) for i in np.argsort(-values, kind="stable")[:CLASSES]]
    return [
        {"name": text(names[i], 60), "sheet": sheet(found.outputs[i : i + 1], tile=160, end=1.0)}
        for i in order
    ]


def _shown(found: Looked, every: Sequence[Group | Block]) -> list[dict[str, Any]]:
    """Layers and blocks, as large as fits in the file."""
    for most, tile in _SIZES:
        made = [_step(found, step, most, tile) for step in every]
        if sum(one["bytes"] for one in made) <= MOST_BYTES:
            break
    return made


def _step(found: Looked, step: Group | Block, most: int, tile: int) -> dict[str, Any]:
    if isinstance(step, Group):
        return _group(found, step, most, tile, _STRIP)
    parts = evidence(step, found.maps[step.name], found.against_others[step.name])
    few, small = max(most // _IN_BRANCH, 4), max(tile // 2, 20)
    branches: list[dict[str, Any]] = [
        {
            "name": text(branch.name),
            "groups": [_group(found, g, few, small, _BRANCH_STRIP) for g in branch.groups],
            "channels": f"{branch.start}\N{EN DASH}{branch.end - 1}",
            "part": f"{100 * part:+.0f}%",
            "width": round(abs(100 * part), 1),
            "against": part < 0,
        }
        for branch, part in zip(step.branches, parts, strict=True)
    ]
    return {
        "name": text(step.name),
        "shape": text(step.shape),
        "branches": branches,
        "bytes": sum(g["bytes"] for b in branches for g in b["groups"]),
    }


def _group(found: Looked, group: Group, most: int, tile: int, strip: int) -> dict[str, Any]:
    maps = found.maps[group.last]
    if maps.ndim > 1 and found.model.layer_values()[group.last].samples > 1:
        maps = maps[0]
    made = sheet(maps, most=most, tile=tile, strip=strip)
    return {
        "name": text(group.name),
        "what": text(group.what),
        "shape": text(group.shape),
        "sheet": made,
        "low": f"{made.low:.3g}",
        "high": f"{made.high:.3g}",
        "dead": _said(made),
        "bytes": made.bytes,
    }


def _said(made: Sheet) -> str:
    """How many maps are zero, and which, if there are few."""
    if not made.dead:
        return ""
    verb = "is" if len(made.dead) == 1 else "are"
    said = f"{len(made.dead):,} of {made.maps:,} {made.unit} {verb} zero"
    if made.unit == "maps" and len(made.dead) <= 12:
        said += f": {', '.join(map(str, made.dead))}"
    return said


def _dead(shown: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Maps that are zero everywhere, and all maps."""
    groups = [g for one in shown for b in one.get("branches", []) for g in b["groups"]]
    groups += [one for one in shown if "sheet" in one]
    sheets = [g["sheet"] for g in groups if g["sheet"].unit == "maps"]
    return sum(len(s.dead) for s in sheets), sum(s.maps for s in sheets)
