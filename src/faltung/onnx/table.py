"""The table of ONNX operators: what each is in a graph, by families."""

from collections.abc import Callable
from typing import Any

from faltung.onnx import convolve, formulas, norms, pools, products, recurrent, views
from faltung.onnx.arguments import Arguments

TABLE: dict[str, Callable[[Arguments], Any]] = {
    **convolve.TABLE,
    **products.TABLE,
    **pools.TABLE,
    **norms.TABLE,
    **recurrent.TABLE,
    **formulas.TABLE,
    **views.TABLE,
}
# Control flow and shapes, which importing itself sees to.
INHERENT = ("If", "Shape", "Size", "Constant")
