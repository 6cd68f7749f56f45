"""dask-image: SciPy's functions on the chunks of Dask's arrays."""

from importlib.metadata import version

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.peers.filters import on_dask, stored

environment = openmp
THREADS = [1]


def start(threads: int) -> str:
    library("dask_image.ndfilters")
    THREADS[0] = threads
    return version("dask-image")


def build(problem: FilterProblem, variant: str) -> Task:
    if not problem.dask:
        raise Unable("arrays of Dask alone")
    array = library("dask_image.ndfilters").correlate(on_dask(problem), problem.kernel)
    first = array[(slice(problem.whole("chunks")),) * array.ndim]
    return Task(stored(array, THREADS[0]), lambda: problem.compared(first.compute()))
