"""A network for other programs: ONNX. (https://onnx.ai/onnx/intro/)

Inference alone, and the batch is open. What a padding comes to stands in the file as numbers:
``auto_pad`` means different things to different readers. Operations are in ``onnx_nodes.py``,
formulas in ``onnx_expr.py``, what they write to in ``onnx_writer.py``. Needs the ``onnx`` package:
pip install "faltung[onnx]".
"""

import os
from collections.abc import Mapping, Sequence

import numpy.typing as npt

from faltung.formats.files import write_whole
from faltung.formats.onnx_nodes import emit
from faltung.formats.onnx_writer import Writer
from faltung.graph.value import Graph


def export_onnx(
    graph: Graph,
    parameters: Mapping[str, npt.ArrayLike],
    path: str | os.PathLike[str] | None = None,
    *,
    batch: int | str = "N",
    classes: Sequence[str] | None = None,
) -> bytes:
    """The network with its parameters as an ONNX file; written, whole or not at all, where a path
    is given.

    Input "input": (batch, C, *space), or tokens (batch, length) as int64; output "output", in the
    graph's dtype, for classes the logits. batch: a name, so that it is open, or a number. classes:
    their names, kept as JSON under the key "classes" of the metadata.
    ValueError: a graph for training, parameters that are missing or of another shape, an operation
    that inference does not have, more than 2 GiB. ImportError: no ``onnx``. OSError: not written.
    """
    if graph.training:
        raise ValueError("graph: must be for inference; build the network with training=False")
    writer = Writer(graph, parameters)
    for node in graph.nodes:
        emit(writer, node)
    data = writer.finish(batch, classes)
    if path is not None:
        write_whole(path, data)
    return data
