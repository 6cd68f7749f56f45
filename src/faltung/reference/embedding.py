"""The definition of embedding: rows of a table, and their gradients. Float64 throughout."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def embed(tokens: ArrayLike, table: ArrayLike) -> Array:
    """The rows of ``table`` (vocabulary, features) for ``tokens``, ints (batch, length).

    Returns (batch, features, length).
    """
    rows = np.asarray(table, dtype=np.float64)
    return np.moveaxis(rows[np.asarray(tokens)], -1, 1)


def embed_grad(
    tokens: ArrayLike, grad: ArrayLike, vocabulary: int, padding_index: int | None = None
) -> Array:
    """The gradient with respect to the table, (vocabulary, features).

    grad: (batch, features, length). The gradient of the row ``padding_index`` is zero.
    """
    rows = np.moveaxis(np.asarray(grad, dtype=np.float64), 1, -1)
    result = np.zeros((vocabulary, rows.shape[-1]))
    np.add.at(result, np.asarray(tokens), rows)
    if padding_index is not None:
        result[padding_index] = 0.0
    return result
