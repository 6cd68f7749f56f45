"""How much memory a problem takes at the most, inside a worker."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import network_problem
from benchmarks.peers import Unable
from benchmarks.protocol import Message

SMALL = "lenet5 1x8x8 n2 lr0.01"  # wakes what a library makes once: threads, code generators
CALLS = 3


def growth(build: Callable[[Any, str], Any], request: Message, variant: str) -> int:
    """Bytes: the largest resident set while the problem is built and called, less that before.

    The arrays of the problem are there before; copies of the weights count. Unable where the
    system does not tell.
    """
    if sys.platform != "linux":
        raise Unable("the system does not tell the largest resident set")
    _run(build, network_problem.draw(SMALL, request["direction"]), variant)
    problem = network_problem.draw(request["text"], request["direction"])
    gc.collect()
    with suppress(OSError):  # refused: the mark stays where it was, at or above what we look for
        Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    _run(build, problem, variant)
    return resident("VmHWM") - before


def _run(build: Callable[[Any, str], Any], problem: Any, variant: str) -> None:
    task = build(problem, variant)
    for _ in range(CALLS):
        task.call()


def resident(name: str) -> int:
    """A line of /proc/self/status, in bytes: VmRSS now, VmHWM at the most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise Unable(f"the system does not tell {name}")
