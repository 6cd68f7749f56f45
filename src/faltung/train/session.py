"""A training run from the command line: data, network, settings and folder brought together.

All that makes a run is in its config: what the data were and what they looked like, the network
with its classes and its standardisation, the settings. From that alone it is repeated or resumed.
"""

import os
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.files import Like
from faltung.data.open import NAMED, open_source
from faltung.data.source import Source, split
from faltung.data.standard import standardise
from faltung.geometry.check import show
from faltung.graph.ops import Convolve
from faltung.graph.summary import summary
from faltung.jit.target import current
from faltung.nets.table import NETS
from faltung.nets.table import get as get_net
from faltung.runtime.threads import get_threads
from faltung.train.loop import Judged, Loop, judge
from faltung.train.model import Model
from faltung.train.report import ReportData, write_report
from faltung.train.runfolder import RunFolder
from faltung.train.settings import Settings

# The network for data that nobody named one for.
USUAL = {"picture": "lenet5", "series": "tcn", "volume": "resnet3d", "text": "textcnn"}
# Mistakes that the report shows.
SHOWN = 24


class Session:
    """One run: ``run()`` trains, ``finish()`` judges the best weights and writes the report."""

    def __init__(self, folder: RunFolder, *, resumed: bool) -> None:
        config = folder.config
        self.folder = folder
        self.source = _opened(config["data"])
        self.train, self.held = split(
            self.source, float(config["data"]["held_out"]), int(config["train"]["seed"])
        )
        self.model = Model.from_about(config["model"], seed=int(config["train"]["seed"]))
        self.settings = Settings.from_dict(config["train"])
        self._start = time.perf_counter()
        self.loop = Loop(
            self.model,
            self.settings,
            self.train,
            self.held,
            folder=folder,
            title=_title(config),
        )
        if resumed:
            _check_same(self.source, config["data"], folder.path)
            self.loop.resume()

    def run(self) -> None:
        """Train to the end. Stopped after Ctrl-C, with everything saved."""
        self.loop.run()

    def finish(self) -> dict[str, float]:
        """The metrics of the best weights on what was held out; writes the report."""
        self.loop.restore_best()
        judged = judge(self.model, self.held)
        write_report(self.folder.report, self._report(judged))
        return judged.metrics()

    def _report(self, judged: Judged) -> ReportData:
        model, config = self.model, self.folder.config
        confusion, mistakes = None, []
        classes = model.classes or ()
        if judged.right is not None and judged.right.ndim == 1 and classes:
            confusion = np.zeros((len(classes), len(classes)), np.int64)
            said = judged.outputs.argmax(1)
            np.add.at(confusion, (judged.targets, said), 1)
            mistakes = _mistakes(self.held, judged, said)
        return ReportData(
            title=_title(config),
            history=self.loop.history,
            confusion=confusion,
            classes=classes,
            mistakes=mistakes,
            filters=filters(model),
            layers=summary(model.graph).as_dict()["layers"],
            cost=self._cost(),
            config={
                name: _flat(config[name]) for name in ("data", "net", "train") if name in config
            },
        )

    def _cost(self) -> dict[str, object]:
        rates = [row.samples_per_second for row in self.loop.history if row.samples_per_second]
        seconds = [row.seconds for row in self.loop.history if row.seconds]
        return {
            "seconds": sum(seconds),
            "samples_per_second": max(rates, default=0.0),
            "compile_seconds": self.loop.compiled,
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "machine": str(current()),
            "threads": get_threads(),
        }


def create(
    data: str,
    *,
    net: str | None,
    options: Mapping[str, Any],
    settings: Settings,
    reading: Mapping[str, Any],
    held_out: float,
    out: str | os.PathLike[str] | None,
) -> Session:
    """A new run in a new folder. ValueError, FileNotFoundError, ...: a line for people."""
    if data not in NAMED:
        data = os.path.abspath(data)
    about = {"path": data, "held_out": held_out, **reading}
    source = _opened(about)
    name = USUAL.get(source.kind, "") if net is None else net
    if name not in NETS:
        raise ValueError(f"net={show(name)}: must be one of {', '.join(NETS)}")
    if settings.loss == "cross_entropy" and source.classes is None:
        raise ValueError(f"data={show(data)}: has numbers and no classes; train with --loss mse")
    outputs = len(source.classes) if source.classes else int(np.prod(source.targets.shape[1:]))
    if source.kind == "text":
        options = {"vocabulary": _vocabulary(source), **options}
    layers = get_net(name, classes=outputs, input_shape=source.shape, **options)
    train, _ = split(source, held_out, settings.seed)
    model = Model(
        layers,
        source.shape,
        tokens=source.kind == "text",
        classes=source.classes,
        standard=None if source.kind == "text" else standardise(train),
    )
    stem = f"{Path(data).stem}-{name}"
    config = {
        "data": {**about, "samples": len(source), "kind": source.kind},
        "net": {"name": name, **options},
        "model": _without_nothing(model.about()),
        "train": settings.as_dict(),
    }
    return Session(RunFolder.create(out, config, stem), resumed=False)


def resume(path: str | os.PathLike[str]) -> Session:
    """Go on with a run that was stopped or killed."""
    return Session(RunFolder.resume(path), resumed=True)


def load_model(path: str | os.PathLike[str]) -> tuple[Model, RunFolder]:
    """The model of a run with its best weights, or its last ones before there are any."""
    folder = RunFolder.open(path)
    found = folder.load_best() or folder.load_last()
    if found is None:
        raise ValueError(f"{folder.path}: has no weights yet")
    model = Model.from_about(folder.config["model"])
    model.take(found.weights, str(folder.path))
    return model, folder


def filters(model: Model) -> npt.NDArray[Any] | None:
    """The weight of the first convolution, (out, in, *kernel); None if there is none with taps."""
    for node in model.graph.nodes:
        if isinstance(node.op, Convolve) and node.op.spec.taps > 1 and node.output.space:
            return model.state.get(node.inputs[1].name)
    return None


def _opened(about: Mapping[str, Any]) -> Source:
    keys = ("strict", "kind", "size", "channels", "classes")
    given = {key: about[key] for key in keys if about.get(key) is not None}
    return open_source(about["path"], **given)


def _check_same(source: Source, about: Mapping[str, Any], where: Path) -> None:
    """ValueError where the data are not those that the run began with."""
    if len(source) != about["samples"]:
        raise ValueError(
            f"{where}: began with {about['samples']} samples, {about['path']} now has "
            f"{len(source)}; a run goes on with the same data"
        )


def _title(config: Mapping[str, Any]) -> str:
    return f"{config['net']['name']} on {Path(config['data']['path']).name}"


def _vocabulary(source: Source) -> int:
    """One more than the largest token of all samples."""
    most = 0
    for start in range(0, len(source), 4096):
        part = source.read(np.arange(start, min(start + 4096, len(source))))
        most = max(most, int(part.max(initial=0)))
    return most + 1


def _mistakes(held: Source, judged: Judged, said: npt.NDArray[Any]) -> list[tuple[Any, ...]]:
    """(sample, true, predicted, confidence, name), the surest first."""
    wrong = np.flatnonzero(said != judged.targets)
    logits = judged.outputs[wrong].astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    sure = 1 / np.exp(logits).sum(1)
    order = np.argsort(-sure, kind="stable")[:SHOWN]
    samples = held.read(wrong[order]) if len(order) else ()
    return [
        (sample, int(judged.targets[i]), int(said[i]), float(p), str(held.names[i]))
        for sample, i, p in zip(samples, wrong[order], sure[order], strict=True)
    ]


def _without_nothing(found: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null."""
    return {name: value for name, value in found.items() if value is not None}


def _flat(table: Mapping[str, Any]) -> dict[str, object]:
    """A table of settings, inner tables written out: augment.shift."""
    found: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif not (isinstance(value, Sequence) and len(value) > 50):
            found[name] = value
    return found


def like(model: Model, folder: RunFolder) -> Like:
    """What files must hold to be samples of a run."""
    about = folder.config["data"]
    return Like(about["kind"], model.input_shape, fit=about.get("size") is not None)


def open_like(
    data: str, wanted: Like, classes: Sequence[str] | None, *, strict: bool = False
) -> Source:
    """Data with targets, read as those that a run began with, with the same classes."""
    sized = wanted.shape[1:] if wanted.fit else None
    given: dict[str, Any] = {"kind": wanted.kind, "size": sized, "classes": classes}
    given["strict"] = strict
    if data not in NAMED and wanted.kind in ("picture", "volume"):
        given["channels"] = wanted.shape[0]
    return open_source(data, **given)


def export(model: Model, path: Path) -> None:
    """Write a model for ONNX, or for `Model.load`, by the ending of the path."""
    if path.suffix.lower() == ".onnx":
        from faltung.formats.onnx import export_onnx

        export_onnx(model.graph, model.parameters, path, classes=model.classes)
    else:
        model.save(path)
