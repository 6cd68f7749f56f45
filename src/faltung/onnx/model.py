"""``OnnxModel``: an ONNX file that is called like a function, compiled for each set of sizes."""

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import integers, show
from faltung.geometry.errors import FaltungError, FaltungTypeError, UnsupportedError
from faltung.graph.foreign import Tensor
from faltung.graph.value import Graph
from faltung.methods.rows.embedding import check_tokens
from faltung.onnx.importer import Imported, Needed, float_of, import_file, unsupported
from faltung.onnx.read import File, Port, read
from faltung.onnx.tensors import FLOATS
from faltung.plan.choose import Precision, policy_of
from faltung.program.constants import Constants
from faltung.program.inference import Inference

Array = npt.NDArray[Any]

# Programs that are kept, each for other sizes.
MAX_PROGRAMS = 8
# Elements of an input whose values a program is made for, such as a shape, or a weight.
MOST_FIXED = 1 << 24


@dataclass(slots=True)
class _Program:
    """A program for one set of sizes. inference: None where nothing is computed."""

    imported: Imported
    inference: Inference | None
    weights: Constants | None


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
        self, model: str | os.PathLike[str] | bytes, *, precision: Precision = "fast"
    ) -> None:
        policy_of(precision)  # refuses unknown names
        self.precision: Precision = precision
        self.file: File = read(model)
        self.inputs: tuple[Port, ...] = self.file.inputs
        self.outputs: tuple[Port, ...] = self.file.outputs
        self._dtype = float_of(self.file)
        self._programs: dict[tuple[Any, ...], _Program] = {}
        self._ahead: tuple[dict[str, tuple[int, ...]], Imported] | None = None
        self._needed: set[str] = set()
        self._lock = threading.RLock()
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Name what is not supported before anything runs, where the sizes are known; those that
        are free are taken to be 1 for the batch, and are tried when they are known otherwise.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for port in self.inputs:
            if port.shape is None or port.dtype not in (*FLOATS, "bool", "int64", "int32"):
                return
            sizes = [1 if not i and not isinstance(n, int) else n for i, n in enumerate(port.shape)]
            if not all(isinstance(n, int) for n in sizes):
                return
            shapes[port.name] = tuple(n for n in sizes if isinstance(n, int))
        try:
            found = import_file(self.file, shapes, {}, _batch(list(shapes.values())), self._dtype)
        except Needed:
            return
        if found.gaps:
            self._raise_unless_whole(found, shapes)
        else:
            self._ahead = shapes, found

    def _raise_unless_whole(self, found: Imported, shapes: dict[str, tuple[int, ...]]) -> None:
        try:
            other = import_file(self.file, shapes, {}, 1, self._dtype)
        except Needed:
            return
        if other.gaps:
            raise unsupported(self.file.where, min((found.gaps, other.gaps), key=len))

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
        arrays = self._checked(inputs, exact)
        with self._lock:
            program = self._program(arrays)
            return self._run(program, arrays)

    def _checked(self, inputs: Mapping[str, npt.ArrayLike], exact: bool) -> dict[str, Array]:
        if not isinstance(inputs, Mapping):
            raise FaltungTypeError(f"inputs={show(inputs)}: must be a dict of arrays by name")
        names = {port.name for port in self.inputs}
        for name in inputs:
            if name not in names:
                hint = " (an initialiser: it cannot be replaced yet)"
                known = name in self.file.body.constants
                raise FaltungError(
                    f"inputs: {show(name)}{hint if known else ''}: must be one of "
                    f"{', '.join(sorted(names)) or 'none'}"
                )
        made = {}
        for port in self.inputs:
            if port.name not in inputs:
                raise FaltungError(f"inputs: {port.name!r} is missing; it is {_words(port)}")
            made[port.name] = _converted(port, inputs[port.name], exact)
        return made

    def _run(self, program: _Program, arrays: Mapping[str, Array]) -> list[Array]:
        imported = program.imported
        for name, rows in imported.tokens.items():
            check_tokens(arrays[name], rows)
        fed = [x.laid_out(arrays[name]) for name, x in imported.inputs]
        inputs = [x for _, x in imported.inputs]
        results = {
            x.value.name: np.moveaxis(array, 1, -1) for x, array in zip(inputs, fed, strict=True)
        }
        if program.inference is not None:
            given = [_fed(array, x) for x, array in zip(inputs, fed, strict=True)]
            program.inference.feed(*given)
            program.inference.run()
            made = program.inference.outputs_in_memory
            results |= {v.name: r for v, r in zip(imported.values, made, strict=True)}
        return [
            _told(found, results, port.dtype)
            for found, port in zip(imported.outputs, self.outputs, strict=True)
        ]

    # Programs ------------------------------------------------------------------------------------

    def _program(self, arrays: Mapping[str, Array]) -> _Program:
        while True:
            fixed = {name: arrays[name] for name in self._needed}
            key = (
                *((n, a.shape) for n, a in arrays.items() if n not in fixed),
                *((n, a.shape, _digest(a)) for n, a in fixed.items()),
            )
            found = self._programs.pop(key, None)
            if found is None:
                try:
                    found = self._made(arrays, fixed)
                except Needed as need:
                    large = [n for n in need.names if arrays[n].size > MOST_FIXED]
                    if large or need.names <= self._needed:
                        raise FaltungError(
                            f"{self.file.where}: input {sorted(need.names)[0]!r} must be a constant"
                        ) from None
                    self._needed |= need.names
                    self._programs.clear()
                    continue
            self._programs[key] = found  # in order of use
            if len(self._programs) > MAX_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            return found

    def _made(self, arrays: Mapping[str, Array], fixed: Mapping[str, Array]) -> _Program:
        shapes = {name: a.shape for name, a in arrays.items()}
        free = [shape for name, shape in shapes.items() if name not in fixed]
        batch = _batch(free)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == shapes and not fixed:
            found = ahead[1]
        else:
            found = import_file(self.file, shapes, fixed, batch, self._dtype)
        if found.gaps and batch > 1:
            other = import_file(self.file, shapes, fixed, 1, self._dtype)
            found = other if len(other.gaps) < len(found.gaps) else found
        if found.gaps:
            raise unsupported(self.file.where, found.gaps)
        if found.graph is None:
            return _Program(found, None, None)
        # Programs share their weights, and what they have packed of them.
        known = [p.weights for p in reversed(self._programs.values()) if p.weights is not None]
        weights = Constants(found.graph.parameters, found.graph.dtype, found.weights, known)
        made = Inference(found.graph, weights, found.batch, precision=self.precision)
        found.weights = {}
        if not fixed and all(_settled(port) for port in self.inputs):
            # There will be no other program: numbers that this one has packed are not needed again.
            made.release()
            self.file.release()
        return _Program(found, made, weights)

    def graph(self, *shapes: Sequence[int]) -> Graph:
        """The network for inputs of these shapes, the batch included.

        Parameters
        ----------
        *shapes : sequence of int
            One for each input; by default those of the file, with 1 for a free batch.

        Returns
        -------
        Graph

        Raises
        ------
        FaltungError
            A size that is free and was not given, or a model that computes nothing.
        """
        given = [integers("shape", shape) for shape in shapes]
        given = given or [_default(port) for port in self.inputs]
        if len(given) != len(self.inputs):
            raise FaltungError(f"shapes: there are {len(self.inputs)} inputs, got {len(given)}")
        if any(min(shape, default=1) < 1 for shape in given):
            raise FaltungError(f"shapes={show(given)}: all sizes must be at least 1")
        arrays = {
            port.name: _zeros(port, shape) for port, shape in zip(self.inputs, given, strict=True)
        }
        with self._lock:
            found = self._program(self._checked(arrays, False)).imported.graph
        if found is None:
            raise FaltungError(f"{self.file.where}: computes nothing")
        return found

    def summary(self, *shapes: Sequence[int]) -> str:
        """A table of the layers: shapes, parameters, cost; as ``graph`` takes shapes."""
        from faltung.graph.summary import summary

        return str(summary(self.graph(*shapes)).table(None))


def load(model: str | os.PathLike[str] | bytes, *, precision: Precision = "fast") -> OnnxModel:
    """An ONNX model from its path, or from the bytes of the file.

    Parameters
    ----------
    model : path-like or bytes
        With a path, external data beside the file are read too.
    precision : {"fast", "strict"}
        With "strict", convolutions are plain sums of products.

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
    return OnnxModel(model, precision=precision)


# Arrays -------------------------------------------------------------------------------------------


def _batch(shapes: Sequence[tuple[int, ...]]) -> int:
    """The batch that all inputs have in front, or 1."""
    first = {shape[0] if shape else 1 for shape in shapes}
    return max(1, first.pop()) if len(first) == 1 else 1


def _converted(port: Port, given: npt.ArrayLike, exact: bool) -> Array:
    """An input as its dtype and shape. FaltungError: what is expected."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise FaltungTypeError(f"{port.name}: must be an array; it is {_words(port)}") from None
    wanted = np.dtype("float32" if port.dtype == "bfloat16" else port.dtype)
    typed = isinstance(given, np.ndarray | np.generic)
    fits = array.dtype == wanted or (array.dtype.name == port.dtype)
    if not fits and ((exact and typed) or not _may_become(array, wanted, typed)):
        raise FaltungTypeError(
            f"{port.name}: has dtype {array.dtype}, must be {port.dtype}; it is {_words(port)}"
        )
    if port.shape is not None and (
        len(port.shape) != array.ndim
        or any(isinstance(n, int) and n != m for n, m in zip(port.shape, array.shape, strict=True))
    ):
        raise FaltungError(f"{port.name}: has shape {array.shape}, must be {_sizes(port)}")
    if not array.size:
        raise UnsupportedError(
            f"{port.name}: has shape {array.shape}; tensors without elements are not supported yet"
        )
    return array.astype(wanted, copy=False)


def _may_become(array: Array, wanted: np.dtype[Any], typed: bool) -> bool:
    kinds = array.dtype.kind + wanted.kind
    return kinds == "ff" or (not typed and kinds in ("if", "ii", "bb"))


def _fed(array: Array, x: Tensor) -> Array:
    return array.astype(np.float32) if x.dtype == "bool" else array


def _told(found: Tensor | Array, results: Mapping[str, Array], dtype: str) -> Array:
    wanted = np.dtype("float32" if dtype == "bfloat16" else dtype)
    if not isinstance(found, Tensor):
        return np.array(found, wanted)
    array = found.told(results[found.value.name])
    if wanted == np.bool_ and array.dtype != np.bool_:
        return np.asarray(array > 0.5)
    return np.array(array, wanted, order="C")


def _settled(port: Port) -> bool:
    """Whether the file says all sizes of an input."""
    return port.shape is not None and all(isinstance(n, int) for n in port.shape)


def _digest(array: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _sizes(port: Port) -> str:
    if port.shape is None:
        return "(any)"
    inner = ", ".join("?" if n is None else str(n) for n in port.shape)
    return f"({inner}{',' * (len(port.shape) == 1)})"


def _words(port: Port) -> str:
    return f"{port.dtype} {_sizes(port)}"


def _default(port: Port) -> tuple[int, ...]:
    if port.shape is None:
        raise FaltungError(f"{port.name}: the file does not say its shape; give it")
    sizes = [1 if not i and not isinstance(n, int) else n for i, n in enumerate(port.shape)]
    if not all(isinstance(n, int) for n in sizes):
        raise FaltungError(f"{port.name}: has free sizes, {_sizes(port)}; give its shape")
    return tuple(n for n in sizes if isinstance(n, int))


def _zeros(port: Port, shape: tuple[int, ...]) -> Array:
    from faltung.runtime.memory import require

    wanted = np.dtype("float32" if port.dtype == "bfloat16" else port.dtype)
    require(prod(shape) * wanted.itemsize, port.name)
    return np.zeros(shape, wanted)
