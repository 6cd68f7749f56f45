"""The thread team: runs a list of steps as one parallel region, in compiled code.

After its last job a worker spins for about a millisecond on a word in memory, so that the next one
reaches it in less than a microsecond, and then parks: between calls the team uses no processor
time. The threads are raw ones, without Python state: they never take the GIL, no exception can
reach them, and the interpreter can end while they sleep. What they run and touch is never freed.

The spin is bounded by a count of pauses, timed once, and not by a clock: a cycle counter has an
unknown rate on x86 and is closed to user programs on some ARM systems, and a count bounds the
processor time spent also when the thread is preempted.

A call that finds the team busy (another Python thread is in a region) does its steps whole, alone.
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

from faltung.jit.compile import raw
from faltung.jit.target import host
from faltung.machine.detect import cores
from faltung.runtime import layout
from faltung.runtime.team_ir import SYMBOLS, module

Steps = npt.NDArray[np.int64]

LINGER = 1e-3  # seconds that a worker without a job stays awake, in pauses
PATIENCE = 20e-6  # seconds between yields while waiting, with a core for each thread
CROWDED = 1e-6  # and with more threads than cores: who waits is in the way
_AT_EXIT = 0.1  # seconds that the end of the process waits for the workers
_STARTING = 1.0  # seconds that a call waits for new workers to report

_WORD = 8
_INT64 = np.dtype(np.int64)
# Whole numbers go as c_void_p too: ctypes converts it in half the time that c_int64 takes.
_launch_type = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4)
_halt_type = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_spin_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Region:
    """A list of steps, checked once, to be run many times.

    steps: int64 of shape (n, 4), contiguous. A step is four words: address of a function
    ``void(ptr params, i64 begin, i64 end)``, address of its params, number of items, and 1 where
    every thread must have finished the step before any begins the next (else 0). Thread t of T
    runs items ``items*t//T`` to ``items*(t+1)//T``. The words may be changed between runs, in
    place; what their addresses point to must stay alive during a run: that is the caller's
    business. TypeError or ValueError for another dtype, shape or layout.
    """

    __slots__ = ("_address", "_count", "steps")

    def __init__(self, steps: Steps) -> None:
        if not isinstance(steps, np.ndarray) or steps.dtype != _INT64:
            raise TypeError(f"steps={steps!r}: must be an array of int64")
        if steps.ndim != 2 or steps.shape[1] != 4 or not steps.flags.c_contiguous:
            raise ValueError(f"steps of shape {steps.shape}: must be (n, 4) and contiguous")
        self.steps = steps
        self._address = _address_of(steps)
        self._count = len(steps)

    def run(self, threads: int) -> int:
        """Run the steps on up to ``threads`` threads, the calling one among them.

        Returns, when all have finished, how many took part: fewer where another thread has the team
        (then 1) or the system gives no more. The GIL is released; KeyboardInterrupt waits.
        """
        team = _team
        # No Python function may be called between here and ``launch``: a signal handler could fork
        # there, and the child has no workers. (``reset`` covers the slow path.)
        if team is None or not 0 < threads <= team.asked:
            team = _grown(threads)
        return team.launch(team.address, self._address, self._count, threads)


def run(steps: Steps, threads: int) -> int:
    """Run ``steps`` once: ``Region(steps).run(threads)``."""
    return Region(steps).run(threads)


class _Team:
    """The memory of the team (``layout`` says where what is), and its compiled functions."""

    __slots__ = ("_halt", "_memory", "_worker", "address", "asked", "launch")

    def __init__(self) -> None:
        # Later than import: this opens LLVM, unless the code is on disk.
        code = raw("thread team", module(host().arch), SYMBOLS, host())
        launch, worker, halt, spin = (code[symbol] for symbol in SYMBOLS)
        self.launch: Callable[[int, int, int, int], int] = _launch_type(launch)
        self._halt: Callable[[int], int] = _halt_type(halt)
        self._worker = worker
        self.address = _memory_for_ever(layout.BYTES)
        self._memory = (ctypes.c_int64 * (layout.BYTES // _WORD)).from_address(self.address)
        self._fill(_spin_type(spin))
        self.asked = 1

    def __getitem__(self, offset: int) -> int:
        return int(self._memory[offset // _WORD])

    def __setitem__(self, offset: int, value: int) -> None:
        self._memory[offset // _WORD] = value

    def _fill(self, spin: Any) -> None:
        self[layout.READY] = self[layout.ALLOWED] = 1
        self[layout.YIELD] = _address_of_yield()
        self[layout.ACQUIRE] = _address(ctypes.pythonapi.PyThread_acquire_lock)
        self[layout.RELEASE] = _address(ctypes.pythonapi.PyThread_release_lock)
        one = _seconds_of_pause(spin, self.address)
        self[layout.LINGER] = max(1, int(LINGER / one))
        self[layout.PATIENCE] = max(1, int(PATIENCE / one))
        self[layout.CROWDED] = max(1, int(CROWDED / one))

    def grow(self, threads: int) -> None:
        """Start workers until there are ``threads`` threads, as far as the system allows."""
        threads = min(threads, layout.LIMIT)
        for t in range(1, threads):
            self._furnish(layout.MAILBOXES + t * layout.LINE)
        self[layout.CORES] = cores()
        self[layout.ALLOWED] = threads
        start = _python(
            "PyThread_start_new_thread", ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p
        )
        there = self[layout.READY]
        while there < threads and start(self._worker, self.address) != ctypes.c_ulong(-1).value:
            there += 1
        deadline = time.monotonic() + _STARTING
        while self[layout.READY] < there and time.monotonic() < deadline:
            time.sleep(0)
        self.asked = threads  # also if there are fewer: the system is not asked again at every call

    def _furnish(self, mailbox: int) -> None:
        """Give a mailbox its lock, taken, so that the first to park on it sleeps."""
        if not self[mailbox + layout.LOCK]:
            lock = _python("PyThread_allocate_lock", ctypes.c_void_p)()
            if not lock:
                raise MemoryError("a lock for the thread team cannot be had")
            _python("PyThread_acquire_lock", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(lock, 1)
            self[mailbox + layout.LOCK] = lock

    def reset(self) -> None:
        """As new, in a forked child: the workers, and who held the team, are in the parent."""
        self.asked = 1
        self[layout.READY] = self[layout.ALLOWED] = 1
        for word in (layout.BUSY, layout.COUNT, layout.GENERATION, layout.PENDING, layout.GONE):
            self[word] = 0
        mailbox = layout.MAILBOXES + layout.LINE
        while mailbox < layout.BYTES and self[mailbox + layout.LOCK]:
            # The old lock may be half taken; it is left behind.
            self[mailbox + layout.WORD] = layout.IDLE
            self[mailbox + layout.LOCK] = 0
            mailbox += layout.LINE

    def stop(self) -> None:
        """Send the workers home. Calls that come later work alone."""
        self.asked = layout.LIMIT
        deadline = time.monotonic() + _AT_EXIT
        while (sent := self._halt(self.address)) < 0 and time.monotonic() < deadline:
            time.sleep(1e-4)
        while self[layout.GONE] < sent and time.monotonic() < deadline:
            time.sleep(1e-4)


_team: _Team | None = None
# Reentrant: a signal handler may run a convolution in the middle of a call.
_lock = threading.RLock()


def _grown(threads: int) -> _Team:
    global _team
    if threads < 1:
        raise ValueError(f"threads={threads}: must be at least 1")
    with _lock:
        if _team is None:
            made = _Team()
            if _team is None:
                _team = made
                atexit.register(made.stop)
        if threads > _team.asked:
            _team.grow(threads)
        return _team


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    if _team is not None:
        _team.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the Python library, called with the GIL held.

    With a prototype of our own: those of ``ctypes.pythonapi`` are shared by the whole process.
    """
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


def _address_of(steps: Steps) -> int:
    if steps.size and steps.flags.writeable:  # in a quarter of the time
        return ctypes.addressof(ctypes.c_char.from_buffer(steps))  # type: ignore[arg-type]
    return int(steps.ctypes.data)


def _memory_for_ever(size: int) -> int:
    """The address of ``size`` zeroed bytes, on a line of their own.

    Of no object and never freed: a worker may look at them until the process ends, which is later
    than any object lives.
    """
    allocate = _python("PyMem_RawCalloc", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
    found = allocate(1, size + layout.LINE)
    if not found:
        raise MemoryError(f"{size} bytes for the thread team cannot be had")
    return int(-(-found // layout.LINE) * layout.LINE)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _address_of_yield() -> int:
    """Of the system's "let others run": int(void). 0 where it is unknown: waiting only spins."""
    try:
        if os.name == "nt":
            return _address(ctypes.WinDLL("kernel32").SwitchToThread)  # type: ignore[attr-defined]
        return _address(ctypes.CDLL(None).sched_yield)
    except (AttributeError, OSError):
        return 0


def _seconds_of_pause(spin: Any, word: int) -> float:
    """The cost of one turn of waiting: the least of a few tries, some of which are preempted."""
    turns, best = 2000, 1.0
    for _ in range(5):
        begin = time.perf_counter()
        spin(word, turns)
        best = min(best, time.perf_counter() - begin)
    return best / turns
