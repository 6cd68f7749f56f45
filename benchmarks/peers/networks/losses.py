"""Training steps as a task: what is timed is a step, what is compared the first losses."""

from collections.abc import Callable

import numpy as np

from benchmarks.network_problem import STEPS
from benchmarks.peers import Task
from benchmarks.problem import Array


def training_task(step: Callable[[], float], keep: tuple[object, ...] = ()) -> Task:
    """``step`` trains once and says the loss that it found."""
    first: list[float] = []

    def call() -> None:
        loss = step()
        if len(first) < STEPS:
            first.append(loss)

    def losses() -> Array:
        while len(first) < STEPS:
            call()
        return np.array(first)

    return Task(call, losses, keep)
