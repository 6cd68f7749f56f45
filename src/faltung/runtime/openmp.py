"""An OpenMP library in this process: the functions that a region on its threads needs."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

_HARD = 2  # omp_pause_hard: threads end


class OpenMP(NamedTuple):
    """Addresses of functions of a library, and how its threads end."""

    parallel: int  # GOMP_parallel
    thread_num: int  # omp_get_thread_num
    num_threads: int  # omp_get_num_threads
    max_threads: int  # omp_get_max_threads
    forget: Callable[[], bool]
    """Before a fork: end the threads that this library has for the calling thread.

    The child would lack them, and libgomp, which does not notice, would wait for them for ever; it
    starts others where they are needed next. False if the library cannot end them.
    """

    def most(self) -> int:
        """How many threads the library uses for the calling thread."""
        return int(ctypes.PYFUNCTYPE(ctypes.c_int)(self.max_threads)())


def openmp(library: Any) -> OpenMP | None:
    """The functions of ``library``, a ``ctypes.CDLL``, or of what it is linked with.

    None where there are none, or of another interface: libgomp, LLVM's and Intel's libraries have
    this one, except on Windows.
    """
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "omp_get_max_threads")
    parallel, thread_num, num_threads, most = (_address(library, name) for name in names)
    if not (parallel and thread_num and num_threads and most):
        return None
    return OpenMP(parallel, thread_num, num_threads, most, _forget(library))


def _address(library: Any, name: str) -> int:
    function = getattr(library, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def _forget(library: Any) -> Callable[[], bool]:
    if _address(library, "kmp_set_blocktime"):  # LLVM's and Intel's see to forks themselves
        return lambda: True
    pause = _address(library, "omp_pause_resource")
    host = _address(library, "omp_get_initial_device")
    if not (pause and host):
        return lambda: False
    # With the GIL: nothing that Python runs may come between this and the fork.
    end = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(pause)
    device = ctypes.PYFUNCTYPE(ctypes.c_int)(host)()
    return lambda: end(_HARD, device) == 0
