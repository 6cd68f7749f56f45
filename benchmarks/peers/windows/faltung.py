"""Faltung itself, on arrays of either layout; weights of local layers packed before."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import Task, library
from benchmarks.peers.faltung import environment, start
from benchmarks.problem import Array
from benchmarks.window_problem import LOCAL, MAX, WindowProblem

__all__ = ["build", "environment", "start"]


def build(problem: WindowProblem, variant: str) -> Task:
    last = variant == "nhwc"
    call = _call(problem, last)
    return Task(call, lambda: np.moveaxis(call(), -1, 1) if last else call())


def _call(problem: WindowProblem, last: bool) -> Callable[[], Any]:
    faltung = library("faltung")
    spec = problem.spec

    def layout(array: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array

    given = {"stride": spec.stride, "padding": problem.pads, "channels_last": last}
    x, grad = layout(problem.x), layout(problem.grad)
    if problem.kind == LOCAL:
        weight = faltung.pack_local(problem.weight)
        if problem.forward:
            return lambda: faltung.conv_local(x, weight, **given)
        return lambda: faltung.conv_local_input_grad(grad, weight, x.shape, **given)
    if problem.forward:
        function = faltung.max_pool if problem.kind == MAX else faltung.avg_pool
        return lambda: function(x, spec.kernel, **given)
    if problem.kind == MAX:
        _, index = faltung.max_pool(x, spec.kernel, indices=True, **given)
        return lambda: faltung.max_pool_grad(grad, index, x.shape, spec.kernel, **given)
    return lambda: faltung.avg_pool_grad(grad, x.shape, spec.kernel, **given)
