"""A network from an ONNX file as a layer of ours: it can be trained, saved and looked at."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import integers, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.foreign import Foreign, Shape, Tensor
from faltung.graph.ops import Softmax
from faltung.graph.value import Value
from faltung.nn.layer import Layer
from faltung.onnx.importer import import_layer
from faltung.onnx.knowledge import Knowledge
from faltung.onnx.part import Needed
from faltung.onnx.read import Call, File, Port, read
from faltung.onnx.structure import structure, with_classes, written

if TYPE_CHECKING:
    from faltung.train.network import Network

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, repr=False)
class OnnxNet(Layer):
    """A network from an ONNX file, without its weights; ``Model.from_onnx`` makes one.

    A softmax at its end is left out: what is trained, and what ``Model.predict`` turns into
    probabilities, is what it reads. Batch normalisation and dropout work as in training where the
    network is trained.

    Parameters
    ----------
    structure : str
        The file as text.
    classes : int, optional
        Outputs of the last layer, by default as many as in the file.

    References
    ----------
    ONNX, *Open Neural Network Exchange*, https://onnx.ai.
    """

    structure: str
    classes: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        classes = None if self.classes is None else whole("classes", self.classes, 1)
        found = structure(self.structure)
        return _built(found.file, found.port, Foreign(b.dtype, b), b.settled(x), classes)[0]


def _built(
    file: File, port: Port, f: Foreign, x: Value, classes: int | None = None
) -> tuple[Value, bool]:
    """The output as a map or a vector, and whether a softmax at the end was left out."""
    knowledge = Knowledge(file, False)
    body = knowledge.body
    constants = body.constants if classes is None else with_classes(knowledge, classes)
    output = body.outputs[0]
    calls = _needed(body.calls, output, knowledge)
    try:
        y = import_layer(knowledge, calls, constants, {port.name: _input(f, port, x)}, f, output)
    except Needed as need:
        raise FaltungError(f"{file.where}: {need.name!r} must be a constant") from None
    made = _map(f, y)
    maker = f.b.maker(made)
    if maker is not None and isinstance(maker.op, Softmax):
        return maker.inputs[0], True
    return made, False


def _needed(calls: Sequence[Call], output: str, knowledge: Knowledge) -> list[Call]:
    """The nodes that the output needs."""
    wanted, kept = {output}, []
    for call in reversed(calls):
        if not wanted.isdisjoint(call.outputs):
            kept.append(call)
            wanted.update(knowledge.reads(call))
    return kept[::-1]


def _input(f: Foreign, port: Port, x: Value) -> Tensor:
    """What the network reads as the file numbers its axes: a batch of one sample."""
    if x.kind != "float":
        return f.result(x, (1, *x.shape), port.dtype)
    made = f.of_map(x, port.dtype)
    sizes = port.shape
    if sizes is None or len(sizes) != made.rank:
        wanted = "any" if sizes is None else f"{len(sizes) - 1} axes"
        raise FaltungError(f"input_shape={x.shape}: the file reads samples of {wanted}")
    last = (0, *range(2, made.rank), 1)
    for order in (tuple(range(made.rank)), last):
        found = made.transposed(order)
        if all(n == m for n, m in zip(sizes[1:], found.shape[1:], strict=True) if _known(n)):
            return found
    inner = "x".join(map(str, sizes[1:]))
    raise FaltungError(f"input_shape={x.shape}: must be {inner}, as in the file")


def _known(size: object) -> bool:
    return isinstance(size, int)


def _map(f: Foreign, y: Tensor) -> Value:
    """The output as people here see it: (C, *space), or a vector."""
    if y.rank < 2 or y.shape[0] != 1:
        raise FaltungError(f"output of shape {y.shape}: must have one entry for each sample")
    return f.map(y)


# Models -------------------------------------------------------------------------------------------


def from_onnx(
    cls: "type[Network]",
    model: str | os.PathLike[str] | bytes,
    input_shape: Sequence[int] | None,
    classes: Sequence[str] | None,
) -> "Network":
    """``Model.from_onnx``."""
    file = read(model)
    ports = [port for port in file.inputs if port.name not in file.body.constants]
    if len(ports) != 1:
        raise FaltungError(f"{file.where}: has {len(ports)} inputs: a model must have one")
    (port,) = ports
    shape = _sample(file, port, input_shape)
    tokens = port.dtype.startswith(("int", "uint"))
    dtype = "float64" if port.dtype == "float64" else "float32"
    net = OnnxNet(written(model, port.name))
    made = cls(net, shape, dtype=dtype, tokens=tokens, classes=classes)  # type: ignore[arg-type]
    b = Builder(shape, dtype=dtype, tokens=tokens)  # type: ignore[arg-type]
    f = Foreign(b.dtype, b)
    with b.layer("OnnxNet", None, net):
        _, softmax = _built(file, port, f, b.input)
    made.set_parameters(_weights(made, f.weights, file))
    if softmax:
        made.loss = "cross_entropy"
    return made


def _weights(made: "Network", weights: Mapping[str, Array], file: File) -> dict[str, Array]:
    """The numbers of all parameters. FaltungError: the network without its weights is another."""
    wanted = {p.name: p.shape for p in made.training_graph.parameters}
    found = {name: np.asarray(array) for name, array in weights.items() if name in wanted}
    if {name: array.shape for name, array in found.items()} != wanted:
        raise FaltungError(
            f"{file.where}: what it computes depends on the numbers of its weights, so it cannot "
            "be trained here; load it with faltung.onnx.load"
        )
    return found


def sample_shape(
    model: str | os.PathLike[str], size: Sequence[int] | int | None
) -> tuple[int, ...] | None:
    """The shape of one sample of a file that leaves the size of pictures free; None: it does not.
    FaltungError: the size is not given.
    """
    file = read(model)
    ports = [port for port in file.inputs if port.name not in file.body.constants]
    sizes = () if not ports or ports[0].shape is None else ports[0].shape[1:]
    if len(sizes) < 2 or not _known(sizes[0]) or all(map(_known, sizes)):
        return None
    if size is None:
        raise FaltungError(
            f"size: must be given, since {file.where} leaves the size of samples free"
        )
    given = (size,) * (len(sizes) - 1) if isinstance(size, int) else tuple(size)
    if len(given) != len(sizes) - 1:
        raise FaltungError(f"size={given}: must be {len(sizes) - 1} numbers")
    return (int(sizes[0]), *given)  # type: ignore[arg-type]


def _sample(file: File, port: Port, given: Sequence[int] | None) -> Shape:
    """The shape of one sample, channels first. FaltungError: a size that is free and not given."""
    if given is not None:
        return integers("input_shape", given)
    sizes = () if port.shape is None else port.shape[1:]
    known = tuple(n for n in sizes if isinstance(n, int))
    if not known or len(known) < len(sizes):
        raise FaltungError(
            f"{file.where}: input {port.name!r} has sizes that are free, so input_shape must be "
            "given"
        )
    last = len(known) == 3 and known[-1] in (1, 3, 4) and known[0] not in (1, 3, 4)
    return (known[-1], *known[:-1]) if last else known


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of an ONNX file, by its name."""
    return Path(path).suffix.lower() == ".onnx"
