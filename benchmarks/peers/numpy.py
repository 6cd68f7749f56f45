"""``numpy.correlate``, for one signal of one channel. One thread, whatever is asked."""

from functools import partial

import numpy as np

from benchmarks.peers import Task, Unable, openmp
from benchmarks.peers.scipy import one_channel
from benchmarks.problem import Problem

environment = openmp


def start(threads: int) -> str:
    return np.__version__


def build(problem: Problem, variant: str) -> Task:
    one_channel(problem)
    if problem.spec.rank != 1:
        raise Unable("rank 1 alone")
    call = partial(np.correlate, problem.x[0, 0], problem.weight[0, 0], mode="same")
    return Task(call, lambda: call()[None, None])
