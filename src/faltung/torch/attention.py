"""Attention, from ATen, which PyTorch keeps as one operation before it chooses a kernel."""

from collections.abc import Sequence
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_attention import Given, attended, hidden, scores_of
from faltung.graph.foreign_formulas import broadcast, expanded, formula
from faltung.graph.foreign_products import Operand, product
from faltung.torch.arguments import Arguments
from faltung.torch.part import Leaf
from faltung.torch.random import dropped

Array = npt.NDArray[Any]


def attention(a: Arguments) -> Tensor:
    """softmax(scale q k^T + mask) v over the last two axes; those before them are broadcast."""
    q, k, v = a.floats("query"), a.floats("key"), a.floats("value")
    rate = a.number("dropout_p")
    if not 0 <= rate < 1:
        raise Unsaid(f"dropout_p={rate:g}")
    if min(q.rank, k.rank, v.rank) < 2 or not (q.size and k.size and v.size):
        raise Unsaid("attention of vectors, or of tensors without elements")
    scale = q.shape[-1] ** -0.5 if a["scale"] is None else a.number("scale")
    groups = bool(a.call.given.get("enable_gqa"))
    lead = _lead(q, k, v, groups)
    q = _four(a.f, q, lead, None)
    k, v = _four(a.f, k, lead, groups), _four(a.f, v, lead, groups)
    given = Given(q, k, v, [], scale, 0.0, 0 if a.flag("is_causal") else None)
    if a.has("attn_mask"):
        if a.flag("is_causal"):
            raise FaltungError("attn_mask, is_causal=True: must not both be given")
        given.masks.append(_mask(a, lead, given.shape))
    made = _dropped(a, given, rate) if rate else attended(a.f, given)
    return a.f.reshaped(made, (*lead, *made.shape[2:]))


def _dropped(a: Arguments, given: Given, rate: float) -> Tensor:
    """With some of the weights 0: these are computed, and then weigh the values."""
    f, v = a.f, given.v
    batch, heads, queries, keys = given.shape
    groups = v.shape[1]
    weights = dropped(a, scores_of(f, given, 3), rate)
    split = f.reshaped(weights, (batch, groups, heads // groups, queries, keys))
    shape = batch, groups, heads // groups, queries, v.shape[3]
    made = product(f, split, v, ("bgrlm", "bgmd", "bgrld"), shape)
    return f.reshaped(made, (batch, heads, queries, v.shape[3]))


def _lead(q: Tensor, k: Tensor, v: Tensor, groups: bool) -> Shape:
    """The axes before the last two: of the queries, where heads share keys."""
    if not groups:
        return broadcast([x.shape[:-2] for x in (q, k, v)])
    if q.rank < 3 or q.shape[-3] % k.shape[-3] or k.shape[-3] != v.shape[-3]:
        raise FaltungError(f"enable_gqa: shapes {q.shape} and {k.shape} do not fit each other")
    return (*broadcast([x.shape[:-3] for x in (q, k, v)]), q.shape[-3])


def _four(f: Foreign, x: Tensor, lead: Shape, groups: bool | None) -> Tensor:
    """(samples, heads, positions, channels); the heads are the last of the axes before."""
    if groups:
        lead = (*lead[:-1], x.shape[-3])
    x = expanded(f, x, (*lead, *x.shape[-2:]))
    heads = lead[-1] if len(lead) > 1 else 1
    return f.reshaped(x, (prod(lead) // heads, heads, *x.shape[-2:]))


def _mask(a: Arguments, lead: Shape, shape: Shape) -> Operand:
    """What is added to the scores (samples, heads, queries, keys)."""
    found = a["attn_mask"]
    if isinstance(found, Leaf) and not found.trained:
        array = found.array
        if array.dtype == bool:
            array = np.where(array, np.float32(0), np.float32(-inf))
        form = _form(array.shape, lead)
        if form is not None:
            return array.reshape(form)
    mask = a.tensor("attn_mask")
    if mask.dtype == "bool":
        mask = formula(a.f, hidden, mask, dtype=a.f.dtype)
    form = _form(mask.shape, lead)
    if form is None:
        mask = expanded(a.f, mask, (*lead, *mask.shape[-2:]))
        form = (*shape[:2], *mask.shape[-2:])
    return a.f.reshaped(mask, form)


def _form(shape: Shape, lead: Shape) -> Shape | None:
    """A mask's shape as (samples, heads, queries, keys), each of them 1 where it is broadcast.
    None: it is broadcast along some of several axes before the heads.
    """
    wide = (1,) * (len(lead) + 2 - len(shape)) + tuple(shape)
    heads = wide[len(lead) - 1] if len(lead) > 1 else 1
    before, whole = (wide[:-3], lead[:-1]) if len(lead) > 1 else (wide[:-2], lead)
    if before != whole and prod(before) > 1:
        return None
    return (prod(before), heads, *wide[-2:])


def _first_only(results: int) -> Any:
    """Kernels that give more than the result, which nothing must read."""

    def made(a: Arguments) -> Sequence[Any]:
        for user in a.call.node.users:
            if len(user.args) < 2 or user.args[1] != 0:
                raise Unsaid("what attention keeps for its gradient")
        if a.has("attn_mask") and a["attn_mask"].dtype == "bool":
            raise Unsaid("a mask of truths")
        return [attention(a), *[None] * (results - 1)]

    return made


TABLE: dict[str, Any] = {
    "scaled_dot_product_attention": attention,
    "_scaled_dot_product_flash_attention_for_cpu": _first_only(2),
    "_scaled_dot_product_attention_math": _first_only(2),
}
