"""A training run of the command line: data, network, settings and folder.

The config of a run holds everything needed to repeat or resume it: a description of the data, the
network with its classes and its standardisation, and the settings.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.augment import Augment
from faltung.data.names import printable
from faltung.data.open import NAMED
from faltung.data.source import Source
from faltung.data.standard import learned
from faltung.formats.extras import missing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.graph.summary import summary
from faltung.jit.target import current
from faltung.nets.table import ALIASES, row
from faltung.nets.table import get as get_net
from faltung.runtime.threads import get_threads
from faltung.train.defaults import HELD_OUT, LOSS, PRESETS, USUAL
from faltung.train.evaluate import Evaluation, evaluate
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.report import ReportData, write_report
from faltung.train.run_dataset import OWN, data_table, described, opened, parts
from faltung.train.run_folder import CONFIG, RunFolder
from faltung.train.run_model import filters, table
from faltung.train.settings import Settings

# Mistakes in the report.
SHOWN_MISTAKES = 24
# What targets are read as for a loss.
TARGETS = {"cross_entropy": "labels", "mse": "numbers"}
# Packages that a run needs at its end; checked before it begins.
NEEDED = ("PIL", "jinja2", "safetensors", "tomli_w")


class Session:
    """One run: ``run()`` trains, ``finish()`` evaluates the best weights and writes the report.

    ``source``: all samples; ``train`` and ``held``: its parts. ``folder``: the run on disk. All
    that can be checked before the first step has been checked.
    """

    def __init__(self, config: Mapping[str, Any], source: Source, model: Model) -> None:
        about = config["data"]
        self.config, self.source, self.model = config, source, model
        self.settings = Settings.from_dict(config["train"])
        self.train, self.held = parts(source, about["held_out"], self.settings.seed)
        self.loop = Loop(model, self.settings, self.train, self.held, title=_title(config))

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        assert self.loop.folder is not None
        return self.loop.folder

    def run(self) -> None:
        """Train to the end. Stopped: after Ctrl-C, with everything saved."""
        self.loop.run()

    def finish(self) -> dict[str, float]:
        """Write the report; returns the metrics of the best weights on held-out samples."""
        self.loop.restore_best()
        found = evaluate(self.model, self.held, self.settings.loss, keep=True)
        write_report(self.folder.report, self._report(found))
        return found.metrics()

    def _report(self, found: Evaluation) -> ReportData:
        model, config = self.model, self.config
        confusion, mistakes = None, []
        classes = model.classes or ()
        if found.right is not None and found.outputs is not None and classes:
            said = found.outputs.argmax(1)
            counted = found.targets >= 0
            confusion = np.zeros((len(classes), len(classes)), np.int64)
            np.add.at(confusion, (found.targets[counted], said[counted]), 1)
            if said.ndim == 1:
                mistakes = _mistakes(self.held, found.targets, found.outputs)
        return ReportData(
            title=_title(config),
            history=self.loop.history,
            confusion=confusion,
            classes=classes,
            mistakes=mistakes,
            filters=filters(model),
            layers=summary(model.graph).as_dict()["layers"],
            cost=self._cost(),
            config={name: _flat(config[name]) for name in ("data", "net", "train")},
        )

    def _cost(self) -> dict[str, object]:
        rates = [row.samples_per_second for row in self.loop.history if row.samples_per_second]
        seconds = [row.seconds for row in self.loop.history if row.seconds]
        return {
            "seconds": sum(seconds),
            "samples_per_second": max(rates, default=0.0),
            "compile_seconds": self.loop.compiled,
            **_peak_memory(),
            "machine": str(current()),
            "threads": get_threads(),
        }


# A new run ----------------------------------------------------------------------------------------


def create(
    data: str,
    *,
    net: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    held_out: float | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Session:
    """A new run; its folder is created after everything else has been checked. ValueError,
    TypeError, FileNotFoundError, ...: one line for the user.

    data: a name or a path. net: a name; by default the usual one for the data. options: of the
    network. settings: fields of ``Settings`` and ``Augment``, by default as in ``PRESETS``.
    reading: options of ``open_source``. held_out: the part of the samples to hold out.
    """
    _check_needed()
    about: dict[str, Any] = {"path": data if data in NAMED else os.path.abspath(data)}
    loss = (settings or {}).get("loss", LOSS)
    about |= {"strict": False, **(reading or {}), "targets": TARGETS.get(loss, "labels")}
    source = opened(about)
    own = held_out is None and getattr(source, "held", None) is not None
    about["held_out"] = OWN if own else float(HELD_OUT if held_out is None else held_out)
    name = _net_name(source, net)
    wanted = _settings(data, name, settings or {})
    options = dict(options or {})
    if source.kind == "text" and "vocabulary" in row(name).arguments():
        options = {"vocabulary": _vocabulary(source), **options}
    layers = get_net(
        name, classes=_outputs(source, wanted.loss, data), input_shape=source.shape, **options
    )
    train, _ = parts(source, about["held_out"], wanted.seed)
    standard, units = learned(train)
    model = Model(
        layers,
        source.shape,
        tokens=source.kind == "text",
        seed=wanted.seed,
        classes=source.classes,
        standard=standard,
        units=units,
        precision=wanted.precision,
    )
    model.loss = wanted.loss
    config = {
        "data": {**about, **described(source)},
        "net": {"name": name, **options},
        "model": {name: value for name, value in model.about().items() if value is not None},
        "train": wanted.as_dict(),
    }
    session = Session(config, source, model)
    session.loop.folder = RunFolder.create(out, config, f"{Path(data).stem}-{name}")
    return session


def _net_name(source: Source, net: str | None) -> str:
    """The name of the network in the table."""
    if net is not None:
        row(net)
        return ALIASES.get(net, net)
    kind = "maps" if _dense(source) else source.kind
    if kind not in USUAL:
        raise FaltungError(f"net: must be given, since there is no default for a {source.kind}")
    return USUAL[kind]


def _dense(source: Source) -> bool:
    """Whether every position has a label."""
    return source.classes is not None and source.targets.ndim > 1


def _settings(data: str, net: str, given: Mapping[str, Any]) -> Settings:
    """Settings from what was given and what is known to work well."""
    known = PRESETS.get((data, net), {})
    if given.get("optimizer", "adamw") != "adamw":  # rates of one optimizer do not suit another
        known = {name: value for name, value in known.items() if name not in ("lr", "decay")}
    chosen = {**known, **given}
    names = Augment.__dataclass_fields__
    augment = {name: chosen.pop(name) for name in list(chosen) if name in names}
    return Settings(**chosen, augment=Augment(**augment))


def _outputs(source: Source, loss: str, data: str) -> int:
    """How many outputs the network must have. ValueError: targets that the loss cannot take."""
    where = f"data={show(data)}"
    if not source.targets.size:
        raise FaltungError(f"{where}: has no targets to train on")
    if loss == "cross_entropy" and source.classes is None:
        raise FaltungError(f"{where}: has numbers, not classes; train with --loss mse")
    if loss == "mse" and source.classes is not None:
        raise FaltungError(f"{where}: has classes, not numbers; --loss {loss} needs floats")
    return len(source.classes) if source.classes else source.targets.shape[1]


def _vocabulary(source: Source) -> int:
    """One more than the largest token of all samples."""
    most = 0
    for start in range(0, len(source), 4096):
        part = source.read(np.arange(start, min(start + 4096, len(source))))
        most = max(most, int(part.max(initial=0)))
    return most + 1


# An old run ---------------------------------------------------------------------------------------


def resume(path: str | os.PathLike[str]) -> Session:
    """Continue a run that was stopped or killed. ValueError, OSError: a folder that is not a run,
    or whose files or data are inconsistent.
    """
    _check_needed()
    folder = RunFolder.resume(path)
    try:
        where = folder.path / CONFIG
        about, trained = data_table(folder), table(folder, "train")
        source = opened(about)
        for name, value in described(source).items():
            if about.get(name) != value:
                raise FaltungError(
                    f"{folder.path}: its data have changed: {name} was {show(about.get(name))}, is "
                    f"{show(value)}; a run can only be resumed with the same data"
                )
        try:
            seed = Settings.from_dict(trained).seed
        except (TypeError, ValueError) as error:
            raise FaltungError(f"{where}: {error}") from error
        if not isinstance(table(folder, "net").get("name"), str):
            raise FaltungError(f"{where}: net.name: is missing")
        model = Model.from_about(table(folder, "model"), str(where), seed)
        session = Session(folder.config, source, model)
        session.loop.folder = folder
        session.loop.resume()
    except BaseException:
        folder.close()
        raise
    return session


def _check_needed() -> None:
    """ImportError: a package that a run needs at its end is not installed."""
    for module in NEEDED:
        if find_spec(module) is None:
            raise missing(module, "train")


# The report ---------------------------------------------------------------------------------------


def _title(config: Mapping[str, Any]) -> str:
    return printable(f"{config['net']['name']} on {Path(config['data']['path']).name}")


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


def _peak_memory() -> dict[str, int]:
    """The most bytes that this process has used, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory": most if sys.platform == "darwin" else most * 1024}


def _flat(given: Mapping[str, Any]) -> dict[str, object]:
    """A table of settings, with inner tables flattened: augment.shift."""
    found: dict[str, object] = {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif not (isinstance(value, Sequence) and len(value) > 50):
            found[name] = value
    return found
