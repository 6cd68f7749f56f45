"""The operators of ATen that become part of a graph, by name."""

from collections.abc import Callable
from typing import Any

from faltung.graph.foreign import Tensor
from faltung.torch import casts, convolve, formulas, pointwise, random, reductions
from faltung.torch.arguments import Arguments

# A result, several, or none where the operation only writes.
Made = Tensor | list[Any] | None
Handler = Callable[[Arguments], Made]

TABLE: dict[str, Handler] = {
    **convolve.TABLE,
    **casts.TABLE,
    **formulas.TABLE,
    **pointwise.TABLE,
    **random.TABLE,
    **reductions.TABLE,
}
