"""``InferenceSession`` with the methods of ONNX Runtime's: existing code changes one import.

>>> from faltung.onnx import InferenceSession  # instead of: from onnxruntime import ...
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy.typing as npt

from faltung.geometry.check import show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.onnx.model import OnnxModel
from faltung.onnx.read import Port
from faltung.onnx.tensors import runtime_name
from faltung.runtime.threads import threads

PROVIDER = "FaltungExecutionProvider"


@dataclass(slots=True)
class SessionOptions:
    """How a session runs.

    Parameters
    ----------
    intra_op_num_threads : int
        Threads of one run; 0 for as many as ``faltung.set_threads`` says.
    inter_op_num_threads : int
        Accepted, and without effect: a model is one program.

    Examples
    --------
    >>> options = SessionOptions()
    >>> options.intra_op_num_threads = 2
    """

    intra_op_num_threads: int = 0
    inter_op_num_threads: int = 0


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output as ONNX Runtime shows it: ``name``, ``type`` such as "tensor(float)", and
    ``shape``, with names or None for sizes that are free.
    """

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What the file says about itself."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


class InferenceSession:
    """An ONNX model, called as ONNX Runtime's class of this name.

    Parameters
    ----------
    path_or_bytes : path-like or bytes
        The file, or what is in it.
    sess_options : SessionOptions, optional
    providers : sequence, optional
        Accepted, and without effect: there is one, "FaltungExecutionProvider".
    fallback : {None, "onnxruntime"}
        What runs operators that Faltung does not have, as ``faltung.onnx.load``.

    Raises
    ------
    FaltungError, UnsupportedError, OSError, ImportError
        As ``faltung.onnx.load``.

    Notes
    -----
    Several threads may call one session; they take turns. The results have the same bits for any
    number of threads, and for a sample alone or in a batch.

    Examples
    --------
    >>> from faltung.onnx import InferenceSession
    >>> session = InferenceSession("resnet18.onnx")  # doctest: +SKIP
    >>> (scores,) = session.run(None, {"input": pictures})  # doctest: +SKIP
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        fallback: str | None = None,
    ) -> None:
        options = SessionOptions() if sess_options is None else sess_options
        if not hasattr(options, "intra_op_num_threads"):
            raise FaltungTypeError(f"sess_options={show(options)}: must be a SessionOptions")
        self._threads = whole("intra_op_num_threads", options.intra_op_num_threads, 0)
        self._options = options
        self._model = OnnxModel(path_or_bytes, fallback=fallback)

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, npt.ArrayLike],
        run_options: object = None,
    ) -> list[Any]:
        """The outputs.

        Parameters
        ----------
        output_names : sequence of str or None
            Which, in this order; None for all in the order of the file.
        input_feed : mapping of str to array_like
            The inputs by name, of the types and shapes of ``get_inputs``.
        run_options : optional
            Accepted, and without effect.

        Returns
        -------
        list of ndarray

        Raises
        ------
        FaltungError, FaltungTypeError, UnsupportedError, MemoryError
            As a call of ``OnnxModel``; also a type that is not exactly that of the input, or an
            output that does not exist.
        """
        if not isinstance(input_feed, Mapping):
            raise FaltungTypeError(f"input_feed={show(input_feed)}: must be a dict of arrays")
        names = [port.name for port in self._model.outputs]
        if output_names is not None and not isinstance(output_names, list | tuple):
            raise FaltungTypeError(f"output_names={show(output_names)}: must be a list of names")
        wanted = names if output_names is None else list(output_names)
        for name in wanted:
            if name not in names:
                raise FaltungError(f"output_names: {show(name)}: must be one of {', '.join(names)}")
        if self._threads:
            with threads(self._threads):
                made = self._model.run(input_feed, exact=True)
        else:
            made = self._model.run(input_feed, exact=True)
        found = dict(zip(names, made, strict=True))
        return [found[name] for name in wanted]

    def get_inputs(self) -> list[NodeArg]:
        """The inputs, in the order of the file."""
        return list(map(_argument, self._model.inputs))

    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the order of the file."""
        return list(map(_argument, self._model.outputs))

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Inputs that have numbers in the file, which a run may replace."""
        return list(map(_argument, self._model.file.replaceable))

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says about itself."""
        return ModelMetadata(**self._model.file.about)

    def get_providers(self) -> list[str]:
        """What computes."""
        return [PROVIDER]

    def get_session_options(self) -> SessionOptions:
        """The options that the session was made with."""
        return self._options


def _argument(port: Port) -> NodeArg:
    return NodeArg(port.name, runtime_name(port.dtype), list(port.shape or ()))
