"""SciPy, for one channel: signals and grey images. One thread, whatever is asked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.problem import Problem
from benchmarks.protocol import FORWARD

environment = openmp


def start(threads: int) -> str:
    library("scipy.ndimage")
    library("scipy.signal")
    return str(library("scipy").__version__)


def one_channel(problem: Problem) -> None:
    """Unable, unless the problem is what the array libraries call ``mode="same"``."""
    spec = problem.spec
    if problem.direction != FORWARD:
        raise Unable("no gradients")
    if spec.batch * spec.channels_in * spec.channels_out > 1:
        raise Unable("one sample of one channel alone")
    same = all(axis.lo == axis.hi == axis.kernel // 2 and axis.kernel % 2 for axis in spec.axes)
    if not same or any(axis.stride * axis.dilation > 1 for axis in spec.axes) or spec.flip:
        raise Unable("stride 1, dilation 1, odd kernel, padding same alone")


def build(problem: Problem, variant: str) -> Task:
    one_channel(problem)
    call = _call(problem, variant)
    return Task(call, lambda: call()[None, None])


def _call(problem: Problem, variant: str) -> Callable[[], Any]:
    x, weight = problem.x[0, 0], problem.weight[0, 0]
    if variant == "ndimage":
        return partial(library("scipy.ndimage").correlate, x, weight, mode="constant")
    signal = library("scipy.signal")
    if variant == "correlate":
        return partial(signal.correlate, x, weight, mode="same", method="auto")
    return partial(getattr(signal, variant), x, np.flip(weight).copy(), mode="same")
