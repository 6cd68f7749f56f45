"""Trained networks: loaded from the folder of a run, and exported."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.standard import Standard
from faltung.geometry.conv import NARROW, Kept
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.graph.ops import Convolve, Elementwise
from faltung.graph.value import Graph, Node, Parameter, Value
from faltung.nn import BatchNorm, Sequential, build
from faltung.train.model import Model
from faltung.train.network import Network
from faltung.train.run_folder import CONFIG, RunFolder


def load_model(path: str | os.PathLike[str], kind: type[Model] = Model) -> tuple[Model, RunFolder]:
    """The model of a run with its best weights, or the last ones if there are no best yet.
    ``kind``: its class. ValueError, OSError: a folder that is not a run, of another version, or
    inconsistent.
    """
    folder = RunFolder.open(path)
    model = kind.from_about(table(folder, "model"), str(folder.path / CONFIG))
    for found, name in ((folder.load_best(), "best"), (folder.load_last(), "last")):
        if found is not None:
            model.take(found.weights, str(folder.path / f"{name}.safetensors"))
            return model, folder
    raise FaltungError(
        f"{folder.path}: has no weights yet: it was stopped before its first checkpoint"
    )


def table(folder: RunFolder, name: str) -> dict[str, Any]:
    """A table of a run's config. ValueError: it is missing."""
    found = folder.config.get(name)
    if not isinstance(found, dict):
        raise FaltungError(f"{folder.path / CONFIG}: [{name}]: is missing")
    return found


def filters(model: Network) -> npt.NDArray[Any] | None:
    """The weight of the first convolution larger than 1x1, (out, in, *kernel), if there is one."""
    for node in model.graph.nodes:
        if isinstance(node.op, Convolve) and node.op.spec.taps > 1 and node.output.space:
            read = node.inputs[1].name  # or, on a grid, what is made of it
            known = model.state.parameters
            return model.state.get(read if read in known else f"{node.layer}.weight")
    return None


# Exporting ----------------------------------------------------------------------------------------


def export(
    model: Network,
    path: Path,
    dtype: Kept | None = None,
    *,
    coded: bool = False,
    packed: bool = False,
) -> None:
    """Write a model as ONNX or for ``Model.load``, by the suffix of the path. In ONNX the
    standardisation becomes the first layer, so that it takes samples as they are read: pictures
    from 0 to 1, in whatever units they were stored for training, and other numbers as stored.

    dtype: to write it in; None: its own. coded, packed: as ``save_tensors`` has them, not in ONNX.
    ValueError: as ``Model.astype``.
    """
    model = model if dtype is None else model.astype(dtype)
    if path.suffix.lower() != ".onnx":
        model.write(str(path), coded=coded, packed=packed)
        return
    from faltung.formats.onnx_export import export_onnx

    graph, parameters = with_scale(*with_standard(model), model.target_scale)
    said = {} if model.units is None else {"units": json.dumps(model.units.as_dict())}
    stored = model.dtype if model.dtype in NARROW else ""
    export_onnx(graph, parameters, path, classes=model.classes, metadata=said, stored=stored)


def with_scale(
    graph: Graph, parameters: dict[str, npt.NDArray[Any]], scale: Standard | None
) -> tuple[Graph, dict[str, npt.NDArray[Any]]]:
    """A graph and its parameters, whose outputs are in the units of the targets."""
    if scale is None:
        return graph, parameters
    output = graph.output
    made, values = dict(parameters), []
    for name, numbers in (("std", scale.std), ("mean", scale.mean)):
        value = Value(f"target_scale.{name}", (output.channels,), batched=False)
        made[value.name] = np.asarray(numbers, graph.dtype)
        values.append(Parameter(value, value.shape, value.shape, (0,), trained=False))
    wide = replace(output, name="output in units")
    formula = operand(0) * operand(1) + operand(2)
    inputs = (output, *(p.value for p in values))
    node = Node(Elementwise(output.shape, (formula,)), inputs, (wide,), "target_scale")
    ended = replace(
        graph,
        nodes=(*graph.nodes, node),
        outputs=(wide, *graph.outputs[1:]),
        parameters=(*graph.parameters, *values),
    )
    return ended, made


def with_standard(model: Network) -> tuple[Graph, dict[str, npt.NDArray[Any]]]:
    """The graph and the parameters of a model, with its standardisation as a first layer."""
    parameters, units = model.parameters, model.units
    # How much larger the numbers are that the network was trained on than a picture from 0 to 1.
    times = 1.0 if units is None or units.white is None else units.white / units.scale
    if model.standard is None and times == 1:
        return model.graph, parameters
    channels = model.input_shape[0]
    standard = model.standard or Standard((0.0,) * channels, (1.0,) * channels)
    mean, std = np.array([standard.mean, standard.std]) / times
    # (x - mean) / sqrt(std^2 + eps), with an eps that is negligible.
    layer = BatchNorm(eps=float(std.min() ** 2) * 1e-9, name="standard")
    graph = build(Sequential(layer, model.net), model.input_shape, dtype=model.graph.dtype)
    own = [p.name for p in model.graph.parameters]
    inside = [p.name for p in graph.parameters][-len(own) :] if own else []
    made = {new: parameters[old] for new, old in zip(inside, own, strict=True)}
    first = {"weight": std**0, "bias": 0 * mean, "running_mean": mean, "running_var": std**2}
    made |= {f"standard.{name}": value.astype(model.graph.dtype) for name, value in first.items()}
    return graph, made
