"""What losses of classes read by labels: entries of rows, and weights. Classes are axis 1."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr, equal, select
from faltung.graph.foreign import Foreign, Shape, Tensor
from faltung.graph.foreign_formulas import Operand, formula
from faltung.graph.foreign_maps import known
from faltung.graph.foreign_reduce import reduced

Array = npt.NDArray[Any]

# Labels that the dtype of a graph holds exactly.
MOST_CLASSES = 1 << 24


def numbered(f: Foreign, shape: Shape) -> Array:
    """The numbers of the classes, as they meet a tensor of this shape."""
    return np.arange(shape[1], dtype=f.dtype).reshape(-1, *(1,) * (len(shape) - 2))


def picked(f: Foreign, x: Operand, label: Operand, shape: Shape, dtype: str) -> Tensor:
    """Of each row of classes the entry that its label names, 0 where it names none.

    shape: of x as it meets the labels, which are (batch, 1, *space).
    """

    def of(x: Expr, label: Expr, number: Expr) -> Expr:
        return select(equal(label, number), x, 0)

    if not isinstance(x, Tensor) and not isinstance(label, Tensor):
        x = known(f, np.asarray(x, f.dtype), dtype)
    chosen = formula(f, of, x, label, numbered(f, shape), shape=shape, dtype=dtype)
    return reduced(f, chosen, (1,), "sum", True)


def as_classes(f: Foreign, weight: Operand, rank: int) -> Operand:
    """A number for each class, as it meets a tensor of this rank."""
    shape = (weight.shape[0], *(1,) * (rank - 2))
    return f.reshaped(weight, shape) if isinstance(weight, Tensor) else weight.reshape(shape)
