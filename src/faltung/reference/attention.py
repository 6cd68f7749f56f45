"""What attention means, in float64: A. Vaswani et al., "Attention Is All You Need", 2017."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def weights(
    q: ArrayLike,
    k: ArrayLike,
    *,
    scale: float,
    mask: ArrayLike | None = None,
    causal: bool = False,
    offset: int = 0,
    softcap: float = 0.0,
) -> Array:
    """softmax(scale q k^T + mask) over the keys, (..., heads, queries, keys).

    q: (..., queries, heads, D). k: (..., keys, kv_heads, D); query head h reads head h * kv_heads
    // heads. mask: broadcasts to the result. causal: query i sees keys 0 to i + ``offset``. softcap
    c, unless it is 0: scores s become c tanh(s / c) first. Where a query sees nothing: zeros.

    Examples
    --------
    >>> weights([[[1.0]], [[0.0]]], [[[0.0]], [[0.0]]], scale=1.0, causal=True)
    array([[[1. , 0. ],
            [0.5, 0.5]]])
    """
    q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
    k = np.repeat(k, q.shape[-2] // k.shape[-2], axis=-2)
    scores = np.einsum("...lhd,...mhd->...hlm", q, k) * scale
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    if mask is not None:
        scores = scores + np.asarray(mask, np.float64)
    if causal:
        queries, keys = np.ogrid[: scores.shape[-2], : scores.shape[-1]]
        scores = np.where(keys <= queries + offset, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = powers.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(powers, total, out=np.zeros_like(powers), where=total != 0))


def attention(q: ArrayLike, k: ArrayLike, v: ArrayLike, **given: Any) -> Array:
    """The values weighted: (..., queries, heads, D'). v: (..., keys, kv_heads, D'). The rest as
    for ``weights``.
    """
    made = weights(q, k, **given)
    v = np.asarray(v, np.float64)
    v = np.repeat(v, made.shape[-3] // v.shape[-2], axis=-2)
    return np.asarray(np.einsum("...hlm,...mhd->...lhd", made, v))
