"""``OnnxModel``: an ONNX file that is called like a function, compiled for each set of sizes."""

import os
import threading
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import integers, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.value import Graph
from faltung.onnx.ahead import default_shape, gaps_of
from faltung.onnx.direct import Direct, direct
from faltung.onnx.explain import explained, on_host
from faltung.onnx.fallback import checked
from faltung.onnx.flat import float_of
from faltung.onnx.gaps import unsupported
from faltung.onnx.knowledge import Knowledge
from faltung.onnx.parts import Engine, Routine
from faltung.onnx.profiled import profiled
from faltung.onnx.programs import Programs
from faltung.onnx.read import File, Port, read
from faltung.onnx.tensors import FLOATS, dtype_of
from faltung.plan.choose import policy_of
from faltung.plan.words import Precision
from faltung.program.profile import Profile
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


class OnnxModel:
    """An ONNX model from elsewhere, run by compiled programs.

    A program is made for each set of sizes, when it is first called with them, and kept. Sizes that
    the file leaves free stay free. Several threads may call one model; they take turns.

    Parameters
    ----------
    model : path-like or bytes
        The file, or what is in it; ``load`` is the usual way.
    precision : {"fast", "strict"}
        With "strict", convolutions are plain sums of products.
    fallback : {None, "onnxruntime"}
        What runs operators that Faltung does not have; ``explain`` says which.

    Attributes
    ----------
    inputs, outputs : tuple of Port
        Each with ``name``, ``shape`` (numbers, and names or None where a size is free) and
        ``dtype``.

    Raises
    ------
    FaltungError
        No ONNX model, or one that contradicts itself.
    UnsupportedError
        Operators that Faltung does not have yet; the message names all of them.
    OSError
        The file cannot be read.
    ImportError
        ``onnx`` is not installed.

    Examples
    --------
    >>> import numpy as np, faltung, faltung.onnx
    >>> from faltung.formats.onnx_export import export_onnx
    >>> net = faltung.Model(faltung.nn.Conv(2, 3), (1, 5, 5))
    >>> model = faltung.onnx.load(export_onnx(net.graph, net.parameters))
    >>> model
    <OnnxModel input (N, 1, 5, 5) -> output (N, 2, 3, 3)>
    >>> model(np.ones((4, 1, 5, 5), np.float32)).shape
    (4, 2, 3, 3)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        precision: Precision = "fast",
        fallback: str | None = None,
    ) -> None:
        policy_of(precision)  # refuses unknown names
        self.precision: Precision = precision
        self.fallback = fallback
        falls_back = checked(fallback)
        self.file: File = read(model)
        self.inputs: tuple[Port, ...] = self.file.inputs
        self.outputs: tuple[Port, ...] = self.file.outputs
        knowledge = Knowledge(self.file, falls_back)
        engine = Engine(knowledge, float_of(self.file), Programs(precision))
        self._main = Routine(engine, knowledge.body)
        self._lock = threading.RLock()
        self._direct: Direct | None = None
        # Whether there will be one program alone, which has packed all numbers that it needs.
        self._settled = all(map(_settled, self.inputs)) and not self.file.replaceable
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Name what is not supported before anything runs. Sizes that are free are taken to be 1
        for the batch, and where they are others only the operators are looked at.
        """
        gaps = gaps_of(self._main, self.inputs)
        if gaps:
            raise unsupported(self.file.where, gaps)

    def __repr__(self) -> str:
        def words(ports: Sequence[Port]) -> str:
            return ", ".join(f"{p.name} {_sizes(p)}" for p in ports)

        return f"<OnnxModel {words(self.inputs)} -> {words(self.outputs)}>"

    # Calls ---------------------------------------------------------------------------------------

    def __call__(self, *inputs: npt.ArrayLike, **named: npt.ArrayLike) -> Any:
        """The outputs for these inputs.

        Parameters
        ----------
        *inputs, **named : array_like
            In the order of ``inputs``, or by name. Real numbers of another precision are converted.

        Returns
        -------
        ndarray, or tuple of ndarray
            The output, or all outputs in the order of ``outputs``.

        Raises
        ------
        FaltungError, FaltungTypeError
            An input that is missing, unknown, or of another shape or kind.
        UnsupportedError
            Operators that Faltung does not have yet, for these sizes.
        MemoryError
            What the model makes of these sizes does not fit into memory.
        """
        names = [port.name for port in self.inputs]
        if len(inputs) > len(names):
            raise FaltungError(f"inputs: there are {len(names)}, got {len(inputs)}")
        given = dict(zip(names, inputs, strict=False))
        twice = given.keys() & named.keys()
        if twice:
            raise FaltungError(f"inputs: {sorted(twice)[0]!r} is given twice")
        made = self.run({**given, **named})
        return made[0] if len(made) == 1 else tuple(made)

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, exact: bool = False) -> list[Array]:
        """All outputs, from inputs by name. exact: refuses arrays of another precision."""
        with self._lock:
            if self._direct is not None and isinstance(inputs, Mapping):
                found = self._direct.run(inputs)
                if found is not None:
                    return found
        arrays = self._checked(inputs, exact)
        with self._lock:
            before, self._direct = self._main.single, None
            self._main.engine.ran = False
            made = self._main.run(arrays, {})
            fresh = self._main.fresh
            if self._settled:
                self._settled = not self._main.release()
            if before is not None and before is self._main.single:
                self._direct = direct(before, arrays, self.outputs)
        return [
            _own(array, p, p.name in fresh) for array, p in zip(made, self.outputs, strict=True)
        ]

    def _checked(self, inputs: Mapping[str, npt.ArrayLike], exact: bool) -> dict[str, Array]:
        if not isinstance(inputs, Mapping):
            raise FaltungTypeError(f"inputs={show(inputs)}: must be a dict of arrays by name")
        ports = {port.name: port for port in (*self.inputs, *self.file.replaceable)}
        for name in inputs:
            if name not in ports:
                known = name in self.file.body.constants
                hint = " (an initialiser that is no input)" if known else ""
                raise FaltungError(
                    f"inputs: {show(name)}{hint}: must be one of "
                    f"{', '.join(sorted(ports)) or 'none'}"
                )
        for port in self.inputs:
            if port.name not in inputs:
                raise FaltungError(f"inputs: {port.name!r} is missing; it is {_words(port)}")
        return {name: _converted(ports[name], given, exact) for name, given in inputs.items()}

    # What is known of it -------------------------------------------------------------------------

    def graphs(self, *shapes: Sequence[int]) -> list[Graph]:
        """The networks that are compiled for inputs of these shapes, one for each part.

        Parameters
        ----------
        *shapes : sequence of int
            One for each input, the batch included; by default those of the file, with 1 for a free
            batch. The model runs once, with zeros.

        Returns
        -------
        list of Graph

        Raises
        ------
        FaltungError
            A size that is free and was not given.
        """
        with self._lock:
            self._try(shapes)
            parts = [record.part for record in self._main.records if record.part is not None]
        return [part.graph for part in parts if part.graph is not None]

    def graph(self, *shapes: Sequence[int]) -> Graph:
        """The network for inputs of these shapes, where it is one: as ``graphs``.

        Raises
        ------
        FaltungError
            A size that is free and was not given; a model that computes nothing, or in several
            parts.
        """
        found = self.graphs(*shapes)
        if not found:
            raise FaltungError(f"{self.file.where}: computes nothing")
        if len(found) > 1:
            raise FaltungError(
                f"{self.file.where}: is compiled in {len(found)} parts: graphs() has them, and "
                "explain() says what is between them"
            )
        return found[0]

    def summary(self, *shapes: Sequence[int]) -> str:
        """A table of the layers: shapes, parameters, cost; and a line for what runs on the host
        between the compiled parts. As ``graphs`` takes shapes.
        """
        from faltung.graph.summary import summary

        with self._lock:
            self._try(shapes)
            records = list(self._main.records)
        blocks = []
        for record in records:
            if record.host:
                blocks.append(on_host(record.host))
            if record.part is not None and record.part.graph is not None:
                blocks.append(str(summary(record.part.graph).table(None)))
        return "\n\n".join(blocks) or "nothing is computed"

    def explain(self, *shapes: Sequence[int]) -> str:
        """What runs where: the compiled parts, and the operators on the host between them, with the
        reason of each; and what a fallback runs.

        Parameters
        ----------
        *shapes : sequence of int
            As ``graphs``; without them, and after a call, what the last call did.

        Returns
        -------
        str
        """
        with self._lock:
            if shapes or not self._main.records:
                self._try(shapes)
            return explained(self._main, self.file.where)

    def profile(
        self, inputs: Mapping[str, npt.ArrayLike] | None = None, *, repeats: int = 20
    ) -> Profile:
        """Where the time goes: for each step of the compiled parts its method, the least time of
        all runs, the speed of its products and the bytes that it moves; and a row for what runs on
        the host between them.

        Parameters
        ----------
        inputs : mapping of str to array_like, optional
            By name; by default zeros of the sizes of the file, with 1 for a free batch.
        repeats : int
            How often each step runs.

        Returns
        -------
        Profile
            Printed, it is a table.
        """
        with self._lock:
            if inputs is None:
                self._try([])
                inputs = self._zeros([])
            return profiled(self.run, self._main, inputs, whole("repeats", repeats, 1))

    def _try(self, shapes: Sequence[Sequence[int]]) -> None:
        """Run once with zeros of these shapes."""
        self._direct = None
        self._main.run(self._checked(self._zeros(shapes), False), {})

    def _zeros(self, shapes: Sequence[Sequence[int]]) -> dict[str, Array]:
        given = [integers("shape", shape) for shape in shapes]
        given = given or [_default(port) for port in self.inputs]
        if len(given) != len(self.inputs):
            raise FaltungError(f"shapes: there are {len(self.inputs)} inputs, got {len(given)}")
        if any(min(shape, default=1) < 0 for shape in given):
            raise FaltungError(f"shapes={show(given)}: all sizes must be at least 0")
        return {
            port.name: _zeros(port, shape) for port, shape in zip(self.inputs, given, strict=True)
        }


def load(
    model: str | os.PathLike[str] | bytes,
    *,
    precision: Precision = "fast",
    fallback: str | None = None,
) -> OnnxModel:
    """An ONNX model from its path, or from the bytes of the file.

    Parameters
    ----------
    model : path-like or bytes
        With a path, external data beside the file are read too.
    precision : {"fast", "strict"}
        With "strict", convolutions are plain sums of products.
    fallback : {None, "onnxruntime"}
        What runs operators that Faltung does not have; ``explain`` says which.

    Returns
    -------
    OnnxModel

    Raises
    ------
    FaltungError, UnsupportedError, OSError, ImportError
        As ``OnnxModel``.

    Examples
    --------
    >>> import faltung.onnx
    >>> faltung.onnx.load("resnet18.onnx")  # doctest: +SKIP
    <OnnxModel input (N, 3, 224, 224) -> output (N, 1000)>
    """
    return OnnxModel(model, precision=precision, fallback=fallback)


# Arrays -------------------------------------------------------------------------------------------


def _converted(port: Port, given: npt.ArrayLike, exact: bool) -> Array:
    """An input as its dtype and shape. FaltungError: what is expected."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise FaltungTypeError(f"{port.name}: must be an array; it is {_words(port)}") from None
    wanted = dtype_of(port.dtype)
    typed = isinstance(given, np.ndarray | np.generic)
    fits = array.dtype == wanted
    if not fits and ((exact and typed) or not _may_become(array, wanted, typed)):
        raise FaltungTypeError(
            f"{port.name}: has dtype {array.dtype}, must be {port.dtype}; it is {_words(port)}"
        )
    if port.shape is not None and (
        len(port.shape) != array.ndim
        or any(isinstance(n, int) and n != m for n, m in zip(port.shape, array.shape, strict=True))
    ):
        raise FaltungError(f"{port.name}: has shape {array.shape}, must be {_sizes(port)}")
    return array.astype(wanted, copy=False)


def _may_become(array: Array, wanted: np.dtype[Any], typed: bool) -> bool:
    real = (*FLOATS,)
    if array.dtype.name in real and wanted.name in real:
        return True
    kinds = array.dtype.kind + wanted.kind
    return not typed and kinds in ("if", "ii", "iu", "bb")


def _settled(port: Port) -> bool:
    """Whether the file says all sizes of an input."""
    return port.shape is not None and all(isinstance(n, int) for n in port.shape)


def _own(array: Array, port: Port, fresh: bool) -> Array:
    """An output that the caller may write to, of the type that the file says."""
    wanted = dtype_of(port.dtype)
    return array if fresh and array.dtype == wanted else np.array(array, wanted, order="C")


def _sizes(port: Port) -> str:
    if port.shape is None:
        return "(any)"
    inner = ", ".join("?" if n is None else str(n) for n in port.shape)
    return f"({inner}{',' * (len(port.shape) == 1)})"


def _words(port: Port) -> str:
    return f"{port.dtype} {_sizes(port)}"


def _default(port: Port) -> tuple[int, ...]:
    found = default_shape(port)
    if found is None:
        if port.shape is None:
            raise FaltungError(f"{port.name}: the file does not say its shape; give it")
        raise FaltungError(f"{port.name}: has free sizes, {_sizes(port)}; give its shape")
    return found


def _zeros(port: Port, shape: tuple[int, ...]) -> Array:
    wanted = dtype_of(port.dtype)
    require(prod(shape) * wanted.itemsize, port.name)
    return np.zeros(shape, wanted)
