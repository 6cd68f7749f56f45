"""Steps run on arrays by name, wherever these lie; feature maps with a pitch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from faltung.jit.target import host
from faltung.machine.table import Machine
from faltung.methods.base.step import Work
from faltung.plan.binding import Region

Allocate = Callable[[int], np.ndarray]


def anywhere(n_bytes: int) -> np.ndarray:
    """Memory full of NaN: who reads what nobody has written gets a wrong number."""
    return np.full(n_bytes, 0xFF, np.uint8)


def wide() -> Machine:
    """This processor as if it had the registers of AVX-512: LLVM makes several narrow ones of each,
    so that wide tiles can be tried anywhere.
    """
    return replace(host(), vector_bytes=64, registers=32)


def run(
    work: Work,
    machine: Machine,
    arrays: dict[str, np.ndarray],
    threads: int = 2,
    allocate: Allocate = anywhere,
) -> None:
    """Prepare and run; ``arrays`` by their names in the steps, the plan's own arrays are added."""
    own = {name: allocate(size) for name, size in (work.kept | work.scratch).items()}
    memories = arrays | own
    places = {name: (slot, 0) for slot, name in enumerate(memories)}
    region = Region([*work.prepare, *work.steps], places, machine, len(memories))
    region.run([int(memory.ctypes.data) for memory in memories.values()], threads)


def as_map(array: np.ndarray, pitch: int, allocate: Allocate = anywhere) -> np.ndarray:
    """(N, C, *space) -> (N * positions, C), ``pitch`` apart, with NaN between them.

    The last row ends with its last channel, as the memory does.
    """
    channels = array.shape[1]
    rows = np.moveaxis(array, 1, -1).reshape(-1, channels)
    made = blank(len(rows), channels, pitch, array.dtype, allocate)
    made[...] = rows
    return made


def blank(
    rows: int, channels: int, pitch: int, dtype: object, allocate: Allocate = anywhere
) -> np.ndarray:
    """A map (rows, channels) of NaN."""
    kind = np.dtype(dtype)  # type: ignore[call-overload]
    size = kind.itemsize
    memory = allocate(((rows - 1) * pitch + channels) * size if rows else 0).view(kind)
    return np.lib.stride_tricks.as_strided(memory, (rows, channels), (pitch * size, size))


def from_map(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N * positions, C) -> (N, C, *space)."""
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def between(rows: np.ndarray) -> np.ndarray:
    """What lies between the rows of a map: must be NaN still."""
    pitch, (count, channels) = rows.strides[0] // rows.itemsize, rows.shape
    gaps = np.lib.stride_tricks.as_strided(
        rows.ravel()[:0] if count < 2 else rows[:, -1:],
        (max(count - 1, 0), pitch - channels + 1),
        (rows.strides[0], rows.itemsize),
    )
    return gaps[:, 1:]
