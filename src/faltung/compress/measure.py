"""What a model costs, measured on the model itself: multiply-adds and milliseconds."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import Source
from faltung.graph.summary import summary
from faltung.machine.detect import cores
from faltung.runtime.threads import threads
from faltung.train.model import Model

THREADS = (1, 2)  # that times are measured with, where there are as many cores
# Turns of all models. The least time counts: whatever else runs can only add to it.
ROUNDS = 60
ROUND_SECONDS = 0.001  # of one model in a turn, at least; a slower one runs once
SECONDS = 3.0  # after which there are no more turns, of slow models


def macs(model: Model) -> int:
    """Multiply-adds for one sample."""
    return summary(model.graph).macs


def parameters(model: Model) -> int:
    """Numbers that are trained."""
    return sum(p.size for p in model.graph.parameters if p.trained)


def milliseconds(models: Sequence[Model], sample: npt.NDArray[Any]) -> dict[int, tuple[float, ...]]:
    """For each number of threads the milliseconds of each model for this one sample, (1, ...) as
    ``Model.standardised`` gives it. The models take turns, so that whatever else the computer does
    befalls all of them.
    """
    made = {}
    for number in THREADS:
        if number <= cores():
            with threads(number):
                made[number] = in_turns(models, sample)
    return made


def in_turns(models: Sequence[Model], sample: npt.NDArray[Any]) -> tuple[float, ...]:
    programs = [model.program(1) for model in models]
    calls = []
    for program in programs:
        program(sample)  # touch memory, wake threads
        program.feed(sample)
        start = perf_counter()
        program.run()
        calls.append(max(1, round(ROUND_SECONDS / max(perf_counter() - start, 1e-7))))
    found: list[list[float]] = [[] for _ in models]
    began = perf_counter()
    for _ in range(ROUNDS):
        for program, count, times in zip(programs, calls, found, strict=True):
            start = perf_counter()
            for _ in range(count):
                program.run()
            times.append((perf_counter() - start) / count)
        if perf_counter() - began > SECONDS:
            break
    return tuple(1000 * min(times) for times in found)


def first(model: Model, source: Source) -> npt.NDArray[Any]:
    """The first sample of a source, as a program of the model takes it."""
    return model.standardised(source.read(np.arange(1)))
