"""The table of ONNX operators: what each is in a graph, by families."""

from collections.abc import Callable
from typing import Any

from faltung.onnx import (
    attention,
    convolve,
    deformed,
    formulas,
    losses,
    norms,
    places,
    pools,
    products,
    recurrent,
    reductions,
    rounding,
    views,
)
from faltung.onnx.arguments import Arguments

TABLE: dict[str, Callable[[Arguments], Any]] = {
    **attention.TABLE,
    **convolve.TABLE,
    **deformed.TABLE,
    **products.TABLE,
    **pools.TABLE,
    **reductions.TABLE,
    **norms.TABLE,
    **losses.TABLE,
    **recurrent.TABLE,
    **rounding.TABLE,
    **formulas.TABLE,
    **views.TABLE,
    **places.TABLE,
}
# Control flow and shapes, which importing itself sees to.
INHERENT = ("If", "Shape", "Size", "Constant")
