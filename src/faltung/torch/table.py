"""The operators of ATen that become part of a graph, by name."""

from collections.abc import Callable
from typing import Any

from faltung.graph.foreign import Tensor
from faltung.torch import (
    attention,
    casts,
    convolve,
    embedding,
    entries,
    formulas,
    losses,
    norms,
    pads,
    pointwise,
    pools,
    products,
    random,
    recurrent,
    reductions,
    resize,
    scatters,
    views,
)
from faltung.torch.arguments import Arguments

# A result, several, or none where the operation only writes.
Made = Tensor | list[Any] | None
Handler = Callable[[Arguments], Made]

FAMILIES = (
    attention,
    casts,
    convolve,
    embedding,
    entries,
    formulas,
    losses,
    norms,
    pads,
    pointwise,
    pools,
    products,
    random,
    recurrent,
    reductions,
    resize,
    scatters,
    views,
)
TABLE: dict[str, Handler] = {
    op: handler for family in FAMILIES for op, handler in family.TABLE.items()
}
