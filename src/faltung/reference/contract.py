"""What a product of two arrays over labelled axes means: NumPy's einsum in float64."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def contract(
    labels: tuple[str, str, str], a: ArrayLike, b: ArrayLike, sizes: Mapping[str, int]
) -> Array:
    """The einsum ``a, b -> out`` of the labels; the arrays have as many numbers as theirs.

    Labels are any characters. As in ``numpy.einsum``, what the result lacks is summed.

    Examples
    --------
    >>> contract(("ij", "jk", "ik"), [[1, 2], [3, 4]], [[1], [10]], {"i": 2, "j": 2, "k": 1})
    array([[21.],
           [43.]])
    """
    number = {label: i for i, label in enumerate(dict.fromkeys("".join(labels)))}

    def axes(own: str) -> Sequence[int]:
        return [number[label] for label in own]

    arrays = [
        np.asarray(array, np.float64).reshape([sizes[label] for label in own])
        for array, own in zip((a, b), labels[:2], strict=True)
    ]
    operands: list[Any] = [arrays[0], axes(labels[0]), arrays[1], axes(labels[1]), axes(labels[2])]
    return np.asarray(np.einsum(*operands))
