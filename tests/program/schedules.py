"""Teams whose threads are as far apart as barriers let them.

Between two barriers each thread runs its shares of all steps in turn, whenever it comes to it.
Whatever a program computes must not depend on that; where a barrier is missing, it does.
"""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from faltung.program.inference import Inference
from faltung.program.training import TrainingStep

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
Program = TrainingStep | Inference
# What to call, its words, its items.
Call = tuple[Callable[[int, int, int], None], int, int]


def segments(program: Program) -> list[list[Call]]:
    """The steps of a program, those together that have no barrier between them."""
    region = program.assembly.region.run.__self__  # type: ignore[attr-defined]
    made: list[list[Call]] = [[]]
    for function, words, items, meets in region.steps.tolist():
        made[-1].append((KERNEL(function), words, items))
        if meets:
            made.append([])
    return made


def by_threads(program: Program, order: Sequence[int]) -> None:
    """Runs of the program go thread by thread from now on, in this order of their numbers."""
    parts, threads = segments(program), len(order)

    def run(wanted: int) -> int:
        for part in parts:
            for t in order:
                for kernel, words, items in part:
                    begin, end = items * t // threads, items * (t + 1) // threads
                    if begin < end:
                        kernel(words, begin, end)
        return threads

    program._run = run


def backwards(program: Program) -> None:
    """The last step before a barrier comes first, its last item first: what a team may do whose
    threads have no more than an item each.
    """
    parts = segments(program)

    def run(wanted: int) -> int:
        for part in parts:
            for kernel, words, items in reversed(part):
                for item in reversed(range(items)):
                    kernel(words, item, item + 1)
        return 1

    program._run = run


def shuffled(threads: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).permutation(threads)]
