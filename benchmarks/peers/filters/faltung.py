"""Faltung: SciPy's names and arguments, in memory and on Dask; a network over a picture."""

from tempfile import TemporaryDirectory

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Task, Unable, library
from benchmarks.peers.faltung import environment
from benchmarks.peers.filters import call, on_dask, stored

__all__ = ["build", "environment", "start"]


def start(threads: int) -> str:
    faltung = library("faltung")
    faltung.set_threads(threads)
    return str(faltung.__version__)


def build(problem: FilterProblem, variant: str) -> Task:
    if problem.function == "unet":
        return _network(problem, variant)
    if variant == "array":
        raise Unable("for the network alone")
    if problem.dask:
        threads = library("faltung").get_threads()
        array = library("faltung.ndimage").correlate(on_dask(problem), problem.kernel)
        first = array[(slice(problem.whole("chunks")),) * array.ndim]
        return Task(stored(array, threads), lambda: problem.compared(first.compute()))
    run = call(problem, library("faltung.ndimage"), library("faltung.signal"))
    return Task(run, lambda: problem.compared(run()))


def _network(problem: FilterProblem, variant: str) -> Task:
    """U-Net with an eighth of its channels, random weights; from and to files of Zarr, or arrays in
    memory (``variant`` "array").
    """
    faltung, x = library("faltung"), problem.x[None]
    net = library("faltung.nets").get("unet", classes=2, input_shape=(1, 256, 256), width=0.125)
    model = faltung.Model(net, (1, 256, 256))
    if variant == "array":
        results = [x]

        def call() -> None:
            results[0] = model.predict(x)

        return Task(call, lambda: problem.compared(results[0][0]))
    zarr, folder = library("zarr"), TemporaryDirectory(prefix="faltung-bench-")
    chunk = problem.whole("chunks")
    options = {"chunks": (1, chunk, chunk), "dtype": problem.dtype}
    source = zarr.create_array(f"{folder.name}/x.zarr", shape=x.shape, **options)
    source[:] = x
    out = zarr.create_array(f"{folder.name}/out.zarr", shape=(2, *problem.shape), **options)
    return Task(lambda: model.predict(source, out=out), lambda: problem.compared(out[0]), (folder,))
