"""Tensors as whole numbers of 8 bits that other programs can read.

A packed file is a safetensors file in which a tensor may be stored as

I8   levels, which times the tensor of its scales are its numbers, bit for bit
U8   places in a palette, which is the tensor ``NAME.palette``

The entry ``packed`` of the metadata, a JSON text, says for each of them how. Read here, all have
their numbers again.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.code_forms import FLOATS, Piece, grid_of
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

NAME = "packed"  # of the entry
PALETTE = ".palette"
LEAST = 512  # numbers of a tensor for which a palette saves bytes


def pack(tensors: Mapping[str, Array], words: Mapping[np.dtype[Any], str]) -> tuple[Tensors, str]:
    """The tensors with those of few numbers in 8 bits, and the entry of the metadata."""
    made: Tensors = {}
    how: dict[str, list[Any]] = {}
    for name, tensor in tensors.items():
        made[name] = tensor
        if words.get(tensor.dtype.newbyteorder("<")) not in FLOATS:
            continue
        scale = tensors.get(f"{name}_scale")
        grid = None if scale is None else grid_of(tensor, scale)
        if grid is not None and grid.whole.min() >= -128 and grid.whole.max() <= 127:
            made[name] = grid.whole.astype(np.int8).reshape(tensor.shape)
            how[name] = ["grid", f"{name}_scale", grid.axis]
        elif tensor.size >= LEAST and f"{name}{PALETTE}" not in tensors:
            found = Piece(name, "", tensor, None).palette
            if found is not None:
                made[f"{name}{PALETTE}"] = found[0].view(tensor.dtype)
                made[name] = found[1].reshape(tensor.shape)
                how[name] = ["palette", f"{name}{PALETTE}", 0]
    return made, json.dumps(how, sort_keys=True, separators=(",", ":"))


def unpack(tensors: Mapping[str, Array], text: str) -> Tensors:
    """The numbers again. ValueError: a text that does not fit the tensors. MemoryError."""
    try:
        how = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaltungError(f"packed: not JSON, {error}") from None
    if not isinstance(how, dict):
        raise FaltungError("packed: must be a table")
    made, done = dict(tensors), set()
    for name, row in how.items():
        if not isinstance(row, list) or len(row) != 3 or row[0] not in ("grid", "palette"):
            raise FaltungError(f"packed: {show(name)}={show(row)}: must be a grid or a palette")
        form, other, axis = row
        if name not in tensors or not isinstance(other, str) or other not in tensors:
            raise FaltungError(f"packed: {show(name)}={show(row)}: names no tensor")
        stored, numbers = tensors[name], tensors[other].reshape(-1)
        if numbers.dtype.kind != "f" or other in how:
            raise FaltungError(f"packed: {show(other)}: must be floats")
        require(stored.size * numbers.itemsize, f"packed: {show(name)}")
        if form == "grid":
            made[name] = _levels(name, stored, numbers, axis)
        else:
            made[name] = _places(name, stored, numbers)
            done.add(other)
    return {name: tensor for name, tensor in made.items() if name not in done}


def _levels(name: str, stored: Array, scale: Array, axis: object) -> Array:
    """Levels times scales: one product each, the same on every machine."""
    if stored.dtype != np.int8 or type(axis) is not int or not 0 <= axis < max(1, stored.ndim):
        raise FaltungError(f"packed: {show(name)}: must be I8, with an axis of its own")
    if len(scale) not in (1, (*stored.shape, 1)[axis]):
        raise FaltungError(f"packed: {show(name)}: has not a scale for each channel")
    shape = [1] * stored.ndim
    if stored.ndim:
        shape[axis] = -1
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(stored.astype(scale.dtype) * scale.reshape(shape))


def _places(name: str, stored: Array, palette: Array) -> Array:
    if stored.dtype != np.uint8 or (stored.size and int(stored.max()) >= len(palette)):
        raise FaltungError(f"packed: {show(name)}: must be U8, of places in its palette")
    return np.asarray(palette[stored])
