"""Runs one peer in its own process: ``python -m benchmarks.worker SUBJECT NAME --threads T``.

Reads requests on stdin and answers on stdout (``protocol.py``). The library of the peer is imported
here, after the driver has set the environment.
"""

import argparse
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from time import perf_counter_ns
from typing import IO

import numpy as np

from benchmarks import memory, network_problem
from benchmarks.file_problem import FileProblem
from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import TABLES, Missing, Task, Unable, faltung, implementation
from benchmarks.problem import Problem
from benchmarks.protocol import (
    DIRECTIONS,
    FILE,
    FILTER,
    SUBJECTS,
    WINDOW_DIRECTIONS,
    Message,
    receive,
    send,
)
from benchmarks.timing import samples
from benchmarks.window_problem import WindowProblem

# Before memory is measured, a problem that makes a library create what it needs once: threads, code
# generators. Then so many calls: a filter of Dask's takes long, and gives back what it took.
SMALL, CALLS = "lenet5 1x8x8 n2 lr0.01", 3
SMALL_FILTER = "dask correlate 96x96 float32 kernel=9x9 chunks=64"


class Worker:
    """The state of a worker: the peer, and the problem that was built last."""

    def __init__(self, subject: str, name: str, threads: int) -> None:
        self.peer = TABLES[subject][name]
        self.threads = threads
        self.module = implementation(name, subject)
        self.task: Task | None = None

    def answer(self, request: Message) -> Message:
        try:
            match request["op"]:
                case "hello":
                    return {"version": self.module.start(self.threads)}
                case "build":
                    return self.build(request)
                case "round":
                    return self.round(request)
                case "drop":
                    self.task = None
                    return {}
                case "peak":
                    return {"gflops": faltung.peak(self.threads)}
                case "bandwidth":
                    return faltung.bandwidth(self.threads)
                case "answer":
                    return self.save_answer(request)
                case "memory":
                    return self.memory(request)
            return {"failed": f"op={request['op']!r}: not a request"}
        except Missing as error:
            return {"missing": str(error)}
        except Unable as error:
            return {"unable": str(error)}
        except Exception as error:  # a peer may raise anything; the row reports it
            self.task = None
            return {"failed": _one_line(error)}

    def build(self, request: Message) -> Message:
        self.task = None
        problem = made(request)
        began = perf_counter_ns()
        task = self.module.build(problem, self.peer.variant)
        task.call()
        ready = perf_counter_ns() - began
        got = np.asarray(task.array())
        error = None
        if request["reference"]:
            error = problem.error(got, np.load(request["reference"], mmap_mode="r"))
            if not error <= problem.limit:  # NaN is wrong, too
                reason = f"relative error {error:.1e} is above {problem.limit:.0e}"
                return {"wrong": reason, "error": error}
        self.task = task
        return {"ready_ns": ready, "error": error}

    def memory(self, request: Message) -> Message:
        """Most memory above that before the problem was built."""
        small, calls = (SMALL_FILTER, 1) if request["direction"] == FILTER else (SMALL, CALLS)
        build = partial(self.module.build, variant=self.peer.variant)
        problems = [partial(made, request | {"text": text}) for text in (small, request["text"])]
        return {"bytes": memory.growth(build, *problems, calls)}

    def save_answer(self, request: Message) -> Message:
        """Store the correct result, by this peer; only for networks and files."""
        np.save(request["path"], self.module.answer(made(request)))  # type: ignore[attr-defined]
        return {}

    def round(self, request: Message) -> Message:
        if self.task is None:
            return {"failed": "nothing is built"}
        return {"ns": samples(self.task.call, float(request["seconds"]))}


Made = Problem | WindowProblem | FileProblem | FilterProblem | network_problem.NetworkProblem


def made(request: Message) -> Made:
    """The problem that a request describes."""
    if request["direction"] in DIRECTIONS:
        return Problem(request["text"], request["direction"])
    if request["direction"] in WINDOW_DIRECTIONS:
        return WindowProblem(request["text"], request["direction"])
    if request["direction"] == FILE:
        return FileProblem(request["text"])
    if request["direction"] == FILTER:
        return FilterProblem(request["text"])
    return network_problem.draw(request["text"], request["direction"])


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}"


def _private_stdout() -> IO[bytes]:
    """A stream for answers; from now on, whatever a library prints goes to stderr."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _die_with_parent() -> None:
    """On Linux, end when the driver ends, even while stopped."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("peer")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    _die_with_parent()
    answers = _private_stdout()
    worker = Worker(arguments.subject, arguments.peer, arguments.threads)
    for line in sys.stdin.buffer:
        send(answers, worker.answer(receive(line)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
