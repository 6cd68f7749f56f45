"""Trained networks: loaded from the folder of a run, and exported."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.ops import Convolve
from faltung.graph.value import Graph
from faltung.nn import BatchNorm, Sequential, build
from faltung.train.model import Model
from faltung.train.network import Network
from faltung.train.run_folder import CONFIG, RunFolder


def load_model(path: str | os.PathLike[str]) -> tuple[Model, RunFolder]:
    """The model of a run with its best weights, or the last ones if there are no best yet.
    ValueError, OSError: a folder that is not a run, of another version, or inconsistent.
    """
    folder = RunFolder.open(path)
    model = Model.from_about(table(folder, "model"), str(folder.path / CONFIG))
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
            return model.state.get(node.inputs[1].name)
    return None


# Exporting ----------------------------------------------------------------------------------------


def export(model: Model, path: Path) -> None:
    """Write a model as ONNX or for ``Model.load``, by the suffix of the path. In ONNX the
    standardisation becomes the first layer, so that it takes samples as ``predict`` does.
    """
    if path.suffix.lower() != ".onnx":
        model.save(path)
        return
    from faltung.formats.onnx_export import export_onnx

    graph, parameters = with_standard(model)
    export_onnx(graph, parameters, path, classes=model.classes)


def with_standard(model: Model) -> tuple[Graph, dict[str, npt.NDArray[Any]]]:
    """The graph and the parameters of a model, with its standardisation as a first layer."""
    parameters = model.parameters
    if model.standard is None:
        return model.graph, parameters
    mean, std = np.array([model.standard.mean, model.standard.std])
    # (x - mean) / sqrt(std^2 + eps), with an eps that is negligible.
    layer = BatchNorm(eps=float(std.min() ** 2) * 1e-9, name="standard")
    graph = build(Sequential(layer, model.net), model.input_shape, dtype=model.dtype)
    own = [p.name for p in model.graph.parameters]
    inside = [p.name for p in graph.parameters][-len(own) :] if own else []
    made = {new: parameters[old] for new, old in zip(inside, own, strict=True)}
    first = {"weight": std**0, "bias": 0 * mean, "running_mean": mean, "running_var": std**2}
    made |= {f"standard.{name}": value.astype(model.dtype) for name, value in first.items()}
    return graph, made
