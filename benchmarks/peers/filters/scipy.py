"""SciPy: one thread, whatever is asked."""

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.peers.filters import call
from benchmarks.problem import Array

environment = openmp


def start(threads: int) -> str:
    library("scipy.ndimage")
    library("scipy.signal")
    return str(library("scipy").__version__)


def build(problem: FilterProblem, variant: str) -> Task:
    if problem.dask:
        raise Unable("arrays in memory alone")
    run = call(problem, library("scipy.ndimage"), library("scipy.signal"))
    return Task(run, lambda: problem.compared(run()))


def answer(problem: FilterProblem) -> Array:
    """The right answer: what SciPy says in the same dtype. Of Dask's arrays, the first chunk."""
    if problem.function == "unet":
        raise Unable("no network")
    if not problem.dask:
        return problem.compared(call(problem, library("scipy.ndimage"), library("scipy.signal"))())
    import numpy as np

    chunk = problem.whole("chunks")
    reach = max(problem.kernel.shape)
    wide = np.pad(problem.x, [(0, reach)] * problem.x.ndim, "wrap")
    found = library("scipy.ndimage").correlate(wide, problem.kernel)
    return problem.compared(found[(slice(chunk),) * found.ndim])
