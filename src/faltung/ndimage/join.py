"""Results of several passes made one, by all threads: their sum, or the root of the sum of their
squares.

What is added and rounded is what SciPy adds and rounds, in the dtype of the output.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr, operand, unary
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Work
from faltung.methods.elementwise.elementwise import Input, Output, formulas
from faltung.ops.arguments import address
from faltung.plan.binding import Region
from faltung.runtime.threads import threads_to_use

Array = npt.NDArray[Any]
Join = Literal["sum", "magnitude"]

COMPILED = ("float32", "float64")
# Smaller arrays are joined by NumPy before a compiled region has begun, to the same bits.
MIN_COMPILED = 1 << 14


def join(made: Sequence[Array], how: Join) -> None:
    """All arrays into the first. They have one shape and dtype; what the others hold afterwards
    is undefined.
    """
    whole = all(one.flags.c_contiguous for one in made)
    if made[0].dtype.name in COMPILED and made[0].size >= MIN_COMPILED and whole:
        region, worth = _compiled(how, made[0].dtype.name, len(made), made[0].size, current())
        region.run([address(one) for one in made], threads_to_use() if worth else 1)
        return
    out = made[0]
    if how == "magnitude":
        np.multiply(out, out, out=out)
    for one in made[1:]:
        if how == "magnitude":
            np.multiply(one, one, out=one)
        np.add(out, one, out=out)
    if how == "magnitude":
        np.sqrt(out, out=out, casting="unsafe")


@lru_cache(maxsize=64)
def _compiled(
    how: Join, dtype: str, count: int, size: int, machine: Machine
) -> tuple[Region, bool]:
    """The region, and whether more than one thread is worth its while."""
    total: Expr | None = None
    for k in range(count):
        # As a magnitude of its own a square is not fused with the sum, which would round otherwise.
        square = unary("abs", operand(k) * operand(k))
        term = square if how == "magnitude" else operand(k)
        total = term if total is None else total + term
    assert total is not None
    places = {f"made{k}": (k, 0) for k in range(count)}
    work = Work()
    formulas(
        work,
        dtype,
        machine,
        samples=1,
        positions=1,
        channels=size,
        inputs=[Input("full", Operand(name), size) for name in places],
        outputs=[
            Output(unary("sqrt", total) if how == "magnitude" else total, Operand("made0"), size)
        ],
        title="join passes",
    )
    region = Region(work.steps, places, machine, slots=count)
    return region, size * count / machine.lanes(dtype) > MIN_PARALLEL_CYCLES
