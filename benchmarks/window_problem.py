"""The arrays of one pooling or locally connected layer, the same in every process."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.problem import LIMITS, Array, relative_error
from benchmarks.protocol import WINDOW
from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.geometry.text import parse
from faltung.reference import pool
from faltung.reference.local import local, local_input_grad, weight_shape

MAX, AVERAGE, LOCAL = "max", "avg", "local"


@dataclass(frozen=True)
class WindowProblem:
    """One line of ``windows.WINDOWS``, forward or input gradient; channels first.

    x: (N, C_in, *space); weight of a local layer: (*out, C_out, C_in, *kernel); grad: as the
    output.
    """

    text: str
    direction: str = WINDOW

    @property
    def kind(self) -> str:
        return self.text.split()[0]

    @property
    def forward(self) -> bool:
        return self.direction == WINDOW

    @cached_property
    def spec(self) -> ConvSpec:
        """The windows, as a convolution."""
        return parse(self.text.split(maxsplit=1)[1])

    @cached_property
    def pool(self) -> PoolSpec:
        spec = self.spec
        kind = {MAX: "max", AVERAGE: "average"}[self.kind]
        return PoolSpec(spec.axes, spec.channels_in, spec.batch, kind, dtype=spec.dtype)

    @property
    def limit(self) -> float:
        return LIMITS[self.spec.dtype]

    def error(self, got: Array, want: Array) -> float:
        """The error of a result against the correct one. ValueError: another shape."""
        return relative_error(got, want)

    def _draw(self, seed: int, shape: tuple[int, ...]) -> Array:
        values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        return np.asarray(values, dtype=self.spec.dtype)

    @cached_property
    def x(self) -> Array:
        return self._draw(1, self.spec.input_shape)

    @cached_property
    def weight(self) -> Array:
        return self._draw(2, weight_shape(self.spec))

    @cached_property
    def grad(self) -> Array:
        return self._draw(4, self.spec.output_shape)

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding on each side of each axis; both sides are equal."""
        return tuple(axis.lo for axis in self.spec.axes)


def answer(text: str, direction: str, path: str) -> bool:
    """Store the result of the reference, in float64, in a file."""
    problem = WindowProblem(text, direction)
    np.save(path, _answer(problem))
    return True


def _answer(problem: WindowProblem) -> Array:
    spec = problem.spec
    if problem.kind == LOCAL:
        if problem.forward:
            return local(problem.x, problem.weight, None, spec)
        return local_input_grad(problem.grad, problem.weight, spec)
    if problem.kind == AVERAGE:
        if problem.forward:
            return pool.average_pool(problem.x, problem.pool)
        return pool.average_pool_grad(problem.grad, problem.pool)
    values, index = pool.max_pool(problem.x, problem.pool)
    return values if problem.forward else pool.max_pool_grad(problem.grad, index, problem.pool)
