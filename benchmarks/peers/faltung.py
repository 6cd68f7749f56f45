"""Faltung itself: ``Conv`` on channels-last arrays, and the functions on channels-first arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import Missing, Task, library
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD, INPUT_GRAD


def environment(threads: int) -> dict[str, str]:
    return {"FALTUNG_NUM_THREADS": str(threads)}


def start(threads: int) -> str:
    faltung = library("faltung")
    if not hasattr(faltung, "Conv"):
        raise Missing("faltung has no Conv")
    faltung.set_threads(threads)
    return str(faltung.__version__)


def build(problem: Problem, variant: str) -> Task:
    last = variant == "nhwc"
    call = _call(problem, last)
    weights = problem.direction not in (FORWARD, INPUT_GRAD)
    return Task(call, lambda: call() if weights or not last else np.moveaxis(call(), -1, 1))


def _call(problem: Problem, last: bool) -> Callable[[], Any]:
    faltung = library("faltung")
    spec, weight = problem.spec, problem.weight
    options = {
        "stride": spec.stride,
        "padding": problem.pads,
        "dilation": spec.dilation,
        "groups": spec.groups,
        "flip": spec.flip,
        "channels_last": last,
    }

    def layout(array: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array

    if problem.direction == FORWARD:
        x = layout(problem.x)
        if last:
            layer = faltung.Conv(weight, problem.bias, **options)
            return lambda: layer(x)
        return lambda: faltung.conv(x, weight, problem.bias, **options)
    grad = layout(problem.grad)
    if problem.direction == INPUT_GRAD:
        shape = layout(np.empty(spec.input_shape, np.int8)).shape
        return lambda: faltung.conv_input_grad(grad, weight, shape, **options)
    x = layout(problem.x)
    return lambda: faltung.conv_weight_grad(x, grad, spec.weight_shape, **options)


def peak(threads: int) -> float:
    return float(library("faltung.plan.peak").fma_peak(threads))


def bandwidth(threads: int) -> dict[str, Any]:
    """Bytes that are read and written together, and the seconds of such a copy."""
    found = library("faltung.plan.bandwidth").copy_bandwidth(threads)
    return {"sizes": found.sizes, "seconds": found.seconds}
