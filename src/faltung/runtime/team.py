"""The thread team: runs a list of steps as one parallel region, in compiled code.

After its last job a worker spins on a word in memory for about a millisecond, so that the next job
reaches it in less than a microsecond. Then it parks: between calls the team uses no processor time.
The threads are raw ones, without Python state: they never take the GIL, no exception can reach
them, and the interpreter can exit while they sleep. What they run and read is never freed.

The spin is limited by a number of pauses, timed once, rather than by a clock: the rate of the cycle
counter is unknown on x86, and user programs may not read it on some ARM systems; and a number of
pauses limits the processor time even if the thread is preempted.

A call that finds the team busy, because another Python thread runs a region, runs its steps alone.

In a process where an OpenMP library computes too, regions can run on its threads (``join``).
"""

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.jit.compile import raw
from faltung.jit.target import host
from faltung.machine.detect import cores
from faltung.runtime import layout
from faltung.runtime.openmp import OpenMP
from faltung.runtime.team_ir import SYMBOLS, module

Steps = npt.NDArray[np.int64]

LINGER_SECONDS = 1e-3  # how long a worker without a job stays awake
PATIENCE_SECONDS = 20e-6  # between two yields while waiting, with a core for each thread
CROWDED_SECONDS = (
    1e-6  # the same with more threads than cores, where waiting keeps others from work
)
_EXIT_SECONDS = 0.1  # how long the end of the process waits for the workers
_START_SECONDS = 1.0  # how long a call waits for new workers to report

_WORD_BYTES = 8
_INT64 = np.dtype(np.int64)
# Integers are passed as c_void_p too: ctypes converts it in half the time of c_int64.
_launch_type = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4)
_halt_type = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_spin_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Region:
    """A list of steps, checked once, to be run many times.

    steps: int64 of shape (n, 4), contiguous. A step is four words: the address of a function
    ``void(ptr params, i64 begin, i64 end)``, the address of its params, the number of items, and
    ``layout.BARRIER`` if all threads must have finished the step before any of them begins the
    next, plus ``layout.WHOLE`` for one call for each thread. Thread t of T begins with items
    ``items*t//T`` to ``items*(t+1)//T``, in pieces unless they are whole, and who has none left
    takes from others. The words may be changed between runs; the caller keeps alive what their
    addresses point to. TypeError, ValueError: another dtype, shape or layout.
    """

    __slots__ = ("_address", "_count", "steps")

    def __init__(self, steps: Steps) -> None:
        if not isinstance(steps, np.ndarray) or steps.dtype != _INT64:
            raise FaltungTypeError(f"steps={steps!r}: must be an array of int64")
        if steps.ndim != 2 or steps.shape[1] != 4 or not steps.flags.c_contiguous:
            raise FaltungError(f"steps of shape {steps.shape}: must be (n, 4) and contiguous")
        self.steps = steps
        self._address = _address_of(steps)
        self._count = len(steps)

    def run(self, threads: int) -> int:
        """Run the steps on up to ``threads`` threads, including the calling one.

        Returns how many took part, when all have finished: 1 if another thread is using the team,
        and fewer than asked for if the system grants no more. The GIL is released; a
        KeyboardInterrupt is raised afterwards.
        """
        team = _team
        # No Python function may be called between here and ``launch``: a signal handler could fork
        # there, and the child would have no workers. (``reset`` covers the slow path.)
        if team is None or not 0 < threads <= team.asked:
            team = _grown(threads)
        return team.launch(team.address, self._address, self._count, threads)


def run(steps: Steps, threads: int) -> int:
    """Run ``steps`` once: ``Region(steps).run(threads)``."""
    return Region(steps).run(threads)


class _Team:
    """The memory of the team, as ``layout`` describes it, and its compiled functions."""

    __slots__ = ("_code", "_halt", "_joined", "_memory", "_worker", "address", "asked", "launch")

    def __init__(self) -> None:
        # Not at import: this loads LLVM, unless the code is on disk.
        code = raw("thread team", module(host().arch), SYMBOLS, host())
        launch, worker, halt, spin, join = (code[symbol] for symbol in SYMBOLS)
        self._code = _launch_type(launch), _launch_type(join)
        self.launch: Callable[[int, int, int, int], int] = self._code[0]
        self._halt: Callable[[int], int] = _halt_type(halt)
        self._worker = worker
        self.address = _permanent_memory(layout.BYTES)
        self._memory = (ctypes.c_int64 * (layout.BYTES // _WORD_BYTES)).from_address(self.address)
        self._fill(_spin_type(spin))
        self.asked = 1
        self._joined = False

    def __getitem__(self, offset: int) -> int:
        return int(self._memory[offset // _WORD_BYTES])

    def __setitem__(self, offset: int, value: int) -> None:
        self._memory[offset // _WORD_BYTES] = value

    def _fill(self, spin: Any) -> None:
        self[layout.READY] = self[layout.ALLOWED] = 1
        self[layout.YIELD] = _address_of_yield()
        self[layout.ACQUIRE] = _address(ctypes.pythonapi.PyThread_acquire_lock)
        self[layout.RELEASE] = _address(ctypes.pythonapi.PyThread_release_lock)
        pause = _seconds_of_pause(spin, self.address)
        self[layout.LINGER] = max(1, int(LINGER_SECONDS / pause))
        self[layout.PATIENCE] = max(1, int(PATIENCE_SECONDS / pause))
        self[layout.CROWDED] = max(1, int(CROWDED_SECONDS / pause))

    def grow(self, threads: int) -> None:
        """Start workers until there are ``threads`` threads, or as many as the system allows."""
        self[layout.CORES] = cores()
        if self._joined:
            self.asked = layout.MAX_THREADS
            return
        threads = min(threads, layout.MAX_THREADS)
        for t in range(1, threads):
            self._furnish(layout.MAILBOXES + t * layout.LINE_BYTES)
        self[layout.ALLOWED] = threads
        start = _python(
            "PyThread_start_new_thread", ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p
        )
        there = self[layout.READY]
        while there < threads and start(self._worker, self.address) != ctypes.c_ulong(-1).value:
            there += 1
        deadline = time.monotonic() + _START_SECONDS
        while self[layout.READY] < there and time.monotonic() < deadline:
            time.sleep(0)
        self.asked = (
            threads  # even if there are fewer, so that not every call asks the system again
        )

    def _furnish(self, mailbox: int) -> None:
        """Give a mailbox its lock, already acquired, so that the first to park on it sleeps."""
        if not self[mailbox + layout.LOCK]:
            lock = _python("PyThread_allocate_lock", ctypes.c_void_p)()
            if not lock:
                raise FaltungMemoryError("a lock for the thread team cannot be allocated")
            _python("PyThread_acquire_lock", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(lock, 1)
            self[mailbox + layout.LOCK] = lock

    def join(self, openmp: OpenMP | None) -> None:
        """Run regions on the threads of a library from now on, or on those of the team again."""
        if openmp is not None:
            self[layout.PARALLEL] = openmp.parallel
            self[layout.THREAD_NUM] = openmp.thread_num
            self[layout.NUM_THREADS] = openmp.num_threads
            self[layout.MAX_OF_OTHERS] = openmp.max_threads
        self._joined = openmp is not None
        self.launch = self._code[self._joined]
        self.asked = self[layout.READY]

    def reset(self) -> None:
        """Start afresh in a forked child: the workers are in the parent, as is who used them."""
        self.asked = 1
        self[layout.READY] = self[layout.ALLOWED] = 1
        for word in (layout.BUSY, layout.COUNT, layout.GENERATION, layout.PENDING, layout.GONE):
            self[word] = 0
        for t in range(layout.MAX_THREADS):  # of a region that the parent was running
            self[layout.MAILBOXES + t * layout.LINE_BYTES + layout.SHARE] = 0
        mailbox = layout.MAILBOXES + layout.LINE_BYTES
        while mailbox < layout.BYTES and self[mailbox + layout.LOCK]:
            # The old lock may be in any state; it is abandoned.
            self[mailbox + layout.WORD] = layout.IDLE
            self[mailbox + layout.LOCK] = 0
            mailbox += layout.LINE_BYTES

    def stop(self) -> None:
        """End the workers. Later calls run their steps alone."""
        self.asked = layout.MAX_THREADS
        deadline = time.monotonic() + _EXIT_SECONDS
        while (sent := self._halt(self.address)) < 0 and time.monotonic() < deadline:
            time.sleep(1e-4)
        while self[layout.GONE] < sent and time.monotonic() < deadline:
            time.sleep(1e-4)


_team: _Team | None = None
_openmp: OpenMP | None = None  # whose threads run the regions
# Reentrant: a signal handler may run a convolution in the middle of a call.
_lock = threading.RLock()


def _grown(threads: int) -> _Team:
    global _team
    if threads < 1:
        raise FaltungError(f"threads={threads}: must be at least 1")
    with _lock:
        if _team is None:
            made = _Team()
            if _team is None:
                _team = made
                made.join(_openmp)
                atexit.register(made.stop)
        if threads > _team.asked:
            _team.grow(threads)
        return _team


def join(openmp: OpenMP | None) -> None:
    """Run regions on the threads of an OpenMP library from now on, or, for None, on the team's own.

    For a process that computes by turns with that library, whose threads otherwise spin on the
    cores that the team needs. Where it grants fewer threads than a call asks for, the call takes
    what it gets. A region that is running ends as it began.
    """
    global _openmp
    with _lock:
        _openmp = openmp
        if _team is not None:
            _team.join(openmp)


def joined() -> OpenMP | None:
    """The library whose threads run the regions; None if they are the team's own."""
    return _openmp


def _before_fork() -> None:
    global _survives
    _survives = _openmp is None or _openmp.forget()


def _after_fork() -> None:
    global _lock, _openmp
    _lock = threading.RLock()
    if not _survives:
        _openmp = None
    if _team is not None:
        _team.reset()
        _team.join(_openmp)


_survives = True  # whether the library works in the child that is about to be born
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the Python C API, called with the GIL held.

    It has its own prototype: those of ``ctypes.pythonapi`` are shared by the whole process.
    """
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


def _address_of(steps: Steps) -> int:
    if steps.size and steps.flags.writeable:  # takes a quarter of the time
        return ctypes.addressof(ctypes.c_char.from_buffer(steps))  # type: ignore[arg-type]
    return int(steps.ctypes.data)


def _permanent_memory(size: int) -> int:
    """The address of ``size`` zeroed bytes that begin on a cache line and are never freed.

    They belong to no object: workers read them until the process ends, and no object lives as long.
    """
    allocate = _python("PyMem_RawCalloc", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
    found = allocate(1, size + layout.LINE_BYTES)
    if not found:
        raise FaltungMemoryError(f"{size} bytes for the thread team cannot be allocated")
    return int(-(-found // layout.LINE_BYTES) * layout.LINE_BYTES)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _address_of_yield() -> int:
    """Address of the system's yield, int(void); 0 where it is unknown, so that waiting spins."""
    try:
        if os.name == "nt":
            return _address(ctypes.WinDLL("kernel32").SwitchToThread)  # type: ignore[attr-defined]
        return _address(ctypes.CDLL(None).sched_yield)
    except (AttributeError, OSError):
        return 0


def _seconds_of_pause(spin: Any, word: int) -> float:
    """Seconds per pause: the least of a few measurements, as some are preempted."""
    pauses, best = 2000, 1.0
    for _ in range(5):
        begin = time.perf_counter()
        spin(word, pauses)
        best = min(best, time.perf_counter() - begin)
    return best / pauses
