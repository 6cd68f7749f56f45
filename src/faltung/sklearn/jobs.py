"""``n_jobs`` as scikit-learn means it, in threads."""

import threading
from contextlib import AbstractContextManager

from joblib.parallel import get_active_backend  # scikit-learn's own dependency

from faltung.geometry.check import integer, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.runtime.threads import get_threads, threads


def jobs(n_jobs: object) -> AbstractContextManager[None]:
    """A block in which this Python thread uses so many threads. ValueError, TypeError.

    None: as many as ``get_threads`` says; -1 too, -2 one less, ...; never more, as that is the
    share of a worker process of joblib. A worker thread of joblib uses one.
    """
    most = get_threads()
    if n_jobs is None:
        wanted = most
    else:
        number = integer(n_jobs)
        if number is None:
            raise FaltungTypeError(f"n_jobs={show(n_jobs)}: must be an int or None")
        if number == 0:
            raise FaltungError("n_jobs=0: must be at least 1, or below 0: -1 is all cores")
        wanted = number if number > 0 else most + 1 + number
    backend, _ = get_active_backend()
    beside = backend.nesting_level and threading.current_thread() is not threading.main_thread()
    return threads(1 if beside else max(1, min(wanted, most)))
