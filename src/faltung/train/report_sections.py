"""The sections of a report as plain values: texts, charts, images, rows of tables."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.train import terminal
from faltung.train.array_images import enlarged, is_series, middle, overlaid, picture, png, reduced
from faltung.train.calibration import Calibration
from faltung.train.confusion import Confusion
from faltung.train.curves import Line, chart, sparkline
from faltung.train.metrics import EpochMetrics
from faltung.train.scores import better

Array = npt.NDArray[Any]

MISTAKES, FILTERS = 24, 64  # how many of each are shown
SEEN = 84  # pixels of a sample that training sees
_MISTAKE, _FILTER = 112, 60  # pixels of their longer side
_HEAT = 96  # of a photograph under its heat, which has no fine detail
_LONGEST, _CLASS = 200, 60  # characters of a text, and of the name of a class


class Mistake(NamedTuple):
    """A misclassified sample, (channels, *space) or None if it cannot be drawn.

    ``true``, ``predicted``: indices or names of classes, or numbers. ``heat``: (*space), where the
    evidence for the predicted class is, if it is known (Grad-CAM).
    """

    array: Array | None
    true: int | float | str
    predicted: int | float | str
    confidence: float | None = None
    name: str = ""
    heat: Array | None = None


# Words --------------------------------------------------------------------------------------------


def text(value: object, longest: int = _LONGEST) -> str:
    """Any value as a short text on one line."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and value and all(_whole(entry) for entry in value):
        return "\N{MULTIPLICATION SIGN}".join(map(str, value))
    made = terminal.clean(str(value))
    return made if len(made) <= longest else made[: longest - 1] + "…"


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _label(key: str) -> str:
    return "MACs" if key == "macs" else text(key.replace("_", " "))


def _amount(value: float) -> str:
    """A count in three significant digits: 431, 61.7 k, 1.57 G"""
    units = iter(("", " k", " M", " G", " T", " P"))
    unit = next(units)
    while value >= 999.5 and unit != " P":
        value, unit = value / 1000, next(units)
    return f"{value:.0f}" if not unit else f"{value:.3g}{unit}"


def _cost(key: str, value: object) -> str:
    """A cost, in the unit that its name implies."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return text(value)
    number = float(value)
    if not math.isfinite(number):
        return text(number)
    if key.endswith("seconds"):
        return terminal.seconds(number)
    if "per_second" in key:
        return terminal.rate(number)
    if "memory" in key or key.endswith("bytes"):
        return f"{_amount(number)}B" if number >= 1000 else f"{number:.0f} B"
    return f"{value:,}" if _whole(value) else text(number)


def costs(cost: Mapping[str, object]) -> list[tuple[str, str]]:
    """(name, value) of each."""
    return [(_label(key), _cost(key, value)) for key, value in cost.items()]


def settings(config: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """(name, value) of settings; entries of a table are named table.entry."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{above}{key}.")
        else:
            yield text(above + key), text(value)


# Sections -----------------------------------------------------------------------------------------


def figures(
    history: Sequence[EpochMetrics],
    matrix: Confusion | None,
    layers: Sequence[Mapping[str, object]],
    cost: Mapping[str, object],
    metric: str | None = None,
) -> Iterator[tuple[str, str, str]]:
    """(label, value, remark): the most important numbers; ``metric``: what chose the best epoch."""
    if matrix is not None and matrix.samples:
        share = terminal.percent(matrix.right / matrix.samples)
        yield "accuracy", share, f"{matrix.right:,} of {matrix.samples:,} held-out samples"
    last = history[-1] if history else None
    if last is not None and last.val_loss is None and last.accuracy is not None:
        yield "accuracy", terminal.percent(last.accuracy), "last epoch, training"
    best = best_epoch(history, metric)
    if best is not None:
        for name, score in best.scores.items():
            if score is not None:
                yield text(_label(name)), terminal.number(score), f"epoch {best.epoch}"
    if best is not None and best.val_loss is not None:
        loss = terminal.number(best.val_loss)
        yield "validation loss", loss, f"epoch {best.epoch}, which is kept"
    elif history:
        yield "loss", terminal.number(history[-1].loss), "last epoch, training"
    for key, unit in (("parameters", "numbers learnt"), ("macs", "multiply-adds a sample")):
        total = _total(layers, key)
        if total is not None:
            yield _label(key), _amount(total), f"{total:,} {unit}"
    seconds = cost.get("seconds", sum(row.seconds or 0 for row in history))
    if seconds:
        epochs = f"{len(history)} epoch{'s'[: len(history) != 1]}" if history else ""
        yield "time", _cost("seconds", seconds), epochs
    speed = cost.get("samples_per_second")
    if speed is not None:
        yield "samples a second", _cost("samples_per_second", speed), "in training"


def _total(layers: Sequence[Mapping[str, object]], key: str) -> int | None:
    found = [row.get(key) for row in layers]
    counts = [int(n) for n in found if isinstance(n, int | np.integer)]
    return sum(counts) if counts else None


def charts(history: Sequence[EpochMetrics], metric: str | None = None) -> list[str]:
    """Loss and accuracy, in training and in validation; a ring at the best epoch."""
    best = best_epoch(history, metric)
    epochs = [float(row.epoch) for row in history]
    made = []
    for name, number, top in (("loss", _loss, None), ("accuracy", _share, 1.0)):
        curves = [
            Line(which, epochs, [getattr(row, prefix + name) for row in history])
            for which, prefix in (("training", ""), ("validation", "val_"))
            if any(getattr(row, prefix + name) is not None for row in history)
        ]
        made.append(chart(name, curves, number, top=top, mark=best.epoch if best else None))
    for own in dict.fromkeys(name for row in history for name in row.scores):
        line = Line("validation", epochs, [row.scores.get(own) for row in history])
        made.append(chart(_label(own), [line], _loss, mark=best.epoch if best else None))
    return [svg for svg in made if svg]


def range_test(
    points: Sequence[tuple[float, float]], config: Mapping[str, object]
) -> Iterator[str]:
    """The smoothed loss over the learning rates that were tried, with a ring at the one taken."""
    if not points:
        return
    places = [math.log10(rate) for rate, _ in points]
    trained = config.get("train")
    chosen = trained.get("lr") if isinstance(trained, Mapping) else None
    mark = None
    if isinstance(chosen, int | float) and chosen > 0:
        mark = min(places, key=lambda place: abs(place - math.log10(chosen)))
    line = Line("loss", places, [loss for _, loss in points])
    title = "loss in the test of learning rates"
    yield chart(title, [line], _loss, x_title="learning rate, power of ten", mark=mark)


def reliability(found: Calibration | None) -> dict[str, Any] | None:
    """The chart of right answers over probabilities, and the error in words."""
    if found is None:
        return None
    ideal = Line("as sure as right", [0, 100], [0.0, 100.0])
    own = Line("this network", [100 * p for p in found.sure], [100 * r for r in found.right])
    svg = chart("right answers, %", [ideal, own], _loss, x_title="how sure it was, %", top=100.0)
    return {"svg": svg, "error": f"{100 * found.error:.3g}%"}


def best_epoch(history: Sequence[EpochMetrics], metric: str | None = None) -> EpochMetrics | None:
    """The epoch whose weights were kept, as the loop decides; None without a validation."""
    checked = [row for row in history if row.val_loss is not None]

    def merit(row: EpochMetrics) -> tuple[float, float, int]:
        """The metric, else accuracy or loss; then the loss; then the earlier."""
        less_loss = -math.inf if row.val_loss is None else _least(-row.val_loss)
        score = row.scores.get(metric or "")
        if metric is not None and score is not None:
            return _least(better(metric, score)), less_loss, -row.epoch
        if row.val_accuracy is not None and metric != "loss":
            return _least(row.val_accuracy), less_loss, -row.epoch
        return less_loss, 0.0, -row.epoch

    return max(checked, key=merit) if checked else None


def _least(value: float | None) -> float:
    """For comparisons: nan is worse than anything."""
    return -math.inf if value is None or math.isnan(value) else value


def _loss(value: float) -> str:
    return f"{value:.6g}"


def _share(value: float) -> str:
    return f"{100 * value:.6g}%"


def _image(pixels: npt.NDArray[np.uint8]) -> tuple[str, int, int]:
    """(data URI, width, height)"""
    data = base64.b64encode(png(pixels)).decode()
    return f"data:image/png;base64,{data}", pixels.shape[1], pixels.shape[0]


def drawn(array: Array, size: int, signed: bool) -> dict[str, Any]:
    """A picture, or curves where there is one axis of space."""
    values = np.atleast_2d(array)
    if is_series(values):
        return {"svg": sparkline(values)}
    values = middle(values[np.newaxis] if values.ndim == 2 else values)
    pixels = picture(_thinned(values, size), signed=signed)
    return {"image": _image(reduced(enlarged(pixels, size), size))}


def _thinned(values: Array, size: int) -> Array:
    """A large photograph (channels, *space) of fewer pixels, before it is reduced to ``size``."""
    rows, columns = (slice(None, None, max(n // (4 * size), 1)) for n in values.shape[-2:])
    return values[..., rows, columns]


def mistakes(
    found: Sequence[Mistake | tuple[Any, ...]], classes: Sequence[str]
) -> dict[str, Any] | None:
    """The first mistakes, drawn, and how many there are."""
    shown = [_mistake(Mistake(*one), classes) for one in found[:MISTAKES]]
    sure = any(one["confidence"] for one in shown)
    heated = any("heat" in one for one in shown)
    counts = {"all": len(found), "sure": sure, "heated": heated}
    return {"shown": shown, **counts} if shown else None


def _mistake(mistake: Mistake, classes: Sequence[str]) -> dict[str, Any]:
    array = mistake.array
    shown = array is not None and np.size(array)
    picture = drawn(np.asarray(array), _MISTAKE, signed=False) if shown else {}
    heated: dict[str, Any] = {}
    if shown and mistake.heat is not None and "image" in picture:
        made = overlaid(_thinned(np.asarray(array), _MISTAKE), mistake.heat, _MISTAKE)
        small = made if max(made.shape) <= _MISTAKE else reduced(made, _HEAT)
        heated = {"heat": (_image(small)[0], *picture["image"][1:])}
    sure = mistake.confidence
    return (
        picture
        | heated
        | {
            "true": _class(mistake.true, classes),
            "predicted": _class(mistake.predicted, classes),
            "confidence": "" if sure is None else f"{100 * sure:.3g}%",
            "name": text(mistake.name),
        }
    )


def _class(value: object, classes: Sequence[str]) -> str:
    if _whole(value) and 0 <= int(value) < len(classes):  # type: ignore[call-overload]
        value = classes[int(value)]  # type: ignore[call-overload]
    return text(value, _CLASS)


def filters(weight: Array) -> dict[str, Any] | None:
    """(out, in, *kernel) drawn one by one."""
    if weight.ndim < 3 or not weight.size:
        return None
    shown = [drawn(one, _FILTER, signed=True) for one in weight[:FILTERS]]
    return {"shown": shown, "all": len(weight), "shape": text(weight.shape[1:])}


def network(layers: Sequence[Mapping[str, object]]) -> dict[str, Any] | None:
    """Columns in order of first occurrence; whole numbers are right-aligned and added up."""
    if not layers:
        return None
    keys = list(dict.fromkeys(key for row in layers for key in row))
    sums = {key: _total(layers, key) for key in ("parameters", "macs")}
    return {
        "columns": [(_label(key), any(_whole(row.get(key)) for row in layers)) for key in keys],
        "rows": [[_entry(row.get(key)) for key in keys] for row in layers],
        "sums": ["" if sums.get(key) is None else f"{sums[key]:,}" for key in keys],
    }


def _entry(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if _whole(value) else text(value)
