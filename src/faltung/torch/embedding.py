"""Rows of a table by numbers that the program gets, from ATen."""

from math import prod
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.ops import Embed
from faltung.torch.arguments import Arguments
from faltung.torch.entries import index, index_select
from faltung.torch.part import Leaf, Outside


def looked_up(a: Arguments, table: Leaf, name: str, padding: int | None = None) -> Tensor:
    """Rows of a leaf (rows, features); those of the row ``padding`` are not trained."""
    f, found = a.f, a[name]
    if len(table.shape) != 2 or not prod(table.shape):
        raise Unsaid("a table that is no matrix")
    tokens = a.tensor(name)
    if tokens.value.kind != "int" or not tokens.straight or isinstance(found, Outside):
        raise Unsaid("a selection by numbers that are computed (needs gather)")
    if tokens.dtype not in ("int64", "int32"):
        raise Unsaid(f"{tokens.dtype} numbers of rows")
    rows, features = table.shape
    a.tokens(name, rows)
    weight = f.parameter("weight", table.array)
    value = f.node(Embed(padding), (f.vector(tokens.value), weight), (features, tokens.size))
    return f.result(value, (*tokens.shape, features), table.dtype)


def embedding(a: Arguments) -> Tensor:
    table, padding = a["weight"], a.whole("padding_idx")
    if a.f.training and (a.flag("scale_grad_by_freq") or a.flag("sparse")):
        raise Unsaid("gradients scaled by frequency, or sparse ones")
    if isinstance(table, Leaf):
        if padding >= table.shape[0]:
            raise FaltungError(f"padding_idx={padding}: must be a row of {table.shape[0]}")
        return looked_up(a, table, "indices", padding if padding >= 0 else None)
    if padding >= 0 and a.f.training:
        raise Unsaid("a row without a gradient of a table that is computed")
    return _rows(a)


def _rows(a: Arguments) -> Tensor:
    """Rows that are known, of a table that is computed."""
    from dataclasses import replace

    given = {"self": a["weight"], "indices": [a["indices"]]}
    return index(Arguments(a.f, replace(a.call, given=given), a._fed))


def selected_rows(a: Arguments) -> Tensor:
    """index_select, which may be one of the rows of a leaf by numbers from outside."""
    table = a["self"]
    if (
        isinstance(table, Leaf)
        and not isinstance(a["index"], Leaf)
        and a.axis(len(table.shape)) == 0
    ):
        return looked_up(a, table, "index")
    return index_select(a)


TABLE: dict[str, Any] = {"embedding": embedding, "index_select": selected_rows}
