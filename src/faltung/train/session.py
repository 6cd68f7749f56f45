"""A training run of the command line: data, network, settings and folder.

The config of a run holds everything needed to repeat or resume it: a description of the data, the
network with its classes and its standardisation, and the settings.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faltung.data.augment import Augment
from faltung.data.names import printable
from faltung.data.open import NAMED
from faltung.data.source import Source, in_units, layout_in
from faltung.data.standard import learned
from faltung.formats.extras import missing
from faltung.geometry.check import show, whole
from faltung.geometry.errors import FaltungError, FaltungMemoryError
from faltung.graph.losses import check_loss, kind_of, targets_of
from faltung.nets.table import check_rank, key, row
from faltung.nets.table import get as get_net
from faltung.nn import build
from faltung.program.memory import require_training
from faltung.train.callbacks import watchers
from faltung.train.checks import check_two_classes
from faltung.train.defaults import HELD_OUT, LOSS, SHORT, USUAL, USUAL_OF_DATA
from faltung.train.evaluate import Evaluation, evaluate
from faltung.train.loop import Loop
from faltung.train.model import Model
from faltung.train.origin import Origin
from faltung.train.places import with_relative
from faltung.train.pretrained import is_weights
from faltung.train.recipes import usual
from faltung.train.report import write_report
from faltung.train.run_dataset import OWN, data_table, described, opened, parts, reopened
from faltung.train.run_folder import CONFIG, RunFolder
from faltung.train.run_model import table
from faltung.train.run_tables import check_tables
from faltung.train.run_teacher import open_teacher, teacher_again
from faltung.train.session_report import length_note, notes, parameters, report_data
from faltung.train.settings import Settings
from faltung.train.target_scale import scale_of
from faltung.train.teacher import Teacher, check_alone
from faltung.train.vocabulary import largest_token, rows, vocabulary

# Packages that a run needs at its end; checked before it begins.
NEEDED = ("PIL", "jinja2", "safetensors", "tomli_w")


class Session:
    """One run: ``run()`` trains, ``finish()`` evaluates the best weights and writes the report.

    ``source``: all samples; ``train`` and ``held``: its parts, ``held`` None if nothing is held
    out. ``folder``: the run on disk. All that can be checked before the first step has been
    checked.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        source: Source,
        model: Model,
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.source, self.model = config, source, model
        self.settings = Settings.from_dict(config["train"])
        found = parts(source, config["data"]["held_out"], self.settings.seed)
        # Numbers mean what they meant to the network that a run starts from.
        units, where = model.units, printable(Path(config["data"]["path"]).name)
        self.train = in_units(found[0], units, where)
        self.held = None if found[1] is None else in_units(found[1], units, where)
        samples = self.train, self.held
        about: dict[str, Any] = {"title": _title(config), "teacher": teacher, "typed": True}
        self.loop = Loop(model, self.settings, *samples, **about)
        self.loop.notes = notes(self.loop, config, source)

    @property
    def folder(self) -> RunFolder:
        """The folder of the run."""
        assert self.loop.folder is not None
        return self.loop.folder

    @property
    def own(self) -> bool:
        """Whether the samples are held out that the data come with."""
        return bool(self.config["data"]["held_out"] == OWN)

    def watch(self, wanted: Mapping[str, str | os.PathLike[str]]) -> None:
        """Write how it goes for other programs too: "tensorboard", "mlflow" -> folder."""
        run = str(self.folder.path.absolute())
        self.loop.callbacks = watchers(wanted, run, parameters(self.config))

    def run(self) -> None:
        """Train to the end. Stopped: after Ctrl-C, with everything saved."""
        self.loop.run()
        self.settings = self.loop.settings  # a learning rate may have been found
        self.config = {**self.config, "train": self.settings.as_dict()}

    def finish(self) -> dict[str, float]:
        """Write the report; returns the metrics of the best weights on held-out samples, or where
        nothing is held out those of the last epoch of training.
        """
        self.loop.restore_best()
        found: Evaluation | None = None
        if self.held is not None:
            metrics = self.settings.noted
            found = evaluate(self.model, self.held, self.settings.loss, keep=True, metrics=metrics)
        write_report(self.folder.report, report_data(self.loop, self.config, found), own=True)
        if found is not None:
            return found.metrics()
        last = self.loop.history[-1]
        return {"loss": last.loss} | ({} if last.accuracy is None else {"accuracy": last.accuracy})

    def lengthen(self, epochs: int) -> None:
        """Give the run another number of epochs; config.toml says so before anything else happens,
        so that a run that is killed now goes on in the same way. ValueError: fewer than are done.
        """
        loop, before, path = self.loop, self.settings, self.folder.path
        done = loop.position.epoch + (loop.position.batch > 0)
        if epochs == before.epochs:
            return
        if epochs < max(done, 1):
            raise FaltungError(
                f"--epochs={epochs}: {path} has {'begun' if loop.position.batch else 'finished'} "
                f"epoch {done}: must be at least {done}"
            )
        if loop.out_of_patience():
            raise FaltungError(
                f"--epochs={epochs}: {path} ended after epoch {done}, because --patience "
                f"{before.patience} had run out; to train further, start another run --from it"
            )
        step = loop.position.step
        changes = before.lengthened if not step else (*before.lengthened, (before.epochs, step))
        settings = replace(before, epochs=epochs, lengthened=changes)
        note = length_note(loop, settings)
        self.config = {**self.config, "train": settings.as_dict()}
        self.folder.rewrite(self.config)
        loop.lengthen(settings)
        self.settings = settings
        loop.notes = (*loop.notes, *note)


# A new run ----------------------------------------------------------------------------------------


def create(
    data: str,
    *,
    net: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    held_out: float | None = None,
    val: str | None = None,
    start: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    distil: float | None = None,
    temperature: float | None = None,
    watch: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Session:
    """A new run; its folder is created after everything else has been checked. ValueError,
    TypeError, FileNotFoundError, ...: one line for the user.

    data: a name or a path. net: a name; by default the usual one for the data. options: of the
    network. settings: fields of ``Settings`` and ``Augment``, by default as in ``PRESETS``.
    reading: options of ``open_source``. held_out: the part of the samples to hold out, 0 for none.
    val: data to hold out instead. start: another run, or a model, whose weights this one starts
    from. teacher: one whose answers it learns from too, at this temperature, as this part of the
    loss. watch: as ``Session.watch``.
    """
    _check_needed(watch or {})
    _check_held_out(held_out, settings or {}, val)
    taught = None
    if teacher is None:
        check_alone(distil, temperature, "--teacher RUN")
    else:
        taught = open_teacher(teacher, distil, temperature)
    path = data if data in NAMED else os.path.abspath(data)
    loss = check_loss((settings or {}).get("loss", LOSS))
    about = {"path": path, "strict": False, **(reading or {})}
    if val is not None:
        about["val"] = val if val in NAMED else os.path.abspath(val)
    about["targets"] = targets_of(loss)
    options = dict(options or {})
    if net is not None and net.lower().endswith(".onnx"):
        if start is not None:
            raise FaltungError(
                f"--from={printable(start)}: a network from a file has weights of its own; leave "
                "out one of the two"
            )
        start, net = net, None
    origin = None
    if start is not None:
        origin = Origin.open(start, about.get("size"), net=net, options=options)
        if is_weights(origin.path):  # the network is that of the weights
            net, options = None, {}
    if origin is None:
        source = opened(about)
        name = _net_name(source, net, data)
    else:
        origin, source, about = origin.like(about)
        name = _net_name(source, net, data) if net is not None else origin.net
    own = held_out is None and getattr(source, "held", None) is not None
    about["held_out"] = OWN if own else float(HELD_OUT if held_out is None else held_out)
    outputs = _outputs(source, loss, data)
    count = len(parts(source, about["held_out"], 0)[0])
    wanted = _settings(data, name, settings or {}, count, origin is not None).resolved()
    words = None
    if origin is None or net is not None:
        if source.kind == "text" and "vocabulary" in row(name).arguments():
            known = getattr(source, "words", None)  # all of them: others may come in other texts
            least = options.get("vocabulary", known and len(known))
            words = vocabulary(source, printable(data), least)
            options = {"vocabulary": words.words, **options}
        check_rank(name, source.shape, f"{printable(data)}: has samples of shape {source.shape}")
        layers = get_net(name, classes=outputs, input_shape=source.shape, **options)
    else:
        layers = origin.layers(outputs, options)
        options = dict(origin.options)
    tokens = source.kind == "text"
    graph = build(layers, source.shape, tokens=tokens, training=True)
    what = words.said if words and words.makes_most_of(graph) else f"net={name}"
    batch = min(wanted.batch, len(source))
    require_training(graph, len(wanted.rule().slots), batch, what=what)
    train, _ = parts(source, about["held_out"], wanted.seed)
    standard, units = learned(train)
    if origin is not None:
        standard, units = origin.model.standard, origin.model.units or units
    model = Model(
        layers,
        source.shape,
        tokens=tokens,
        seed=wanted.seed,
        classes=source.classes or getattr(source, "label_names", None),
        standard=standard,
        units=units,
        precision=wanted.precision,
    )
    model.loss, model.layout = wanted.loss, layout_in(source)
    _scale_targets(model, wanted, train, origin)
    model.words = getattr(source, "words", None)
    near = RunFolder.place(out)
    began = {}
    if origin is not None:
        began["from"] = with_relative(origin.give(model, wanted.freeze), near)
    if origin is not None and source.kind == "text":
        _check_vocabulary(model, source, origin)
    config = {
        "data": with_relative({**about, **described(source)}, near),
        "net": {"name": name, **options},
        "model": {name: value for name, value in model.about().items() if value is not None},
        "train": wanted.as_dict(),
        **began,
        **({} if taught is None else {"teacher": with_relative(taught.about, near)}),
    }
    session = Session(config, source, model, taught)
    session.loop.folder = RunFolder.create(out, config, f"{Path(data).stem}-{name}")
    session.watch(watch or {})
    if origin is not None:
        session.loop.save()
    return session


def _scale_targets(model: Model, settings: Settings, train: Source, origin: Origin | None) -> None:
    """Note what numbers are learned as: as in the run that this one starts from, if its outputs
    are of numbers too.
    """
    kind, outputs = kind_of(settings.loss), model.graph.output.channels
    other = None if origin is None else origin.model
    both = other is not None and other.targets == kind.targets == "numbers"
    if both and other is not None and other.graph.output.channels == outputs:
        model.target_scale = other.target_scale
    elif kind.scales and settings.scale_targets and not train.targets.size % outputs:
        model.target_scale = scale_of(train, outputs)


def _check_held_out(
    held_out: float | None, settings: Mapping[str, Any], val: str | None = None
) -> None:
    """ValueError: no part of the samples, or settings that need a part when there is none."""
    if held_out is None:
        return
    if val is not None:
        raise FaltungError(
            f"--held-out={held_out:g}: --val {printable(val)} says what is held out; leave one of "
            "the two out"
        )
    if not 0 <= held_out < 1:
        raise FaltungError(
            f"--held-out={held_out:g}: must be at least 0 and below 1; 0 trains on everything"
        )
    for name in ("patience", "metric", "metrics"):
        if held_out == 0 and settings.get(name) is not None:
            said = settings[name]
            said = ",".join(said) if isinstance(said, list) else said
            raise FaltungError(
                f"--{name}={said}: with --held-out 0 there is nothing to judge an epoch "
                "by; leave one of the two out"
            )


def _check_vocabulary(model: Model, source: Source, origin: Origin) -> None:
    """ValueError: tokens that a network that was trained on other texts has no row for."""
    known, most = rows(model.graph), largest_token(source)[0]
    if known is not None and most >= known:
        raise FaltungError(
            f"--from={origin.said}: its network has rows for the tokens 0 to {known - 1}, the "
            f"data have a token {most}: must be numbered by the same vocabulary"
        )


def _net_name(source: Source, net: str | None, data: str) -> str:
    """The name of the network in the table."""
    if net is not None:
        return key(net)
    if data in USUAL_OF_DATA:
        return USUAL_OF_DATA[data]
    kind = "maps" if _dense(source) else source.kind
    if kind == "series" and source.shape[-1] <= SHORT:
        kind = "short series"
    if kind not in USUAL:
        raise FaltungError(f"net: must be given, since there is no default for a {source.kind}")
    return USUAL[kind]


def _dense(source: Source) -> bool:
    """Whether every position has a label."""
    return source.classes is not None and source.targets.ndim > 1


def _settings(data: str, net: str, given: Mapping[str, Any], samples: int, tuned: bool) -> Settings:
    """Settings from what was given and what is known to work well; ``tuned``: from the weights of
    another training.
    """
    chosen = usual(data, net, samples, dict(given), tuned)
    names = Augment.__dataclass_fields__
    augment = {name: chosen.pop(name) for name in list(chosen) if name in names}
    return Settings(**chosen, augment=Augment(**augment))


def _outputs(source: Source, loss: str, data: str) -> int:
    """How many outputs the network must have. ValueError: targets that the loss cannot take."""
    where = f"data={show(data)}"
    if not source.targets.size:
        raise FaltungError(f"{where}: has no targets to train on")
    labels = targets_of(loss) == "labels"
    if labels and source.classes is None:
        raise FaltungError(f"{where}: has numbers, not classes; train with --loss mse")
    if not labels and source.classes is not None:
        what = "several labels at once" if targets_of(loss) == "flags" else "numbers"
        needs = "y of (n, labels), each 0 or 1" if targets_of(loss) == "flags" else "floats"
        raise FaltungError(f"{where}: has classes, not {what}; --loss {loss} needs {needs}")
    if source.classes:
        check_two_classes(source.targets, source.classes, where)
    return len(source.classes) if source.classes else source.targets.shape[1]


# An old run ---------------------------------------------------------------------------------------


def resume(
    path: str | os.PathLike[str],
    epochs: int | None = None,
    watch: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Session:
    """Continue a run that was stopped or killed; with ``epochs`` one that has ended too, to another
    length. ``watch``: as ``Session.watch``. ValueError, OSError: a folder that is not a run, or
    whose files or data are inconsistent; fewer epochs than are done.
    """
    _check_needed(watch or {})
    folder = RunFolder.resume(path)
    try:
        where = folder.path / CONFIG
        if "compress" in folder.config:
            raise FaltungError(
                f"{folder.path}: is a compressed run, which has no end to go on from: train it "
                "further with --from, and resume a compression with `faltung compress --resume`"
            )
        data_table(folder)
        trained = table(folder, "train")
        check_tables(folder)
        about, source = reopened(folder)
        for name, value in described(source).items():
            if about.get(name) != value:
                raise FaltungError(
                    f"{folder.path}: its data have changed: {name} was {show(about.get(name))}, is "
                    f"{show(value)}; a run can only be resumed with the same data"
                )
        try:
            seed = Settings.from_dict(trained).seed
        except (TypeError, ValueError) as error:
            raise FaltungError(f"{where}: [train]: {error}") from error
        model = Model.from_about(table(folder, "model"), str(where), seed)
        if folder.load_last() is None and "from" in folder.config:
            began, net = table(folder, "from"), table(folder, "net")
            Origin.again(began, str(where), model.input_shape, folder.path, net).give(model)
        taught = None
        if "teacher" in folder.config:
            taught = teacher_again(table(folder, "teacher"), str(where), folder.path)
        try:
            session = Session(folder.config, source, model, taught)
        except FaltungMemoryError as error:
            raise FaltungMemoryError(f"{where}: {error}") from None
        session.loop.folder = folder
        session.watch(watch or {})
        session.loop.resume()
        if epochs is not None:
            session.lengthen(whole("--epochs", epochs, 1))
    except BaseException:
        folder.close()
        raise
    return session


def _check_needed(watch: Mapping[str, object]) -> None:
    """ImportError: a package that a run needs, at its end or to tell others, is not installed."""
    for module in (*NEEDED, *watch):
        if find_spec(module) is None:
            raise missing(module, module if module in watch else "train")


def _title(config: Mapping[str, Any]) -> str:
    return printable(f"{config['net']['name']} on {Path(config['data']['path']).name}")
