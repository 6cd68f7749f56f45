"""What a run starts from: another run, or a model in a file, with its layers, data and weights."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from faltung.data.names import listing, printable
from faltung.data.open import NAMED
from faltung.data.source import Source, kind_of_sample
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.nets.table import key, row
from faltung.nn import Layer
from faltung.train.freezing import frozen, layer_of
from faltung.train.model import Model
from faltung.train.opened import opened
from faltung.train.places import RELATIVE, check_relative, first_of
from faltung.train.pretrained import is_weights, packaged
from faltung.train.run_dataset import data_table
from faltung.train.run_dataset import opened as opened_data
from faltung.train.run_folder import CONFIG
from faltung.train.run_model import table
from faltung.train.transfer import digest, take_matching, with_outputs

# Entries of the table [from] of a config, and their types.
ENTRIES: dict[str, type] = {"path": str, "digest": str, "standard": bool, "anew": list}


@dataclass(frozen=True)
class Origin:
    """``path``: absolute; ``said``: as it was given. ``model``: with its best weights. ``net``,
    ``options``: what its layers are called. ``reading``: how the data were read, as options of
    ``open_source``; ``columns``: those of a table. ``option``: of the command line, for messages.
    """

    path: str
    said: str
    model: Model
    net: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] | None = None
    option: str = "--from"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        size: Sequence[int] | int | None = None,
        option: str = "--from",
        net: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> "Origin":
        """The folder of a run, a file that ``Model.save`` or `faltung export` wrote, an ONNX file
        of others, weights of torchvision or timm, or the name of weights in ``faltung-weights``.

        size: of pictures, where such a file leaves it free. option: of the command line, for
        messages. net, options: the network that weights alone belong to. ValueError, OSError: none
        of these.
        """
        path, said = packaged(path) or path, printable(path)
        place = Path(os.path.abspath(path))
        if is_weights(place):
            return cls._weights(path, size, option, net, options or {})
        if place.suffix.lower() == ".onnx" and not place.is_dir():
            onnx = import_module("faltung.onnx.layer")
            model = Model.from_onnx(path, onnx.sample_shape(path, size))
            kind = "text" if model.tokens else kind_of_sample(len(model.input_shape))
            read = _read_as(model, kind)
            return cls(str(place), said, model, printable(place.stem), reading=read, option="--net")
        found = opened(path)
        model, folder = found.model, found.folder
        if folder is None:
            kind = "text" if model.tokens else kind_of_sample(len(model.input_shape))
            return cls(
                str(place), said, model, printable(place.stem), reading=_read_as(model, kind)
            )
        own = dict(table(folder, "net"))
        name, about = own.pop("name", None), data_table(folder)
        columns = about.get("columns")
        if not isinstance(name, str):
            raise FaltungError(f"{folder.path / CONFIG}: net.name: is missing")
        return cls(str(place), said, model, name, own, _read_as(model, about["kind"]), columns)

    @classmethod
    def _weights(
        cls,
        path: str | os.PathLike[str],
        size: Sequence[int] | int | None,
        option: str,
        net: str | None,
        options: Mapping[str, Any],
    ) -> "Origin":
        """Weights of torchvision or timm."""
        place, said = os.path.abspath(path), printable(path)
        if net is None:
            raise FaltungError(
                f"{option}={said}: has weights without their network: --net NAME, of `faltung "
                "nets`, says which it is"
            )
        channels, *space = row(net).input_shape
        if size is not None:
            space = [size] * len(space) if isinstance(size, int) else list(size)
        model = Model.pretrained(path, net, input_shape=(channels, *space), **options)
        reading = _read_as(model, kind_of_sample(len(model.input_shape)))
        return cls(place, said, model, key(net), dict(options), reading, option=option)

    @classmethod
    def again(
        cls,
        found: Mapping[str, Any],
        where: str,
        shape: Sequence[int],
        run: str | os.PathLike[str],
        net: Mapping[str, Any] | None = None,
    ) -> "Origin":
        """What a run on samples of this shape started from, which must not have changed. run: its
        folder. net: the table of its network. ValueError naming ``where``.
        """
        check_table(found, where)
        options = dict(net or {})
        name = options.pop("name", None)

        def opened_as_it_was(table: Mapping[str, Any]) -> "Origin":
            origin = cls.open(table["path"], shape[1:], net=name, options=options).at_shape(shape)
            if digest(origin.model) != found["digest"]:
                raise FaltungError(
                    f"{where}: {printable(found['path'])}, which this run starts from, has changed "
                    "since: start the run anew"
                )
            return origin

        return first_of(found, run, opened_as_it_was)

    def at_shape(self, shape: Sequence[int]) -> "Origin":
        """The same for samples of another size, where its parameters fit them too; else this."""
        own = self.model.input_shape
        if tuple(shape) == own or len(shape) != len(own) or shape[0] != own[0]:
            return self
        try:
            return replace(self, model=self.model.at_shape(shape))
        except FaltungError:
            return self

    def like(self, about: Mapping[str, Any]) -> tuple["Origin", Source, dict[str, Any]]:
        """This origin for the data that ``about`` describes, the data, read as the origin's were
        unless ``about`` says otherwise, and what describes them then. ValueError: samples of a
        shape that does not fit.
        """
        tried = [dict(about)]
        if about["path"] not in NAMED:
            # Arrays are not resized; where their channels lie may be known from the other's alone.
            arrays = {"kind": self.reading.get("kind"), "channels": self.model.layout}
            tried = [{**self.reading, **about}, {**arrays, **about}, *tried]
        for number, each in enumerate(tried):
            try:
                source = opened_data(each, self.model.words)
            except FaltungError:
                if number == len(tried) - 1:
                    raise
                continue
            found = self.at_shape(source.shape)
            if source.shape == found.model.input_shape or number == len(tried) - 1:
                break
        if source.shape != found.model.input_shape:
            raise FaltungError(
                f"{self.option}={self.said}: was trained on samples of shape "
                f"{self.model.input_shape}, {printable(Path(about['path']).name)} has "
                f"{source.shape}: must be the same"
            )
        columns = getattr(source, "columns", None)
        if columns is not None and self.columns is not None and list(columns) != [*self.columns]:
            raise FaltungError(
                f"{self.option}={self.said}: was trained on the columns {listing(self.columns)}, "
                f"{printable(Path(about['path']).name)} has {listing(list(columns))}: must be the "
                "same, in the same order"
            )
        return found, source, each

    def layers(self, outputs: int, options: Mapping[str, Any]) -> Layer:
        """The layers of the origin, for so many outputs. ValueError: options of another network, or
        layers whose end is not known.
        """
        if options:
            raise FaltungError(
                f"--set={next(iter(options))}: the layers are those of {self.said}; options go "
                "with --net NAME"
            )
        output = self.model.graph.output
        made = self.model.net
        if output.channels != outputs:
            changed = with_outputs(made, outputs)
            if changed is None:
                raise FaltungError(
                    f"{self.option}={self.said}: has {output.channels} outputs, the data need "
                    f"{outputs}, and its last layer is none whose outputs can be changed; give "
                    "--net NAME"
                )
            made = changed
        return made

    def give(self, model: Model, freeze: Sequence[str] = ()) -> dict[str, Any]:
        """Give a model the weights; the table [from] of the run. ValueError: a layer that is both
        frozen and initialised anew.
        """
        anew = take_matching(model, self.model, f"{self.option}={self.said}")
        fixed = set(frozen(model.training_graph, model.graph, freeze))
        own = {layer_of(p.name) for p in model.graph.parameters if p.name in fixed}
        for name in anew:
            if name in own:
                raise FaltungError(
                    f"--freeze={' '.join(freeze)}: would freeze {name!r}, which is initialised "
                    "anew, untrained; freeze fewer layers"
                )
        return {
            "path": self.path,
            "digest": digest(self.model),
            "standard": model.standard is not None,
            "anew": list(anew),
        }


def _read_as(model: Model, kind: str | None) -> dict[str, Any]:
    """How data are read as samples of a model, as options of ``open_source``."""
    found: dict[str, Any] = {} if kind is None else {"kind": kind}
    if kind in ("picture", "volume"):
        found |= {"channels": model.input_shape[0], "size": list(model.input_shape[1:])}
    if model.words is not None:
        found["size"] = list(model.input_shape)
    return found


def check_table(found: Mapping[str, Any], where: str) -> None:
    """ValueError naming ``where``: an entry of [from] that is missing, unknown or misshapen."""
    for name, kind in ENTRIES.items():
        if not isinstance(found.get(name), kind):
            raise FaltungError(
                f"{where}: from.{name}={show(found.get(name))}: must be {kind.__name__}"
            )
    check_relative(found, where, "from")
    for name in found:
        if name not in (*ENTRIES, RELATIVE["path"]):
            raise FaltungError(f"{where}: from.{show(name)}: is not known")
