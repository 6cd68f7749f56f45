"""Whole networks over Dask arrays: a lazy array of what ``Model.predict`` gives, tile by tile."""

from collections.abc import Sequence
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.boxes import Boxes
from faltung.data.units import Units, is_whole
from faltung.graph.windows import Window
from faltung.train.any_size import Predicts, Tiled

Array = npt.NDArray[Any]


def predicted(
    network: Predicts,
    x: Any,
    *,
    softmax: bool,
    tile: int | Sequence[int] | None,
    out: Any,
) -> Any:
    """``Model.predict`` of a Dask array: a Dask array with a chunk for each tile. A task reads the
    part of ``x`` that the network sees for its tile, and nothing else.
    """
    da = import_module("dask.array")
    job = Tiled(
        network,
        Boxes.of(x, network.input_shape, network.layout),
        softmax=softmax,
        tile=tile,
        out=out,
    )
    made = _lazy(job)
    if out is None:
        return made
    # Every chunk of ``out`` is written by one task.
    da.store(made, out, lock=False)
    return out


def _lazy(job: Tiled) -> Any:
    dask, da = import_module("dask"), import_module("dask.array")
    boxes, network = job.boxes, dask.delayed(job.network, pure=False, traverse=False)
    divisor, run = _divisor(job), dask.delayed(_tile, pure=False)

    def block(sample: int, window: Window) -> Any:
        part = boxes.sliced(sample, job.reads(window))
        where = None if job.at_once else window
        one = run(network, boxes.space, job.softmax, where, part, divisor)
        shape = job.sample_shape[:1] + tuple(stop - first for first, stop in window)
        made = da.from_delayed(one, shape, dtype=job.dtype)
        return made if boxes.single else made[np.newaxis]

    along = job.arrangement.along
    rank = len(along)
    blocks = np.empty((boxes.count, 1, *map(len, along)), object)
    for sample in range(boxes.count):
        for place in product(*(range(len(spans)) for spans in along)):
            window = tuple(spans[i] for spans, i in zip(along, place, strict=True))
            blocks[(sample, 0, *place)] = block(sample, window)
    nested = blocks[0] if boxes.single else blocks
    assert nested.ndim == rank + 1 + (not boxes.single)
    return da.block(nested.tolist())


def _tile(
    network: Predicts,
    space: tuple[int, ...],
    softmax: bool,
    window: Window | None,
    part: Array,
    divisor: float,
) -> Array:
    """A tile, on a worker; ``part``: what it reads as it is stored."""
    return network.part(network.part_in(np.asarray(part), divisor), space, window, softmax)


def _divisor(job: Tiled) -> Any:
    """What stored numbers are divided by; where that follows from them, it is not known yet."""
    dask = import_module("dask")
    boxes, units = job.boxes, job.network.units
    if units is None or not boxes.undecided(units):
        return job.network.divisor(None)
    ends = boxes.source.min(), boxes.source.max()
    wholes = boxes.source.map_blocks(
        _whole, dtype=bool, chunks=tuple((1,) * n for n in boxes.source.numblocks)
    ).all()
    return dask.delayed(_seen)(units, boxes.dtype, *ends, wholes)


def _whole(block: Array) -> Array:
    return np.full((1,) * block.ndim, is_whole(block))


def _seen(units: Units, dtype: np.dtype[Any], low: Any, high: Any, whole: Any) -> float:
    seen = units.seen_between(dtype, float(low), float(high), lambda: bool(whole))
    return units.scale if seen is None else units.divisor(seen)
