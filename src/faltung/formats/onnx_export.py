"""Export of networks to ONNX (https://onnx.ai/onnx/intro/).

For inference only, with a batch of any size. Paddings are written as numbers: ``auto_pad`` means
different things to different readers. Operations are in ``onnx_nodes.py``, formulas in
``onnx_expr.py``, and they write to ``onnx_writer.py``. Needs the ``onnx`` package: pip install
"faltung[onnx]".
"""

import os
from collections.abc import Mapping, Sequence

import numpy.typing as npt

from faltung.formats.files import write_whole
from faltung.formats.onnx_nodes import emit
from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Graph


def export_onnx(
    graph: Graph,
    parameters: Mapping[str, npt.ArrayLike],
    path: str | os.PathLike[str] | None = None,
    *,
    batch: int | str = "N",
    classes: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    stored: str = "",
) -> bytes:
    """A network with its parameters as an ONNX model.

    Parameters
    ----------
    graph : Graph
        Built for inference. The model's input "input" is ``(batch, channels, *space)`` in the
        graph's dtype, or int64 tokens ``(batch, length)``; its output "output" are the logits.
    parameters : mapping of str to array_like
        All parameters by name.
    path : path-like, optional
        A file to write, whole or not at all.
    batch : int or str
        The size of the batch, or a name for a size that is left open.
    classes : sequence of str, optional
        Names of the classes, kept as JSON under the key "classes" of the metadata.

    metadata : mapping of str to str, optional
        What else the metadata of the file say.
    stored : {"", "float16", "bfloat16"}
        Whether matrices and filters are kept in 16 bits, those whose numbers 16 bits can hold. A
        node Cast widens each; everything is computed in float32.

    Returns
    -------
    bytes
        The file. The same network gives the same bytes.

    Raises
    ------
    ValueError
        A graph for training, parameters that are missing or of another shape, an operation that
        ONNX cannot express, more than 2 GiB.
    ImportError
        ``onnx`` is not installed.
    OSError
        The file cannot be written.
    """
    if graph.training:
        raise FaltungError("graph: must be for inference; build the network with training=False")
    writer = Writer(graph, parameters, stored)
    for node in graph.nodes:
        emit(writer, node)
    data = writer.finish(batch, classes, metadata or {})
    if path is not None:
        write_whole(path, data)
    return data
