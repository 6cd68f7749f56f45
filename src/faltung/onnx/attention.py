"""Attention, from ONNX (opset 23): one operation, also with a cache of keys and values before."""

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Shape, Tensor, numbers
from faltung.graph.foreign_attention import Given, attended, hidden, scores_of
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import concatenated, known, padded
from faltung.graph.foreign_products import Operand
from faltung.onnx.arguments import Arguments

Array = npt.NDArray[Any]


def attention(a: Arguments) -> list[Any]:
    f = a.f
    flat = len(a[0].shape) == 3
    q = _heads(a, 0, a.whole("q_num_heads", 0), flat)
    k, v = (_heads(a, i, a.whole("kv_num_heads", 0), flat) for i in (1, 2))
    before = 0
    if a.has(4) != a.has(5):
        raise FaltungError("past_key, past_value: must be given together")
    if a.has(4):
        past = [a.floats(i) for i in (4, 5)]
        before = past[0].shape[2] if past[0].rank == 4 else 0
        k, v = (concatenated(f, [old, new], 2) for old, new in zip(past, (k, v), strict=True))
    scale = a.attribute("scale")
    _checked(q, k, v)
    given = Given(
        *(q, k, v, []),
        q.shape[3] ** -0.5 if scale is None else a.number("scale", 1),
        max(0.0, a.number("softcap", 0)),
        before if a.whole("is_causal", 0) else None,
    )
    a.attribute("softmax_precision")  # at least that of the graph
    given.masks.extend(_window(a, given, before))
    if a.has(6):
        given = _padded(a, given)
    if a.has(3):
        given.masks.append(_added(f, a[3], given.shape[3]))
    made = attended(f, given)
    result = made if not flat else f.reshaped(made.transposed((0, 2, 1, 3)), _flat(made.shape))
    mode = a.whole("qk_matmul_output_mode", 0)
    asked = len(a.call.outputs) > 3 and a.call.outputs[3]
    return [result, k, v, *([scores_of(f, given, mode)] if asked else [])]


def _flat(shape: Shape) -> Shape:
    batch, heads, positions, channels = shape
    return batch, positions, heads * channels


def _heads(a: Arguments, number: int, heads: int, flat: bool) -> Tensor:
    """An input as (batch, heads, positions, channels)."""
    x = a.floats(number)
    if x.rank == 4 and not flat:
        return x
    if x.rank != 3 or not flat:
        raise FaltungError(f"input {number} of shape {x.shape}: must have the rank of Q, 3 or 4")
    batch, positions, channels = x.shape
    if heads < 1 or channels % heads:
        raise FaltungError(f"{heads} heads: must divide the {channels} channels of input {number}")
    made = a.f.reshaped(x, (batch, positions, heads, channels // heads))
    return made.transposed((0, 2, 1, 3))


def _checked(q: Tensor, k: Tensor, v: Tensor) -> None:
    fits = (
        q.shape[0] == k.shape[0] == v.shape[0]
        and q.shape[3] == k.shape[3]
        and k.shape[1:3] == v.shape[1:3]
        and not q.shape[1] % k.shape[1]
    )
    if not fits:
        raise FaltungError(f"shapes {q.shape}, {k.shape} and {v.shape}: do not fit each other")


def _counts(a: Arguments, batch: int) -> Array:
    """How many keys of each sample count."""
    counts = a.array(6).reshape(-1)
    if counts.shape != (batch,) or counts.dtype.kind not in "iu":
        raise FaltungError(f"nonpad_kv_seqlen: must be {batch} whole numbers")
    return counts


def _window(a: Arguments, given: Given, before: int) -> list[Array]:
    """The mask of attention to so many keys on either side, if there is one."""
    left, right = a.whole("left_window_size", -1), a.whole("right_window_size", -1)
    if min(left, right) < -1:
        raise FaltungError(f"left_window_size={left}, right_window_size={right}: at least -1")
    if left < 0 and right < 0:
        return []
    batch, _, queries, keys = given.shape
    away = np.arange(queries)[:, None] - np.arange(keys) + before
    if a.has(6) and not a.has(4):
        away = away + (_counts(a, batch) - queries)[:, None, None, None]
    hidden = (away > left) & (left >= 0) | (-away > right) & (right >= 0)
    return [np.where(hidden, -inf, 0.0).astype(given.q.dtype)]


def _padded(a: Arguments, given: Given) -> Given:
    """With the masks that say how many keys of each sample count."""
    batch, _, queries, keys = given.shape
    counts = _counts(a, batch)
    places = np.arange(keys)
    seen = places < counts[:, None, None, None]
    offset = given.offset
    if offset is not None and not a.has(4):
        rows = np.arange(queries)[:, None] + (counts - queries)[:, None, None, None]
        seen = seen & (places <= rows)
        offset = None
    hidden = np.where(seen, 0.0, -inf).astype(given.q.dtype)
    return Given(
        *(given.q, given.k, given.v, [*given.masks, hidden]),
        *(given.scale, given.softcap, offset),
    )


def _added(f: Foreign, mask: Operand, keys: int) -> Operand:
    """A mask as what is added: minus infinity where a condition is false, or beyond its end."""
    short = keys - mask.shape[-1]
    last = len(mask.shape) - 1
    if short < 0 and mask.shape[-1] != 1:
        raise FaltungError(f"attn_mask of shape {mask.shape}: must have at most {keys} keys")
    truth = mask.dtype == "bool"
    if not isinstance(mask, Tensor):
        if short > 0:
            pairs = [(0, 0)] * last + [(0, short)]
            mask = np.pad(mask, pairs, constant_values=False if truth else -inf)
        return np.where(mask, np.float32(0), np.float32(-inf)) if truth else mask
    if truth:
        if short > 0:
            mask = padded(f, mask, [(0, 0)] * last + [(0, short)])
        return formula(f, hidden, mask, dtype=f.dtype)
    numbers(mask)
    if short > 0:
        rest = np.full((*mask.shape[:-1], short), -inf, f.dtype)
        mask = concatenated(f, [mask, known(f, rest, f.dtype)], last)
    return mask


TABLE = {"Attention": attention}
