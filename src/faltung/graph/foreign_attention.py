"""Attention of foreign tensors: heads with a mask, a cap and causality as one operation."""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, at_least, select, unary
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import known
from faltung.graph.foreign_products import Operand, product
from faltung.graph.value import Value

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Given:
    """q, k, v as (batch, heads, positions, channels), and what is added to the scores, of a shape
    that broadcasts to (batch, heads, queries, keys). offset: of causal attention, or None.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    masks: list[Operand]
    scale: float
    softcap: float
    offset: int | None

    @property
    def shape(self) -> Shape:
        """Of the scores."""
        batch, heads, queries, _ = self.q.shape
        return batch, heads, queries, self.k.shape[2]


def hidden(condition: Expr) -> Expr:
    """What is added to scores where a condition holds, and where not."""
    return select(at_least(condition, 0.5), 0, -inf)


def _form(f: Foreign, mask: Operand, shape: Shape) -> Value:
    """A mask as samples of (keys, heads, queries)."""
    if len(mask.shape) > 4:
        raise FaltungError(f"attn_mask of shape {mask.shape}: must have at most 4 axes")
    sizes = (1,) * (4 - len(mask.shape)) + tuple(mask.shape)
    if any(own not in (1, size) for own, size in zip(sizes, shape, strict=True)):
        raise FaltungError(f"attn_mask of shape {mask.shape}: does not broadcast to {shape}")
    if isinstance(mask, Tensor):
        return f.map(f.padded_rank(mask, 4), (0,), (1, 2), (3,))
    wide = mask.reshape(sizes)
    if sizes[0] > 1:
        return f.map(known(f, wide, f.dtype), (0,), (1, 2), (3,))
    plain = np.ascontiguousarray(np.moveaxis(wide[0], -1, 0))
    order = (1, 2, 0)
    return f.parameter("mask", plain, inner=plain.shape, order=order, trained=False, of=mask)


def attended(f: Foreign, given: Given) -> Tensor:
    """The result, (batch, heads, queries, channels)."""
    inputs = [f.map(x, (0,), (2,), (1, 3)) for x in (given.q, given.k, given.v)]
    inputs += [_form(f, mask, given.shape) for mask in given.masks]
    batch, heads, queries, _ = given.shape
    channels = given.v.shape[3]
    made = f.node(_op(given, weights=False), inputs, (heads * channels, queries), batch)
    shape = batch, queries, heads, channels
    return f.result(made, shape, given.q.dtype).transposed((0, 2, 1, 3))


def _op(given: Given, *, weights: bool) -> ops.Attention:
    return ops.Attention(
        given.shape[1],
        given.k.shape[1],
        given.scale,
        causal=given.offset is not None,
        offset=given.offset or 0,
        softcap=given.softcap,
        weights=weights,
    )


def scores_of(f: Foreign, given: Given, mode: int) -> Tensor:
    """What lies between: scores as they are (0), capped (1), with masks (2), or their softmax."""
    if mode not in range(4):
        raise FaltungError(f"qk_matmul_output_mode={mode}: must be 0 to 3")
    batch, heads, queries, keys = given.shape
    if mode == 3:
        inputs = [f.map(x, (0,), (2,), (1, 3)) for x in (given.q, given.k)]
        inputs += [_form(f, mask, given.shape) for mask in given.masks]
        value = f.node(_op(given, weights=True), inputs, (keys, heads, queries), batch)
        return f.result(value, given.shape, given.q.dtype)
    groups = given.k.shape[1]
    q = f.reshaped(given.q, (batch, groups, heads // groups, queries, given.q.shape[3]))
    made = product(
        *(f, q, given.k),
        ("bgrld", "bgmd", "bgrlm"),
        (batch, groups, heads // groups, queries, keys),
    )
    made = formula(f, lambda s: _capped(s * given.scale, given.softcap * (mode > 0)), made)
    made = f.reshaped(made, given.shape)
    return _masked(f, given, made) if mode == 2 else made


def _capped(scores: Expr, cap: float) -> Expr:
    return cap * unary("tanh", scores * (1 / cap)) if cap else scores


def _masked(f: Foreign, given: Given, scores: Tensor) -> Tensor:
    masks: Sequence[Operand] = given.masks
    if given.offset is not None:
        rows, columns = np.ogrid[: given.shape[2], : given.shape[3]]
        masks = [*masks, np.where(columns <= rows + given.offset, 0.0, -inf).astype(f.dtype)]
    for mask in masks:
        scores = formula(f, lambda s, m: s + m, scores, mask)
    if scores.shape != given.shape:
        raise Unsaid("a mask with more axes than the scores")
    return scores
