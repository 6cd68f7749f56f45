"""The number of threads: as set, from the environment, or one per core."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import SupportsIndex

from faltung.geometry.calls import explained
from faltung.geometry.check import integer, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.machine.detect import cores
from faltung.runtime.layout import MAX_THREADS

# Ours comes first, so that it can differ from what OpenMP libraries in the process are told.
VARIABLES = ("FALTUNG_NUM_THREADS", "OMP_NUM_THREADS")

_chosen: int | None = None
_weighed = False  # whether this number has been compared with that of the cores
_here = threading.local()  # ``number``: what ``threads`` says in this Python thread
_blocks: list[None] = []  # one for each block of ``threads`` that any Python thread is in
_limit: Callable[[], int] | None = None  # how many threads a library beside us uses
_warned = False  # that there are more threads than cores: once in a process is enough


@explained
def set_threads(n: SupportsIndex) -> None:
    """Set the number of threads that convolutions use, in every Python thread, from now on.

    A convolution that is running ends with the number that it began with. Results have the same
    bits for every number of threads.

    Parameters
    ----------
    n : int from 1 to 1024
        The calling thread is one of them. More than there are cores is allowed, and slower: the
        first time, a RuntimeWarning says so.

    Raises
    ------
    TypeError
        ``n`` is not an integer.
    ValueError
        ``n`` is out of range.

    Examples
    --------
    >>> import faltung
    >>> before = faltung.get_threads()
    >>> faltung.set_threads(2)
    >>> faltung.get_threads()
    2
    >>> faltung.set_threads(before)
    """
    global _chosen
    _chosen = checked(n)
    _weigh(level=4)


def get_threads() -> int:
    """Return the number of threads that convolutions use.

    Returns
    -------
    int
        What ``set_threads`` was last given; else FALTUNG_NUM_THREADS, else OMP_NUM_THREADS, both
        read at the first call; else the number of cores that this process may use (its CPU
        affinity, or what its container allows).

    Examples
    --------
    >>> import faltung
    >>> faltung.get_threads() >= 1
    True
    """
    global _chosen
    if _chosen is None:
        _chosen = default_threads(os.environ)
    return _chosen


def threads_to_use() -> int:
    """``get_threads()``, for work that begins now, or what ``threads`` says; at most what
    ``follow`` allows. Warns once if they are more than the cores.
    """
    if _weighed and _chosen is not None and _limit is None and not _blocks:  # nearly always
        return _chosen
    number: int = getattr(_here, "number", 0)
    if not number:
        if not _weighed:
            _weigh(source(os.environ))
        number = get_threads()
    return number if _limit is None else min(number, _limit())


def follow(limit: Callable[[], int] | None) -> None:
    """From now on, work uses no more threads than ``limit()``, called in the Python thread of the
    work: the number that another library of this process uses.
    """
    global _limit
    _limit = limit


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Another number of threads for what this Python thread does in the block."""
    before = getattr(_here, "number", 0)
    _here.number = checked(n)
    _blocks.append(None)
    try:
        yield
    finally:
        _blocks.pop()
        _here.number = before


def crowded(threads: int, most: int) -> str:
    """What more threads than ``most`` cores mean, and what to do; "" if they are not more."""
    if threads <= most:
        return ""
    return (
        f"{threads} threads on {most} core{'s' * (most > 1)} take turns, which can take many times "
        f"as long; use at most {most}"
    )


def _weigh(said: str = "", level: int = 3) -> None:
    global _weighed, _warned
    _weighed = True
    wrong = "" if _warned else crowded(get_threads(), cores())
    if wrong:
        _warned = True
        warnings.warn(f"{said}: {wrong}" if said else wrong, RuntimeWarning, stacklevel=level)


def checked(n: SupportsIndex) -> int:
    """``n`` as an int. TypeError, ValueError: as for ``set_threads``."""
    number = integer(n)
    if number is None:
        raise FaltungTypeError(f"n={show(n)}: the number of threads must be an integer")
    if not 1 <= number <= MAX_THREADS:
        raise FaltungError(f"n={number}: the number of threads must be from 1 to {MAX_THREADS}")
    return number


def default_threads(environ: Mapping[str, str]) -> int:
    """The number of threads if nobody has called ``set_threads``.

    A variable holds a number from 1 to 1024, or a list as in OpenMP ("4,2": nested levels), of
    which the first number counts. An empty one counts as unset; anything else is ignored with a
    RuntimeWarning.
    """
    for name in VARIABLES:
        text = environ.get(name, "").strip()
        number = _number(text)
        if number is not None:
            return number
        if text:
            warnings.warn(
                f"{name}={text!r}: ignored, the number of threads must be from 1 to {MAX_THREADS}",
                RuntimeWarning,
                stacklevel=3,
            )
    return min(cores(), MAX_THREADS)


def source(environ: Mapping[str, str]) -> str:
    """The variable that decides, as "OMP_NUM_THREADS=4"; "" if none does."""
    for name in VARIABLES:
        text = environ.get(name, "").strip()
        if _number(text) is not None:
            return f"{name}={text}"
    return ""


def _number(text: str) -> int | None:
    """The number of threads that a variable asks for; None if it holds none."""
    first = text.split(",", 1)[0].strip()
    # isdecimal would accept digits of other scripts, and int() also "1_0" and "+4".
    plain = first.isascii() and first.isdigit() and len(first) < 9
    return int(first) if plain and 1 <= int(first) <= MAX_THREADS else None
