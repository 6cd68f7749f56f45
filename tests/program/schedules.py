"""Teams whose threads are as far apart as barriers let them.

Between two barriers each thread runs its shares of all steps in turn, whenever it comes to it, and
who is done takes items of others. Whatever a program computes must not depend on that; where a
barrier is missing, it does.
"""

import ctypes
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from faltung.program.inference import Inference
from faltung.program.training import TrainingStep
from faltung.runtime.layout import BARRIER

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
Program = TrainingStep | Inference
# What to call, its words, its items.
Call = tuple[Callable[[int, int, int], None], int, int]


def segments(program: Program) -> list[list[Call]]:
    """The steps of a program, those together that have no barrier between them."""
    inference = isinstance(program, Inference)
    bound = program.assembly.moving if inference else program.assembly.region
    region = bound.run.__self__  # type: ignore[attr-defined]
    made: list[list[Call]] = [[]]
    for function, words, items, how in region.steps.tolist():
        made[-1].append((KERNEL(function), words, items))
        if how & BARRIER:
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


def in_pieces(program: Program, seed: int) -> None:
    """Between two barriers, pieces of all steps in any order: more than threads may do that help
    each other.
    """
    parts, rng = segments(program), np.random.default_rng(seed)

    def run(wanted: int) -> int:
        for part in parts:
            pieces = []
            for kernel, words, items in part:
                cuts = np.unique(rng.integers(0, items + 1, min(items, 6)))
                edges = [0, *(int(c) for c in cuts if 0 < c < items), items]
                pieces += [(kernel, words, a, b) for a, b in pairwise(edges) if a < b]
            for number in rng.permutation(len(pieces)):
                kernel, words, begin, end = pieces[number]
                kernel(words, begin, end)
        return 1

    program._run = run


def shuffled(threads: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).permutation(threads)]
