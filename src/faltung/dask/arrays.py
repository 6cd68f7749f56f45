"""Dask arrays as they are given: what can be filtered chunk by chunk, and what to do instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from threading import current_thread, main_thread
from typing import Any

import numpy as np

from faltung.formats.extras import missing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.threads import threads


def dask_array() -> Any:
    """The module ``dask.array``. ImportError with the extra that brings it."""
    try:
        import dask.array
    except ImportError:
        raise missing("dask", "dask") from None
    return dask.array


def lazy(x: object, name: str = "x") -> Any:
    """The argument ``name``, a Dask array of NumPy arrays whose chunks are known.

    TypeError: something else, as an array of another library or one with masks or units.
    ValueError: sizes of chunks that are not known.
    """
    if not isinstance(x, dask_array().Array):
        inner = next((n for n in ("magnitude", "data") if _is_lazy(getattr(x, n, None))), "")
        remedy = f"pass {name}.{inner}" if inner else f"use dask.array.asarray({name}, chunks=...)"
        raise FaltungTypeError(f"{name}={type(x).__name__}: must be a Dask array; {remedy}")
    array: Any = x
    if any(map(isnan, array.shape)):
        raise FaltungError(
            f"{name}.chunks: must be known; call {name}.compute_chunk_sizes() first, or build the "
            "array with its shape"
        )
    kind = type(array._meta)
    if kind is not np.ndarray:
        remedy = (
            f"fill it first, dask.array.ma.filled({name}, value)"
            if issubclass(kind, np.ma.MaskedArray)
            else f"convert its chunks first, {name}.map_blocks(numpy.asarray)"
        )
        raise FaltungTypeError(
            f"{name}: must be a Dask array of NumPy arrays, not of {kind.__name__}; {remedy}"
        )
    if array.dtype.hasobject:
        raise FaltungTypeError(
            f"{name}.dtype={array.dtype}: must be numbers; convert it, {name}.astype(float)"
        )
    return array


def _is_lazy(value: object) -> bool:
    return isinstance(value, dask_array().Array)


def present(name: str, value: object) -> None:
    """TypeError: an argument that is a Dask array, and must be there when the graph is built."""
    if _is_lazy(value):
        raise FaltungTypeError(f"{name}: must not be lazy; pass {name}.compute()")


def chunk(value: object) -> np.ndarray[Any, np.dtype[Any]]:
    """What a task was given, a plain NumPy array. TypeError: another kind than the array said."""
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, np.ndarray | np.generic):
        raise FaltungTypeError(f"chunk={show(type(value))}: must be a NumPy array")
    return np.asarray(value)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within a task, one thread: Dask has as many workers as there are cores. A task that runs in
    the main thread has no others beside it (``scheduler="synchronous"``), and uses all.
    """
    if current_thread() is main_thread():
        yield
        return
    with threads(1):
        yield
