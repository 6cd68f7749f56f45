"""NumPy's linear algebra on one thread, so that its bits do not depend on how many cores there are.

OpenBLAS, which NumPy's packages bring along, cuts products by the number of its threads, and
eigenvectors make much of the last bits. Where NumPy uses another library nothing is changed.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock

import numpy as np

# Where the packages keep it, beside NumPy's folder or in it, and how its functions are called.
FOLDERS = ("../numpy.libs", ".dylibs", ".libs")
NAMES = ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}")
_turn = RLock()

Get = Callable[[], int]
Set = Callable[[int], object]


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Within the block, for all threads of this process; several take turns."""
    with _turn:
        before = [(change, get()) for get, change in _libraries()]
        for change, _ in before:
            change(1)
        try:
            yield
        finally:
            for change, count in before:
                change(count)


@cache
def _libraries() -> tuple[tuple[Get, Set], ...]:
    """How to ask for the number of threads, and to change it."""
    home, found = Path(np.__file__).parent, []
    for folder in FOLDERS:
        for path in sorted((home / folder).glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))  # loaded already
            except OSError:
                continue
            for name in NAMES:
                get, change = (name.format(f"{word}_num_threads") for word in ("get", "set"))
                if hasattr(library, get) and hasattr(library, change):
                    found.append((getattr(library, get), getattr(library, change)))
                    break
    return tuple(found)
