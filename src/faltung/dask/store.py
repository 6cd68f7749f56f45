"""Dask arrays to Zarr: whole chunks or shards at a time, interrupted and gone on with."""

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate, product
from math import gcd
from typing import Any

from faltung.dask.arrays import chunk, lazy
from faltung.data import regions
from faltung.data.regions import Region
from faltung.data.zarr_store import Target, local_place, open_target
from faltung.geometry.check import integers, per_axis, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass


def to_zarr(
    x: Any,
    store: Any,
    *,
    chunks: int | Sequence[int] | None = None,
    shards: int | Sequence[int] | None = None,
    zarr_format: int = 3,
    fill_value: object = 0,
    attributes: Mapping[str, Any] | None = None,
    task: str | None = None,
    overwrite: bool = False,
    compute: bool = True,
) -> Any:
    """Compute a Dask array into a Zarr array on disk, and go on where it was interrupted.

    Each task writes whole chunks of the file (whole shards, where there are some), so no two write
    one file. What is finished is noted in a journal beside the chunks, once it is on disk. After an
    interruption, also ``kill -9``, the same call computes what is left.

    Parameters
    ----------
    x : dask.array.Array
        Its chunks must consist of whole chunks (shards) of the file; nothing is rechunked.
    store : path or zarr.Array
        A folder, which must not exist unless the same work began it; or an array that is there, in
        a local folder, to write into.
    chunks, shards : int or sequence of int, optional
        Of the file. By default it has the chunks of ``x``, where these are alike, and no shards.
    zarr_format : {3, 2}
    fill_value, attributes
        As ``zarr.create_array`` takes them.
    task : str, optional
        Says what the work is: the same goes on, another is refused. By default the name of ``x``,
        which Dask makes of all that ``x`` is computed from: of random numbers without a seed, and
        of functions that it cannot read, it is another one each time.
    overwrite : bool
        Replace what another task wrote.
    compute : bool
        False: a ``dask.delayed.Delayed``, which does it when it is computed.

    Returns
    -------
    None, or dask.delayed.Delayed

    Raises
    ------
    FileExistsError
        The folder exists, and another task wrote it, or nobody knows who.
    TypeError, ValueError
        Chunks that do not fit, before anything is written; the message says what does.
    ImportError
        Dask or Zarr is not installed.

    Examples
    --------
    >>> import tempfile, dask.array, zarr, faltung.dask
    >>> path = tempfile.mkdtemp() + "/smooth.zarr"
    >>> x = dask.array.ones((100, 100), chunks=(40, 100))
    >>> faltung.dask.to_zarr(faltung.dask.gaussian_filter(x, 2), path)
    >>> zarr.open_array(path).chunks
    (40, 100)
    """
    given = lazy(x)
    named = given.name if task is None else task
    if not isinstance(named, str):
        raise FaltungTypeError(f"task={show(named)}: must be a str")
    target = _opened(
        given,
        store,
        named,
        chunks=chunks,
        shards=shards,
        zarr_format=zarr_format,
        fill_value=fill_value,
        attributes=attributes,
        overwrite=overwrite,
    )
    return _run(given, target, compute)


@dataclass(frozen=True, slots=True)
class Write:
    """The task that writes a chunk."""

    target: Target
    region: Region

    def __call__(self, value: object) -> None:
        self.target.write(self.region, chunk(value))


@dataclass(frozen=True, slots=True)
class Finish:
    """The task after all others."""

    target: Target

    def __call__(self, written: object) -> None:
        self.target.finish()


def _run(x: Any, target: Target, compute: bool) -> Any:
    from dask.array import Array
    from dask.base import compute_as_if_collection, tokenize
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph

    places = {
        regions.ends(region): index
        for region, index in zip(
            regions.regions_of(x.chunks),
            product(*(range(len(along)) for along in x.chunks)),
            strict=True,
        )
    }
    left = target.left(regions.regions_of(x.chunks))
    name = f"faltung-to-zarr-{tokenize(x.name, target.place)}"
    layer: dict[Hashable, Any] = {}
    for region in left:
        index = places[regions.ends(region)]
        layer[(name, *index)] = (Write(target, region), (x.name, *index))
    keys = list(layer)
    if compute:
        if keys:
            graph = HighLevelGraph.from_collections(name, layer, dependencies=[x])
            compute_as_if_collection(Array, graph, keys)
        target.finish()
        return None
    layer[f"{name}-end"] = (Finish(target), keys)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[x])
    return Delayed(f"{name}-end", graph, layer=name)


# What fits ----------------------------------------------------------------------------------------


def _opened(
    x: Any,
    store: Any,
    task: str,
    *,
    chunks: int | Sequence[int] | None,
    shards: int | Sequence[int] | None,
    overwrite: bool,
    **options: Any,
) -> Target:
    """The array on disk; refused before anything is written."""
    existing = hasattr(store, "shape") and hasattr(store, "chunks")
    if existing:
        place: Any = local_place(store)
        size = tuple(store.chunks)
        groups = getattr(store, "shards", None)
    elif isinstance(store, str | bytes | os.PathLike):
        place, rank = os.fsdecode(store), x.ndim
        size = regular(x.chunks) if chunks is None else per_axis("chunks", chunks, rank, 1)
        groups = None if shards is None else per_axis("shards", shards, rank, 1)
    else:
        raise FaltungTypeError(f"store={show(store)}: must be a path or a zarr.Array")
    unit = size if groups is None else tuple(groups)
    if any(big % small for big, small in zip(unit, size, strict=True)):
        raise FaltungError(f"shards={unit}: must be multiples of the chunks, {size}")
    wrong = regions.misfit(x.chunks, unit) if len(unit) == x.ndim else ""
    if wrong:
        raise FaltungError(
            f"x.chunks: must consist of whole {'chunks' if groups is None else 'shards'} of "
            f"{unit}; {wrong}; pass x.rechunk({_fitting(x.chunks, unit)})"
        )
    try:
        return open_target(
            place,
            task,
            shape=x.shape,
            dtype=x.dtype,
            chunks=size,
            shards=groups,
            existing=existing,
            overwrite=overwrite,
            **options,
        )
    except FileExistsError as error:
        raise FileExistsError(
            f"{error}; if it is the same work under another name, pass task= in both"
        ) from None


def regular(chunks: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The chunks of a file for an array with these, all of one size. ValueError: there is none."""
    found = []
    for axis, lengths in enumerate(chunks):
        size = max(lengths[0], 1)
        cuts = [cut for cut in accumulate(lengths[:-1]) if cut]
        if any(cut % size for cut in cuts):
            common = gcd(*cuts)
            raise FaltungError(
                f"x.chunks: must be alike along each axis, as those of a file are; axis {axis} has "
                f"{show(tuple(lengths))}; pass x.rechunk({{{axis}: {max(lengths)}}}), or "
                f"chunks= with {common} there"
            )
        found.append(size)
    return integers("chunks", found)


def _fitting(chunks: Iterable[Sequence[int]], unit: Sequence[int]) -> tuple[int, ...]:
    """About as large as they are, and of whole units."""
    return tuple(
        max(size, max(lengths) // size * size) for lengths, size in zip(chunks, unit, strict=True)
    )
