"""Peers that filter arrays and signals."""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Unable


def call(problem: FilterProblem, ndimage: Any, signal: Any) -> Callable[[], Any]:
    """The call of SciPy's functions, or of those with their names and arguments."""
    x, whole = problem.x, problem.whole
    match problem.function:
        case "gaussian_filter":
            return partial(ndimage.gaussian_filter, x, whole("sigma"))
        case "correlate":
            return partial(ndimage.correlate, x, problem.kernel)
        case "sobel" | "laplace":
            return partial(getattr(ndimage, problem.function), x)
        case "uniform_filter" | "maximum_filter":
            return partial(getattr(ndimage, problem.function), x, whole("size"))
        case "fftconvolve" | "oaconvolve":
            return partial(getattr(signal, problem.function), x, problem.kernel, mode="same")
        case "resample_poly":
            return partial(signal.resample_poly, x, whole("up"), whole("down"))
        case _:
            raise Unable("another kind of problem")


def on_dask(problem: FilterProblem) -> Any:
    """The array of Dask: copies of one chunk, made when they are asked for."""
    import dask.array as da

    x, chunk = problem.x, problem.whole("chunks")

    def made(block_info: Any) -> Any:
        sizes = [end - begin for begin, end in block_info[None]["array-location"]]
        return x[tuple(slice(size) for size in sizes)].copy()

    chunks = tuple(
        (chunk,) * (n // chunk) + ((n % chunk,) if n % chunk else ()) for n in problem.shape
    )
    return da.map_blocks(made, chunks=chunks, dtype=problem.dtype, meta=x[:0, :0])


class Discarded:
    """Takes chunks and keeps nothing: what is measured is how they are made."""

    def __setitem__(self, region: Any, values: Any) -> None:
        pass


def stored(array: Any, threads: int) -> Callable[[], Any]:
    """All chunks made on so many threads, and thrown away."""
    import dask
    import dask.array as da

    def run() -> None:
        with dask.config.set(scheduler="threads", num_workers=threads):
            da.store(array, Discarded(), lock=False)

    return run
