"""What the report of a run shows, and what is said before it begins."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.loader import Batch
from faltung.data.names import listing, printable
from faltung.data.source import Source, is_stored
from faltung.geometry.errors import FaltungError
from faltung.graph.summary import summary
from faltung.jit.target import current
from faltung.runtime.threads import get_threads
from faltung.train.calibration import calibration
from faltung.train.evaluate import Evaluation, class_names
from faltung.train.freezing import layer_of, layers
from faltung.train.loop import Loop
from faltung.train.network import Network
from faltung.train.repeated import command
from faltung.train.report import ReportData
from faltung.train.run_model import filters
from faltung.train.run_teacher import note
from faltung.train.scores import confusion_matrix
from faltung.train.settings import Settings

# Mistakes in the report.
SHOWN_MISTAKES = 24
SHOWN_SEEN = 16  # samples as training sees them
# Classes whose confusions are counted: their table grows with the square.
COUNTED_CLASSES = 4096
SHOWN_LAYERS = 6  # in a note


# Before it begins ---------------------------------------------------------------------------------


def notes(loop: Loop, config: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    """What settings mean for this run, a line each."""
    made = []
    if loop.held is None:
        made.append(
            f"trained on all {len(source):,} samples, nothing held out: the last weights are kept"
        )
    if "from" in config:
        began = config["from"]
        count = len(layers(loop.model.training_graph)) - len(began["anew"])
        anew = listing(began["anew"], SHOWN_LAYERS) or "none"
        path = Path(began["path"])
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        made.append(
            f"from {printable(path)}: weights of {_layers(count)}; initialised anew: {anew}"
        )
        made += _units(loop.model, source)
    if "teacher" in config:
        made.append(note(config["teacher"], loop.settings.loss))
    if loop.frozen:
        parameters = [p for p in loop.model.training_graph.parameters if p.trained]
        fixed = sum(p.size for p in parameters if p.name in set(loop.frozen))
        names = list(dict.fromkeys(map(layer_of, loop.frozen)))
        every = sum(p.size for p in parameters)
        made.append(f"frozen: {listing(names, SHOWN_LAYERS)} ({fixed:,} of {every:,} parameters)")
    before = [f"{epochs} until step {step:,}" for epochs, step in loop.settings.lengthened]
    if before:
        made.append(f"epochs: {', '.join(before)}, then {loop.settings.epochs}")
    if loop.class_weight is not None:
        pairs = zip(class_names(loop.model), loop.class_weight, strict=True)
        made.append(f"class weights: {listing([f'{name} {w:.4g}' for name, w in pairs], 10)}")
    return tuple(made)


def _layers(count: int) -> str:
    return f"{count} layer{'s'[: count != 1]}"


def _units(model: Network, source: Source) -> list[str]:
    """What is worth saying about numbers that mean what they meant to another network."""
    if model.units is None or not is_stored(source):
        return []
    said = model.units.note(source.units)
    divisor, own = model.units.divisor(source.units), source.units.scale
    if said is None and divisor != own:
        said = f"values are divided by {divisor:g}, as there, not by {own:g}"
    return [] if said is None else [said]


def length_note(loop: Loop, settings: Settings) -> tuple[str, ...]:
    """What it means that a run gets another length."""
    old, step = loop.settings, loop.position.step
    if not step:
        return (f"epochs {old.epochs} -> {settings.epochs}, from the start",)
    steps = len(loop.loader) * settings.epochs
    before, after = (s.lr_schedules(len(loop.loader)) for s in (old, settings))
    rates = f"lr {before(step - 1):.3g} -> {after(step):.3g}" if step < steps else "nothing is left"
    return (
        f"epochs {old.epochs} -> {settings.epochs}: {old.schedule} over all {steps:,} steps, from "
        f"step {step:,} on; {rates}",
        f"the weights will be those neither of a run of {old.epochs} from the start nor of "
        f"{settings.epochs}; --resume still repeats them bit for bit",
    )


# The report ---------------------------------------------------------------------------------------


def report_data(loop: Loop, config: Mapping[str, Any], found: Evaluation | None) -> ReportData:
    """The report of a run; ``found``: of its best weights, if anything was held out."""
    return ReportData(
        title=loop.title,
        seen=_seen(loop),
        command=command(config, len(loop.loader.source)),
        history=loop.history,
        cost=_cost(loop),
        metric=loop.settings.chosen_by,
        note="; ".join((*loop.notes, *loop.closing)),
        lr_test=() if loop.folder is None else loop.folder.read_range_test(),
        **of_model(loop.model, config, found, loop.held),
    )


def of_model(
    model: Network, config: Mapping[str, Any], found: Evaluation | None, held: Source | None
) -> dict[str, Any]:
    """The fields of a report that are about a model and its settings. ``found``: of the samples
    ``held``, with outputs.
    """
    confusion, sure, mistakes = None, None, []
    classes = model.classes or ()
    one = found is not None and found.right is not None and found.targets.dtype.kind in "iu"
    if one and found is not None and found.outputs is not None and classes:
        said = found.outputs.argmax(1)
        if len(classes) <= COUNTED_CLASSES:
            confusion = confusion_matrix(found.targets, said, len(classes))
        if said.ndim == 1 and held is not None:
            mistakes = _explained(model, _mistakes(held, found.targets, found.outputs))
            sure = calibration(found.outputs, found.targets)
    tables = [
        name for name in ("data", "from", "teacher", "net", "train", "compress") if name in config
    ]
    return {
        "confusion": confusion,
        "classes": classes,
        "mistakes": mistakes,
        "filters": filters(model),
        "layers": summary(model.graph).as_dict()["layers"],
        "table": str(summary(model.graph)),
        "calibration": sure,
        "config": {name: _flat(config[name]) for name in tables},
    }


def _cost(loop: Loop) -> dict[str, object]:
    rates = [row.samples_per_second for row in loop.history if row.samples_per_second]
    seconds = [row.seconds for row in loop.history if row.seconds]
    return {
        "seconds": sum(seconds),
        "samples_per_second": max(rates, default=0.0),
        "compile_seconds": loop.compiled,
        **_peak_memory(),
        "machine": str(current()),
        "threads": get_threads(),
    }


def _mistakes(
    held: Source, targets: npt.NDArray[Any], outputs: npt.NDArray[Any]
) -> list[tuple[Any, ...]]:
    """(sample, true, predicted, confidence, name), most confident first."""
    said = outputs.argmax(1)
    wrong = np.flatnonzero(said != targets)
    logits = outputs[wrong].astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    sure = 1 / np.exp(logits).sum(1)
    order = np.argsort(-sure, kind="stable")[:SHOWN_MISTAKES]
    samples = held.read(wrong[order]) if len(order) else ()
    return [
        (sample, int(targets[i]), int(said[i]), float(p), str(held.names[i]))
        for sample, i, p in zip(samples, wrong[order], sure[order], strict=True)
    ]


def _explained(model: Network, found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Mistakes with where the network saw the class that it took each for, if it can tell."""
    if not found or model.tokens or len(model.input_shape) < 3:
        return found
    try:
        model.explained_layer()
    except FaltungError:  # no layer has more than one position
        return found
    samples = np.stack([one[0] for one in found])
    heat = model.explain(samples, target=[one[2] for one in found])
    return [(*one, each) for one, each in zip(found, heat, strict=True)]


def _seen(loop: Loop) -> list[npt.NDArray[Any]]:
    """Samples of the first batch as training sees them, where they are changed at random."""
    if not loop.settings.augment or loop.model.tokens:
        return []
    with closing(cast("Generator[Batch, None, None]", loop.loader.epoch(0))) as batches:
        return list(next(batches).x[:SHOWN_SEEN])


def _peak_memory() -> dict[str, int]:
    """The most bytes that this process has used, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory": most if sys.platform == "darwin" else most * 1024}


def parameters(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings of a run by their names in its config: "train.lr"."""
    tables = {name: _flat(table) for name, table in config.items()}
    return {f"{table}.{name}": v for table, rows in tables.items() for name, v in rows.items()}


def _flat(given: Mapping[str, Any]) -> dict[str, object]:
    """A table of settings, with inner tables flattened: augment.shift."""
    found: dict[str, object] = {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif value != [] and not (isinstance(value, Sequence) and len(value) > 50):
            found[name] = value
    return found
