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

# Smaller arrays are joined by NumPy before a compiled region has begun.
MIN_COMPILED = 1 << 14


def join(made: Sequence[Array], how: Join) -> None:
    """All arrays into the first, which is one of them. They have one shape and dtype; what is in
    the others afterwards is undefined.
    """
    dtype = made[0].dtype
    # Squares that are added could be contracted into fused operations, whose bits are others.
    exact = dtype == np.float32 or (dtype == np.float64 and how == "sum")
    if exact and made[0].size >= MIN_COMPILED and all(one.flags.c_contiguous for one in made):
        region, worth = _compiled(how, dtype.name, len(made), made[0].size, current())
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
        term = operand(k) * operand(k) if how == "magnitude" else operand(k)
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
