"""Points of a grid in a process of their own, which one of them may end: that is a failure of this
point, and the others still run.
"""

import json
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from limits import limit

LIMIT = limit(300)  # seconds for one point
CRASHES = 5  # after which no further process is started

Failures = list[tuple[int, str]]  # number of a point, and what happened


def apart(run: Callable[[int], None], count: int) -> Failures:
    """``run(0)`` to ``run(count - 1)`` in a child made by fork: what failed, in order."""
    failed: Failures = []
    first, crashes = 0, 0
    while first < count and crashes < CRASHES:
        lines, status = _child(run, range(first, count))
        failed += [(number, text) for number, text in lines if text]
        if not status:
            break
        last = lines[-1][0] if lines else first
        failed.append((last, f"ended the process: {_reason(status)}"))
        first, crashes = last + 1, crashes + 1
    return failed


def _child(run: Callable[[int], None], numbers: range) -> tuple[Failures, int]:
    """What the child wrote: each number before its turn, and again with what it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(run, numbers, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream if line.endswith("\n")]
    return [(number, text) for number, text in lines], os.waitpid(child, 0)[1]


def _work(run: Callable[[int], None], numbers: Sequence[int], writer: int) -> NoReturn:
    def say(number: int, text: str) -> None:
        os.write(writer, json.dumps([number, text]).encode() + b"\n")

    try:
        for number in numbers:
            say(number, "")
            signal.alarm(int(LIMIT))
            try:
                run(number)
            except Exception:
                say(number, traceback.format_exc()[-3000:])
        os._exit(0)
    finally:
        os._exit(1)


def _reason(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit status {os.WEXITSTATUS(status)}"
