"""One set of threads beside PyTorch: its own, as many as it uses.

PyTorch computes on the threads of an OpenMP library, which spin for some milliseconds after every
operation, and the thread team would have to share the cores with them. So in a process that uses
both, regions run on the threads of that library (``runtime/join_ir.py``).
"""

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from faltung.runtime import team
from faltung.runtime.openmp import OpenMP, openmp
from faltung.runtime.threads import follow, threads_to_use

_NAMES = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}


def threads() -> int:
    """Return how many threads work that begins now uses, in this Python thread.

    Returns
    -------
    int
        The smaller of ``faltung.get_threads()`` and ``torch.get_num_threads()``. So it follows
        ``torch.set_num_threads``, which workers of a ``DataLoader`` call with 1.

    Notes
    -----
    Source: ``src/faltung/torch/threads.py``. Results have the same bits for every number.

    Examples
    --------
    >>> import torch
    >>> from faltung.torch.threads import threads
    >>> before = torch.get_num_threads()
    >>> torch.set_num_threads(1)
    >>> threads()
    1
    >>> torch.set_num_threads(before)
    """
    return threads_to_use()


def join() -> bool:
    """Let everything in this process that Faltung computes run on PyTorch's threads from now on.

    False where PyTorch uses no OpenMP library that is known: then Faltung keeps a team of its own.
    ``torch.set_num_threads`` is followed either way. Calling it again changes nothing; a forked
    child goes on with what its parent had.
    """
    follow(torch.get_num_threads)
    if not _joined:
        _joined.append(True)
        team.join(found())
    return team.joined() is not None


_joined: list[bool] = []  # once in a process: a child that had to leave must not join again


def found() -> OpenMP | None:
    """The OpenMP library that PyTorch calls, which is not always the one that lies beside it.

    The loader takes a function from what the process has loaded for all before it looks at what
    PyTorch is linked with: a library that was preloaded, for example. The right one also knows the
    number of threads that PyTorch has asked for.
    """
    number = torch.get_num_threads()
    known = (openmp(library) for library in _libraries())
    return next((each for each in known if each is not None and each.most() == number), None)


def _libraries() -> Iterator[Any]:
    if sys.platform not in _NAMES:  # the others look at what a library is linked with first
        yield ctypes.CDLL(None)
    path = Path(torch.__file__).parent / "lib" / _NAMES.get(sys.platform, "libtorch_cpu.so")
    try:
        yield ctypes.CDLL(str(path))  # it is loaded already, from there
    except OSError:
        return
