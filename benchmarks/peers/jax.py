"""JAX: ``jit`` of ``lax.conv_general_dilated`` in the channels-last layout, gradients by transpose.

XLA has no option for the number of threads of its CPU client: it counts the processor affinity,
which the driver sets for every worker.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD, INPUT_GRAD, WEIGHT_GRAD


def environment(threads: int) -> dict[str, str]:
    flags = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false"
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": str(threads), **openmp(threads)}


def start(threads: int) -> str:
    return str(library("jax").__version__)


def build(problem: Problem, variant: str) -> Task:
    jax = library("jax")
    jax.config.update("jax_enable_x64", problem.spec.dtype == "float64")
    if problem.spec.rank > 3:
        raise Unable("no convolution above rank 3")
    x = jax.device_put(np.moveaxis(problem.x, 1, -1))
    weight = jax.device_put(np.moveaxis(problem.weight, (0, 1), (-1, -2)))
    inputs, function = _inputs(jax, problem, x, weight)
    compiled = jax.jit(function)

    def call() -> Any:
        return compiled(*inputs).block_until_ready()

    return Task(call, lambda: _channels_first(np.asarray(call()), problem.direction))


def _function(jax: Any, problem: Problem) -> Callable[[Any, Any], Any]:
    spec = problem.spec
    space = "DHW"[-spec.rank :]
    if spec.flip:
        raise Unable("no true convolution")
    return lambda x, weight: jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=spec.stride,
        padding=problem.pads,
        rhs_dilation=spec.dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=spec.groups,
        precision=jax.lax.Precision.HIGHEST,
    )


def _inputs(
    jax: Any, problem: Problem, x: Any, weight: Any
) -> tuple[tuple[Any, ...], Callable[..., Any]]:
    """The operands of the direction and the function of them that is compiled."""
    forward = _function(jax, problem)
    if problem.direction == FORWARD:
        if problem.bias is None:
            return (x, weight), forward
        bias = jax.device_put(problem.bias)
        return (x, weight, bias), lambda x, w, b: forward(x, w) + b
    grad = jax.device_put(np.moveaxis(problem.grad, 1, -1))
    if problem.direction == INPUT_GRAD:
        return (grad, weight), lambda g, w: jax.linear_transpose(lambda a: forward(a, w), x)(g)[0]
    return (grad, x), lambda g, x: jax.linear_transpose(lambda w: forward(x, w), weight)(g)[0]


def _channels_first(array: Array, direction: str) -> Array:
    if direction == WEIGHT_GRAD:
        return np.moveaxis(array, (-1, -2), (0, 1))
    return np.moveaxis(array, -1, 1)
