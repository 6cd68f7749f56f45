"""Faltung: SciPy's names and arguments, in memory and on Dask."""

from typing import Any

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Missing, Task, library
from benchmarks.peers.faltung import environment
from benchmarks.peers.filters import call, on_dask, stored

__all__ = ["build", "environment", "start"]


def start(threads: int) -> str:
    faltung = library("faltung")
    faltung.set_threads(threads)
    for name in ("faltung.ndimage", "faltung.signal"):
        try:
            library(name)
        except Missing:
            print(f"{name}: not there, its rows fail")
    return str(faltung.__version__)


def build(problem: FilterProblem, variant: str) -> Task:
    if problem.dask:
        threads = library("faltung").get_threads()
        array = library("faltung.ndimage").correlate(on_dask(problem), problem.kernel)
        first = array[(slice(problem.whole("chunks")),) * array.ndim]
        return Task(stored(array, threads), lambda: problem.compared(first.compute()))
    run = call(problem, _Late("faltung.ndimage"), _Late("faltung.signal"))
    return Task(run, lambda: problem.compared(run()))


class _Late:
    """A module that is imported when one of its functions is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(library(self._name), attribute)
