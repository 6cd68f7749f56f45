"""JAX: ``jit`` of ``lax.conv_general_dilated_local``, channels last; gradients by transpose."""

from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library
from benchmarks.peers.jax import environment, start
from benchmarks.window_problem import LOCAL, WindowProblem

__all__ = ["build", "environment", "start"]


def build(problem: WindowProblem, variant: str) -> Task:
    jax = library("jax")
    if problem.kind != LOCAL:
        raise Unable("local layers alone")
    spec = problem.spec
    jax.config.update("jax_enable_x64", spec.dtype == "float64")
    space = "DHW"[-spec.rank :]
    # Its weights are (*output, C_in * taps, C_out), the taps fastest.
    weight = np.moveaxis(problem.weight, spec.rank, -1)
    weight = weight.reshape(*spec.output, -1, spec.channels_out)
    w = jax.device_put(np.ascontiguousarray(weight))
    x = jax.device_put(np.moveaxis(problem.x, 1, -1))

    def function(a: Any, b: Any) -> Any:
        return jax.lax.conv_general_dilated_local(
            a,
            b,
            spec.stride,
            [(axis.lo, axis.hi) for axis in spec.axes],
            spec.kernel,
            dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
            precision=jax.lax.Precision.HIGHEST,
        )

    if problem.forward:
        inputs, compiled = (x, w), jax.jit(function)
    else:
        grad = jax.device_put(np.moveaxis(problem.grad, 1, -1))
        inputs = (grad, w)
        compiled = jax.jit(lambda g, b: jax.linear_transpose(lambda a: function(a, b), x)(g)[0])

    def call() -> Any:
        return compiled(*inputs).block_until_ready()

    return Task(call, lambda: np.moveaxis(np.asarray(call()), -1, 1))
